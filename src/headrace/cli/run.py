"""``headrace run``: run jobs of a project, each instance in a process of its own.

A job goes on where it last stopped, with what it has kept in windows, joins and patterns; with --from it
starts elsewhere, and that is dropped. It runs until Ctrl-C, SIGTERM or `headrace stop`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import sys
from typing import Any

from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, add_project, plain
from headrace.engine.ahead import Ahead, ignore_interrupts


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("run", help="run jobs of the project", description=plain(__doc__))
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="the jobs to run (default: all)")
    parser.add_argument(
        "--until-end", action="store_true", help="end when the inputs have been read to the end"
    )
    parser.add_argument(
        "--from",
        dest="start",
        default="last",
        metavar="WHERE",
        help="where to start: last (where the jobs stopped; the default), beginning, now, or a time such as "
        "2026-03-01T12:00:00Z, at which the output begins",
    )
    parser.add_argument(
        "--metrics-port",
        type=at_least(0),
        metavar="PORT",
        help="serve GET /metrics and GET /status on the loopback while the jobs run (0: a free port)",
    )
    parser.add_argument(
        "--log",
        choices=("text", "json"),
        help="write a line for each thing of note to standard error (default: HEADRACE_LOG, else warnings)",
    )
    parser.add_argument("--instance", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stage", metavar="INPUT", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ahead", action="store_true", help=argparse.SUPPRESS)
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the jobs until they end or are stopped; with `--instance` be one of their processes.

    Loading the code is most of a start. So nothing of it is loaded here before the first instance is on its
    way, and that one loads while this process does; it may run once the jobs are checked.
    """
    exit_code: int
    if arguments.instance is not None:
        # A terminal sends Ctrl-C to the whole group: the supervisor asks the instances to end, once.
        ignore_interrupts()
        gc.disable()  # until all is loaded that stays
        exit_code = importlib.import_module("headrace.cli.run_instance").run_instance(arguments)
        return exit_code
    with contextlib.closing(Ahead.start(_first_instance(arguments))) as ahead:
        exit_code = importlib.import_module("headrace.cli.run_jobs").run_jobs(arguments, ahead)
    return exit_code


def _first_instance(arguments: argparse.Namespace) -> list[str]:
    """Return the command of the first instance of the first job, which has no name if none was given."""
    command = [sys.executable, "-m", "headrace.cli", "run", "--project", arguments.project]
    command += ["--parent", str(os.getpid()), *arguments.jobs[:1]]
    command += ["--log", arguments.log] if arguments.log else []
    return [*command, "--instance", "0", "--ahead"]
