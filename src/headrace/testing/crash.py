"""The crash test: ``python -m headrace.testing.crash --kills 200``.

It runs the project in `crash_project` twice on the same numbered events: once undisturbed, and once while
publishers and instances are killed with SIGKILL, at random moments and at the named points of faults.py, and
started again at once. Then checkers that know nothing of the engine compare both with what must be.

Exit code 0: nothing lost, nothing doubled, every table identical. 1: a violation; the folder stays, and the
seed repeats the schedule. Times differ from run to run, so a seed repeats the faults, not each moment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrace.clock import SystemClock
from headrace.testing.checkers import Verdict, check
from headrace.testing.disturbance import POINTS, Disturbance
from headrace.testing.numbered import NumberedStream
from headrace.testing.observed import observe
from headrace.testing.pipeline import CrashTestError, Pipeline

SOURCES: Final = ("a", "b")

#: Events of a run, for each kill: enough that some are under way whenever a process dies.
EVENTS_PER_KILL: Final = 300

#: From so many kills on, a point that was never hit is a fault of the harness.
KILLS_FOR_EVERY_POINT: Final = 40

#: An undisturbed run, or the rest of a disturbed one, may take so long; and each kill so much more.
RUN_TIMEOUT_S: Final = 120.0
KILL_TIMEOUT_S: Final = 4.0


@dataclass(slots=True)
class Outcome:
    """A finished crash test."""

    seed: int
    verdict: Verdict
    disturbance: Disturbance
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.verdict.findings

    def document(self) -> dict[str, Any]:
        """Return the outcome as what ``--json`` prints."""
        return {
            "passed": self.passed,
            "seed": self.seed,
            "kills": self.disturbance.kills,
            "kills_by_target": dict(self.disturbance.by_target),
            "kills_by_point": {point: self.disturbance.by_point[point] for point in POINTS},
            "power_cuts": self.disturbance.power_cuts,
            "events": self.verdict.accepted,
            "rows": self.verdict.rows,
            "lost": self.verdict.lost,
            "doubled": self.verdict.doubled,
            "differing": self.verdict.differing,
            "findings": self.verdict.findings,
            "seconds": round(self.seconds, 1),
        }


def crash_test(folder: Path, *, kills: int, seed: int) -> Outcome:
    """Run the whole test in an empty folder. Raises `CrashTestError` when a run does not come to its end."""
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    streams = [NumberedStream(source, max(1, kills * EVENTS_PER_KILL // len(SOURCES))) for source in SOURCES]

    with Pipeline(folder / "undisturbed", streams, clock, RUN_TIMEOUT_S) as undisturbed:
        undisturbed.start()
        undisturbed.finish()

    with Pipeline(folder / "disturbed", streams, clock, RUN_TIMEOUT_S + kills * KILL_TIMEOUT_S) as disturbed:
        disturbed.start()
        disturbance = Disturbance(disturbed, kills, seed, clock)
        disturbance.run()
        disturbed.finish()

    verdict = check(observe(disturbed.data), observe(undisturbed.data), streams)
    for unexpected in disturbance.unexpected:
        verdict.find("run", unexpected)
    unhit = [point for point in POINTS if not disturbance.by_point[point]]
    if unhit and kills >= KILLS_FOR_EVERY_POINT:
        verdict.find("harness", f"no process died at {', '.join(unhit)}")
    return Outcome(seed, verdict, disturbance, (clock.monotonic_ns() - began_ns) / 1e9)


def _print_outcome(outcome: Outcome) -> None:
    verdict, disturbance = outcome.verdict, outcome.disturbance
    by_target = ", ".join(f"{name} {count}" for name, count in sorted(disturbance.by_target.items()))
    lines = [
        f"{disturbance.kills} kills, seed {outcome.seed}: {by_target}; {disturbance.power_cuts} power cuts",
        f"  {disturbance.at_random} at random moments",
        *(f"  {disturbance.by_point[point]} at {point}" for point in POINTS),
        f"{verdict.lost} lost of {verdict.accepted:,} events",
        f"{verdict.doubled} doubled and {verdict.differing} differing of {verdict.rows:,} rows",
        *verdict.findings,
        f"{'passed' if outcome.passed else 'FAILED'} in {outcome.seconds:.0f} s",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run the crash test that a command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="processes to kill, at least (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the schedule (default: 1)")
    parser.add_argument(
        "--folder", type=Path, help="an empty folder for both runs, kept (default: temporary)"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    arguments = parser.parse_args(words)
    # Ending this process must end the others: SIGTERM goes the way of Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="headrace-crash-"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    try:
        outcome = crash_test(folder, kills=arguments.kills, seed=arguments.seed)
    except CrashTestError as error:
        sys.stderr.write(f"crash test, seed {arguments.seed}: {error}\nThe folder is {folder}\n")
        return 1
    if arguments.json:
        sys.stdout.write(json.dumps(outcome.document()) + "\n")
    else:
        _print_outcome(outcome)
    if not outcome.passed:
        sys.stderr.write(f"The folder is {folder}\n")
        return 1
    if arguments.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
