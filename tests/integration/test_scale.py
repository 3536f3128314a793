"""`headrace scale`: instances come and go while a job runs, and nothing is lost or doubled."""

import json
from collections import Counter

import pytest

from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from tests.crash.processes import Sandbox, wait_until

SETTINGS = '''
[inputs.events]
kind = "hub"
key = "k"
[outputs.counts]
kind = "table"
partition_key = "k"
row_key = "at"
[outputs.each]
kind = "hub"
partitions = 1
[jobs.count]
sql = """
SELECT k, COUNT(*) AS n, System.Timestamp() AS at INTO counts
FROM events TIMESTAMP BY t GROUP BY k, TumblingWindow(minute, 1);
"""
late_seconds = 1728000
[jobs.pass]
sql = "SELECT k, t INTO each FROM events"
'''


@pytest.mark.parametrize("job", ["count", "pass"])
def test_a_running_job_gets_more_instances_and_fewer(tmp_path, job):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS)
    hub = Hub.ensure(sandbox.data / "hubs", "events", partitions=3)
    sent = 0

    def publish(count):
        nonlocal sent
        numbers = range(sent, sent + count)
        bodies = [json.dumps({"k": n % 13, "t": "2026-11-11T00:00:30Z"}).encode() for n in numbers]
        hub.publish_bodies(bodies, keys=[str(n % 13) for n in numbers])
        sent += count

    def done():
        with Namespace.open(sandbox.data) as namespace:
            return Progress(namespace).counts(job).get("events_in", 0) == sent

    def busy():
        with Namespace.open(sandbox.data) as namespace:
            states = Progress(namespace).instances(job)
        return {state.number for state in states if state.counters["events_in"]}

    with sandbox.running("run", job) as process:
        publish(100)
        wait_until(done)
        for instances in (3, 1, 2):
            scaled = sandbox.run("scale", job, str(instances))
            assert scaled.returncode == 0, scaled.stderr
            publish(100)
            wait_until(done)
            if instances == 3:
                wait_until(lambda: publish(20) or busy() >= {0, 1, 2})
        process.terminate()
        assert process.wait(timeout=30) == 0
    for partition in range(3):
        hub.publish_bodies([b'{"k": -1, "t": "2026-11-15T00:00:00Z"}'], partition=partition)
    assert sandbox.run("run", job, "--until-end").returncode == 0
    expected = Counter(str(n % 13) for n in range(sent))
    with Namespace.open(sandbox.data) as namespace:
        if job == "count":
            rows = {e.partition_key: json.loads(e.properties)["n"] for e in Table(namespace, "counts").read()}
            found = Counter({key: n for key, n in rows.items() if key != "-1"})
        else:
            with Hub.open(sandbox.data / "hubs", "each") as each:
                read = each.read(0, 0, max_events=1_000_000, max_bytes=1 << 30)
            found = Counter(str(json.loads(line)["k"]) for line in read.bodies)
            expected["-1"] = 3
    hub.close()
    assert found == expected
