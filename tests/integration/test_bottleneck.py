"""`headrace bottleneck` names what limits a job that really runs."""

import json

import pytest

from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from tests.crash.processes import Sandbox, wait_until

SETTINGS = """
inputs.events = { kind = "hub", key = "id" }
outputs.results = { kind = "table" }
functions.slow = { python = "functions.py:slow" }
[jobs.work]
query = "work.sql"
instances = %d
"""
FUNCTIONS = """
import time

def slow(value):
    time.sleep(0.002)
    return value
"""
SLOW_MODEL = "SELECT id, slow(value) AS answer INTO results FROM events"
QUICK = "SELECT id INTO results FROM events WHERE value < 0"


@pytest.mark.parametrize(
    ("limit", "held_by", "sql", "events", "partitions", "instances"),
    [
        ("score", None, SLOW_MODEL, 40_000, 4, 1),
        ("score", "partitions", SLOW_MODEL, 40_000, 1, 1),
        ("partitions", "partitions", SLOW_MODEL, 40_000, 1, 2),
        ("input", "input", QUICK, 100, 4, 1),
    ],
    ids=["slow model", "one partition", "an instance without work", "nothing to read"],
)
def test_what_limits_a_running_job_is_named(tmp_path, limit, held_by, sql, events, partitions, instances):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS % instances, functions__py=FUNCTIONS, work__sql=sql)
    bodies = [json.dumps({"id": number, "value": number % 10}).encode() for number in range(events)]
    sandbox.publish("events", bodies, partitions=partitions)

    def all_at_work():
        with Namespace.open(sandbox.data) as namespace:
            states = Progress(namespace).instances("work")
        return len(states) == instances and any(state.counters["epochs"] for state in states)

    with sandbox.running("run", "work"):
        wait_until(all_at_work)
        asked = sandbox.run("bottleneck", "work", "--seconds", "2", "--json")
        told = sandbox.run("bottleneck", "work", "--seconds", "1")
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert found["limit"] == limit, asked.stdout
    if held_by is not None:  # else that depends on what this machine has to do besides
        assert found["held_by"] == held_by
    assert f"limited by {limit}" in told.stdout


def test_a_job_that_does_not_run_has_none(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS % 1, functions__py=FUNCTIONS, work__sql=QUICK)
    sandbox.publish("events", [b'{"id": 1, "value": 1}'])
    assert sandbox.run("run", "--until-end").returncode == 0
    asked = sandbox.run("bottleneck", "work")
    assert asked.returncode == 2
    assert "is not running" in asked.stderr
