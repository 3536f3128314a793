"""Whether a job's memory stays flat: a tumbling count under half of the load that it can take.

    python -m benchmarks.soak [MINUTES] [FOLDER]

The highest rate is measured first: events are published as fast as they can be while the job reads them, on
the same machine. Then they are published at half of that, for 30 minutes unless told otherwise, while the
memory of the job's processes is sampled. Printed are its medians over each tenth of the time, the lag at the
end, and how much the last third is above the second (the first has caches to fill); it ends with exit code 1
if that is more than a tenth, or if the job fell behind.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.nexmark.processes import resident_bytes
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress

MINUTES = 30
WARM_S = 15.0
KEYS = 10_000
BLOCK, BLOCKS = 5_000, 50
EVERY_S = 0.01
SAMPLE_EVERY_S = 1.0
MOST_GROWTH = 0.1
MOST_LAG_S = 5.0

_SETTINGS = """
[inputs.events]
kind = "hub"
key = "key"
retention_hours = 0.1
[outputs.counts]
kind = "table"
row_key = "key"
[jobs.count]
sql = '''
SELECT [key], COUNT(*) AS n, SUM(value) AS total INTO counts
FROM events GROUP BY [key], TumblingWindow(second, 10)
'''
"""


def blocks() -> list[tuple[list[bytes], list[str]]]:
    """Return events of some 100 bytes with their keys, in blocks, made once and published again and again."""
    numbers = [range(first, first + BLOCK) for first in range(0, BLOCK * BLOCKS, BLOCK)]
    return [([_body(n) for n in some], [_key(n) for n in some]) for some in numbers]


def _key(number: int) -> str:
    return str(number * 7919 % KEYS)


def _body(number: int) -> bytes:
    return json.dumps(
        {"key": _key(number), "value": number % 10, "note": "the quick brown fox jumps"}
    ).encode()


class Job:
    """A project, its hub, and what the job has read of it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "headrace.toml").write_text(_SETTINGS)
        self.hub = Hub.create(folder / ".headrace" / "hubs", "events", retention_s=360)
        self.namespace = Namespace.open(folder / ".headrace")
        self.blocks = blocks()
        self.sent = 0

    def publish(self) -> None:
        """Publish the next block, by its keys."""
        bodies, keys = self.blocks[self.sent // BLOCK % BLOCKS]
        self.hub.publish_bodies(bodies, keys=keys)
        self.sent += BLOCK

    def read(self) -> int:
        """Return how many events the job has read."""
        return Progress(self.namespace).counts("count").get("events_in", 0)

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Run the job; the value is the id of its process."""
        command = [sys.executable, "-m", "headrace.cli", "run", "--project", str(self.folder)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)

    def close(self) -> None:
        """Close the hub and the namespace."""
        self.hub.close()
        self.namespace.close()


def highest_rate(folder: Path) -> float:
    """Return the events a second that are published and read when nothing waits."""
    job = Job(folder)
    with job.running():
        job.publish()
        while job.read() == 0:
            time.sleep(EVERY_S)
        read, began = job.read(), time.perf_counter()
        while time.perf_counter() < began + WARM_S:
            # Not so far ahead that what is read is anything but what is being published.
            if job.sent - job.read() < 20 * BLOCK:
                job.publish()
        rate = (job.read() - read) / (time.perf_counter() - began)
    job.close()
    return rate


def soak(job: Job, rate: float, minutes: float) -> tuple[list[float], float]:
    """Publish at a rate; return the memory in MB at each second, and how far the job is behind at the end."""
    samples: list[float] = []
    with job.running() as pid:
        began = time.perf_counter()
        next_sample_s = 0.0
        while (elapsed_s := time.perf_counter() - began) < minutes * 60:
            if job.sent + BLOCK <= elapsed_s * rate:
                job.publish()
            else:
                time.sleep(EVERY_S)
            if elapsed_s >= next_sample_s:
                next_sample_s += SAMPLE_EVERY_S
                samples.append(resident_bytes(pid) / 1e6)
        lag_s = (job.sent - job.read()) / rate
    return samples, lag_s


def main() -> int:
    """Measure, print, and judge."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=target) as folder:
        highest = highest_rate(Path(folder) / "warm")
        print(
            f"highest rate {highest:,.0f} events/s, so {highest / 2:,.0f} for {minutes:g} minutes", flush=True
        )
        job = Job(Path(folder) / "soak")
        samples, lag_s = soak(job, highest / 2, minutes)
        job.close()
    tenth = max(1, len(samples) // 10)
    parts = [statistics.median(samples[begin : begin + tenth]) for begin in range(0, len(samples), tenth)]
    print("memory in MB, by tenths of the time:", " ".join(f"{part:.0f}" for part in parts))
    third = len(samples) // 3
    growth = statistics.median(samples[-third:]) / statistics.median(samples[third : 2 * third]) - 1
    print(
        f"{job.sent:,} events; the last third is {growth:+.1%} on the second; {lag_s:.2f} s behind at the end"
    )
    return int(growth > MOST_GROWTH or lag_s > MOST_LAG_S)


if __name__ == "__main__":
    sys.exit(main())
