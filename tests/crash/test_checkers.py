"""A checker that cannot complain proves nothing: each planted fault must be reported, under its own name."""

import copy
import dataclasses
import json

import apsw
import polars as pl
import pytest

from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Position, Progress
from headrace.local.queue import Queue
from headrace.local.table import Entities, Table
from headrace.testing.checkers import check
from headrace.testing.numbered import NumberedEvent, NumberedStream
from headrace.testing.observed import ARRIVALS, ECHO, HUB, JOBS, QUEUE, RESULTS, StoredRow, observe

STREAMS = [NumberedStream("a", 60), NumberedStream("b", 45)]
EVENTS = [event for stream in STREAMS for event in stream.events()]


def text_of(row, **more):
    members = {name: v.decode() if isinstance(v, bytes) else json.dumps(v) for name, v in row.items()}
    members |= {name: json.dumps(value) for name, value in more.items()}
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


def upsert(namespace, tx, table, rows):
    keys, texts = zip(*rows, strict=True)
    columns = [pl.Series(["" for _ in keys]), pl.Series(keys), pl.Series(texts)]
    Table(namespace, table).upsert(tx, Entities(*columns))


def write_run(folder, *, partition_of, when):
    """Write what a flawless run leaves behind, without the engine."""
    with (
        Namespace.open(folder) as namespace,
        Hub.ensure(namespace.hubs_folder, HUB) as hub,
        Hub.ensure(namespace.hubs_folder, ECHO) as echo,
    ):
        positions = {}
        for partition in range(hub.partitions):
            events = [event for event in EVENTS if partition_of(event.n) == partition]
            hub.publish_bodies([event.body for event in events], partition=partition)
            positions |= {event: f"{HUB}/{partition}/{offset}" for offset, event in enumerate(events)}
        echo.publish_bodies([text_of(e.echo()).encode() for e in EVENTS if e.echoed])
        progress, queue = Progress(namespace), Queue(namespace, QUEUE)
        kept = [event for event in EVENTS if event.kept]
        with namespace.transaction() as tx:
            queue.send(tx, [event.body for event in kept])
            arrivals = [(positions[e], text_of(e.arrival(), EventProcessedUtcTime=when)) for e in EVENTS]
            upsert(namespace, tx, ARRIVALS, arrivals)
        messages = queue.claim(limit=1000, owner="o")
        for partition, end in enumerate(hub.ends()):
            task = f"{HUB}/{partition}"
            progress.acquire(JOBS[0], task, "o").release()
            for start, stop in ((0, end // 2), (end // 2, end)):
                ranges = json.dumps({HUB: [partition, start, stop]})
                with namespace.transaction() as tx:
                    progress.record_epoch(tx, JOBS[0], task, ranges, {(HUB, partition): Position(stop)})
        with namespace.transaction() as tx:
            queue.delete(tx, messages)
            upsert(
                namespace,
                tx,
                RESULTS,
                [(e.id, text_of(e.result(), EventEnqueuedUtcTime=when)) for e in kept],
            )
            echoed = sum(e.echoed for e in EVENTS)
            rows_out = len(EVENTS) + len(kept) + echoed
            progress.count(tx, JOBS[0], {"events_in": len(EVENTS), "rows_out": rows_out, "dead": 0})
            progress.count(tx, JOBS[1], {"events_in": len(kept), "rows_out": len(kept), "dead": 0})
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("ref"), partition_of=lambda n: n % 4, when="2026-01-01")
    return observe(folder)


@pytest.fixture(scope="module")
def flawless(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("run"), partition_of=lambda n: n // 9 % 4, when="2026-02-02")
    return observe(folder)


@pytest.fixture
def observed(flawless):
    return copy.deepcopy(flawless)


def test_a_flawless_run_is_found_flawless_whatever_its_times_and_partitions(observed, reference):
    verdict = check(observed, reference, STREAMS)
    assert verdict.findings == []
    assert (verdict.lost, verdict.doubled, verdict.differing) == (0, 0, 0)
    assert verdict.accepted == len(EVENTS)
    assert verdict.rows == len(observed.echo) + len(observed.arrivals) + len(observed.results)


@pytest.mark.parametrize("place", ["echo", "arrivals", "results"])
def test_a_dropped_row_is_reported_as_lost(place, observed, reference):
    del getattr(observed, place)[7]
    verdict = check(observed, reference, STREAMS)
    assert verdict.lost == 1
    assert any(f.startswith("C1") and place in f for f in verdict.findings)


@pytest.mark.parametrize("place", ["echo", "arrivals", "results"])
def test_a_doubled_row_is_reported_as_doubled(place, observed, reference):
    rows = getattr(observed, place)
    rows.append(rows[7])
    verdict = check(observed, reference, STREAMS)
    assert verdict.doubled == 1
    assert any(f.startswith("C2") and place in f for f in verdict.findings)


@pytest.mark.parametrize("place", ["echo", "arrivals", "results"])
def test_two_swapped_values_are_reported_as_differing(place, observed, reference):
    rows = getattr(observed, place)
    first, second = (json.loads(rows[i].text)["checksum"] for i in (3, 4))
    assert first != second
    rows[3] = dataclasses.replace(rows[3], text=rows[3].text.replace(str(first), str(second)))
    rows[4] = dataclasses.replace(rows[4], text=rows[4].text.replace(str(second), str(first)))
    verdict = check(observed, reference, STREAMS)
    assert verdict.differing >= 2
    assert (verdict.lost, verdict.doubled) == (0, 0)
    assert any("are not what the query makes" in f and place in f for f in verdict.findings)
    assert any("undisturbed" in f and place in f for f in verdict.findings)


@pytest.mark.parametrize("place", ["echo", "arrivals", "results"])
def test_a_flipped_bit_is_reported_as_differing(place, observed, reference):
    rows = getattr(observed, place)
    at = rows[5].text.index('"source":"') + len('"source":"')
    flipped = chr(ord(rows[5].text[at]) ^ 1)
    rows[5] = dataclasses.replace(rows[5], text=f"{rows[5].text[:at]}{flipped}{rows[5].text[at + 1 :]}")
    verdict = check(observed, reference, STREAMS)
    assert verdict.differing == 2  # beside the oracle and beside the undisturbed run


@pytest.mark.parametrize("place", ["echo", "arrivals", "results"])
def test_a_row_that_is_no_json_any_more_is_reported(place, observed, reference):
    rows = getattr(observed, place)
    rows[5] = dataclasses.replace(rows[5], text=rows[5].text[:-3])
    assert check(observed, reference, STREAMS).findings


def test_a_value_of_another_type_is_reported(observed, reference):
    rows = observed.results
    [row] = [row for row in rows if '"n":8,' in row.text and row.key.startswith("a")]
    rows[rows.index(row)] = StoredRow(row.key, row.text.replace('"n":8,', '"n":8.0,'))
    assert check(observed, reference, STREAMS).differing == 2


def test_a_row_under_the_key_of_another_event_is_reported(observed, reference):
    first, second = observed.arrivals[0], observed.arrivals[1]
    observed.arrivals[:2] = [StoredRow(second.key, first.text), StoredRow(first.key, second.text)]
    verdict = check(observed, reference, STREAMS)
    assert verdict.findings == [
        f"C4 2 rows of table 'arrivals' have another event's key: {second.key}, {first.key}"
    ]


def test_a_row_that_the_filter_should_have_taken_out_is_reported(observed, reference):
    event = NumberedEvent("a", 7)
    assert not event.kept
    observed.results.append(StoredRow(event.id, text_of(event.result())))
    assert check(observed, reference, STREAMS).doubled == 1


def test_an_event_published_twice_or_not_at_all_is_reported(observed, reference):
    observed.published[0].append(observed.published[1][0])
    verdict = check(observed, reference, STREAMS)
    assert any("too many in hub 'papers'" in f for f in verdict.findings)
    del observed.published[0][0]
    verdict = check(observed, reference, STREAMS)
    assert any("lost from hub 'papers'" in f for f in verdict.findings)


def test_an_event_counted_twice_is_reported(observed, reference):
    observed.counts = {**observed.counts, JOBS[0]: {**observed.counts[JOBS[0]], "events_in": len(EVENTS) + 1}}
    assert [f[:2] for f in check(observed, reference, STREAMS).findings] == ["C2"]


def test_a_dead_letter_is_reported(observed, reference):
    observed.dead_letters.append("work 0/1: too many deliveries")
    assert check(observed, reference, STREAMS).lost == 1


def test_a_position_before_the_end_is_reported(observed, reference):
    observed.positions[2] -= 1
    assert [f[:2] for f in check(observed, reference, STREAMS).findings] == ["C3"]


def test_a_gap_between_two_epochs_is_reported(observed, reference):
    observed.ranges[1][1] = (observed.ranges[1][1][0] + 1, observed.ranges[1][1][1])
    assert [f[:2] for f in check(observed, reference, STREAMS).findings] == ["C3"]


def test_what_is_left_in_the_queue_or_the_outbox_is_reported(observed, reference):
    observed.outbox = 1
    observed.queue = observed.queue._replace(leased=2)
    [finding] = check(observed, reference, STREAMS).findings
    assert finding == "C3 left behind: 2 messages and 1 blocks of hub 'echo'"


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        ("DELETE FROM entity WHERE row_key = 'a-0000001'", "lost"),
        (
            "INSERT INTO entity (table_id, partition_key, row_key, properties) "
            "SELECT table_id, partition_key, 'papers/0/0/1', properties FROM entity "
            "WHERE row_key = 'papers/0/0'",
            "doubled",
        ),
        (
            "UPDATE entity SET properties = (SELECT properties FROM entity WHERE row_key = 'a-0000002') "
            "WHERE row_key = 'a-0000001'",
            "differing",
        ),
        (
            "UPDATE entity SET properties = replace(properties, 'stream', 'strean') WHERE row_key LIKE 'a-%'",
            "differing",
        ),
    ],
)
def test_a_fault_planted_in_the_file_itself_is_reported(statement, count, tmp_path, reference):
    folder = write_run(tmp_path, partition_of=lambda n: n % 4, when="2026-03-03")
    connection = apsw.Connection(str(folder / "namespace.db"))
    connection.execute(statement)
    assert connection.changes()
    connection.close()
    assert getattr(check(observe(folder), reference, STREAMS), count) > 0
