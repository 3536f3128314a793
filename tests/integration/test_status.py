"""`headrace status` and `headrace top`: jobs before, during and after they run."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from headrace.cli.top import picture
from headrace.engine.telemetry import rates
from headrace.errors import Transient
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Condition, InstanceState, Progress
from headrace.project import Project
from headrace.project.status import looking
from tests.integration.command import Commands


@pytest.fixture
def headrace(tmp_path, capsys):
    return Commands(tmp_path, capsys)


def test_before_anything_is_stored_it_says_so(headrace):
    answer = headrace("status")
    assert answer.exit_code == 2
    assert "nothing is stored" in answer.err


def test_a_job_that_there_is_not_is_named(headrace):
    answer = headrace("status", "cpy")
    assert (answer.exit_code, "Did you mean 'copy'" in answer.err) == (2, True)


def test_what_waits_is_told_while_no_job_runs_and_is_gone_behind_a_run(headrace):
    headrace.write("p.jsonl", '{"id":"1","title":"a"}\n{"id":"2","title":"b"}\nnothing\n')
    headrace("send", "papers", headrace.folder / "p.jsonl")
    [before] = headrace("status", "copy", "--json").document["jobs"]
    assert (before["health"], before["waiting"], before["committed_age_s"]) == (
        "stopped",
        {"events": 3},
        None,
    )
    assert sum(part["waiting"] for part in before["inputs"]) == 3
    headrace("run", "copy", "--until-end")
    [after] = headrace("status", "copy", "--json").document["jobs"]
    assert (after["health"], after["waiting"], after["dead_letters"]) == ("stopped", {"events": 0}, 1)
    assert after["totals"] == {"events_in": 3, "rows_out": 2, "dead": 1}
    assert after["committed_age_s"] < 60
    [instance] = after["instances"]
    assert instance["counters"]["events/papers"] == 3
    assert instance["counters"]["rejected/papers"] == 1
    assert instance["counters"]["decode_rows_in"] == 3
    assert instance["state"] == "ended"


def test_as_text_there_is_a_row_for_each_job_and_each_partition(headrace):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    answer = headrace("status")
    lines = [line.split() for line in answer.out.splitlines()]
    assert answer.exit_code == 0
    assert ["copy", "stopped", "0", "0", "0", "1", "event"] in [line[:7] for line in lines]
    assert sum(line[:2] == ["copy", "papers"] for line in lines) == 4


def test_an_output_that_is_retried_is_told_with_the_reason(headrace):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    with Namespace.open(headrace.folder / ".headrace") as namespace:
        now_us = namespace.clock.now_us()
        progress = Progress(namespace)
        condition = Condition("retrying", now_us - 5_000_000, "output 'titles': refused")
        with_run = progress.acquire("copy", "run", "headrace run")
        progress.beat("copy", "instance-0", {"memory_bytes": 5e7}, condition)
        answer = headrace("status", "copy")
        line = headrace("top", "copy", "--looks", 1)
        with_run.release()
    assert "copy, instance 0: retrying since" in answer.out
    assert "output 'titles': refused" in answer.out
    assert "copy: retrying" in line.out


def test_watching_ends_after_so_many_looks_with_a_document_each(headrace, monkeypatch):
    monkeypatch.setattr("headrace.cli.status.PAUSE_S", 0)
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    answer = headrace("status", "copy", "--watch", "--looks", 3, "--json")
    documents = [json.loads(line) for line in answer.out.splitlines()]
    assert [document["jobs"][0]["health"] for document in documents] == ["stopped"] * 3


def test_top_prints_a_line_for_each_job_where_there_is_no_terminal(headrace):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    answer = headrace("top", "--looks", 1)
    assert answer.exit_code == 0
    first, second = answer.out.splitlines()
    assert first.startswith("copy: stopped, 0 events/s in, 0 rows/s out, waiting 1 event, oldest ")
    assert second == "drain: stopped, 0 events/s in, 0 rows/s out, waiting nothing"


def test_a_hub_that_cannot_be_read_is_trouble_and_no_end_of_looking(headrace):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    [name] = Hub.names(headrace.folder / ".headrace" / "hubs")
    (headrace.folder / ".headrace" / "hubs" / f"{name}.db").write_bytes(b"no database" * 100)
    answer = headrace("status", "copy")
    assert answer.exit_code == 0
    assert "copy: input 'papers':" in answer.out


def test_where_locks_cannot_be_looked_at_the_heartbeat_says_who_runs(headrace, monkeypatch):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))

    def refused(*_):
        raise Transient("a read-only folder")

    monkeypatch.setattr("headrace.local.progress.Progress.is_held", refused)
    assert headrace("status", "copy", "--json").document["jobs"][0]["health"] == "stopped"
    with Namespace.open(headrace.folder / ".headrace") as namespace:
        now_us = namespace.clock.now_us()
        Progress(namespace).beat("copy", "instance-0", {}, Condition("running", now_us))
    assert headrace("status", "copy", "--json").document["jobs"][0]["health"] == "running"


def test_the_live_picture_has_a_bar_for_each_stage(headrace):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    with looking(Project.load(headrace.folder), ["copy"]) as looks:
        [status] = looks.look()
    first = InstanceState("copy", "instance-0", 1, 0, 1_000_000, {}, Condition("running", 0))
    second = first._replace(heartbeat_us=2_000_000, counters={"decode_ms": 500, "memory_bytes": 7e7})
    found = rates(first, second)
    status = replace(status, health="running", instances=[second], rates={"copy instance-0": found})
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(picture([status]))
    text = console.export_text()
    assert "████░░░░  50%" in text
    assert all(word in text for word in ("copy 0", "decode", "deliver", "idle", "1 event", "70 MB"))


def test_the_log_of_a_run_is_a_json_object_a_line(headrace):
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\nnothing\n'))
    answer = headrace.process("run", "copy", "--until-end", "--log", "json")
    lines = [json.loads(line) for line in answer.stderr.splitlines()]
    events = [line["event"] for line in lines if line["level"] == "info"]
    assert {"started", "tasks_taken", "rejected", "dead_letters", "ended"} == set(events)
    assert all({"time", "level", "event", "message"} <= line.keys() for line in lines)
