"""How long an event takes from the call that publishes it to its row, visible in a table to another process.

    python -m benchmarks.latency [--seconds N] [--runs N] [LOAD ...]

Three processes: one publishes to a hub of four partitions, `headrace run` filters and computes a column (or
looks back with LAG, for the path of jobs with state), and this one watches the table. An event carries the
monotonic clock, which all processes of a machine share, as it was just before its publish call. Whether there
is anything new in the table is looked at every half millisecond, so no figure is better than that; the reader
costs some processor time, as does the publisher, and here all share the machine. What is published in the
first two seconds is not counted, nor what is in the last one: behind the last events of all, the rows of a
job with state wait for the clock.

Each line is the median over the runs of that run's percentile, in milliseconds: `call` is the publish call,
`total` is from before it to the row. The second line of a load says what an epoch of the job costs by its
own clocks (means); what is left of the total is waiting: for the job to look, for the epoch before, for the
reader.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from benchmarks.running import HUB, STATEFUL, STATELESS, Pipeline, Reader, body, wait
from headrace.local.hub import Hub

WARM_UP_S = 2.0
COOL_DOWN_S = 1.0
SECONDS = 10.0
RUNS = 3
LOOK_S = 0.0005
SHARES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Load:
    """Events a second, in calls of so many; `target_ms` is for p50 and p99, where there is one."""

    name: str
    sql: str
    rate: int
    call_events: int
    target_ms: tuple[float | None, float | None] = (None, None)


LOADS = (
    Load("1,000/s, each its own call", STATELESS, 1_000, 1, (6, 20)),
    Load("1,000/s, ten a call", STATELESS, 1_000, 10, (6, 20)),
    Load("50,000/s, 250 a call", STATELESS, 50_000, 250, (None, 80)),
    Load("1,000/s, each its own call, LAG", STATEFUL, 1_000, 1),
    Load("1,000/s, ten a call, LAG", STATEFUL, 1_000, 10),
)


class _Seen(msgspec.Struct):
    at: int


_SEEN = msgspec.json.Decoder(_Seen)


@dataclass(frozen=True)
class Measured:
    """One run: latencies and publish calls in milliseconds, and what an epoch cost, by stage."""

    total_ms: list[float]
    call_ms: list[float]
    rate: float
    epoch_ms: dict[str, float]
    epoch_events: float


# --- the publisher, a process of its own ------------------------------------------------------------------


def publish(hubs: Path, load: Load, seconds: float, results: Connection) -> None:
    """Publish at the load's rate; send the time of each call, then close."""
    calls = int(load.rate * seconds / load.call_events)
    period_ns = 1e9 * load.call_events / load.rate
    took_ms = []
    with Hub.open(hubs, HUB) as hub:
        began_ns = time.monotonic_ns()
        for call in range(calls):
            wait((began_ns + call * period_ns - time.monotonic_ns()) / 1e9)
            first = call * load.call_events
            at_ns = time.monotonic_ns()
            hub.publish_bodies([body(number, at_ns) for number in range(first, first + load.call_events)])
            took_ms.append((time.monotonic_ns() - at_ns) / 1e6)
        lasted_s = (time.monotonic_ns() - began_ns) / 1e9
    results.send((took_ms, calls * load.call_events / lasted_s))
    results.close()


# --- the run ----------------------------------------------------------------------------------------------


def run(load: Load, seconds: float) -> Measured:
    """Measure once, in a new folder."""
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        pipeline = Pipeline(Path(folder), load.sql)
        reader = Reader(pipeline)
        with pipeline.running() as process:
            with Hub.open(pipeline.hubs, HUB) as hub:
                for partition in range(hub.partitions):  # what looks back waits for the slowest
                    hub.publish_bodies([body(-9 - partition * 10, 0)], partition=partition)
            reader.wait(process, pause_s=0.01)  # the job runs
            try:
                return _measured(pipeline, reader, load, seconds)
            finally:
                reader.close()


def _measured(pipeline: Pipeline, reader: Reader, load: Load, seconds: float) -> Measured:
    context = get_context("spawn")
    results, sending = context.Pipe(duplex=False)
    arguments = (pipeline.hubs, load, WARM_UP_S + seconds + COOL_DOWN_S, sending)
    publisher = context.Process(target=publish, args=arguments)
    publisher.start()
    sending.close()
    arrived: list[tuple[int, list[tuple[str, str]]]] = []
    before: dict[str, float] = {}
    began_ns = last_ns = 0
    # Not until it has ended: what it sends may be more than a pipe holds.
    while not results.poll() or time.monotonic_ns() - last_ns < 1.5e9:
        rows = reader.rows()
        if not rows:
            time.sleep(LOOK_S)
            continue
        last_ns = time.monotonic_ns()
        began_ns = began_ns or last_ns
        arrived.append((last_ns, rows))
        if not before and last_ns - began_ns > WARM_UP_S * 1e9:
            before = pipeline.counters()
    took_ms, rate = results.recv()
    publisher.join()
    after = pipeline.counters()
    spent = {name: value - before[name] for name, value in after.items()}
    epochs = max(1.0, spent["epochs"])
    uncounted_calls = int(len(took_ms) * WARM_UP_S / (WARM_UP_S + seconds + COOL_DOWN_S))
    return Measured(
        _latencies_ms(arrived, seconds),
        took_ms[uncounted_calls:],
        rate,
        {name.removesuffix("_ms"): ms / epochs for name, ms in spent.items() if name.endswith("_ms")},
        spent["events_in"] / epochs,
    )


def _latencies_ms(arrived: list[tuple[int, list[tuple[str, str]]]], seconds: float) -> list[float]:
    seen = [
        (at_ns, (seen_ns - at_ns) / 1e6)
        for seen_ns, rows in arrived
        for at_ns in (_SEEN.decode(properties).at for _, properties in rows)
        if at_ns
    ]
    from_ns = min(at_ns for at_ns, _ in seen) + WARM_UP_S * 1e9
    return [latency_ms for at_ns, latency_ms in seen if 0 <= at_ns - from_ns < seconds * 1e9]


# --- the table --------------------------------------------------------------------------------------------


def _percentiles(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in SHARES]


def _print(load: Load, runs: list[Measured]) -> None:
    def medians(of: list[list[float]]) -> list[float]:
        return [statistics.median(column) for column in zip(*of, strict=True)]

    total = medians([_percentiles(one.total_ms) for one in runs])
    call = medians([_percentiles(one.call_ms) for one in runs])
    missed = any(
        target is not None and found > target
        for target, found in zip(load.target_ms, (total[0], total[2]), strict=True)
    )
    targets = " ".join(
        f"{name} < {target:g}" for name, target in zip(("p50", "p99"), load.target_ms, strict=True) if target
    )
    rate = statistics.median(one.rate for one in runs)
    figures = "".join(f"{value:>8.2f}" for value in total)
    calls = "".join(f"{value:>8.2f}" for value in (call[0], call[2]))
    verdict = f"{targets}: {'MISSED' if missed else 'met'}" if targets else ""
    print(f"{load.name:<34}{rate:>9,.0f}{figures} |{calls}  {verdict}")
    events = statistics.median(one.epoch_events for one in runs)
    stages = {name: statistics.median(one.epoch_ms[name] for one in runs) for name in runs[0].epoch_ms}
    spent = ", ".join(f"{name} {ms:.2f}" for name, ms in stages.items() if ms >= 0.005)
    print(f"    {events:,.1f} events an epoch, {sum(stages.values()):.2f} ms: {spent}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("loads", nargs="*", help="parts of the names of the loads to run (default: all)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each run is measured")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    chosen = [load for load in LOADS if not given.loads or any(part in load.name for part in given.loads)]
    print(f"{'':<34}{'events/s':>9}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8} |{'call p50':>9}{'p99':>7}")
    for load in chosen:
        _print(load, [run(load, given.seconds) for _ in range(given.runs)])


if __name__ == "__main__":
    main()
