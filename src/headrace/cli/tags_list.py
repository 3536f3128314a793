"""List the tags of a tenant, in the order in which they were first stored."""

from __future__ import annotations

import argparse
from typing import Any

from headrace.cli.options import add_json, plain
from headrace.cli.show import print_json, print_lines, print_table
from headrace.cli.tags_options import add_store, opened


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("list", help="list the tags of a tenant", description=plain(__doc__))
    parser.add_argument("--like", metavar="PATTERN", default="*", help="such as '302f*', or how GUIDs begin")
    parser.add_argument("--last", action="store_true", help="with the last time and value of each")
    add_store(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List them."""
    with opened(arguments) as reader:
        if arguments.last:
            found = reader.read(arguments.like, tenant=arguments.tenant, how="last")
            rows = [(tag, time.isoformat(), value) for tag, time, value in found.iter_rows()]
            if arguments.json:
                print_json([{"tag": tag, "time": time, "value": value} for tag, time, value in rows])
            else:
                print_table(["tag", "last time", "value"], rows)
            return 0
        tags = reader.tags(arguments.like, tenant=arguments.tenant)
    if arguments.json:
        print_json(tags)
    else:
        print_lines(tags)
    return 0
