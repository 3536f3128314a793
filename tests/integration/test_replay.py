"""Starting from a time, and replaying: the same rows, from the first on whole."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from headrace.connect.console import ConsoleSink
from headrace.engine.starting import Start
from headrace.errors import Transient, UserError
from headrace.local.hub import Hub
from headrace.local.input_files import InputFiles
from headrace.local.namespace import Namespace
from headrace.project import Project
from headrace.project.replay import replay
from headrace.project.starting import start_jobs
from tests.integration.test_job_state import COUNTS, SECOND_US, START_US, Bench, at

EVERY = COUNTS.replace("INTO rows", "INTO every")
LOOKING_BACK = """
SELECT System.Timestamp() AS id, s - LAG(s, 2) OVER (LIMIT DURATION(second, 20)) AS n INTO rows
FROM events TIMESTAMP BY t
"""
JOINED = """
SELECT a.t AS id, a.s * 1000 + b.s AS n INTO rows FROM events a TIMESTAMP BY t
JOIN others b TIMESTAMP BY t ON DATEDIFF(second, a, b) BETWEEN -3 AND 3 AND a.s = b.s
"""


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.namespace.close()


def filled(bench, sql):
    """A job that has run over events of three minutes, and its table."""
    for second in range(1, 181, 3):
        bench.publish(second, partition=second % 3)
        bench.publish(second, hub="others")
    bench.run_for(sql, 60)
    return bench.counts()


def replayed(bench, where, folder):
    replay(Project.load(bench.folder), "job", Start.read(where), folder)
    lines = (folder / "rows.jsonl").read_text().splitlines()
    return {row["id"]: row["n"] for row in map(json.loads, lines)}


@pytest.mark.parametrize("sql", [COUNTS, LOOKING_BACK, JOINED], ids=["windows", "over", "join"])
def test_a_replay_gives_the_same_rows_and_from_a_time_on_the_same_rows_from_there(bench, sql, tmp_path):
    table = filled(bench, sql)
    assert len(table) > 15
    assert replayed(bench, "beginning", tmp_path / "all") == table
    for second in (30, 60, 61, 100):
        found = replayed(bench, at(second), tmp_path / f"from {second}")
        assert found == {key: n for key, n in table.items() if key >= at(second)}
    assert bench.counts() == table


def test_a_job_that_starts_from_a_time_writes_its_rows_where_they_were(bench):
    filled(bench, EVERY)
    before = bench.rows("every")
    start_jobs(Project.load(bench.folder), bench.namespace, ["job"], Start.read(at(60)))
    bench.run_for(EVERY, 60)
    assert bench.rows("every") == before
    assert bench.progress.counts("job")["rows_out"] == len(before) + sum(
        row["id"] >= at(60) for row in before.values()
    )


def test_no_job_is_moved_where_one_of_them_cannot_be(bench):
    filled(bench, COUNTS)
    with (bench.folder / "headrace.toml").open("a") as settings:
        settings.write('\n[jobs.worker]\nsql = "SELECT n AS id INTO rows FROM work"\n')
    assert bench.progress.tasks_with_state("job") == ["state"]
    with pytest.raises(UserError, match="job 'worker' can only go on where it stopped"):
        start_jobs(Project.load(bench.folder), bench.namespace, ["job", "worker"], Start.read("now"))
    assert bench.progress.tasks_with_state("job") == ["state"]


def test_a_job_that_starts_now_sees_only_new_events(bench):
    filled(bench, COUNTS)
    start_jobs(Project.load(bench.folder), bench.namespace, ["job"], Start.read("now"))
    before = bench.counts()
    bench.publish(301, 302)
    bench.clock.us = START_US + 330 * SECOND_US
    bench.run_for(COUNTS, 30)
    assert bench.counts() == before | {at(310): 2}


def test_a_query_without_state_starts_from_a_time_too(bench, tmp_path):
    table = filled(bench, "SELECT t AS id, s AS n INTO rows FROM events TIMESTAMP BY t")
    found = replayed(bench, at(90), tmp_path / "out")
    assert found == {key: n for key, n in table.items() if key >= at(90)}


def test_what_cannot_be_read_again_or_would_be_overwritten_is_refused(bench, tmp_path):
    (bench.folder / "job.sql").write_text("SELECT n AS id INTO rows FROM work")
    project = Project.load(bench.folder)
    with pytest.raises(
        UserError, match="input 'work' is a queue, whose messages are gone once they are done"
    ):
        replay(project, "job", Start.read("beginning"), tmp_path)
    (bench.folder / "job.sql").write_text(COUNTS)
    (tmp_path / "rows.jsonl").write_text("mine")
    with pytest.raises(UserError, match=r"rows\.jsonl is there already"):
        replay(project, "job", Start.read("beginning"), tmp_path)


def test_nothing_starts_elsewhere_from_a_time_to_come_or_while_an_instance_has_not_ended(bench):
    filled(bench, COUNTS)
    project = Project.load(bench.folder)
    with pytest.raises(UserError, match="a time that is still to come"):
        start_jobs(project, bench.namespace, ["job"], Start.read("2026-02-01"))
    left = bench.progress.acquire("job", "instance-0", "me")
    with pytest.raises(Transient, match=r"instance-0 of an earlier run, process .* has not ended yet"):
        start_jobs(project, bench.namespace, ["job"], Start.read("beginning"))
    left.release()
    start_jobs(project, bench.namespace, ["job"], Start.read("beginning"))
    assert bench.progress.positions("job", "events/0")[("events", 0)].next_offset == 0


BEFORE_THE_FIRST_YEAR = "0001-01-01T00:00:00+14:00"


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "LAST", BEFORE_THE_FIRST_YEAR])
def test_a_start_that_nobody_understands_is_refused_with_what_there_is(text):
    with pytest.raises(UserError, match="say last, beginning, now, or a time such as 2026"):
        Start.read(text)


def test_a_time_without_a_zone_is_utc():
    assert Start.read("1970-01-01T01:00:00+01:00") == Start.read("1970-01-01") == Start("time", 0)


def test_a_replay_has_the_rows_that_each_partition_is_certain_of(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.clicks]\nkind = "hub"\npartitions = 2\nkey = "s"\n\n[outputs.rows]\nkind = "table"\n\n'
        "[jobs.job]\nlate_seconds = 86400\n"
        'sql = "SELECT s INTO rows FROM clicks TIMESTAMP BY t GROUP BY s, TumblingWindow(second, 10)"\n'
    )
    project = Project.load(tmp_path)
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    with (
        Namespace.open(project.data) as namespace,
        Hub.ensure(namespace.hubs_folder, "clicks", partitions=2) as hub,
    ):
        for partition, seconds in ((0, (1, 25)), (1, (2,))):
            events = [{"s": s, "t": (begin + timedelta(seconds=s)).isoformat()} for s in seconds]
            hub.publish_bodies([json.dumps(event).encode() for event in events], partition=partition)
    replay(project, "job", Start.read("beginning"), tmp_path / "out")
    assert (tmp_path / "out" / "rows.jsonl").read_text() == '{"s":1}\n'


def test_rows_of_a_replay_that_nobody_reads_are_let_go_and_those_of_a_job_are_kept(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        with pytest.raises(UserError, match="rows wait until the job runs again"):
            ConsoleSink().deliver(b"{}", "job", 1)
        with pytest.raises(BrokenPipeError):
            ConsoleSink(kept=False).deliver(b"{}", "job", 1)
        with open(os.devnull, "w") as nowhere:  # what is in its buffer still
            os.dup2(nowhere.fileno(), writing)


@pytest.mark.parametrize("where", ["last", "now"])
def test_a_replay_from_where_there_is_nothing_to_replay_is_refused(bench, tmp_path, where):
    with pytest.raises(UserError, match=f"cannot start from '{where}': say beginning, or a time"):
        replay(Project.load(bench.folder), "job", Start.read(where), tmp_path)


def test_a_replay_of_files_leaves_those_that_the_job_has_on_record_alone(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.lines]\nkind = "file"\npath = "in/*.jsonl"\n\n[outputs.rows]\nkind = "table"\n\n'
        '[jobs.job]\nsql = "SELECT id INTO rows FROM lines"\n'
    )
    (tmp_path / "in").mkdir()
    project = Project.load(tmp_path)
    with Namespace.open(project.data) as namespace:
        for name in ("a", "b"):
            (tmp_path / "in" / f"{name}.jsonl").write_text(f'{{"id": "{name}"}}\n')
        assert replay(project, "job", Start.read("beginning"), tmp_path / "out").events == 2
        assert InputFiles(namespace, "job", "lines").since(0) == []
