"""Jobs in two stages: an input repartitioned by the job's key gives what one task over all of it gives."""

import contextlib
import json
import random

import pytest

from headrace.clock import ManualClock
from headrace.engine.job import Instance
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from headrace.names import stage_name
from headrace.project import Project
from headrace.project.opening import opened_job
from headrace.project.stages import stages_of

SETTINGS = """
[inputs.clicks]
kind = "hub"
partitions = 3

[inputs.views]
kind = "hub"
partitions = 2

[outputs.one]
kind = "table"
[outputs.spread]
kind = "table"

[jobs.one]
query = "one.sql"

[jobs.spread]
query = "spread.sql"
instances = 3
"""

START_US = ManualClock().now_us()
SECOND_US = 1_000_000

#: Each in order of time, within a key or within the rows of one instant.
QUERIES = {
    "a tumbling count by key": """
        SELECT user, COUNT(*) AS n, SUM(id) AS total, System.Timestamp() AS at INTO {to}
        FROM clicks {timed} {clicks} GROUP BY user, TumblingWindow(second, 10)
    """,
    "sessions by key": """
        SELECT user, COUNT(*) AS n, MIN(id) AS first, System.Timestamp() AS at INTO {to}
        FROM clicks {timed} {clicks}
        GROUP BY user, SessionWindow(second, 3, 20) OVER (PARTITION BY user)
    """,
    "a join of two inputs": """
        SELECT c.id, v.id AS view_id, c.user, System.Timestamp() AS at INTO {to}
        FROM clicks c {timed} {clicks} JOIN views v {timed} {views}
        ON c.user = v.user AND DATEDIFF(second, c, v) BETWEEN 0 AND 4
    """,
    "the row before by key": """
        SELECT id, user, LAG(id) OVER (PARTITION BY user LIMIT DURATION(second, 30)) AS before,
            System.Timestamp() AS at, EventEnqueuedUtcTime, PartitionId INTO {to}
        FROM clicks {timed} {clicks}
    """,
}


class Dies(BaseException):
    """What ends an instance as a kill would: nothing is saved."""


class Bench:
    """A project whose two jobs read the same hubs: `one` as one task, `spread` repartitioned."""

    def __init__(self, folder, query=QUERIES["a tumbling count by key"], into=4, timed=True):
        self.folder, self.clock = folder, ManualClock()
        (folder / "headrace.toml").write_text(SETTINGS)
        self.timed = "TIMESTAMP BY t" if timed else ""
        self.query("one", query)
        self.query("spread", query, f"PARTITION BY user INTO {into}")
        self.namespace = Namespace.open(folder / ".headrace", clock=self.clock)
        self.progress = Progress(self.namespace)
        self.hubs = {
            "clicks": Hub.ensure(self.namespace.hubs_folder, "clicks", partitions=3, clock=self.clock),
            "views": Hub.ensure(self.namespace.hubs_folder, "views", partitions=2, clock=self.clock),
        }
        self.events = 0

    def query(self, job, query, partition=""):
        text = query.format(to=job, timed=self.timed, clicks=partition, views=partition)
        (self.folder / f"{job}.sql").write_text(text)

    def publish(self, hub, second, user, partition):
        """Publish an event whose time is `second`; it arrives now."""
        event = {"id": self.events, "user": user, "t": at(second)}
        self.events += 1
        self.hubs[hub].publish_bodies([json.dumps(event).encode()], partition=partition)

    @property
    def second(self):
        return (self.clock.us - START_US) / SECOND_US

    @property
    def project(self):
        return Project.load(self.folder)

    def stages(self):
        return [stage_name("spread", name) for name in stages_of(self.project, "spread")]

    def run(self, job, number=0, instances=1, wanted=None):
        """Run an instance of a job or stage to the end of its inputs, or while it is `wanted`."""
        self.progress.clear_stop(job)
        if wanted is None:
            self.progress.request_stop(job, "end")
        with opened_job(self.project, self.namespace, job, number) as opened:
            Instance(
                opened,
                self.namespace,
                instance=number,
                instances=instances,
                clock=self.clock,
                wanted=wanted or (lambda: True),
            ).run()

    def run_for(self, job, seconds, *, number=0, instances=1, dies=False):
        end_us = self.clock.us + int(seconds * SECOND_US)

        def wanted():
            if dies and self.clock.us >= end_us:
                raise Dies
            return self.clock.us < end_us

        with contextlib.suppress(Dies):
            self.run(job, number, instances, wanted)

    def run_to_end(self):
        for job in ("one", *self.stages(), "spread"):
            self.run(job)

    def finish(self):
        """Publish what tells that all time before has passed, and run both jobs to the end."""
        self.clock.us += 60 * SECOND_US
        for hub, partitions in (("clicks", 3), ("views", 2)):
            for partition in range(partitions):
                self.publish(hub, self.second, "last", partition)
        self.run_to_end()

    def rows(self, table):
        found = [json.loads(entity.properties) for entity in Table(self.namespace, table).read()]
        return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))

    def close(self):
        for hub in self.hubs.values():
            hub.close()
        self.namespace.close()


def at(second):
    return f"2026-01-01T00:{int(second) // 60:02}:{second % 60:09.6f}0Z"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_the_input_is_repartitioned_and_each_window_counted_once(bench):
    for second, user in enumerate(["ann", "bob", "ann", "cy", "ann", "bob"], start=1):
        bench.clock.us += SECOND_US
        bench.publish("clicks", second, user, second % 3)
    bench.finish()
    assert bench.stages() == ["spread~clicks"]
    counts = {row["user"]: row["n"] for row in bench.rows("spread") if row["at"] == at(10)}
    assert counts == {"ann": 3, "bob": 2, "cy": 1}
    assert bench.rows("spread") == bench.rows("one")


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(("instances", "timed"), [(1, True), (3, True), (3, False)])
def test_whatever_the_cuts_and_restarts_the_rows_are_those_of_one_task(tmp_path, query, instances, timed):
    chance = random.Random(f"{query} {instances} {timed}")
    bench = Bench(tmp_path, QUERIES[query], into=chance.choice([2, 5]), timed=timed)
    # Joined values must be of one type; 7 and 7.0 are equal.
    users = [7, 7.0, 7.5, None, 8, -1]
    users += [] if "join" in query else ["ann", "bob", "7", {"a": 1}]
    try:
        for _ in range(7):
            for _ in range(chance.randint(1, 30)):
                bench.clock.us += chance.randint(0, 1_500_000)
                # Some come late, some out of order, some early.
                second = max(0, bench.second - chance.choice([0, 0, 0, 0, 1, 2, 8, -3]))
                hub = chance.choice(["clicks", "views"])
                partition = chance.randrange(bench.hubs[hub].partitions)
                bench.publish(hub, second, chance.choice(users), partition)
            for job in chance.sample(["one", *bench.stages(), "spread"], k=2):
                number = chance.randrange(instances)
                bench.run_for(
                    job,
                    chance.choice([0.1, 1.2, 4]),
                    number=number if job != "one" else 0,
                    instances=instances if job != "one" else 1,
                    dies=chance.random() < 0.5,
                )
        bench.finish()
        found = bench.rows("spread")
        assert found == bench.rows("one")
        assert len(found) > 10
        counts = bench.progress.counts("spread")
        assert counts == bench.progress.counts("one")
    finally:
        bench.close()
