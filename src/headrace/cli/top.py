"""Watch jobs live: rates, the share of its time that each stage is busy, what waits, memory. Ends at Ctrl-C.

Where there is no terminal it prints a line for each job every second.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from headrace.cli.options import add_project, plain
from headrace.cli.show import shortened
from headrace.cli.status import (
    PAUSE_S,
    add_looks,
    bytes_text,
    notes,
    rate_text,
    seconds_text,
    waiting_text,
)
from headrace.cli.stopping import STEP_S, asked_to_stop
from headrace.clock import SystemClock
from headrace.engine.stages import STAGES
from headrace.project import Project
from headrace.project.status import JobStatus, chosen, looking
from headrace.redaction import redacted

#: How many characters a bar has that is all full.
BAR_CHARS: Final = 8


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("top", help="watch jobs live", description=plain(__doc__))
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="the jobs to watch (default: all)")
    add_looks(parser)
    add_project(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the jobs every second until told to stop."""
    project = Project.load(Path(arguments.project))
    left, clock = arguments.looks or -1, SystemClock()
    with (
        looking(project, chosen(project, arguments.jobs)) as looks,
        asked_to_stop() as stopped,
        _shown() as show,
    ):
        while not stopped():
            show(looks.look())
            left -= 1
            if not left:
                break
            until_ns = clock.monotonic_ns() + int(PAUSE_S * 1e9)
            while clock.monotonic_ns() < until_ns and not stopped():
                clock.sleep(STEP_S)
    return 0


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Sequence[JobStatus]], None]]:
    if not sys.stdout.isatty():
        yield _print
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield lambda found: live.update(picture(found), refresh=True)


def _print(found: Sequence[JobStatus]) -> None:
    for status in found:
        print(redacted(line(status)), flush=True)


def line(status: JobStatus) -> str:
    """Return a job in one line."""
    rates = list(status.rates.values())
    parts = [
        f"{status.job}: {status.health}",
        f"{rate_text(sum(rate.events_in_per_s for rate in rates))} events/s in",
        f"{rate_text(sum(rate.rows_out_per_s for rate in rates))} rows/s out",
        f"waiting {waiting_text(status) or 'unknown'}",
    ]
    if status.lag_s:
        parts.append(f"oldest {seconds_text(status.lag_s)}")
    if rates:
        stage, share = max(
            ((name, sum(rate.busy[name] for rate in rates) / len(rates)) for name in STAGES),
            key=lambda of: of[1],
        )
        parts.append(f"busiest {stage} {share:.0%}")
    if status.running:
        parts.append(f"memory {bytes_text(_memory(status))}")
    return ", ".join(parts)


def picture(found: Sequence[JobStatus]) -> Group:
    """Return the jobs, and the stages of their instances, for a terminal."""
    jobs = Table(
        *(
            Column(Text(name))
            for name in ("job", "health", "events/s", "rows/s", "waiting", "oldest", "memory")
        ),
        box=box.SIMPLE_HEAD,
    )
    stages = Table(*(Column(Text(name)) for name in ("instance", *STAGES, "idle")), box=box.SIMPLE_HEAD)
    said = []
    for status in found:
        rates = status.rates.values()
        jobs.add_row(
            _text(status.job),
            Text(status.health),
            rate_text(sum(rate.events_in_per_s for rate in rates)),
            rate_text(sum(rate.rows_out_per_s for rate in rates)),
            waiting_text(status),
            seconds_text(status.lag_s or None),
            bytes_text(_memory(status)) if status.running else "",
        )
        for state in status.running:
            rate = status.rates.get(f"{state.job} {state.instance}")
            if rate is not None:
                shares = [*(rate.busy[name] for name in STAGES), rate.idle]
                stages.add_row(_text(f"{state.job} {state.number}"), *map(bar, shares))
        said += [_text(note) for note in notes(status)]
    return Group(jobs, stages, *said)


def bar(share: float) -> str:
    """Return a share of the time as a bar and in percent."""
    full = round(min(1.0, max(0.0, share)) * BAR_CHARS)
    return f"{'█' * full}{'░' * (BAR_CHARS - full)} {share:4.0%}"


def _memory(status: JobStatus) -> float:
    return sum(state.counters.get("memory_bytes", 0) for state in status.running)


def _text(text: str) -> Text:
    return Text(shortened(redacted(text), 200))
