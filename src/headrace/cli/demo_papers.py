"""``headrace demo papers``: the whole pipeline at work, with live progress and a result to look at.

A few thousand abstracts flow feed -> hub -> SQL query -> queue -> competing instances -> classifier -> table.
By default the papers are made from the model's own vocabulary; ``--data FILE`` takes real ones from a Parquet
file (columns id, doc, class, title; those that the model was trained on are left out), ``--feed URL`` takes
them from a live feed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import polars as pl

from headrace.cli import demo_papers_report
from headrace.cli.options import add_json, plain
from headrace.clock import Clock, SystemClock
from headrace.errors import DataError, UserError
from headrace.experiments import papers
from headrace.experiments.plots import plot_run
from headrace.local.hub import Hub
from headrace.models.storage import load_model
from headrace.project import Project
from headrace.project.running import Run, run_of

DEFAULT_LIMIT: Final = 4_000

#: Without any progress for this long the demo gives up and says so.
PATIENCE_S: Final = 60.0


def add(systems: Any) -> None:
    """Describe the system."""
    parser = systems.add_parser(
        "papers",
        help="papers are classified by competing instances",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, metavar="FILE", help="real papers from a Parquet file")
    source.add_argument("--feed", metavar="URL", help="papers from a live RSS or Atom feed")
    parser.add_argument(
        "--limit", type=int, default=DEFAULT_LIMIT, help=f"papers at most ({DEFAULT_LIMIT:,})"
    )
    parser.add_argument("--instances", type=int, default=2, help="instances that compete for the queue (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the papers that are made (1)")
    parser.add_argument(
        "--folder", type=Path, default=Path("headrace-demo"), help="where it works (headrace-demo)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the pipeline until every paper is stored, then show the result."""
    if arguments.limit < 1 or arguments.instances < 1:
        raise UserError("--limit and --instances need at least 1")
    clock = SystemClock()
    project = papers.make_project(arguments.folder, arguments.instances)
    with run_of(project, list(papers.JOBS), say=_warn) as running:
        running.start()
        with Hub.ensure(project.data / "hubs", "papers") as hub:
            watcher = papers.Watcher(running.namespace, hub, clock)
            published = _flow(arguments, running, watcher)
        running.supervisor.stop()
        running.supervisor.wait()
        report = demo_papers_report.Report(
            published=published,
            views=watcher.views,
            first_row_s=_since_start_s(clock, watcher),
            rows=_rows(project),
            findings=papers.findings(running.namespace, project),
            plot=_plot(watcher, arguments.folder / "papers.png"),
            folder=arguments.folder,
        )
    if arguments.json:
        print(json.dumps(report.as_json()))
    else:
        demo_papers_report.show(report)
    return 0


def _flow(arguments: argparse.Namespace, running: Run, watcher: papers.Watcher) -> int:
    """Publish the papers while watching; returns how many were published, once all of them are stored."""
    published = 0
    with demo_papers_report.progress(hidden=arguments.json) as show:
        for block in filter(None, _blocks(arguments)):
            watcher.hub.publish_bodies(block)
            published += len(block)
            show(watcher.look(), published)
        if published == 0:
            raise DataError("there were no papers to show: the feed or file is empty")
        _watch(running, watcher, published, show)
    return published


def _watch(running: Run, watcher: papers.Watcher, published: int, show: demo_papers_report.Show) -> None:
    """Watch until every event is stored or set aside."""
    last, moved_ns = -1, watcher.clock.monotonic_ns()
    while True:
        view = watcher.look()
        show(view, published)
        if view.stored + view.dead >= published:
            return
        if view.stored != last:
            last, moved_ns = view.stored, watcher.clock.monotonic_ns()
        if running.watch() or watcher.clock.monotonic_ns() - moved_ns > PATIENCE_S * 1e9:
            raise DataError(
                f"the pipeline stands still at {view.stored:,} of {published:,} rows; what it said is above"
            )
        watcher.clock.sleep(0.02)


def _blocks(arguments: argparse.Namespace) -> Iterator[list[bytes]]:
    if arguments.feed:
        yield papers.from_feed(arguments.feed, arguments.limit)
        return
    model = load_model("papers").model
    if arguments.data:
        documents = papers.from_file(arguments.data, arguments.limit, model)
    else:
        documents = papers.generated(model, arguments.limit, arguments.seed)
    yield from map(papers.encoded, documents)


def _rows(project: Project) -> pl.DataFrame:
    columns = ["id", "class", "bestguess", "secondguess", "title", "enqueued"]
    return pl.DataFrame(papers.stored_rows(project), schema=dict.fromkeys(columns, pl.String))


def _plot(watcher: papers.Watcher, path: Path) -> Path | None:
    """Draw the run; without matplotlib there is everything else to look at."""
    try:
        return plot_run(watcher.views, path)
    except UserError as error:
        _warn(str(error))
        return None


def _since_start_s(clock: Clock, watcher: papers.Watcher) -> float | None:
    """Return the seconds from the start of this process to the first row."""
    first_s = watcher.first_stored_s()
    if first_s is None:
        return None
    watched_s = (clock.monotonic_ns() - watcher.began_ns) / 1e9
    return _process_age_s() - watched_s + first_s


def _process_age_s() -> float:
    with open("/proc/self/stat", "rb") as stat:
        started_ticks = int(stat.read().rsplit(b")", 1)[1].split()[19])
    with open("/proc/uptime", "rb") as uptime:
        return float(uptime.read().split()[0]) - started_ticks / os.sysconf("SC_CLK_TCK")


def _warn(line: str) -> None:
    print(f"headrace: {line}", file=sys.stderr)
