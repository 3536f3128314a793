"""Run a job's query once more over what its hubs and files have stored.

The job itself is not touched: not its positions, its state or its outputs, and it may be running. Rows are
printed as JSON lines, or written into a folder, a file for each output. A replay gives the rows that the job
gave, so it shows what a changed query would have given; `headrace run JOB --from` puts them in their place.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from headrace.cli.main import complain
from headrace.cli.options import add_project, plain
from headrace.engine.starting import Start
from headrace.project import Project
from headrace.project.replay import replay


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "replay",
        help="run a job's query again over what is stored",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", metavar="JOB", help="the job")
    parser.add_argument(
        "--from",
        dest="start",
        default="beginning",
        metavar="WHERE",
        help="where the output begins: beginning (the default), or a time such as 2026-03-01T12:00:00Z",
    )
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help="write a file of JSON lines for each output"
    )
    add_project(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay, and tell what it came to."""
    project = Project.load(Path(arguments.project))
    came_to = replay(project, arguments.job, Start.read(arguments.start), arguments.into)
    complain(f"replayed {came_to.events:,} events: {came_to.rows:,} rows, dead {came_to.dead:,}")
    return 0
