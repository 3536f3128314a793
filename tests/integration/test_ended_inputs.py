"""Inputs that end at different times: what has ended holds nothing up."""

import json

import pytest

from headrace.clock import ManualClock
from headrace.engine import timeline
from headrace.engine.job import Instance
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.project import Project
from headrace.project.opening import opened_job

SETTINGS = """
[inputs.short]
kind = "file"
path = "short.jsonl"
[inputs.long]
kind = "file"
path = "long.jsonl"
[outputs.rows]
kind = "file"
path = "rows.jsonl"
[jobs.job]
query = "job.sql"
"""

JOINED = """
SELECT a.id, b.id AS other INTO rows FROM short a TIMESTAMP BY t JOIN long b TIMESTAMP BY t
ON a.id = b.id AND DATEDIFF(second, a, b) BETWEEN 0 AND 100
"""

COUNTED = """
WITH both AS (SELECT id FROM short TIMESTAMP BY t UNION SELECT id FROM long TIMESTAMP BY t)
SELECT System.Timestamp() AS at, COUNT(*) AS n INTO rows FROM both GROUP BY TumblingWindow(minute, 1)
"""

EVENTS = 3_000


def lines(count):
    events = ({"id": n, "t": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"} for n in range(count))
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.mark.parametrize(("query", "rows"), [(JOINED, 5), (COUNTED, 51)], ids=["join", "window"])
def test_a_file_that_goes_on_long_behind_the_end_of_another_is_read_to_its_end(
    tmp_path, monkeypatch, query, rows
):
    monkeypatch.setattr(timeline, "MAX_WAITING_ROWS", 50)
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    (tmp_path / "job.sql").write_text(query)
    (tmp_path / "short.jsonl").write_text(lines(5))
    (tmp_path / "long.jsonl").write_text(lines(EVENTS))
    clock = ManualClock()
    end_us = clock.us + 60_000_000

    def wanted():
        assert clock.us < end_us, "the job does not end"
        return True

    with Namespace.open(tmp_path / ".headrace", clock=clock) as namespace:
        Progress(namespace).request_stop("job", "end")
        with opened_job(Project.load(tmp_path), namespace, "job", 0) as opened:
            Instance(opened, namespace, clock=clock, wanted=wanted).run()
    found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(found) == rows
    if query == COUNTED:
        assert sum(row["n"] for row in found) == EVENTS + 5
