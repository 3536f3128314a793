"""Print points of tags: all of them, the last, or fewer that stand for them."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from headrace.cli.numbers import at_least
from headrace.cli.options import plain
from headrace.cli.show import note, print_table
from headrace.cli.tags_options import TAGS_HELP, add_how, add_store, add_times, given, opened

#: Rows that are shown to a person unless more are asked for; documents have all.
_SHOWN_ROWS: Final = 100

_TEXT: Final = pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("read", help="print points of tags", description=plain(__doc__))
    parser.add_argument("tags", metavar="TAG", nargs="+", help=TAGS_HELP)
    add_times(parser)
    add_how(parser)
    add_store(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON document of all points")
    shape.add_argument("--csv", action="store_true", help="print all points as CSV")
    parser.add_argument(
        "--limit",
        type=at_least(1),
        default=_SHOWN_ROWS,
        metavar="N",
        help=f"rows shown (default: {_SHOWN_ROWS})",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read and print, frame by frame."""
    with opened(arguments) as reader:
        frames = (frame.with_columns(_TEXT) for frame in reader.frames(**given(arguments)))
        if arguments.csv:
            print("tag,time,value")
            for frame in frames:
                print(frame.write_csv(include_header=False), end="")
        elif arguments.json:
            _print_json(frames)
        else:
            rows = list(
                itertools.islice((row for frame in frames for row in frame.iter_rows()), arguments.limit + 1)
            )
            print_table(["tag", "time", "value"], rows[: arguments.limit])
            if len(rows) > arguments.limit:
                note(f"there are more: --limit shows more than {arguments.limit:,}, --csv and --json all")
    return 0


def _print_json(frames: Iterator[pl.DataFrame]) -> None:
    between = "["
    for frame in frames:
        for row in frame.iter_rows(named=True):
            print(between)
            print(" ", json.dumps(row), end="")
            between = ","
    print("[]" if between == "[" else "\n]")
