"""``headrace scale``: run a running job as more instances, or as fewer; nothing is lost or doubled.

The instances share the job's tasks anew within seconds. The next `headrace run` goes by the settings again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from headrace.cli.options import add_project, plain
from headrace.errors import UserError
from headrace.limits import MAX_INSTANCES
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project import Project
from headrace.project.running import RUN_TASK


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "scale", help="run a running job as more instances, or as fewer", description=plain(__doc__)
    )
    parser.add_argument("job", metavar="JOB", help="the job")
    parser.add_argument(
        "instances", metavar="N", type=int, help=f"how many instances it is to run as, 1 to {MAX_INSTANCES}"
    )
    add_project(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask the job's `headrace run` for it."""
    project, job, instances = Project.load(Path(arguments.project)), arguments.job, arguments.instances
    project.job(job)
    if not 1 <= instances <= MAX_INSTANCES:
        raise UserError(f"{instances} instances: a job runs as 1 to {MAX_INSTANCES}")
    if not project.data.exists():
        raise _not_running(job)
    with Namespace.open(project.data, create=False) as namespace:
        progress = Progress(namespace)
        if not progress.is_held(job, RUN_TASK):
            raise _not_running(job)
        progress.set_scale(job, instances)
    print(f"job {job}: {instances} {'instance' if instances == 1 else 'instances'} from now on")
    return 0


def _not_running(job: str) -> UserError:
    return UserError(
        f"job '{job}' is not running: set `instances` in [jobs.{job}], then `headrace run {job}`"
    )
