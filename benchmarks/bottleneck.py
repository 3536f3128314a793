"""Jobs whose slow stage is known, run as one instance and as two: what the bottleneck finder says of each.

For each job: the stage that it names, the rate that it predicts for one more instance, and the rate that two
then have. Run by hand on a quiet machine: ``python -m benchmarks.bottleneck [JOB ...]``; 20 s a job.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace.clock import SystemClock
from headrace.connect.sink import Prepared, Rows
from headrace.connect.source import Poll
from headrace.engine.bottleneck import Finding
from headrace.engine.job import Instance
from headrace.engine.lag import Lag
from headrace.engine.open_job import OpenJob
from headrace.events.formats.json import encode_block
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import InstanceState, Progress
from headrace.local.queue import Queue
from headrace.project import Project
from headrace.project.bottleneck import observe
from headrace.project.opening import opened_job
from headrace.project.status import JobStatus, Looking

JOB = "work"
WARM_S, LOOK_S = 3.0, 6.0
START = datetime.now(UTC)

#: A slow model waits for an answer; a slow function computes one.
FUNCTIONS = """
import time

def waits(value):
    time.sleep(0.001)
    return value

def computes(value):
    return sum(number * number for number in range(5_000)) + value
"""

STORE = "SELECT id, value INTO results FROM events"
PASS = "SELECT id, value INTO results FROM events WHERE value < 0"
MODEL = "SELECT id, model(value) AS answer INTO results FROM events"
WINDOW = """
SELECT k, System.Timestamp() AS at, COUNT(*) AS n, AVG(value) AS mean, STDEV(value) AS spread,
  MAX(value) AS most, MIN(value) AS least
INTO results FROM events TIMESTAMP BY at GROUP BY k, HoppingWindow(second, 20, 1) HAVING COUNT(*) > 1000000
"""


# --- what makes a stage slow --------------------------------------------------------------------------------


class Again:
    """A hub that has no end: behind its last event come all of them again."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.kind, self.place, self.ends = source.kind, source.place, False
        self.partitions = source.partitions
        self._counts = [source.end(partition) for partition in range(source.partitions)]

    def begin(self, partition: int) -> int:
        return 0

    def end(self, partition: int) -> int:
        return 2**62

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        real = offset % self._counts[partition]
        found: Poll | None = self._source.poll(partition, real, max_events, max_bytes)
        if found is None:
            return None
        return replace(found, offsets=range(offset, offset + len(found.bodies)))

    def offset_at(self, partition: int, time_us: int) -> int:
        return 0

    def quiet_since(self, offsets: Any, now_us: int) -> dict[int, int]:
        return {}

    def close(self) -> None:
        self._source.close()


class AFewAtATime:
    """A queue that hands out at most so many messages at a time, as those of clouds do."""

    def __init__(self, source: Any, most: int) -> None:
        self._source, self._most = source, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def lease(self, max_events: int, max_bytes: int) -> Poll | None:
        found: Poll | None = self._source.lease(min(max_events, self._most), max_bytes)
        return found

    # What a check of the contract asks for must be there itself.
    def renew(self, poll: Poll) -> None:
        self._source.renew(poll)

    def finish(self, tx: Transaction, poll: Poll) -> None:
        self._source.finish(tx, poll)

    def release(self, poll: Poll) -> None:
        self._source.release(poll)

    def reclaim(self) -> None:
        self._source.reclaim()

    def exhausted(self) -> bool:
        return bool(self._source.exhausted())

    def close(self) -> None:
        self._source.close()


class SlowTarget:
    """An output that takes a fifth of a millisecond for each row."""

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        block, failures = encode_block(rows.batch)
        return Prepared(block, rows.batch.height, failures)

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        time.sleep(0.0002 * (block.count(b"\n") + 1))

    def close(self) -> None:
        pass


class SlowDisk(Namespace):
    """A namespace on a disk that takes a tenth of a millisecond for each row."""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as tx:
            before = tx.connection.total_changes()
            yield tx
            time.sleep(0.0001 * (tx.connection.total_changes() - before))


# --- the jobs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A job whose slow stage is known: `slow` names it."""

    slow: str
    sql: str
    function: str = "waits"
    events: int = 20_000
    partitions: int = 4
    columns: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    queue: bool = False
    arriving: int = 0
    wrap: Callable[[OpenJob], OpenJob] = lambda job: job
    namespace: type[Namespace] = Namespace

    def body(self, number: int) -> bytes:
        more = {f"column_{at}": f"text {number % 97} of {at}" for at in range(self.columns)}
        at = (START + timedelta(milliseconds=200 * (number - self.events))).isoformat()
        event = {"id": f"{number:09}", "k": f"k{number % 200}", "value": number % 1_000, "at": at}
        return json.dumps({**event, **more}).encode()


def again(job: OpenJob) -> OpenJob:
    return replace(job, sources={name: Again(source) for name, source in job.sources.items()})


def a_few(job: OpenJob) -> OpenJob:
    return replace(job, sources={name: AFewAtATime(source, 8) for name, source in job.sources.items()})


def slow_target(job: OpenJob) -> OpenJob:
    return replace(again(job), sinks=dict.fromkeys(job.sinks, SlowTarget()))


CASES = {
    "slow model": Case("score", MODEL, wrap=again),
    "computing model": Case("score", MODEL, function="computes", wrap=again),
    "slow disk": Case("commit", STORE, wrap=again, namespace=SlowDisk),
    "heavy window": Case("query", WINDOW, events=400_000),
    "wide decode": Case("decode", PASS, columns=150, wrap=again),
    "small batches": Case("batches", STORE, events=60_000, queue=True, wrap=a_few),
    "few partitions": Case("score", MODEL, partitions=1, wrap=again),
    "slow sink": Case("deliver", STORE, wrap=slow_target),
    "starved input": Case("input", PASS, arriving=2_000),
    "many rows stored": Case("commit", STORE, wrap=again),
}


def make(case: Case, folder: Path) -> Project:
    """Make the project, and publish what the job is to read."""
    kind = "queue" if case.queue else "hub"
    (folder / "functions.py").write_text(FUNCTIONS, "utf-8")
    (folder / "query.sql").write_text(case.sql, "utf-8")
    (folder / "headrace.toml").write_text(
        f'inputs.events = {{ kind = "{kind}"{"" if case.queue else """, key = "k" """} }}\n'
        'outputs.results = { kind = "table" }\n'
        f'functions.model = {{ python = "functions.py:{case.function}" }}\n'
        f'jobs.{JOB} = {{ query = "query.sql", late_seconds = 1728000 }}\n',
        "utf-8",
    )
    project = Project.load(folder)
    with Namespace.open(project.data) as namespace:
        if case.queue:
            with namespace.transaction() as tx:
                Queue(namespace, "events").send(tx, [case.body(number) for number in range(case.events)])
            return project
        with Hub.create(namespace.hubs_folder, "events", partitions=case.partitions) as hub:
            for first in range(0, case.events, 10_000):
                publish(hub, case, range(first, min(case.events, first + 10_000)))
    return project


def publish(hub: Hub, case: Case, numbers: range) -> None:
    bodies = [case.body(number) for number in numbers]
    hub.publish_bodies(bodies, keys=[f"k{number % 200}" for number in numbers])


class Endless(Looking):
    """Looks at the job; a hub `Again` has more events than anybody can count."""

    def __init__(self, project: Project, namespace: Namespace, case: Case) -> None:
        super().__init__(project, namespace, [JOB])
        self._case, self._progress = case, Progress(namespace)

    def instances(self) -> list[InstanceState]:
        # What ran before as another number of instances has left its last report.
        return [state for state in self._progress.instances(JOB) if _runs(state.pid)]

    def look(self) -> list[JobStatus]:
        [status] = super().look()
        states = [replace(status, health="running", instances=self.instances())]
        if self._case.wrap in {again, slow_target}:
            return [replace(state, lags=[Lag("events", 0, 2**40, "events")]) for state in states]
        return states


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


# --- running them -------------------------------------------------------------------------------------------


def run_instance(case: Case, folder: Path, number: int, instances: int) -> None:
    """Run one instance in this process until it is asked to end."""
    project = Project.load(folder)
    with case.namespace.open(project.data) as namespace, opened_job(project, namespace, JOB, number) as job:
        instance = Instance(case.wrap(job), namespace, instance=number, instances=instances)
        signal.signal(signal.SIGTERM, lambda *_: instance.stop())
        instance.run()


@contextlib.contextmanager
def running(name: str, folder: Path, instances: int) -> Iterator[None]:
    """Run the job as so many processes, as `headrace run` would."""
    environment = os.environ.copy()
    if instances > 1:
        environment["POLARS_MAX_THREADS"] = str(max(1, (os.cpu_count() or 1) // instances))
    command = [sys.executable, "-m", "benchmarks.bottleneck", name, "--folder", str(folder)]
    processes = [
        subprocess.Popen([*command, "--instance", str(number), "--of", str(instances)], env=environment)
        for number in range(instances)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


@contextlib.contextmanager
def arriving(case: Case, project: Project) -> Iterator[None]:
    """Publish so many events a second, if the job is to be starved."""
    ended = threading.Event()

    def go_on() -> None:
        with Hub.open(project.data / "hubs", "events") as hub:
            count = case.arriving // 20
            for first in range(case.events, 2**31, count):
                if ended.wait(0.05):
                    return
                publish(hub, case, range(first, first + count))

    thread = threading.Thread(target=go_on, daemon=True)
    if case.arriving:
        thread.start()
    yield
    ended.set()
    if case.arriving:
        thread.join()


def measured(name: str, instances: int) -> Finding:
    """Run the job as so many instances, and return what is found of it once it has got going."""
    with tempfile.TemporaryDirectory() as folder:
        return found(name, make(CASES[name], Path(folder)), instances)


def found(name: str, project: Project, instances: int) -> Finding:
    case = CASES[name]
    with (
        arriving(case, project),
        running(name, project.folder, instances),
        Namespace.open(project.data) as namespace,
    ):
        looks = Endless(project, namespace, case)
        at_work = min(instances, 2**10 if case.queue else case.partitions)
        while sum(state.counters["events_in"] > 0 for state in looks.instances()) < at_work:
            time.sleep(0.2)
        time.sleep(WARM_S)
        finding = observe(project, looks, LOOK_S, SystemClock())
    assert finding is not None, f"{name}: no instance has reported"
    return finding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(CASES))
    parser.add_argument("--runs", type=int, default=1)
    for hidden in ("--instance", "--of"):
        parser.add_argument(hidden, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        [name] = arguments.jobs
        run_instance(CASES[name], arguments.folder, arguments.instance, arguments.of)
        return
    print("| job | slow stage | named | events/s | with one more: predicted | measured | error |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.jobs or CASES:
        case = CASES[name]
        pairs = [(measured(name, 1), measured(name, 2)) for _ in range(arguments.runs)]
        one, two = pairs[-1]
        for finding in (one, two):
            print(f"    {finding.limit}: {finding.why}; {finding.help}", file=sys.stderr)
        predicted = statistics.median(one.next_rate for one, _ in pairs)
        came = statistics.median(two.rate for _, two in pairs)
        print(
            f"| {name} | {case.slow} | {one.limit} | {one.rate:,.0f} | {predicted:,.0f} | {came:,.0f} "
            f"| {predicted / came - 1:+.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
