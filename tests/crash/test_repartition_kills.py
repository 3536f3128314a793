"""A job in two stages, two instances of each, is killed at every point and at any moment: no row differs."""

import json
import os
import random
import signal
from datetime import UTC, datetime, timedelta

import pytest

from headrace.clock import SystemClock
from headrace.faults import POINTS
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from headrace.testing.fleet import Fleet, Member
from tests.crash.processes import Sandbox, wait_until

SETTINGS = """
[inputs.readings]
kind = "hub"
partitions = 3
key = "site"
[outputs.counts]
kind = "table"
partition_key = "sensor"
row_key = "at"
[outputs.closed]
kind = "hub"
partitions = 1
[jobs.watch]
query = "watch.sql"
instances = 2
late_seconds = 1728000
"""

QUERY = """
WITH counted AS (
    SELECT sensor, COUNT(*) AS n, SUM(id) AS total, System.Timestamp() AS at
    FROM readings TIMESTAMP BY t PARTITION BY sensor INTO 4
    GROUP BY sensor, TumblingWindow(minute, 2)
)
SELECT * INTO counts FROM counted;
SELECT * INTO closed FROM counted
"""

#: Points that every epoch of either stage passes.
POINTS_OF_BOTH = [point for point in POINTS if point.startswith("job.") and point != "job.staged"]


#: So many events are a day, and the last one is as far behind the others: it may not be in the future.
A_DAY = 8_640


class Watched:
    """A project whose events follow from their numbers: 10 s apart, ten days ago, so that none is late."""

    def __init__(self, folder, base):
        folder.mkdir()
        self.sandbox = Sandbox(folder)
        self.sandbox.write(headrace__toml=SETTINGS, watch__sql=QUERY)
        self.base, self.events = base, 0
        self.readings = Hub.ensure(self.sandbox.data / "hubs", "readings", partitions=3)

    def body(self, number, sensor):
        at = self.base + timedelta(seconds=10 * number)
        return json.dumps({"id": number, "t": at.isoformat(), "sensor": sensor}).encode()

    def publish(self, events):
        numbers = range(self.events, self.events + events)
        for partition in range(3):
            bodies = [self.body(n, n % 7) for n in numbers if n % 3 == partition]
            if bodies:
                self.readings.publish_bodies(bodies, partition=partition)
        self.events += events

    def finish(self):
        """Publish what tells that all time before has passed, and run the job to the end of its inputs."""
        for partition in range(3):
            self.readings.publish_bodies([self.body(self.events + A_DAY, -1)], partition=partition)
        ended = self.sandbox.run("run", "watch", "--until-end")
        assert ended.returncode == 0, ended.stderr

    def expected(self):
        found = {}
        for number in range(self.events):
            at = self.base + timedelta(minutes=(number + 11) // 12 * 2)
            key = (str(number % 7), at.strftime("%Y-%m-%dT%H:%M:%S.0000000Z"))
            row = found.setdefault(key, {"n": 0, "total": 0})
            row["n"] += 1
            row["total"] += number
        return found

    def check(self):
        with Namespace.open(self.sandbox.data) as namespace:
            rows = Table(namespace, "counts").read()
            found = {(row.partition_key, row.row_key): json.loads(row.properties) for row in rows}
            counts = Progress(namespace).counts("watch")
        expected = self.expected()
        assert found == expected
        with Hub.open(self.sandbox.data / "hubs", "closed") as hub:
            bodies = hub.read(0, 0, max_events=1_000_000, max_bytes=1 << 30).bodies
        rows = [(str(row["sensor"]), row["at"], row["n"], row["total"]) for row in map(json.loads, bodies)]
        assert sorted(rows) == sorted((*key, row["n"], row["total"]) for key, row in expected.items())
        assert counts == {"events_in": self.events + 3, "rows_out": 2 * len(expected), "dead": 0}


@pytest.fixture
def base():
    now = datetime.now(UTC) - timedelta(days=10)
    return now.replace(minute=0, second=0, microsecond=0)


def members(watched):
    for stage in ("first", "second"):
        for number in range(2):
            words = watched.sandbox.command("run", "watch", "--instance", str(number))
            words += ["--stage", "readings"] if stage == "first" else []
            name = f"{stage}-{number}"
            yield Member(name, "watch", words, watched.sandbox.folder / f"{name}.log")


def test_kills_of_both_stages_lose_double_and_change_nothing(tmp_path, base):
    chance = random.Random(11)
    watched, fleet = Watched(tmp_path / "project", base), Fleet(SystemClock())
    fleet.members += members(watched)
    first, second = fleet.members[:2], fleet.members[2:]
    try:
        for member in fleet.members:
            fleet.start(member)
        # Each point in each stage, in any order, and some moments that chance chooses.
        kills = [(stage, point) for stage in (first, second) for point in (*POINTS_OF_BOTH, None)]
        for stage, point in chance.sample(kills, len(kills)):
            victim = chance.choice(stage)
            fleet.kill([victim])
            fleet.start(victim, point, chance.randint(1, 4))
            if point is None:
                watched.publish(chance.randint(100, 400))
                SystemClock().sleep(chance.uniform(0.5, 1))
                fleet.kill([victim])
            else:
                wait_until(lambda: watched.publish(chance.randint(1, 40)) or fleet.ended())
            assert victim.exit_code == -signal.SIGKILL, fleet.report()
            fleet.start(victim)
    finally:
        fleet.close()
    watched.finish()
    watched.check()
    watched.readings.close()


def instances(watched):
    """The processes that run either stage now, by their job and number."""
    with Namespace.open(watched.sandbox.data) as namespace:
        progress = Progress(namespace)
        return {
            (job, state.number): state.pid
            for job in ("watch", "watch~readings")
            for state in progress.instances(job)
            if progress.is_held(job, state.instance)
        }


def test_a_run_goes_on_after_kills_of_its_instances_is_scaled_with_both_stages_and_stopped(tmp_path, base):
    chance, watched = random.Random(5), Watched(tmp_path / "project", base)
    with watched.sandbox.running("run", "watch") as running:
        wait_until(lambda: len(instances(watched)) == 4)
        for _ in range(4):
            watched.publish(chance.randint(100, 300))
            (job, number), pid = chance.choice(sorted(instances(watched).items()))
            os.kill(pid, signal.SIGKILL)
            wait_until(
                lambda job=job, number=number, pid=pid: instances(watched).get((job, number), pid) != pid
            )
        assert watched.sandbox.run("scale", "watch", "3").returncode == 0
        wait_until(lambda: len(instances(watched)) == 6)
        watched.publish(200)
        assert watched.sandbox.run("stop", "watch").returncode == 0
        assert running.wait(30) == 0
    assert instances(watched) == {}
    watched.finish()
    watched.check()
    watched.readings.close()
