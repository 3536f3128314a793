"""``headrace demo tags``: sensor files of three tenants become histories, with live progress and a result.

Files of 1 to 4 MB are made, listed into a work queue, and taken from there by competing instances in batches:
read, parsed, grouped by tag, written, and deleted from the queue in the commit that says what was stored.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from headrace.cli import demo_tags_report
from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, plain
from headrace.cli.show import note, print_json, waiting
from headrace.cli.tags_plot import picture
from headrace.clock import SystemClock
from headrace.engine.bottleneck import Finding
from headrace.errors import DataError, UserError
from headrace.experiments import tags
from headrace.experiments.papers import findings
from headrace.experiments.tags_plots import plot_files
from headrace.local.series_records import FileDone
from headrace.project import Project
from headrace.project.datasets import open_enqueuer
from headrace.project.running import Run, run_of
from headrace.project.series import read_series
from headrace.series.parse_compiled import COMPILED

#: Without any progress for this long the demo gives up and says so.
PATIENCE_S: Final = 60.0

_LOOK_EVERY_S: Final = 0.1

#: Whose tag is drawn, and which: a slow walk.
_DRAWN: Final = "bolt"
_DRAWN_NUMBER: Final = 1

#: Points of the curve: two for each column of a picture.
_DRAWN_POINTS: Final = 2_000


def add(systems: Any) -> None:
    """Describe the system."""
    parser = systems.add_parser(
        "tags", help="sensor files become histories of tags", description=plain(__doc__)
    )
    parser.add_argument("--tags", type=at_least(1), default=1000, metavar="N", help="of each tenant (1000)")
    parser.add_argument(
        "--megabytes", type=at_least(1), default=60, metavar="N", help="of all tenants together (60)"
    )
    parser.add_argument("--instances", type=at_least(1), default=2, metavar="N", help="processes (2)")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="of each process (1)")
    parser.add_argument(
        "--batch", type=at_least(1), default=10, metavar="N", help="files leased at once (10)"
    )
    parser.add_argument("--seed", type=at_least(0), default=1, metavar="N", help="of what is made (1)")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("headrace-demo-tags"),
        help="where it works (headrace-demo-tags)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def check_installed() -> None:
    """Raise `UserError` where what series need is not installed; say what would make reading faster."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError("sensor files and their histories need pyarrow: pip install 'headrace[tags]'")
    if not COMPILED:
        note("sensor files are read faster by compiled code; `headrace doctor` says how to get it")


def run(arguments: argparse.Namespace) -> int:
    """Run the job until every file is stored, check all that is stored, then show the result."""
    check_installed()
    layout = tags.Layout(arguments.instances, arguments.threads, arguments.batch)
    project = tags.make_project(arguments.folder, layout)
    with waiting("making sensor files") as show:
        made = tags.make_files(
            arguments.folder / tags.FOLDER, arguments.tags, arguments.megabytes, arguments.seed, show
        )
    done, found = _flow(project, made, hidden=arguments.json)
    before = tags.sizes(project)
    checks = [tags.check(project, own) for own in made]
    with waiting("compacting"):
        for _ in tags.compacted(project):
            pass
    curve_tag, curve = _curve(project, made)
    report = demo_tags_report.Report(
        made=made,
        done=done,
        layout=layout,
        findings=found,
        checks=checks,
        checks_compacted=[tags.check(project, own) for own in made],
        before=before,
        after=tags.sizes(project),
        tag=curve_tag,
        curve=curve,
        pictures=_pictures(arguments.folder, done, curve_tag, curve),
        folder=arguments.folder,
        next_words=_next(arguments.folder, curve_tag),
    )
    if arguments.json:
        print_json(report.as_json())
    else:
        demo_tags_report.show(report)
    return 0 if report.right else 1


def _flow(
    project: Project, made: Sequence[tags.Made], *, hidden: bool
) -> tuple[list[FileDone], list[Finding]]:
    """Enqueue all files and watch until all are stored; returns what became of each, and the job's stages."""
    with run_of(project, [tags.JOB], until_end=True, say=note) as running:
        enqueuer = open_enqueuer(project, running.namespace, "readings")
        for _ in enqueuer.enqueue():
            pass
        running.start()
        watcher = tags.Watcher(running.namespace, SystemClock())
        with demo_tags_report.progress(made, hidden=hidden) as show:
            _watch(running, watcher, show)
        return list(watcher.done.values()), findings(running.namespace, project, [tags.JOB])


def _watch(running: Run, watcher: tags.Watcher, show: demo_tags_report.Show) -> None:
    """Watch until the job has ended, which it does once all files are stored or set aside."""
    last, moved_ns = -1, watcher.clock.monotonic_ns()
    while True:
        ended = running.watch()
        views = watcher.look()
        show(views, watcher.at_s, ended)
        if ended:
            break
        if len(watcher.done) != last:
            last, moved_ns = len(watcher.done), watcher.clock.monotonic_ns()
        if watcher.clock.monotonic_ns() - moved_ns > PATIENCE_S * 1e9:
            raise DataError(f"the job stands still behind {last:,} files; what it said is above")
        watcher.clock.sleep(_LOOK_EVERY_S)
    if not watcher.done:
        raise DataError("the job ended without having stored anything; what it said is above")


def _curve(project: Project, made: Sequence[tags.Made]) -> tuple[str, pl.DataFrame]:
    """Return a tag and its history, with as many points as can be seen."""
    known = next(own for own in made if own.tenant == _DRAWN).sums["tag"]
    tag = known[min(_DRAWN_NUMBER, len(known) - 1)]
    points = read_series(
        tag, tenant=_DRAWN, store=tags.STORE, project=project.file, how="minmax", points=_DRAWN_POINTS
    )
    return tag, points


def _pictures(folder: Path, done: Sequence[FileDone], tag: str, curve: pl.DataFrame) -> list[Path]:
    """Draw the tag and the run; without matplotlib there is everything else to look at."""
    tag_path, run_path = folder / "tag.png", folder / "run.png"
    try:
        picture({tag: curve}, tag_path)
        plot_files(done, run_path)
    except UserError as error:
        note(str(error))
        return []
    return [tag_path, run_path]


def _next(folder: Path, tag: str) -> list[str]:
    """Return commands to go on with."""
    where = f"--project {shlex.quote(str(folder))}"
    digits = tag[:8]
    return [
        f"headrace tags stats {where}",
        f"headrace tags list {where} --tenant {_DRAWN} --last",
        f"headrace tags read {digits} {where} --tenant {_DRAWN} --how mean --every 10s",
        f"headrace tags plot {digits} {where} --tenant {_DRAWN}",
    ]
