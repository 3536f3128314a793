"""The command: ``python -m headrace.testing.tags_campaign --kills 300 --seed 1``, or ``make kills-tags``.

Two instances of two threads turn the files of several tenants into histories, with compaction behind them and
a watcher that enqueues, while any of them is killed at random moments and at named points. In the end every
point is read once, each segment is a file and each file a segment, and no message is left. Beside it the same
on the paper's layout shows the lines that are doubled there.

Exit code 0: all of that is so. 1: it is not; the folder stays, and the seed repeats the schedule.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from headrace.cli.main import INTERRUPTED
from headrace.clock import SystemClock
from headrace.testing.pipeline import CrashTestError
from headrace.testing.tags_campaign.checking import Verdict, check, doubled_lines
from headrace.testing.tags_campaign.run import POINTS, Run, Tally

_TIMEOUT_S = 120.0


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign that a command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.tags_campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="processes to kill, at least (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the schedule (default: 1)")
    parser.add_argument(
        "--paper-kills", type=int, default=20, help="... of the paper's layout, 0: not run (default: 20)"
    )
    parser.add_argument("--folder", type=Path, help="an empty folder, which is kept (default: temporary)")
    arguments = parser.parse_args(words)
    # Ending this process must end the others: SIGTERM goes the way of Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="headrace-kills-tags-"))
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    try:
        passed = _segments(folder / "segments", arguments.kills, arguments.seed)
        if arguments.paper_kills:
            _paper(folder / "files", arguments.paper_kills, arguments.seed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except CrashTestError as error:
        _say(f"seed {arguments.seed}: {error}\nThe folder is {folder}")
        return 1
    if not passed:
        _say(f"The folder is {folder}")
        return 1
    if arguments.folder is None:
        shutil.rmtree(folder)
    return 0


def _segments(folder: Path, kills: int, seed: int) -> bool:
    with closing(Run(folder, "segments", seed, SystemClock(), _TIMEOUT_S, _say)) as run:
        run.disturb(kills)
        run.finish()
        verdict = check(folder, run.files)
    findings = [*verdict.findings, *run.tally.unexpected]
    _print(_lines(run.tally, verdict, run.files.count, seed))
    _print([*findings, "FAILED" if findings else "passed"])
    return not findings


def _paper(folder: Path, kills: int, seed: int) -> None:
    with closing(Run(folder, "files", seed, SystemClock(), _TIMEOUT_S, _say)) as run:
        run.disturb(kills)
        run.finish()
        wanted, doubled, lost = doubled_lines(folder, run.files)
    _print(
        [f"the paper's layout, {run.tally.kills} kills: {wanted:,} lines, {doubled:,} doubled, {lost:,} lost"]
    )


def _lines(tally: Tally, verdict: Verdict, files: int, seed: int) -> list[str]:
    places = ", ".join(f"{count} {place}" for place, count in sorted(tally.by_place.items()))
    return [
        f"{tally.kills:,} kills, seed {seed}: {places}",
        f"  at random {tally.at_random}, power cuts {tally.power_cuts}; deaths at points:",
        *(f"  {tally.by_point[point]:4}  {point}" for point in POINTS),
        f"{files:,} files, {verdict.wanted:,} points to be kept, {verdict.found:,} read, "
        f"{verdict.segments:,} segments before all was compacted",
    ]


def _print(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(f"tags campaign: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
