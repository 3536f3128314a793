"""Make sensor files to try things with, as the original system has them.

FOLDER gets a folder for each tenant, with files of 1 to 4 MB. Their lines are `GUID,time,value`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, plain
from headrace.cli.show import count_text, print_json, waiting
from headrace.clock import SystemClock
from headrace.series.generate import Generator, write_dataset
from headrace.series.signals import SIGNALS

DEFAULT_MEGABYTES: Final = 100

#: Of a test plant that names none.
_TENANT: Final = "acme"

_MEGABYTE: Final = 1_000_000


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("generate", help="make sensor files", description=plain(__doc__))
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the folders of the tenants are")
    parser.add_argument("--tags", type=at_least(1), default=1000, metavar="N", help="of each tenant (1000)")
    much = parser.add_mutually_exclusive_group()
    much.add_argument(
        "--megabytes", type=at_least(1), metavar="N", help=f"for each tenant ({DEFAULT_MEGABYTES})"
    )
    much.add_argument("--points", type=at_least(1), metavar="N", help="for each tenant")
    parser.add_argument(
        "--tenant", action="append", metavar="NAME", help=f"whose files they are; may be repeated ({_TENANT})"
    )
    parser.add_argument(
        "--signal",
        action="append",
        choices=[*SIGNALS, "all"],
        metavar="KIND",
        help=f"what tags measure, in turn if repeated: {', '.join(SIGNALS)}, or all (random)",
    )
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="other numbers (0)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the files."""
    chosen = arguments.signal or ["random"]
    signals = list(SIGNALS) if "all" in chosen else chosen
    megabytes = arguments.megabytes or (None if arguments.points else DEFAULT_MEGABYTES)
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    files = size_bytes = points = 0
    tenants = list(dict.fromkeys(arguments.tenant or [_TENANT]))
    with waiting("making sensor files") as show:
        for tenant in tenants:
            generator = Generator(arguments.tags, signals=signals, seed=arguments.seed, name=tenant)
            written = write_dataset(
                generator,
                arguments.folder,
                tenant,
                size_bytes=megabytes and megabytes * _MEGABYTE,
                points=arguments.points,
            )
            for file in written:
                files, points = files + 1, points + file.points
                size_bytes += file.size_bytes
                show(f"{count_text(files, 'file')}, {size_bytes / _MEGABYTE:,.0f} MB")
    seconds = (clock.monotonic_ns() - began_ns) / 1e9
    if arguments.json:
        found = {"files": files, "size_bytes": size_bytes, "points": points, "tags": arguments.tags}
        print_json({**found, "tenants": tenants, "seconds": round(seconds, 3)})
    else:
        print(
            f"made {count_text(files, 'file')} of {count_text(len(tenants), 'tenant')} in "
            f"{arguments.folder}: {count_text(points, 'point')}, {size_bytes / _MEGABYTE:,.1f} MB"
        )
    return 0
