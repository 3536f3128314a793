"""Packs of events between two stages: written, cut, split and read, an offset for each event."""

import polars as pl
import pytest

from headrace.connect.exchange import ExchangeSink, ExchangeSource, events_of, pack
from headrace.engine import passing
from headrace.engine.packs import UNNAMED, Pack, packs_in, rows_in_packs
from headrace.engine.passing import _bodies
from headrace.errors import Fatal
from headrace.events.batch import DTYPES, ORIGIN, TIME, Batch, Column, ValueType
from headrace.local.hub import Hub

LARGE = 1 << 30


def batch(first, rows):
    numbers = pl.int_range(first, first + rows, eager=True)
    times = numbers.cast(DTYPES[ValueType.DATETIME]).alias(TIME)
    return Batch(pl.DataFrame([numbers.alias("bigint:n"), times]), (Column("n", (ValueType.BIGINT,)),))


def numbers(packs):
    return [n for found in packs if found.batch is not None for n in found.batch.frame["bigint:n"].to_list()]


@pytest.fixture
def hub(tmp_path):
    with Hub.create(tmp_path, "between", partitions=2) as hub:
        yield hub


@pytest.fixture
def source(hub):
    return ExchangeSource("clicks", hub, places=3, rule="user INTO 2", ends=False)


def publish(hub, *packs, partition=0, sequence):
    sink = ExchangeSink(hub)
    sink.deliver(sink.block([(partition, found.encoded()) for found in packs]), "stage", sequence)


def test_what_is_read_is_what_was_written():
    found = Pack.decoded(Pack(2, batch(5, 3), 77).encoded())
    assert (found.place, found.frontier_us, numbers([found])) == (2, 77, [5, 6, 7])
    assert found.batch.frame[ORIGIN].to_list() == [UNNAMED] * 3
    assert Pack.decoded(Pack(0, None, 7).encoded()) == Pack(0, None, 7)


@pytest.mark.parametrize("body", [b"", b"abc", pack(1, b"HRST"), pack(1, b"")])
def test_what_is_no_pack_is_fatal(body):
    with pytest.raises(Fatal, match="damaged"):
        Pack.decoded(body)


def test_an_empty_pack_counts_as_an_event():
    assert events_of(Pack(0, None, 7).encoded()) == 1
    assert events_of(Pack(0, batch(0, 5), 7).encoded()) == 5


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 7, 100])
def test_packs_are_read_in_pieces_of_at_most_so_many_events_and_none_is_missed(hub, source, most):
    publish(hub, Pack(0, batch(0, 5), 5), Pack(1, None, 3), Pack(1, batch(5, 1), 6), sequence=1)
    publish(hub, Pack(2, batch(6, 4), 10), sequence=2)
    ends = [(0, 5), (1, 3), (1, 6), (2, 10)]
    offset, found, reached = source.begin(0), [], []
    while (poll := source.poll(0, offset, most, LARGE)) is not None:
        assert 0 < poll.events <= most
        assert poll.offsets[0] == offset
        packs = list(packs_in(poll))
        assert sum(1 if p.batch is None else p.batch.height for p in packs) == poll.events
        found += numbers(packs)
        reached += [(found.place, found.frontier_us) for found in packs]
        # An offset names an event for ever.
        again = source.poll(0, offset, poll.events, LARGE)
        assert (again.events, again.next_offset) == (poll.events, poll.next_offset)
        offset = poll.next_offset
    assert found == list(range(10))
    # Where a pack is cut nothing comes before the next row.
    assert [one for one in reached if one in ends] == ends
    assert all(frontier_us in range(11) for _, frontier_us in reached)
    assert offset == source.end(0)


def test_many_small_packs_are_read_at_once(hub, source):
    publish(hub, *(Pack(0, batch(number, 1), number) for number in range(60)), sequence=1)
    assert source.poll(0, source.begin(0), 64, LARGE).events == 60


def test_one_event_of_a_pack_can_be_read_alone(hub, source):
    publish(hub, Pack(0, batch(0, 5), 5), sequence=1)
    poll = source.poll(0, source.begin(0) + 2, 1, LARGE)
    assert list(rows_in_packs(poll)) == ['{"n":2}']
    assert [found.frontier_us for found in packs_in(poll)] == [3]
    assert poll.next_offset == source.begin(0) + 3


def test_packs_before_an_offset_are_forgotten_but_for_the_one_that_holds_it(hub, source):
    publish(hub, Pack(0, batch(0, 5), 5), sequence=1)
    publish(hub, Pack(0, batch(5, 5), 10), sequence=2)
    publish(hub, Pack(0, batch(10, 5), 15), sequence=3)
    second = source.poll(0, source.begin(0), 5, LARGE).next_offset
    source.forget(0, second + 3)
    assert source.begin(0) == second
    # Whoever asks for what is gone sees that it is by the offset that it gets.
    poll = source.poll(0, 2, 100, LARGE)
    assert (poll.offsets[0], numbers(packs_in(poll))) == (second, list(range(5, 15)))


def test_a_block_that_is_delivered_again_is_stored_once_even_where_it_takes_several_calls(hub, monkeypatch):
    monkeypatch.setattr("headrace.connect.exchange.MAX_PUBLISH_BYTES", 1_000)
    sink = ExchangeSink(hub)
    block = sink.block([(number % 2, b"x" * 400) for number in range(9)])
    sink.deliver(block, "stage", 1)
    sink.deliver(block, "stage", 1)
    sink.deliver(block, "stage", 2)
    assert hub.ends() == [10, 8]


def test_a_large_pack_is_split_and_only_its_last_part_tells_how_far_time_has_come(monkeypatch):
    monkeypatch.setattr(passing, "MAX_BATCH_ROWS", 30)
    monkeypatch.setattr(passing, "MAX_EVENT_BYTES", 600)
    bodies = list(_bodies(Pack(1, batch(0, 100), 500)))
    found = [Pack.decoded(body) for body in bodies]
    assert len(bodies) > 3
    assert max(map(events_of, bodies)) <= 30
    assert numbers(found) == list(range(100))
    assert [one.frontier_us for one in found] == [None] * (len(found) - 1) + [500]


def test_one_row_is_passed_on_however_large_it_is(monkeypatch):
    monkeypatch.setattr(passing, "MAX_EVENT_BYTES", 10)
    [body] = _bodies(Pack(1, batch(0, 1), 500))
    assert numbers([Pack.decoded(body)]) == [0]
