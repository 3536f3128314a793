"""The whole campaign: for each number of instances a disturbed run, an undisturbed one, a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from headrace.clock import SystemClock
from headrace.testing.campaign.checking import Observed, check, observe
from headrace.testing.campaign.events import Timeline
from headrace.testing.campaign.flow import Flow
from headrace.testing.campaign.jobs import Job
from headrace.testing.campaign.report import Cell, Report
from headrace.testing.campaign.run import Run
from headrace.testing.campaign.strikes import Strikes
from headrace.testing.campaign.tally import Tally
from headrace.testing.campaign.watching import Watch
from headrace.testing.webhook_target import counted

#: How many instances each job has, cell by cell.
INSTANCES: Final = (1, 3)

#: Instances and supervisors at a time: more would mostly wait for a processor.
MAX_PROCESSES: Final = 14

#: One thing that is waited for may take so long; an undisturbed run, or the rest of a disturbed one, too.
TIMEOUT_S: Final = 180.0

#: From so many kills on, a passage of a point that no process died at is a fault of the campaign.
KILLS_FOR_EVERY_POINT: Final = 500


def campaign(
    folder: Path,
    jobs: Sequence[Job],
    instances: Sequence[int],
    *,
    kills: int,
    seed: int,
    rate: float,
    say: Callable[[str], None],
) -> Report:
    """Run all cells in an empty folder, with events at `rate` a second; `say` is told how far it is.

    Raises `CrashTestError` when a run comes to no end.
    """
    clock = SystemClock()
    timeline = Timeline.before(clock.now_us())
    cells = []
    shares = [(count, some) for count in instances for some in _together(jobs, count)]
    for number, (count, some) in enumerate(shares):
        say(f"{', '.join(job.name for job in some)}; instances: {count}")
        run = Run(folder / f"{number}-disturbed", some, count, timeline, clock, seed + number, TIMEOUT_S)
        own_kills = -(-kills * len(some) // (len(jobs) * len(instances)))
        cells.append(run_cell(run, kills=own_kills, rate=rate, say=say))
    findings = [finding for cell in cells for finding in cell.verdict.findings]
    points: Counter[tuple[str, int]] = sum((cell.tally.points for cell in cells), Counter())
    missing = [f"{point}:{hit}" for point, hit in Tally(points=points).missing()]
    if missing and kills >= KILLS_FOR_EVERY_POINT:
        findings.append(f"campaign: no process died at {', '.join(missing)}")
    if kills >= KILLS_FOR_EVERY_POINT and not any(cell.tally.woken for cell in cells):
        findings.append("campaign: nobody was paused, overtaken and woken")
    return Report(seed, cells, points, findings)


def _together(jobs: Sequence[Job], instances: int) -> list[Sequence[Job]]:
    """Return the jobs that run at a time, so that there are only so many processes."""
    most = max(1, MAX_PROCESSES // (instances + 1))
    return [jobs[start : start + most] for start in range(0, len(jobs), most)]


def run_cell(disturbed: Run, *, kills: int, rate: float, say: Callable[[str], None]) -> Cell:
    """Disturb one run, repeat it undisturbed, and compare."""
    clock, jobs = disturbed.clock, disturbed.jobs
    began_ns = clock.monotonic_ns()
    with disturbed:
        disturbed.start()
        watch = Watch(disturbed, clock)
        flow = Flow(disturbed, watch, rate, clock)
        strikes = Strikes(disturbed, watch, kills, flow, clock, say)
        strikes.strike_until_done()
        readings = disturbed.finish(flow.readings)
    say(f"repeating {readings:,} readings undisturbed")
    found = observe(disturbed.folder, jobs)
    verdict = check(found, _undisturbed(disturbed, readings), jobs, readings, disturbed.timeline)
    verdict.findings += watch.findings + strikes.tally.unexpected
    seconds = (clock.monotonic_ns() - began_ns) / 1e9
    requests = counted(disturbed.folder)
    return Cell(disturbed.instances, readings, strikes.tally, verdict, watch.recoveries_s, requests, seconds)


def _undisturbed(disturbed: Run, readings: int) -> Observed:
    folder = disturbed.folder.with_name(disturbed.folder.name.replace("disturbed", "undisturbed"))
    run = Run(
        folder, disturbed.jobs, 1, disturbed.timeline, disturbed.clock, disturbed.seed, disturbed.timeout_s
    )
    with run:
        run.start()
        run.finish(readings)
    return observe(folder, disturbed.jobs)
