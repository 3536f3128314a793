"""Enqueue files of datasets as they arrive, until stopped.

A file has arrived when its size and time stood still for --settle seconds. What is hidden or ends in .tmp or
.part never arrives under that name: write so, rename at the end, and --settle may be 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from headrace.cli.numbers import duration
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import count_text, note, waiting
from headrace.cli.stopping import STEP_S, asked_to_stop
from headrace.cli.tags_enqueue import tell
from headrace.clock import SystemClock
from headrace.errors import Transient
from headrace.local.namespace import Namespace
from headrace.project import Project
from headrace.project.datasets import find_dataset, open_enqueuer, work_queue
from headrace.series.enqueue import Watcher

DEFAULT_SETTLE_S: Final = 5.0
DEFAULT_INTERVAL_S: Final = 2.0


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("watch", help="enqueue files as they arrive", description=plain(__doc__))
    parser.add_argument("input", metavar="INPUT", nargs="?", help="the dataset (default: the only one)")
    parser.add_argument(
        "--settle",
        type=duration,
        default=DEFAULT_SETTLE_S,
        metavar="S",
        help=f"seconds that a file must stand still (default: {DEFAULT_SETTLE_S:g})",
    )
    parser.add_argument(
        "--interval-s",
        type=duration,
        default=DEFAULT_INTERVAL_S,
        metavar="S",
        help=f"seconds between two looks (default: {DEFAULT_INTERVAL_S:g})",
    )
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Watch until SIGTERM or SIGINT, then tell what was enqueued."""
    project, clock = Project.load(Path(arguments.project)), SystemClock()
    name = find_dataset(project, arguments.input)
    with Namespace.open(project.data) as namespace, asked_to_stop() as stopping:
        enqueuer = open_enqueuer(project, namespace, name)
        watcher = Watcher(enqueuer, arguments.settle, clock)
        with waiting(f"watching {name}") as show:
            while not stopping():
                try:
                    watcher.poll()
                except Transient as error:  # a store that is down now
                    note(str(error))
                arriving = count_text(watcher.waiting, "file")
                show(f"{count_text(enqueuer.done.files, 'file')} enqueued, {arriving} arriving")
                looked_ns = clock.monotonic_ns()
                while not stopping() and clock.monotonic_ns() - looked_ns < arguments.interval_s * 1e9:
                    clock.sleep(STEP_S)
        tell(enqueuer.done, work_queue(project, namespace, name).name, as_json=arguments.json)
    return 0
