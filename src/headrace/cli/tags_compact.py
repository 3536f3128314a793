"""Merge the segments of tenants, which makes them smaller and faster to read; nothing is lost or doubled.

Points that are older than `retention_days` are dropped from what is merged.
"""

from __future__ import annotations

import argparse
from typing import Any

from headrace.cli.options import add_json, plain
from headrace.cli.show import count_text, print_json, print_lines, waiting
from headrace.cli.tags_options import add_store, opened
from headrace.clock import SystemClock
from headrace.project import Project
from headrace.project.dataset_jobs import series_place


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("compact", help="merge segments", description=plain(__doc__))
    parser.add_argument("--all", action="store_true", help="merge all segments, not only when many are due")
    add_store(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compact the tenant that was named, or all, one after the other."""
    done, dropped = {}, {}
    with opened(arguments, looking=False) as reader:
        # Loaded here as it needs an optional library, whose absence `opened` tells.
        from headrace.engine.dataset_compaction import Compacts  # noqa: PLC0415 - optional
        from headrace.series.compaction import compact  # noqa: PLC0415 - optional
        from headrace.series.retention import drop_before  # noqa: PLC0415 - optional

        place = series_place(Project.load(arguments.project), reader.store.name)
        kept = Compacts(lambda: reader.store, place.retention_days, place.of_tenants)
        names = [reader.tenant(arguments.tenant)] if arguments.tenant else reader.store.catalogue.tenants()
        for name in names:
            with waiting(f"compacting {name}"):
                from_us = kept.kept_from_us(name, SystemClock().now_us())
                dropped[name] = drop_before(reader.store, name, from_us)
                done[name] = compact(reader.store, name, everything=arguments.all, keep_from_us=from_us)
    if arguments.json:
        print_json(
            {
                name: {
                    "segments_dropped": dropped[name],
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
        if dropped[name]:
            print_lines([f"{name}: {count_text(dropped[name], 'segment')} dropped, whose points are too old"])
        if own.read:
            told = (
                f"{name}: {own.read:,} segments became {own.written:,}, {own.points:,} points, "
                f"{own.bytes_before:,} bytes became {own.size_bytes:,}"
            )
        else:
            told = f"{name}: nothing is due" + ("" if arguments.all else "; --all merges all the same")
        print_lines([told])
    return 0
