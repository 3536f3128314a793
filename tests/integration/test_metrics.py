"""Metrics: every one is documented, parses as Prometheus reads it, and tells what status tells."""

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.engine.lag import Lag
from headrace.errors import Transient
from headrace.local.progress import Condition, InstanceState
from headrace.local.standing import Waiting
from headrace.names import stage_name
from headrace.project import Project
from headrace.project.status import JobStatus, looking
from headrace.web.metrics import METRICS, MOST_PARTITIONS, exposition, samples
from headrace.web.server import serving
from headrace.web.watching import watch_app
from tests.docs.pages import DOCS, Table, parts
from tests.integration.command import Commands

COUNTERS = {
    "epochs": 3,
    "cpu_ms": 1500.0,
    "wall_ms": 9000.0,
    "idle_ms": 1.0,
    "lock_wait_ms": 1.0,
    "ahead_wait_ms": 1.0,
    "background_ms": 1.0,
    "memory_bytes": 5,
    "batch_limit_rows": 64,
    "state_rows": 9,
    **{
        f"query_{what}": 2000
        for what in ("ms", "cpu_ms", "calls", "rows_in", "rows_out", "bytes_in", "bytes_out")
    },
    "events/in": 7,
    "late/in": 2,
}
STATE = InstanceState("j", "instance-0", 1, 0, 9_000_000, COUNTERS, Condition("running", 0))
STAGE = STATE._replace(job=stage_name("j", "in"))


def status(**changes):
    given = {
        "job": "j",
        "health": "running",
        "at_us": 10_000_000,
        "instances": [STATE],
        "lags": [
            Lag("in", 0, 5, "events", 4_000_000, 3_000_000),
            Lag("q", 0, 1, "messages"),
            Lag("f", 0, 2, "bytes"),
            Lag("in", 0, 7, "rows", 9_000_000),
        ],
        "totals": {"events_in": 8, "rows_out": 4, "dead": 1},
        "dead_letters": 1,
        "outbox": {"out": Waiting(1, 20)},
        "state_bytes": {"state": 30},
        "committed_us": 8_000_000,
    }
    return JobStatus(**(given | changes))


def values(found):
    text = exposition(found)[0].decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_every_metric_has_samples_and_every_sample_is_of_one():
    assert {sample.name for sample in samples([status()])} == {metric.name for metric in METRICS}


def test_names_end_in_their_unit_and_counters_in_total():
    units = ("_seconds", "_bytes", "_rows", "_events", "_messages", "_blocks", "_total", "_letters")
    odd = {"headrace_job_health", "headrace_job_instances"}
    assert all(metric.name.endswith(units) or metric.name in odd for metric in METRICS)


def test_the_page_is_what_prometheus_reads():
    found = {name: value for (name, _), value in values([status()]).items()}
    assert found["headrace_job_events_total"] == 8
    assert found["headrace_lag_events"] == 5
    assert found["headrace_lag_messages"] == 1
    assert found["headrace_lag_bytes"] == 2
    assert found["headrace_lag_rows"] == 7
    assert found["headrace_watermark_delay_seconds"] == 7.0
    assert found["headrace_stage_busy_seconds_total"] == 2.0
    assert found["headrace_instance_cpu_seconds_total"] == 1.5
    assert found["headrace_input_late_total"] == 2
    assert found["headrace_outbox_bytes"] == 20


def test_the_page_of_documentation_has_each_metric_with_its_labels_and_meaning():
    tables = [part for part in parts(DOCS / "watching.md") if isinstance(part, Table)]
    [table] = [table for table in tables if table.heads[0] == "metric"]
    assert table.rows == tuple((m.name, ", ".join(m.labels), m.help) for m in METRICS)


def test_one_word_of_health_is_1():
    health = {s.labels[1]: s.value for s in samples([status()]) if s.name == "headrace_job_health"}
    assert (health.pop("running"), set(health.values())) == (1.0, {0.0})


def test_many_partitions_are_told_as_one():
    lags = [Lag("in", number, 2, "events", 1_000_000 * number) for number in range(MOST_PARTITIONS + 1)]
    found = {s.name: s for s in samples([status(lags=lags)]) if s.name.startswith("headrace_lag")}
    assert found["headrace_lag_events"].labels == ("j", "in", "all")
    assert found["headrace_lag_events"].value == 2 * (MOST_PARTITIONS + 1)
    assert found["headrace_lag_seconds"].value == 10.0


def test_what_is_between_two_stages_is_told_apart_from_the_input():
    found = [s for s in samples([status()]) if s.name == "headrace_lag_seconds"]
    assert {s.labels[1]: s.value for s in found} == {"in": 6, "q": 0, "f": 0, "in, repartitioned": 1}


def test_the_first_stage_of_a_job_has_instances_of_its_own():
    name = "headrace_instance_epochs_total"
    labels = [s.labels for s in samples([status(instances=[STATE, STAGE])]) if s.name == name]
    assert labels == [("j", "0"), ("j", "in/0")]


def test_odd_names_are_escaped():
    assert values([status(outbox={'a"b\\c\nd': Waiting(1, 1)})])


def test_a_server_answers_metrics_and_status(tmp_path, capsys):
    headrace = Commands(tmp_path, capsys)
    headrace("send", "papers", headrace.write("p.jsonl", '{"id":"1","title":"a"}\n'))
    project = Project.load(tmp_path)
    with looking(project, ["copy"]) as looks, serving(watch_app(looks.look)) as url:
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            assert answer.headers["content-type"].startswith("text/plain; version=")
            families = list(text_string_to_metric_families(answer.read().decode()))
        with urllib.request.urlopen(f"{url}/status") as answer:
            [job] = json.load(answer)["jobs"]
    assert sum(s.value for f in families if f.name == "headrace_lag_events" for s in f.samples) == 1
    assert (job["job"], job["waiting"]) == ("copy", {"events": 1})


def test_a_look_that_fails_is_answered_with_the_reason():
    def look():
        raise Transient("the disk is full")

    with serving(watch_app(look)) as url:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/status")
        assert (caught.value.code, caught.value.read()) == (503, b"the disk is full")
        caught.value.close()


def test_another_host_name_is_refused():
    with serving(watch_app(list)) as url:
        request = urllib.request.Request(f"{url}/status", headers={"Host": "rebound.example"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400
        caught.value.close()
