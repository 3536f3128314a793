"""A tumbling count by another key than the partition's: as one task, and repartitioned.

    python benchmarks/repartition.py [EVENTS] [ROUNDS]

Every job is `headrace run JOB --until-end` over the same hub of 4 partitions, published by user and counted
by page. Shown are the seconds of the whole command, the same over nothing new (what it takes to start and to
end), the events a second of the difference, and the processor seconds of all its processes. The rows of all
jobs are compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from headrace.engine.starting import Start
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.table import Table
from headrace.project import Project
from headrace.project.starting import start_job

#: Each job: its PARTITION BY, and how many instances each of its stages has.
JOBS = {"one": ("", 1), "spread1": ("PARTITION BY page", 1), "spread2": ("PARTITION BY page", 2)}

PARTITIONS, USERS, PAGES = 4, 997, 1_000

QUERY = """
SELECT page, COUNT(*) AS n, SUM(id) AS total, System.Timestamp() AS at
INTO {job} FROM clicks TIMESTAMP BY t {by} GROUP BY page, TumblingWindow(second, 10)
"""


def main() -> None:
    """Publish, run every job so many times, and print what it took."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        project = made(Path(folder), events)
        took: dict[str, list[tuple[float, float, float]]] = {job: [] for job in JOBS}
        for _ in range(rounds):
            for job in JOBS:
                with Namespace.open(project.data) as namespace:
                    start_job(project, namespace, job, Start("beginning"))
                whole_s, cpu_s = run(project, job)
                idle_s, _ = run(project, job)
                took[job].append((whole_s, idle_s, cpu_s))
        for job, times in took.items():
            whole_s, idle_s, cpu_s = (median(column) for column in zip(*times, strict=True))
            rate = events / (whole_s - idle_s)
            print(
                f"{job:8} {whole_s:6.2f} s, {idle_s:5.2f} s for nothing: {rate:12,.0f}/s, {cpu_s:6.2f} cpu s"
            )
        with Namespace.open(project.data) as namespace:
            rows = [sorted(row.properties for row in Table(namespace, job).read()) for job in JOBS]
        print(f"{len(rows[0]):,} rows,", "equal" if all(some == rows[0] for some in rows) else "NOT EQUAL")


def made(folder: Path, events: int) -> Project:
    """Return a project with a full hub and the jobs."""
    settings = [f'inputs.clicks = {{ kind = "hub", partitions = {PARTITIONS}, key = "user" }}']
    for job, (by, instances) in JOBS.items():
        (folder / f"{job}.sql").write_text(QUERY.format(job=job, by=by))
        settings.append(f'outputs.{job} = {{ kind = "table", partition_key = "page", row_key = "at" }}')
        own = f'query = "{job}.sql", instances = {instances}, late_seconds = {20 * 86_400}'
        settings.append(f"jobs.{job} = {{ {own} }}")
    (folder / "headrace.toml").write_text("\n".join(settings))
    with Hub.create(folder / ".headrace" / "hubs", "clicks", partitions=PARTITIONS) as hub:
        begin = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3)
        for first in range(0, events, 40_000):
            for partition, bodies in enumerate(clicks(begin, range(first, min(events, first + 40_000)))):
                hub.publish_bodies(bodies, partition=partition)
    return Project.load(folder)


def clicks(begin: datetime, numbers: range) -> Iterator[list[bytes]]:
    """Yield the events of each partition, one millisecond apart."""
    apart: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for number in numbers:
        user = number * 7_919 % USERS
        event = {
            "id": number,
            "user": f"user-{user}",
            "page": f"/page/{number * 31 % PAGES}",
            "t": (begin + timedelta(milliseconds=number)).isoformat(timespec="milliseconds") + "Z",
            "value": number % 77,
        }
        apart[user % PARTITIONS].append(json.dumps(event, separators=(",", ":")).encode())
    yield from apart


def run(project: Project, job: str) -> tuple[float, float]:
    """Run a job to its end; return the seconds that it took, and those of processors."""
    began, before = time.perf_counter(), os.times()
    command = [
        sys.executable,
        "-m",
        "headrace.cli",
        "run",
        job,
        "--until-end",
        "--project",
        str(project.file),
    ]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, cpu_s


if __name__ == "__main__":
    main()
