"""Show how much each tenant has stored: tags, points, bytes, segments, from when to when."""

from __future__ import annotations

import argparse
from typing import Any

from headrace.cli.options import add_json, plain
from headrace.cli.show import print_json, print_table, time_text
from headrace.cli.tags_options import add_store, opened


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("stats", help="show how much tenants have stored", description=plain(__doc__))
    add_store(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the totals of the tenant that was named, or of all."""
    with opened(arguments) as reader:
        names = [reader.tenant(arguments.tenant)] if arguments.tenant else reader.store.catalogue.tenants()
        found = {name: reader.totals(name) for name in names}
    if arguments.json:
        print_json(
            {
                name: {
                    "tags": own.tags,
                    "points": own.points,
                    "segments": own.segments,
                    "size_bytes": own.size_bytes,
                    "bytes_per_point": own.bytes_per_point,
                    "first": None if own.first_us is None else time_text(own.first_us),
                    "last": None if own.last_us is None else time_text(own.last_us),
                }
                for name, own in found.items()
            }
        )
        return 0
    columns = ["tenant", "tags", "points", "segments", "bytes", "bytes/point", "first", "last"]
    print_table(
        columns,
        [
            (
                name,
                own.tags,
                own.points,
                own.segments,
                own.size_bytes,
                "" if own.bytes_per_point is None else f"{own.bytes_per_point:.2f}",
                "" if own.first_us is None else time_text(own.first_us),
                "" if own.last_us is None else time_text(own.last_us),
            )
            for name, own in found.items()
        ],
    )
    return 0
