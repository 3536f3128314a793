"""The process that a user starts with ``headrace run``: it checks the jobs and watches their instances."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.cli.logs import begin_log
from headrace.cli.main import complain
from headrace.cli.options import chosen_jobs
from headrace.engine.ahead import Ahead
from headrace.engine.starting import Start
from headrace.local.progress import Progress
from headrace.project import Project
from headrace.project.running import Run, run_of
from headrace.project.starting import start_jobs
from headrace.project.status import Looking

#: Counts that are told even where there was nothing to count.
_TOLD: Final = {"events_in", "rows_out", "dead"}


def run_jobs(arguments: argparse.Namespace, ahead: Ahead) -> int:
    """Run the jobs until they end or are stopped; `ahead` is the first instance of the first one."""
    begin_log(arguments.log)
    project = Project.load(Path(arguments.project))
    jobs = chosen_jobs(project, arguments)
    with run_of(project, jobs, until_end=arguments.until_end, say=complain, ahead=ahead) as running:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.supervisor.stop())
        start_jobs(project, running.namespace, jobs, Start.read(arguments.start))
        before = {job: Progress(running.namespace).counts(job) for job in jobs}
        running.start()
        for job in jobs:
            instances = project.job(job).instances
            complain(f"job {job}: {instances} {'instance' if instances == 1 else 'instances'} started")
        with _metrics(running, arguments.metrics_port):
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


@contextlib.contextmanager
def _metrics(running: Run, port: int | None) -> Iterator[None]:
    """Serve how the jobs are, if a port was given."""
    if port is None:
        yield
        return
    # Loaded only here: serving takes packages, and time, that most runs do not need.
    watching = importlib.import_module("headrace.web.watching")
    server = importlib.import_module("headrace.web.server")
    looks = Looking(running.project, running.namespace, running.jobs)
    with server.serving(watching.watch_app(looks.look), port=port) as url:
        complain(f"serving {url}/metrics and {url}/status")
        yield


def _since(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {name: now.get(name, 0) - before.get(name, 0) for name in sorted(_TOLD | now.keys())}
