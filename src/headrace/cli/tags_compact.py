"""Merge the segments of tenants, which makes them smaller and faster to read; nothing is lost or doubled."""

from __future__ import annotations

import argparse
from typing import Any

from headrace.cli.options import add_json, plain
from headrace.cli.show import print_json, print_lines, waiting
from headrace.cli.tags_options import add_store, opened


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("compact", help="merge segments", description=plain(__doc__))
    parser.add_argument("--all", action="store_true", help="merge all segments, not only when many are due")
    add_store(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compact the tenant that was named, or all, one after the other."""
    done = {}
    with opened(arguments, looking=False) as reader:
        # Loaded here as it needs an optional library, whose absence `opened` tells.
        from headrace.series.compaction import compact  # noqa: PLC0415 - optional

        names = [reader.tenant(arguments.tenant)] if arguments.tenant else reader.store.catalogue.tenants()
        for name in names:
            with waiting(f"compacting {name}"):
                done[name] = compact(reader.store, name, everything=arguments.all)
    if arguments.json:
        print_json(
            {
                name: {
                    "segments_read": own.read,
                    "segments_written": own.written,
                    "points": own.points,
                    "bytes_before": own.bytes_before,
                    "size_bytes": own.size_bytes,
                }
                for name, own in done.items()
            }
        )
        return 0
    for name, own in done.items():
        if own.read:
            told = (
                f"{name}: {own.read:,} segments became {own.written:,}, {own.points:,} points, "
                f"{own.bytes_before:,} bytes became {own.size_bytes:,}"
            )
        else:
            told = f"{name}: nothing is due" + ("" if arguments.all else "; --all merges all the same")
        print_lines([told])
    return 0
