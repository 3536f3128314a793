"""What every ordered source must do: the same events in the same order under the same offsets, always."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, Protocol

from headrace.clock import Clock
from headrace.connect.source import OrderedSource, Poll
from headrace.testing.conformance.events import Event, check_numbers, numbered, numbers_of
from headrace.testing.conformance.running import (
    at_once,
    check_nothing_stays_open,
    check_transient,
    recovered,
    skip_unless,
)

_MANY: Final = 10_000
_MUCH_BYTES: Final = 16 * 1024 * 1024

#: Far more polls than any test needs: a source that never comes to its end stops here.
_MOST_POLLS: Final = 2_000


class OrderedHarness(Protocol):
    """Publishes events beside a source and opens it; the members with values are to be set where they differ.

    `clock` is the one the source goes by: suites let time pass with its `sleep`.
    """

    clock: Clock

    #: Whether `max_bytes` bounds the bodies; not where rows are read with their types.
    counts_bytes: bool = True

    #: Whether a job may start from a time.
    starts_at_times: bool = True

    #: Bodies that must come out as they went in, whatever they hold; see `publish_raw`.
    raw: Sequence[bytes] = ()

    #: Whether `cut` and `heal` do something.
    breaks: bool = False

    def open(self) -> OrderedSource:
        """Open the source as a process that starts would; the suite closes it."""
        ...

    def publish(self, partition: int, events: Sequence[Event]) -> None:
        """Append events to a partition; a poll finds them at once."""
        ...

    def publish_raw(self, partition: int, bodies: Sequence[bytes]) -> None:
        """Append bodies that may be no events."""

    def numbers(self, poll: Poll) -> list[int]:
        """Return the number, `n`, of each event of a poll."""
        return numbers_of(poll)

    def cut(self) -> None:
        """Break the connection of all that are open."""

    def heal(self) -> None:
        """Let connections be made again."""


class OrderedSourceSuite:
    """The tests of an ordered source; subclass it with a fixture `harness`."""

    def test_all_events_come_once_and_in_order(self, harness: OrderedHarness) -> None:
        """What several calls published comes whole, in order, each event once."""
        for first in (0, 7, 8):
            harness.publish(0, numbered(first, 7 if first == 0 else 1))
        harness.publish(0, numbered(9, 40))
        with _opened(harness) as source:
            check_numbers(_read(harness, source, 0, source.begin(0)), range(49), "read to the end")

    def test_limits_hold_whatever_they_are(self, harness: OrderedHarness) -> None:
        """A poll has at most so many events and bytes, and at least one event; small ones lose nothing."""
        harness.publish(0, numbered(0, 30, 100))
        with _opened(harness) as source:
            for max_events, max_bytes in (
                (1, _MUCH_BYTES),
                (4, _MUCH_BYTES),
                (_MANY, 1),
                (_MANY, 1_000),
                (3, 300),
            ):
                found = _read(harness, source, 0, source.begin(0), max_events, max_bytes)
                check_numbers(found, range(30), f"in polls of {max_events} events and {max_bytes} bytes")

    def test_large_events_come_whole(self, harness: OrderedHarness) -> None:
        """An event that is larger than what was asked for comes alone, and its neighbours with their own."""
        harness.publish(0, numbered(0, 2) + numbered(2, 1, 1_000_000) + numbered(3, 2))
        with _opened(harness) as source:
            found = _read(harness, source, 0, source.begin(0), _MANY, 10_000)
            check_numbers(found, range(5), "with an event of a megabyte")

    def test_a_poll_that_finds_nothing_is_none_at_once(self, harness: OrderedHarness) -> None:
        """At the end, and where nothing ever was, a poll returns None and does not wait."""
        with _opened(harness) as source:
            with at_once("three polls of nothing"):
                assert all(source.poll(0, source.begin(0), _MANY, _MUCH_BYTES) is None for _ in range(3))
            harness.publish(0, numbered(0, 3))
            *_, last = _polls(harness, source, 0, source.begin(0))
            with at_once("three polls at the end"):
                assert all(source.poll(0, last.next_offset, _MANY, _MUCH_BYTES) is None for _ in range(3))

    def test_what_comes_later_is_read_on_from_where_one_stood(self, harness: OrderedHarness) -> None:
        """After a poll of None, events that are then published come, and only those."""
        harness.publish(0, numbered(0, 3))
        with _opened(harness) as source:
            *_, last = _polls(harness, source, 0, source.begin(0))
            for first in (3, 8):
                harness.publish(0, numbered(first, 5))
                polls = list(_polls(harness, source, 0, last.next_offset))
                found = [number for poll in polls for number in harness.numbers(poll)]
                check_numbers(found, range(first, first + 5), "read on after the end")
                last = polls[-1]

    def test_every_offset_is_a_place_to_start_from(self, harness: OrderedHarness) -> None:
        """A source opened anew at the offset of any event reads that event and all behind it."""
        harness.publish(0, numbered(0, 4))
        harness.publish(0, numbered(4, 4))
        with _opened(harness) as source:
            begin = source.begin(0)
            ones = list(_polls(harness, source, 0, begin, max_events=1))
            whole = list(_polls(harness, source, 0, begin))
        places = [poll.offsets[0] for poll in ones] + [poll.next_offset for poll in ones]
        starts = [*range(8), *range(1, 9)]
        if whole[0].packed is None:
            places += [offset for poll in whole for offset in poll.offsets]
            starts += range(8)
        for place, start in zip(places, starts, strict=True):
            with _opened(harness) as source:
                check_numbers(
                    _read(harness, source, 0, place), range(start, 8), f"started from offset {place}"
                )

    def test_two_that_read_do_not_disturb_each_other(self, harness: OrderedHarness) -> None:
        """Two processes that have it open, as when one takes over, each read everything."""
        harness.publish(0, numbered(0, 6))
        with _opened(harness) as one, _opened(harness) as other:
            for source in (one, other, one):
                check_numbers(_read(harness, source, 0, source.begin(0), 4), range(6), "with two open")

    def test_what_it_reads_is_known_by_the_same_identity_after_a_restart(
        self, harness: OrderedHarness
    ) -> None:
        """The identities, the place and the number of partitions stay: a job goes on by them."""
        harness.publish(0, numbered(0, 1))
        known = []
        for _ in range(2):
            with _opened(harness) as source:
                poll = source.poll(0, source.begin(0), 1, _MUCH_BYTES)
                assert poll is not None, "an event was published and is not found"
                own = (source.identity, source.kind, source.place, source.partitions, source.ends)
                known.append((poll.identity, *own))
        assert known[0] == known[1], f"before and after a restart: {known}"

    def test_begin_and_end_are_those_of_what_is_there(self, harness: OrderedHarness) -> None:
        """Reading from the begin gives all, and at the end there is nothing until more comes."""
        with _opened(harness) as source:
            harness.publish(0, numbered(0, 5))
            end = source.end(0)
            polls = list(_polls(harness, source, 0, source.begin(0), max_events=2))
            last = polls[-1]
            assert last.offsets[-1] < end <= last.next_offset, f"read to {last.next_offset}, the end is {end}"
            assert source.poll(0, end, _MANY, _MUCH_BYTES) is None, "something is behind the end"
            assert source.begin(0) <= polls[0].offsets[0] < end, "the begin is that of the first event"
            harness.publish(0, numbered(5, 3))
            assert source.end(0) > end, "the end moves on as events come"
            check_numbers(_read(harness, source, 0, end), range(5, 8), "read on from the end")

    def test_partitions_are_apart(self, harness: OrderedHarness) -> None:
        """Each partition has its own events under its own offsets."""
        with _opened(harness) as source:
            skip_unless(source.partitions > 1, "partitions")
            for partition in range(source.partitions):
                harness.publish(partition, numbered(partition * 10, 3))
            for partition in reversed(range(source.partitions)):
                found = _read(harness, source, partition, source.begin(partition))
                first = partition * 10
                check_numbers(found, range(first, first + 3), f"partition {partition}")

    def test_nothing_before_the_offset_at_a_time_came_after_it(self, harness: OrderedHarness) -> None:
        """Whoever starts from a time misses nothing that arrived then or later."""
        skip_unless(harness.starts_at_times, "starting from a time")
        harness.publish(0, numbered(0, 4))
        harness.clock.sleep(1)
        time_us = harness.clock.now_us()
        harness.publish(0, numbered(4, 4))
        with _opened(harness) as source:
            for asked_us, first in ((0, 0), (time_us, 4)):
                found = _read(harness, source, 0, source.offset_at(0, asked_us))
                lost = set(range(first, 8)) - set(found)
                assert not lost, f"started from a time, {sorted(lost)} arrived then or later and are missed"
            late = source.offset_at(0, time_us + 3_600_000_000)
            assert late <= source.end(0), f"offset {late} of a time to come is behind the end"

    def test_a_promise_of_quiet_is_kept(self, harness: OrderedHarness) -> None:
        """No event precedes a time of which `quiet_since` said so; a partition that goes on has none."""
        harness.publish(0, numbered(0, 3))
        with _opened(harness) as source:
            first, *_, last = _polls(harness, source, 0, source.begin(0), max_events=1)
            now_us = harness.clock.now_us()
            assert 0 not in source.quiet_since({0: first.next_offset}, now_us), (
                "it goes on behind that offset"
            )
            promised_us = source.quiet_since({0: last.next_offset}, now_us).get(0)
            skip_unless(promised_us is not None, "promises of quiet")
            harness.publish(0, numbered(3, 3))
            poll = source.poll(0, last.next_offset, _MANY, _MUCH_BYTES)
            assert poll is not None, "events were published and are not found"
            assert poll.arrival_us is not None, "who promises quiet knows when events came"
            early_us = (promised_us or 0) - int(poll.arrival_us.min())
            assert early_us <= 0, (
                f"an event came {early_us} microseconds before a time that was promised quiet"
            )

    def test_what_is_no_event_comes_as_it_is(self, harness: OrderedHarness) -> None:
        """Bodies that nothing can decode come unchanged and in their place: the job judges them."""
        skip_unless(harness.raw, "bodies that are no events")
        harness.publish_raw(0, harness.raw)
        with _opened(harness) as source:
            polls = list(_polls(harness, source, 0, source.begin(0)))
            found = [bytes(body) for poll in polls for body in poll.bodies]
            assert found == list(harness.raw), f"published {list(harness.raw)}, read {found}"

    def test_a_broken_connection_is_transient_and_loses_and_doubles_nothing(
        self, harness: OrderedHarness
    ) -> None:
        """While it is down a poll raises Transient; then reading goes on where it stood."""
        skip_unless(harness.breaks, "a connection that breaks")
        harness.publish(0, numbered(0, 10))
        with _opened(harness) as source:
            poll = source.poll(0, source.begin(0), 4, _MUCH_BYTES)
            assert poll is not None, "events were published and are not found"
            found = harness.numbers(poll)
            for _ in range(2):
                at = poll.next_offset
                harness.cut()
                check_transient(
                    partial(source.poll, 0, at, 4, _MUCH_BYTES), "a poll with a broken connection"
                )
                harness.heal()
                poll = recovered(harness.clock, partial(source.poll, 0, at, 3, _MUCH_BYTES))
                assert poll is not None, "events wait, and after the connection is back none comes"
                found += harness.numbers(poll)
            check_numbers(found, range(10), "with a connection that broke twice")

    def test_closing_leaves_nothing_open(self, harness: OrderedHarness) -> None:
        """Neither files nor threads stay, read to the end or not."""
        harness.publish(0, numbered(0, 50, 2_000))

        def use() -> object:
            with _opened(harness) as source:
                source.poll(0, source.begin(0), 5, _MUCH_BYTES)
            return source

        check_nothing_stays_open(use)

    def test_closing_twice_is_no_error(self, harness: OrderedHarness) -> None:
        """A second close does nothing, also of a source that was never read."""
        for read in (False, True):
            source = harness.open()
            if read:
                source.poll(0, source.begin(0), 1, _MUCH_BYTES)
            source.close()
            source.close()


@contextlib.contextmanager
def _opened(harness: OrderedHarness) -> Iterator[OrderedSource]:
    with contextlib.closing(harness.open()) as source:
        yield source


def _read(
    harness: OrderedHarness,
    source: OrderedSource,
    partition: int,
    offset: int,
    max_events: int = _MANY,
    max_bytes: int = _MUCH_BYTES,
) -> list[int]:
    """Return the numbers of all events from an offset on."""
    polls = _polls(harness, source, partition, offset, max_events, max_bytes)
    return [number for poll in polls for number in harness.numbers(poll)]


def _polls(
    harness: OrderedHarness,
    source: OrderedSource,
    partition: int,
    offset: int,
    max_events: int = _MANY,
    max_bytes: int = _MUCH_BYTES,
) -> Iterator[Poll]:
    """Poll to the end, and check of every poll what holds for any."""
    for _ in range(_MOST_POLLS):
        poll = source.poll(partition, offset, max_events, max_bytes)
        if poll is None:
            return
        _check_poll(poll, partition, offset, max_events)
        large = poll.events > 1 and sum(map(len, poll.bodies)) > max_bytes
        assert not (harness.counts_bytes and large), f"{poll.events} events are more than {max_bytes} bytes"
        offset = poll.next_offset
        yield poll
    raise AssertionError(f"it is not at its end after {_MOST_POLLS} polls: the offset does not move on")


def _check_poll(poll: Poll, partition: int, offset: int, max_events: int) -> None:
    assert poll.partition == partition, f"asked for partition {partition}, got {poll.partition}"
    assert 1 <= poll.events <= max_events, f"{poll.events} events, asked for 1 to {max_events}"
    offsets = list(poll.offsets)
    assert offsets[0] >= offset, f"asked from offset {offset} on, got {offsets[0]}"
    assert poll.next_offset > offsets[-1], f"reading on from {poll.next_offset} reads {offsets[-1]} again"
    if poll.packed is None:
        assert len(offsets) == poll.events == len(poll.bodies), "an offset and a body for each event"
        assert offsets == sorted(set(offsets)), f"offsets ascend: {offsets[:12]}"
    if poll.arrival_us is not None:
        assert len(poll.arrival_us) == poll.events, "an arrival time for each event"
    if poll.joined is not None:
        bodies = [bytes(body) for body in poll.bodies]
        assert b"\n".join(bodies) == poll.joined, "chunks are the bodies with newlines between them"
        assert poll.joined.count(b"\n") == len(bodies) - 1, "where a body holds a newline, chunks is None"
