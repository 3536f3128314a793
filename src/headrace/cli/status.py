"""Show how jobs are: health, rates, what waits of each input in events and seconds, dead letters, outputs.

It looks at what is on record, so that it works while jobs run and while none does. Rates are those of the
last second. --watch looks again every second until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from headrace.cli.numbers import at_least
from headrace.cli.options import add_json, add_project, plain
from headrace.cli.show import count_text, print_json, print_lines, print_table
from headrace.cli.stopping import asked_to_stop
from headrace.clock import SystemClock
from headrace.project import Project
from headrace.project.status import JobStatus, age_s, chosen, looking
from headrace.redaction import redacted

#: Two looks this far apart have at least one heartbeat between them.
PAUSE_S: Final = 1.0


def add(verbs: Any) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "status", help="show how jobs are: health, rates, lag", description=plain(__doc__)
    )
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="the jobs to show (default: all)")
    parser.add_argument("--watch", action="store_true", help="look again every second, until Ctrl-C")
    add_looks(parser)
    add_project(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def add_looks(parser: argparse.ArgumentParser) -> None:
    """Add ``--looks N``."""
    parser.add_argument(
        "--looks", type=at_least(1), metavar="N", help="end after so many looks (default: at Ctrl-C)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the jobs once, or again and again."""
    project = Project.load(Path(arguments.project))
    jobs = chosen(project, arguments.jobs)
    left = (arguments.looks if arguments.watch else 1) or -1
    clock = SystemClock()
    with looking(project, jobs) as looks, asked_to_stop() as stopped:
        found = looks.look()
        if any(status.running for status in found):  # a rate takes two looks
            clock.sleep(PAUSE_S)
            found = looks.look()
        while True:
            show(found, as_json=arguments.json, watching=arguments.watch)
            left -= 1
            if not left or stopped():
                return 0
            clock.sleep(PAUSE_S)
            if stopped():
                return 0
            found = looks.look()


def show(found: Sequence[JobStatus], *, as_json: bool, watching: bool) -> None:
    """Print what was found, as JSON on one line each time it is looked at again."""
    if as_json:
        document = {"jobs": [status.plain() for status in found]}
        if watching:
            print(redacted(json.dumps(document, ensure_ascii=False)), flush=True)
        else:
            print_json(document)
        return
    print_table(
        ("job", "health", "instances", "events/s", "rows/s", "waiting", "oldest", "dead", "last commit"),
        [_job_row(status) for status in found],
    )
    instances = [row for status in found for row in _instance_rows(status)]
    if instances:
        print()
        print_table(("instance", "state", "process", "events/s", "rows/s", "cpu", "memory"), instances)
    lags = [row for status in found for row in _lag_rows(status)]
    if lags:
        print()
        print_table(("job", "input", "partition", "waiting", "oldest", "watermark"), lags)
    print_lines(line for status in found for line in notes(status))
    if watching:
        print(flush=True)


def _job_row(status: JobStatus) -> tuple[object, ...]:
    rates = status.rates.values()
    return (
        status.job,
        status.health,
        len(status.running),
        rate_text(sum(rate.events_in_per_s for rate in rates)),
        rate_text(sum(rate.rows_out_per_s for rate in rates)),
        waiting_text(status),
        seconds_text(status.lag_s if any(status.waiting().values()) else None),
        status.dead_letters,
        ago_text(age_s(status.committed_us, status.at_us)),
    )


def _instance_rows(status: JobStatus) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for state in status.running:
        rate = status.rates.get(f"{state.job} {state.instance}")
        rows.append(
            (
                f"{state.job} {state.number}",
                state.condition.state,
                str(state.pid),
                "" if rate is None else rate_text(rate.events_in_per_s),
                "" if rate is None else rate_text(rate.rows_out_per_s),
                "" if rate is None else f"{rate.cpu:.0%}",
                bytes_text(state.counters.get("memory_bytes", 0)),
            )
        )
    return rows


def _lag_rows(status: JobStatus) -> list[tuple[object, ...]]:
    return [
        (
            status.job,
            lag.label,
            lag.partition,
            amount_text(lag.waiting, lag.unit),
            seconds_text(lag.seconds(status.at_us) if lag.waiting and lag.oldest_us else None),
            ago_text(lag.watermark_delay_s(status.at_us)),
        )
        for lag in status.lags
    ]


def notes(status: JobStatus) -> list[str]:
    """Return what is to be said of a job in sentences: outputs that are retried, and why; what is wrong."""
    lines = []
    for state in status.instances:
        if state.condition.note:
            since = ago_text(age_s(state.condition.since_us, status.at_us))
            name = f"{state.job}, instance {state.number}"
            lines.append(f"{name}: {state.condition.state} since {since}: {state.condition.note}")
    # Of a job that does well the last block is delivered, and noted as such with the next commit.
    held = {} if status.health in {"running", "idle", "starting"} else status.outbox
    for output, waiting in held.items():
        size = bytes_text(waiting.size_bytes)
        lines.append(
            f"{status.job}: {count_text(waiting.blocks, 'block')} ({size}) may wait for output '{output}'"
        )
    if status.trouble:
        lines.append(f"{status.job}: {status.trouble}")
    return lines


def waiting_text(status: JobStatus) -> str:
    """Return how much waits, as ``3 events, 20 bytes``."""
    sums = status.waiting()
    return ", ".join(amount_text(count, unit) for unit, count in sums.items() if count) or (
        "nothing" if sums else ""
    )


def amount_text(count: int, unit: str) -> str:
    """Return ``1,200 events``, and bytes as ``1.2 kB``."""
    return bytes_text(count) if unit == "bytes" else count_text(count, unit.removesuffix("s"))


def rate_text(per_s: float) -> str:
    """Return a rate per second: whole from 10 on."""
    return f"{per_s:,.0f}" if per_s >= 10 or per_s == 0 else f"{per_s:.2g}"


def bytes_text(size_bytes: float) -> str:
    """Return a size as ``1.2 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes:.0f} bytes"


def seconds_text(seconds: float | None) -> str:
    """Return a duration as ``0.3 s`` or ``2 h 05 min``, nothing if there is none."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} days"


def ago_text(seconds: float | None) -> str:
    """Return ``0.3 s ago``, nothing if that is not known."""
    return "" if seconds is None else f"{seconds_text(seconds)} ago"
