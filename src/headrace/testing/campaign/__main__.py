"""The command: ``python -m headrace.testing.campaign --kills 1000 --seed 1``, or ``make kills``.

Exit code 0: nothing lost, nothing doubled, every table identical, every zombie refused. 1: a violation, or
a run that comes to no end; the folder stays, and the seed repeats the schedule. Times differ from run to
run, so a seed repeats the strikes, not each moment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from headrace.cli.main import INTERRUPTED
from headrace.errors import UserError, did_you_mean
from headrace.testing.campaign.cells import INSTANCES, campaign
from headrace.testing.campaign.jobs import JOBS, Job
from headrace.testing.campaign.processes import require_proc
from headrace.testing.pipeline import CrashTestError


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign that a command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="processes to kill, at least (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the schedule (default: 1)")
    parser.add_argument("--jobs", help=f"some of {','.join(JOBS)}, comma between (default: all)")
    parser.add_argument(
        "--instances",
        type=int,
        nargs="+",
        default=INSTANCES,
        help=f"of each job, a run for each number (default: {' '.join(map(str, INSTANCES))})",
    )
    parser.add_argument("--rate", type=float, default=300, help="readings in a second (default: 300)")
    parser.add_argument("--folder", type=Path, help="an empty folder for all runs, kept (default: temporary)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args(words)
    # Ending this process must end the others: SIGTERM goes the way of Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="headrace-kills-"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    try:
        require_proc()
        jobs = _chosen(arguments.jobs)
        report = campaign(
            folder,
            jobs,
            arguments.instances,
            kills=arguments.kills,
            seed=arguments.seed,
            rate=arguments.rate,
            say=lambda line: _say(f"kill campaign: {line}"),
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except UserError as error:
        parser.error(str(error))
    except CrashTestError as error:
        _say(f"kill campaign, seed {arguments.seed}: {error}\nThe folder is {folder}")
        return 1
    text = json.dumps(report.document()) if arguments.json else "\n".join(report.lines())
    sys.stdout.write(f"{text}\n")
    if not report.passed:
        _say(f"The folder is {folder}")
        return 1
    if arguments.folder is None:
        shutil.rmtree(folder)
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _chosen(names: str | None) -> list[Job]:
    """Return the jobs that are named, all by default."""
    chosen = list(JOBS) if names is None else names.split(",")
    for name in chosen:
        if name not in JOBS:
            raise UserError(f"there is no job {name!r}. {did_you_mean(name, JOBS)}".rstrip())
    return [JOBS[name] for name in chosen]


if __name__ == "__main__":
    sys.exit(main())
