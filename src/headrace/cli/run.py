"""``headrace run``: run jobs of a project, each instance in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

from headrace.cli.main import complain, of_system, unexpected
from headrace.cli.options import add_json, add_project, plain
from headrace.engine.job import Instance
from headrace.engine.keeping import STATE_TASK
from headrace.errors import HeadraceError, UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project import Project
from headrace.project.opening import opened_job
from headrace.project.running import run_of


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("run", help="run jobs of the project", description=plain(__doc__))
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="the jobs to run (default: all)")
    parser.add_argument(
        "--until-end", action="store_true", help="end when the inputs have been read to the end"
    )
    parser.add_argument(
        "--forget-state",
        action="store_true",
        help="first drop what the jobs keep in windows, joins and patterns; they go on at their positions",
    )
    parser.add_argument("--instance", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the jobs until they end or are stopped."""
    project = Project.load(Path(arguments.project))
    if arguments.instance is not None:
        return _run_instance(project, arguments.jobs[0], arguments.instance, arguments.parent)
    jobs = arguments.jobs or list(project.jobs)
    if not jobs:
        raise UserError("the project has no jobs: add a [jobs.NAME] section to headrace.toml")
    return _supervise(project, jobs, arguments)


def _supervise(project: Project, jobs: list[str], arguments: argparse.Namespace) -> int:
    with run_of(project, jobs, until_end=arguments.until_end, say=complain) as running:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.supervisor.stop())
        if arguments.forget_state:
            _forget(Progress(running.namespace), jobs)
        before = {job: Progress(running.namespace).counts(job) for job in jobs}
        running.start()
        for job in jobs:
            instances = project.job(job).instances
            complain(f"job {job}: {instances} {'instance' if instances == 1 else 'instances'} started")
        exit_code = running.wait()
        counts = {job: _since(before[job], Progress(running.namespace).counts(job)) for job in jobs}
    if arguments.json:
        print(json.dumps({"exit_code": exit_code, "jobs": counts}))
    else:
        for job, count in counts.items():
            complain(
                f"job {job}: "
                + ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in count.items())
            )
    return exit_code


def _forget(progress: Progress, jobs: list[str]) -> None:
    for job in jobs:
        dropped = progress.forget_state(job, STATE_TASK)
        complain(f"job {job}: {'its state was dropped' if dropped else 'it has saved no state'}")


def _since(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {name: value - before.get(name, 0) for name, value in now.items()}


def _run_instance(project: Project, job: str, number: int, parent: int | None) -> int:
    """Run one instance, no longer than the process `parent` lives: nobody could end it or start it again."""
    settings = project.job(job)
    with (
        # Where the data was moved away under a running job, its instances must not begin anew.
        Namespace.open(project.data, create=parent is None) as namespace,
        opened_job(project, namespace, job, number) as opened,
    ):
        instance = Instance(
            opened,
            namespace,
            instance=number,
            instances=settings.instances,
            wanted=lambda: parent in {None, os.getppid()},
        )
        signal.signal(signal.SIGTERM, lambda *_: instance.stop())
        # A terminal sends Ctrl-C to the whole group: the supervisor asks the instances to end, once.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            instance.run()
        except HeadraceError:
            raise
        except OSError as error:  # a full disk or too many open files are no event's fault
            raise of_system(error) from None
        except BaseException as error:  # a panic of Polars is no Exception
            # Whatever event brought this about is found as one that kills: by starting again, and bisection.
            complain(unexpected(error))
            os.kill(os.getpid(), signal.SIGABRT)
    return 0
