"""``headrace experiment``: what the papers measured, measured on this machine."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from headrace.cli.demo_tags import check_installed
from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, plain
from headrace.cli.show import note, print_json, print_lines, print_table, waiting
from headrace.clock import SystemClock
from headrace.errors import UserError
from headrace.experiments import tags, tags_scaling
from headrace.experiments.folder import make_folder

_TAGS: Final = """\
Measure how instances and threads scale over sensor files: one number of cores cut into ever more instances,
and ever more instances of one thread. Every run is checked point by point.
"""


def add(verbs: Any) -> None:
    """Describe the verb and its experiments."""
    parser = verbs.add_parser(
        "experiment", help="measure what the papers measured", description=plain(__doc__)
    )
    experiments = parser.add_subparsers(dest="experiment", metavar="EXPERIMENT", required=True)
    own = experiments.add_parser("tags", help="scaling over sensor files", description=_TAGS)
    own.add_argument("--tags", type=at_least(1), default=1000, metavar="N", help="of each tenant (1000)")
    own.add_argument("--megabytes", type=at_least(1), default=400, metavar="N", help="of all (400)")
    own.add_argument("--cores", type=at_least(1), metavar="N", help="cores to use (default: all there are)")
    own.add_argument("--batch", type=at_least(1), default=10, metavar="N", help="files leased at once (10)")
    own.add_argument(
        "--repeats", type=at_least(1), default=3, metavar="N", help="runs, the fastest of which counts (3)"
    )
    own.add_argument(
        "--folder",
        type=Path,
        default=Path("headrace-experiment-tags"),
        help="where it works (headrace-experiment-tags)",
    )
    add_json(own)
    own.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the files once, measure each layout, and show a table and a picture."""
    check_installed()
    folder: Path = arguments.folder
    make_folder(folder)
    cores = arguments.cores or len(os.sched_getaffinity(0))
    with waiting("making sensor files") as show:
        made = tags.make_files(folder / tags.FOLDER, arguments.tags, arguments.megabytes, say=show)
        points = tags_scaling.points_of(cores, arguments.batch)
        found = tags_scaling.measure(folder, made, points, arguments.repeats, SystemClock(), show)
    for left in folder.glob("run-*"):
        shutil.rmtree(left)
    picture = _picture(found, folder / "scaling.png")
    if arguments.json:
        print_json(
            {"cores": cores, "runs": [_plain(own) for own in found], "picture": picture and str(picture)}
        )
        return 0
    _show(found)
    if picture is not None:
        print_lines([f"picture: {picture}"])
    return 0


def _picture(found: Sequence[tags_scaling.Measured], path: Path) -> Path | None:
    try:
        return tags_scaling.plot_scaling(found, path)
    except UserError as error:
        note(str(error))
        return None


def _plain(own: tags_scaling.Measured) -> dict[str, Any]:
    return {
        "experiment": own.point.experiment,
        "instances": own.point.layout.instances,
        "threads": own.point.layout.threads,
        "seconds": round(own.seconds, 4),
        "tags_per_s": round(own.tags_per_s, 1),
        "points_per_s": round(own.points_per_s, 1),
        "factor": None if own.factor is None else round(own.factor, 3),
        "times_ms": {part.name: round(part.mean_ms, 3) for part in own.times},
    }


def _show(found: Sequence[tags_scaling.Measured]) -> None:
    columns = ("instances", "threads", "tags/s", "points/s", "factor", "total", "read", "parse", "write")
    for experiment in dict.fromkeys(own.point.experiment for own in found):
        rows = []
        for own in found:
            if own.point.experiment == experiment:
                took = {part.name: f"{part.mean_ms:.1f} ms" for part in own.times}
                rows.append(
                    (
                        own.point.layout.instances,
                        own.point.layout.threads,
                        round(own.tags_per_s),
                        round(own.points_per_s),
                        "" if own.factor is None else f"{own.factor:.2f}",
                        *(took[name] for name in ("T8-T1", "T3-T2", "T5-T4", "T7-T6")),
                    )
                )
        print_lines([experiment])
        print_table(columns, rows)
        print_lines([""])
    paper = " and ".join(f"{factor} for {count}" for count, factor in tags_scaling.PAPER_FACTORS.items())
    print_lines(
        [f"factor: what twice the instances bring; the paper's with one core each: {paper} instances"]
    )
