"""``headrace stop``: ask running jobs to finish the epoch they are in and end; nothing is lost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from headrace.cli.options import add_json, add_project, plain
from headrace.clock import SystemClock
from headrace.errors import Transient
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project import Project
from headrace.project.running import RUN_TASK


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("stop", help="ask running jobs to finish and end", description=plain(__doc__))
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="the jobs to stop (default: all)")
    parser.add_argument("--timeout-s", type=float, default=60, help="how long to wait for them (default: 60)")
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then wait until no instance runs."""
    project = Project.load(Path(arguments.project))
    jobs = arguments.jobs or list(project.jobs)
    for job in jobs:
        project.job(job)
    running = _stop(project, jobs, arguments.timeout_s) if project.data.exists() else []
    if arguments.json:
        print(json.dumps({"stopped": running}))
    else:
        print(f"stopped: {', '.join(running)}" if running else "no job was running")
    return 0


def _stop(project: Project, jobs: list[str], timeout_s: float) -> list[str]:
    """Stop those of the jobs that run, and return them; raises `Transient` when that takes too long."""
    clock = SystemClock()
    with Namespace.open(project.data, create=False) as namespace:
        progress = Progress(namespace)
        running = [job for job in jobs if progress.is_held(job, RUN_TASK)]
        for job in running:
            progress.request_stop(job)
        deadline_ns = clock.monotonic_ns() + int(timeout_s * 1e9)
        while any(progress.is_held(job, RUN_TASK) for job in running):
            if clock.monotonic_ns() > deadline_ns:
                raise Transient(f"still running after {timeout_s:g} s: {', '.join(running)}. Try again")
            clock.sleep(0.05)
    return running
