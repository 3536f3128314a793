"""The job loop, in this process: what is read, what is written, what is set aside."""

import json
import uuid

import pytest

from headrace.connect.file_output import FileSink
from headrace.engine.job import Instance
from headrace.errors import DataError, Fatal, Transient, UserError
from headrace.local.dead_letters import DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.local.table import Table
from headrace.project import Project
from headrace.project.opening import opened_job

SETTINGS = """
[inputs.events]
kind = "hub"
partitions = 2

[inputs.work]
kind = "queue"

[inputs.sites]
kind = "reference"
path = "sites.csv"

[outputs.work]
kind = "queue"

[outputs.rows]
kind = "table"
row_key = "id"

[outputs.every]
kind = "table"

[outputs.echo]
kind = "hub"

[outputs.lines]
kind = "file"
path = "lines.jsonl"

[functions.double]
python = "functions.py:double"

[jobs.job]
query = "job.sql"
"""

FUNCTIONS = """
def double(value):
    if value == 13:
        raise ValueError("thirteen is refused")
    return value * 2
"""


class Bench:
    """A project with one job, whose query each test chooses."""

    def __init__(self, folder):
        (folder / "headrace.toml").write_text(SETTINGS)
        (folder / "functions.py").write_text(FUNCTIONS)
        self.folder = folder
        self.namespace = Namespace.open(folder / ".headrace")
        self.progress = Progress(self.namespace)

    def hub(self, name="events"):
        return Hub.ensure(self.namespace.hubs_folder, name, partitions=2)

    def publish(self, *events, name="events"):
        bodies = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        with self.hub(name) as hub:
            hub.publish_bodies(bodies)

    def send(self, *events):
        with self.namespace.transaction() as tx:
            Queue(self.namespace, "work").send(tx, [json.dumps(event).encode() for event in events])

    def run(self, sql):
        """Run the job to the end of its inputs."""
        (self.folder / "job.sql").write_text(sql)
        self.progress.request_stop("job", "end")
        project = Project.load(self.folder)
        with opened_job(project, self.namespace, "job", 0) as opened:
            Instance(opened, self.namespace).run()
        return self

    def rows(self, table="rows"):
        return {e.row_key: json.loads(e.properties) for e in Table(self.namespace, table).read()}

    def dead(self):
        return list(DeadLetters(self.namespace).find())


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.namespace.close()


def test_events_of_a_hub_become_rows_of_a_table(bench):
    bench.publish({"id": "a", "kw": 1.5}, {"id": "b", "kw": 7})
    bench.run("SELECT id, kw * 2 AS twice INTO rows FROM events WHERE kw > 2")
    assert bench.rows() == {"b": {"twice": 14}}
    assert bench.progress.counts("job") == {"events_in": 2, "rows_out": 1, "dead": 0}


def test_what_was_read_is_not_read_again(bench):
    bench.publish({"id": "a"})
    bench.run("SELECT id INTO every FROM events")
    bench.publish({"id": "b"})
    bench.run("SELECT id INTO every FROM events")
    assert sorted(row["id"] for row in bench.rows("every").values()) == ["a", "b"]


def test_rows_without_a_key_are_keyed_by_the_position_of_their_event(bench):
    with bench.hub() as hub:
        hub.publish_bodies([b'{"n":1}', b'[{"n":2},{"n":3}]'], partition=1)
    bench.run("SELECT n INTO every FROM events")
    assert bench.rows("every") == {
        "events/1/0": {"n": 1},
        "events/1/1": {"n": 2},
        "events/1/1/1": {"n": 3},
    }


def test_an_event_that_cannot_be_decoded_is_set_aside_with_its_bytes_and_its_neighbours_go_on(bench):
    bench.publish({"id": "a"}, b"not json at all", {"id": "b"})
    bench.run("SELECT id INTO rows FROM events")
    assert set(bench.rows()) == {"a", "b"}
    [letter] = bench.dead()
    assert letter.body == b"not json at all"
    assert (letter.job, letter.source_kind, letter.source) == ("job", "hub", "events")
    assert "JSON" in letter.reason


def test_an_event_that_a_function_fails_on_is_set_aside_with_the_reason(bench):
    bench.publish({"id": "a", "n": 4}, {"id": "b", "n": 13})
    bench.run("SELECT id, double(n) AS d INTO rows FROM events")
    assert bench.rows() == {"a": {"d": 8}}
    [letter] = bench.dead()
    assert "thirteen is refused" in letter.reason
    assert json.loads(letter.body) == {"id": "b", "n": 13}


def test_an_event_that_fails_in_one_output_is_written_to_none(bench):
    bench.publish({"id": "b", "n": 13}, {"id": "c", "n": 1})
    bench.run("SELECT id INTO rows FROM events; SELECT double(n) AS d INTO every FROM events")
    assert set(bench.rows()) == {"c"}
    assert [row["d"] for row in bench.rows("every").values()] == [2]


def test_a_row_without_its_key_is_set_aside(bench):
    bench.publish({"id": "a"}, {"name": "no id"})
    bench.run("SELECT id, name INTO rows FROM events")
    assert set(bench.rows()) == {"a"}
    [letter] = bench.dead()
    assert "key is NULL" in letter.reason


def test_a_cast_that_fails_stops_the_job_and_says_where_and_nothing_is_written(bench):
    bench.publish({"id": "a", "n": "x"})
    with pytest.raises(DataError) as caught:
        bench.run("SELECT id, CAST(n AS bigint) AS n INTO rows FROM events")
    assert "input 'events', partition" in str(caught.value)
    assert "TRY_CAST" in str(caught.value)
    assert bench.rows() == {}
    bench.run("SELECT id, TRY_CAST(n AS bigint) AS n INTO rows FROM events")
    assert bench.rows() == {"a": {"n": None}}


def test_messages_of_a_queue_are_deleted_in_the_commit_that_holds_their_rows(bench):
    bench.send({"id": "a"}, {"id": "b"})
    bench.run("SELECT id, 1 AS one INTO rows FROM work")
    assert set(bench.rows()) == {"a", "b"}
    depth = Queue(bench.namespace, "work").depth()
    assert (depth.visible, depth.leased, depth.finished) == (0, 0, 2)


def test_a_hub_as_output_gets_every_row_once(bench):
    bench.publish(*[{"id": n} for n in range(10)])
    bench.run("SELECT id INTO echo FROM events")
    with bench.hub("echo") as echo:
        bodies = [
            body
            for partition in range(echo.partitions)
            for body in echo.read(partition, 0, max_events=100, max_bytes=10**6).bodies
        ]
    assert sorted(json.loads(body)["id"] for body in bodies) == list(range(10))
    assert bench.progress.pending_outbox("job", "instance-0") == []


def test_the_service_columns_tell_when_and_where_an_event_arrived(bench):
    with bench.hub() as hub:
        hub.publish_bodies([b'{"id":"a"}'], partition=1)
    bench.run(
        "SELECT id, PartitionId, EventEnqueuedUtcTime AS enqueued, System.Timestamp() AS t "
        "INTO rows FROM events"
    )
    row = bench.rows()["a"]
    assert row["PartitionId"] == 1
    assert row["enqueued"] == row["t"]
    assert row["t"].endswith("Z")


def test_what_the_event_says_itself_wins_over_the_service_columns(bench):
    bench.publish({"id": "a", "EventEnqueuedUtcTime": "then"}, {"id": "b"})
    bench.run("SELECT id, EventEnqueuedUtcTime AS enqueued INTO rows FROM events")
    rows = bench.rows()
    assert rows["a"]["enqueued"] == "then"
    assert rows["b"]["enqueued"].startswith("20")


def test_a_second_owner_of_an_instance_is_refused_by_name(bench):
    held = bench.progress.acquire("job", "instance-0", "the other")
    with pytest.raises(Transient, match="the other"):
        bench.run("SELECT id INTO rows FROM events")
    held.release()


def test_an_instance_that_was_overtaken_can_not_commit(bench, monkeypatch):
    bench.publish({"id": "a"})
    original = Progress.record_epoch

    def overtaken(self, tx, *arguments, **named):
        tx.connection.execute("UPDATE task SET fence = fence + 1")
        return original(self, tx, *arguments, **named)

    monkeypatch.setattr(Progress, "record_epoch", overtaken)
    bench.publish(*[{"id": str(n)} for n in range(200)])
    with pytest.raises(Fatal, match="taken over"):
        bench.run("SELECT id INTO rows FROM events")


def test_an_instance_that_was_overtaken_is_told_so_though_it_finds_its_file_replaced(bench, monkeypatch):
    original = FileSink.stage

    def overtaken(self, payload):
        with bench.namespace.transaction() as tx:
            tx.connection.execute("UPDATE task SET fence = fence + 1")
        path = bench.folder / "lines.jsonl"
        path.rename(path.with_suffix(".old"))
        path.touch()
        return original(self, payload)

    monkeypatch.setattr(FileSink, "stage", overtaken)
    bench.publish({"id": "a"})
    with pytest.raises(Fatal, match="taken over"):
        bench.run("SELECT id INTO lines FROM events")


def test_timestamp_by_gives_the_time_of_an_event_late_ones_are_adjusted_and_none_goes_back(bench):
    def at(second):
        return f"2026-01-01T00:00:{second:02}Z"

    arrivals_us = [1_767_225_600_000_000 + second * 1_000_000 for second in (20, 21, 22, 22)]
    bodies = [json.dumps({"id": n, "t": at(second)}).encode() for n, second in enumerate((18, 20, 3, 19))]
    with bench.hub() as hub:
        hub.publish_bodies(bodies, partition=0, enqueued_us=arrivals_us)
    bench.run("SELECT id, System.Timestamp() AS t INTO rows FROM events TIMESTAMP BY t")
    # 3 is later than 5 s, so it becomes 17; then 17 and 19 are below the watermark 20
    assert [row["t"] for row in bench.rows().values()] == [
        "2026-01-01T00:00:18.0000000Z",
        "2026-01-01T00:00:20.0000000Z",
        "2026-01-01T00:00:20.0000000Z",
        "2026-01-01T00:00:20.0000000Z",
    ]


def test_the_watermark_goes_on_where_the_last_commit_left_it(bench):
    second_us = 1_000_000
    start_us = 1_767_225_600_000_000
    for seconds in (20, 19):
        body = json.dumps({"id": seconds, "t": f"2026-01-01T00:00:{seconds}Z"}).encode()
        with bench.hub() as hub:
            hub.publish_bodies([body], partition=0, enqueued_us=[start_us + 20 * second_us])
        bench.run("SELECT id, System.Timestamp() AS t INTO rows FROM events TIMESTAMP BY t")
    assert bench.rows()["19"]["t"] == "2026-01-01T00:00:20.0000000Z"


def test_an_event_without_a_time_or_with_one_too_far_ahead_is_set_aside(bench):
    bench.publish({"id": "a", "t": "soon"}, {"id": "b", "t": "9000-01-01T00:00:00Z"})
    bench.run("SELECT id INTO rows FROM events TIMESTAMP BY t")
    assert bench.rows() == {}
    assert ["no datetime" in letter.reason for letter in bench.dead()] == [True, False]
    assert "ahead" in bench.dead()[1].reason


def test_what_an_instance_left_undelivered_is_delivered_when_the_job_has_fewer_instances(bench):
    with bench.hub("echo"), bench.namespace.transaction() as tx:
        bench.progress.add_outbox(tx, "job", "instance-3", "echo", 1, b'{"left":"behind"}')
    bench.run("SELECT id INTO echo FROM events")
    with bench.hub("echo") as echo:
        assert sum(echo.ends()) == 1
    assert bench.progress.outbox_lines("job") == []


def test_blocks_for_an_output_that_the_query_dropped_are_kept_and_named(bench):
    with bench.namespace.transaction() as tx:
        bench.progress.add_outbox(tx, "job", "instance-0", "echo", 1, b'{"left":"behind"}')
    with pytest.raises(UserError, match="output 'echo'"):
        bench.run("SELECT id INTO rows FROM events")
    assert bench.progress.outbox_lines("job") == ["instance-0"]


def test_the_metadata_of_an_event_say_where_it_stands_and_what_it_was_published_with(bench):
    sql = """SELECT id, GetMetadataPropertyValue(events, 'EventId') AS event,
        GetMetadataPropertyValue(events, '[EventHub].[Offset]') AS at,
        GetMetadataPropertyValue(events, '[EventHub].[PartitionId]') AS part,
        GetMetadataPropertyValue(events, '[EventHub].[EnqueuedTimeUtc]') AS arrived,
        GetMetadataPropertyValue(events, '[User].[site]') AS site, EventEnqueuedUtcTime AS enqueued
        INTO rows FROM events"""
    with bench.hub() as hub:
        hub.publish_bodies(
            [b"[]", b'{"id":"a"}', b'{"id":"b"}'], partition=1, properties=[None, {"site": "n"}, None]
        )
    bench.run(sql)
    first, second = bench.rows().values()
    assert (first["at"], second["at"], first["part"]) == (1, 2, 1)
    assert first["arrived"] == first["enqueued"]
    assert (first["site"], second["site"]) == ("n", None)
    assert len({uuid.UUID(row["event"]) for row in (first, second)}) == 2


def test_events_are_looked_up_in_reference_data_of_the_project(bench):
    (bench.folder / "sites.csv").write_text("id,site\na,north\n")
    bench.publish({"id": "a"}, {"id": "b"})
    bench.run("SELECT e.id, s.site INTO rows FROM events e LEFT JOIN sites s ON e.id = s.id")
    assert bench.rows() == {"a": {"site": "north"}, "b": {"site": None}}


def test_events_that_do_not_fit_their_create_table_become_dead_letters(bench):
    bench.publish({"id": 1, "n": 5}, {"id": 2, "n": "five"}, {"id": 3})
    bench.run("CREATE TABLE events (id bigint, n bigint) SELECT id, n INTO rows FROM events")
    assert bench.rows() == {"1": {"n": 5}}
    assert sorted(letter.reason for letter in bench.dead()) == [
        "column 'n' is missing or NULL; CREATE TABLE declares it as bigint",
        "column 'n' is of type nvarchar(max); CREATE TABLE declares it as bigint",
    ]
