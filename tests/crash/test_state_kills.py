"""A job with windows and a join is killed at every point and at any moment, and no row differs."""

import json
import random
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from headrace.clock import SystemClock
from headrace.engine.stateful import STATE_TASK
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
[inputs.labels]
kind = "hub"
partitions = 1
[outputs.counts]
kind = "table"
partition_key = "sensor"
row_key = "at"
[outputs.pairs]
kind = "table"
row_key = "id"
[outputs.closed]
kind = "hub"
partitions = 1
[outputs.log]
kind = "file"
path = "log.jsonl"
[jobs.watch]
query = "watch.sql"
instances = 2
late_seconds = 1728000
"""

QUERY = """
WITH counted AS (
    SELECT sensor, COUNT(*) AS n, SUM(id) AS total, System.Timestamp() AS at
    FROM readings TIMESTAMP BY t GROUP BY sensor, TumblingWindow(minute, 2)
)
SELECT * INTO counts FROM counted;
SELECT * INTO closed FROM counted;
SELECT * INTO log FROM counted;
SELECT r.id, r.sensor, l.label INTO pairs
FROM readings r TIMESTAMP BY t JOIN labels l TIMESTAMP BY t
ON r.id = l.id AND DATEDIFF(minute, r, l) BETWEEN 0 AND 5
"""

#: Where the job is killed: at each of its points, and (None) at moments that chance chooses.
KILLS = [*(point for point in POINTS if point.startswith("job.")), None, None] * 2


class Watched:
    """A project whose events follow from their numbers: 10 s apart, ten days ago, so that none is late."""

    def __init__(self, folder, base):
        folder.mkdir()
        self.sandbox = Sandbox(folder)
        self.sandbox.write(headrace__toml=SETTINGS, watch__sql=QUERY)
        self.base, self.events = base, 0
        hubs = self.sandbox.data / "hubs"
        self.readings = Hub.ensure(hubs, "readings", partitions=3)
        self.labels = Hub.ensure(hubs, "labels", partitions=1)

    def body(self, number, **fields):
        at = self.base + timedelta(seconds=10 * number)
        return json.dumps({"id": number, "t": at.isoformat(), **fields}).encode()

    def publish(self, events):
        """Publish the next events, each partition in their order."""
        numbers = range(self.events, self.events + events)
        for partition in range(3):
            bodies = [self.body(n, sensor=n % 7) for n in numbers if n % 3 == partition]
            if bodies:
                self.readings.publish_bodies(bodies, partition=partition)
        bodies = [self.body(n, label=f"label {n}") for n in numbers if n % 2]
        if bodies:
            self.labels.publish_bodies(bodies, partition=0)
        self.events += events

    def finish(self):
        """Publish what tells that all time before has passed, and run the job to the end of its inputs."""
        far = self.events + 60_000
        for partition in range(3):
            self.readings.publish_bodies([self.body(far, sensor=-1)], partition=partition)
        self.labels.publish_bodies([self.body(far + 1, label="far")], partition=0)
        ended = self.sandbox.run("run", "watch", "--until-end")
        assert ended.returncode == 0, ended.stderr

    def expected(self):
        counts, totals, pairs = Counter(), Counter(), {}
        for number in range(self.events):
            at = self.base + timedelta(minutes=(number + 11) // 12 * 2)
            key = (str(number % 7), at.strftime("%Y-%m-%dT%H:%M:%S.0000000Z"))
            counts[key] += 1
            totals[key] += number
            if number % 2:
                pairs["", str(number)] = {"sensor": number % 7, "label": f"label {number}"}
        return {key: {"n": n, "total": totals[key]} for key, n in counts.items()}, pairs

    def found(self):
        with Namespace.open(self.sandbox.data) as namespace:
            return tuple(
                {
                    (e.partition_key, e.row_key): json.loads(e.properties)
                    for e in Table(namespace, table).read()
                }
                for table in ("counts", "pairs")
            )

    def closed(self):
        """The rows of the hub, and those of the files, however often each stands there."""
        with Hub.open(self.sandbox.data / "hubs", "closed") as hub:
            read = hub.read(0, 0, max_events=1_000_000, max_bytes=1 << 30)
        lines = [
            line for path in self.sandbox.folder.glob("log*.jsonl") for line in path.read_bytes().splitlines()
        ]
        return _counted(read.bodies), _counted(lines)

    def rows_out(self):
        with Namespace.open(self.sandbox.data) as namespace:
            counts = Progress(namespace).counts("watch")
        assert counts["dead"] == 0
        assert counts["events_in"] == sum(self.readings.ends()) + sum(self.labels.ends())
        return counts["rows_out"]

    def owner_moved(self, past):
        with Namespace.open(self.sandbox.data) as namespace:
            epochs = Progress(namespace).epochs("watch", STATE_TASK)
            return bool(epochs) and epochs[-1].number > past

    def epoch(self):
        with Namespace.open(self.sandbox.data) as namespace:
            epochs = Progress(namespace).epochs("watch", STATE_TASK)
            return epochs[-1].number if epochs else 0

    def check(self):
        counts, pairs = self.expected()
        assert self.found() == (counts, pairs)
        closed = Counter((*key, row["n"], row["total"]) for key, row in counts.items())
        assert self.closed() == (closed, closed)
        assert self.rows_out() == 3 * len(counts) + len(pairs)

    def close(self):
        self.readings.close()
        self.labels.close()


def _counted(lines):
    rows = [json.loads(line) for line in lines]
    return Counter((str(row["sensor"]), row["at"], row["n"], row["total"]) for row in rows)


@pytest.fixture
def base():
    now = datetime.now(UTC) - timedelta(days=10)
    return now.replace(minute=0, second=0, microsecond=0)


def member(watched, number):
    words = watched.sandbox.command("run", "watch", "--instance", str(number))
    return Member(f"watch-{number}", "watch", words, watched.sandbox.folder / f"watch-{number}.log")


def test_kills_of_a_job_with_state_lose_double_and_change_nothing(tmp_path, base):
    chance = random.Random(4)
    watched = Watched(tmp_path / "disturbed", base)
    fleet, first, standby = Fleet(SystemClock()), member(watched, 0), member(watched, 1)
    fleet.members += [first, standby]
    try:
        for point in KILLS:
            before = watched.epoch()
            fleet.start(first, point, chance.randint(1, 6))
            if point is None:
                watched.publish(chance.randint(1, 40))
                wait_until(lambda before=before: watched.owner_moved(before))
                watched.publish(chance.randint(1, 400))
                SystemClock().sleep(chance.uniform(0, 0.04))
                fleet.kill([first])
            else:
                wait_until(lambda: watched.publish(chance.randint(1, 40)) or fleet.ended())
            assert first.exit_code == -signal.SIGKILL, first.said()
        # One that waits goes on where another was killed.
        fleet.start(standby)
        fleet.start(first)
        before = watched.epoch()
        watched.publish(50)
        wait_until(lambda: watched.owner_moved(before))
        fleet.kill([first])
        before = watched.epoch()
        watched.publish(50)
        wait_until(lambda: watched.owner_moved(before))
    finally:
        fleet.close()
    watched.finish()
    watched.check()

    undisturbed = Watched(tmp_path / "undisturbed", base)
    undisturbed.publish(watched.events)
    undisturbed.finish()
    undisturbed.check()
    assert undisturbed.found() == watched.found()
    for project in (watched, undisturbed):
        project.close()
