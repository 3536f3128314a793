"""What every competing source must do: each message is finished once, by a commit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from headrace.clock import Clock
from headrace.connect.source import CompetingSource, Poll
from headrace.errors import HeadraceError
from headrace.local.namespace import Transaction
from headrace.testing.conformance.events import Event, check_numbers, numbered, numbers_of
from headrace.testing.conformance.running import (
    at_once,
    check_nothing_stays_open,
    check_transient,
    recovered,
    skip_unless,
)

_MANY: Final = 1_000
_MUCH_BYTES: Final = 16 * 1024 * 1024

#: Leases of one test, at most: a source that hands the same out for ever stops here.
_MOST_LEASES: Final = 200

#: Part of a visibility timeout: two of them are more than it is.
_PART: Final = 0.6


class UndoneError(Exception):
    """What a suite undoes a commit with."""


class CompetingHarness(Protocol):
    """Publishes messages beside a source and opens it for instances; see `OrderedHarness` for the members.

    `max_deliveries` is how often a message is handed out before it is set aside.
    """

    clock: Clock
    max_deliveries: int

    #: Whether one who reads alone gets messages in their order.
    keeps_order: bool = True

    breaks: bool = False

    def open(self, owner: str) -> CompetingSource:
        """Open the source as a process of the instance `owner` that starts would; the suite closes it."""
        ...

    def publish(self, events: Sequence[Event]) -> None:
        """Send events; a lease finds them at once."""
        ...

    def commit(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction of the namespace: it stands when the block ends, and is undone if it raises."""
        ...

    def set_aside(self) -> list[int]:
        """Return the numbers of the messages that became dead letters."""
        ...

    def numbers(self, poll: Poll) -> list[int]:
        """Return the number, `n`, of each event of a poll."""
        return numbers_of(poll)

    def cut(self) -> None:
        """Break the connection of all that are open."""

    def heal(self) -> None:
        """Let connections be made again."""


class CompetingSourceSuite:
    """The tests of a competing source; subclass it with a fixture `harness`."""

    def test_all_messages_come_once_within_the_limits(self, harness: CompetingHarness) -> None:
        """A lease has at most so many messages and bytes, and at least one; together they are all."""
        harness.publish(numbered(0, 20, 200))
        with _opened(harness) as source:
            found: list[int] = []
            for max_events, max_bytes in ((1, _MUCH_BYTES), (4, _MUCH_BYTES), (_MANY, 1), (_MANY, 600)):
                poll = _lease(harness, source, max_events, max_bytes)
                found += harness.numbers(poll)
            found += _finished(harness, source)
        if not harness.keeps_order:
            found.sort()
        check_numbers(found, range(20), "leased by one alone")

    def test_large_messages_come_whole(self, harness: CompetingHarness) -> None:
        """A message that is larger than what was asked for comes alone."""
        harness.publish(numbered(0, 1) + numbered(1, 1, 1_000_000) + numbered(2, 1))
        with _opened(harness) as source:
            found: list[int] = []
            for _ in range(3):
                found += harness.numbers(_lease(harness, source, _MANY, 10_000))
        check_numbers(sorted(found), range(3), "with a message of a megabyte")

    def test_a_lease_of_nothing_is_none_at_once(self, harness: CompetingHarness) -> None:
        """Where nothing waits a lease returns None and does not wait."""
        with _opened(harness) as source, at_once("three leases of nothing"):
            assert all(source.lease(_MANY, _MUCH_BYTES) is None for _ in range(3))

    def test_instances_never_hold_the_same_message(self, harness: CompetingHarness) -> None:
        """What one holds no other gets."""
        harness.publish(numbered(0, 12))
        with _opened(harness, "a") as one, _opened(harness, "b") as other:
            found: list[int] = []
            for source in (one, other, one, other):
                found += harness.numbers(_lease(harness, source, 3))
            assert one.lease(_MANY, _MUCH_BYTES) is None, "all are held, and one is handed out again"
        check_numbers(sorted(found), range(12), "leased by two instances in turn")

    def test_a_finished_message_never_comes_again(self, harness: CompetingHarness) -> None:
        """Once the commit stands they are gone, however much time passes."""
        harness.publish(numbered(0, 4))
        with _opened(harness) as source:
            check_numbers(sorted(_finished(harness, source)), range(4), "finished")
            _pass(harness, source, 2)
            source.reclaim()
            assert source.lease(_MANY, _MUCH_BYTES) is None, "a finished message is handed out again"
            assert source.exhausted(), "all are finished, and it says that some wait"
        with _opened(harness, "b") as other:
            assert other.lease(_MANY, _MUCH_BYTES) is None, "a finished message is handed out to another"

    def test_what_nobody_finished_comes_back(self, harness: CompetingHarness) -> None:
        """A process that dies with a lease, or closes, has acknowledged nothing."""
        harness.publish(numbered(0, 4))
        with _opened(harness, "a") as source:
            _lease(harness, source, _MANY)
        with _opened(harness, "b") as other:
            assert other.lease(_MANY, _MUCH_BYTES) is None, "the lease has not run out yet"
            _pass(harness, other, 2 * _PART)
            check_numbers(sorted(_finished(harness, other)), range(4), "after a lease ran out")

    def test_a_renewed_lease_holds(self, harness: CompetingHarness) -> None:
        """Nobody else gets what is renewed in time, and it can be finished."""
        harness.publish(numbered(0, 2))
        with _opened(harness, "a") as source, _opened(harness, "b") as other:
            poll = _lease(harness, source, _MANY)
            for _ in range(3):
                _pass(harness, source, _PART)
                source.renew(poll)
            assert other.lease(_MANY, _MUCH_BYTES) is None, "a renewed lease was given to another"
            with harness.commit() as tx:
                source.finish(tx, poll)
            assert source.exhausted(), "what was renewed is not finished"

    def test_a_commit_that_is_undone_finishes_nothing(self, harness: CompetingHarness) -> None:
        """Messages finished within it are still held, and come back when they are let go."""
        harness.publish(numbered(0, 4))
        with _opened(harness) as source:
            poll = _lease(harness, source, _MANY)
            with contextlib.suppress(UndoneError), harness.commit() as tx:
                source.finish(tx, poll)
                raise UndoneError
            assert not source.exhausted(), "the commit was undone, and it says that nothing waits"
            _pass(harness, source, 2 * _PART)
            check_numbers(sorted(_finished(harness, source)), range(4), "after a commit that was undone")

    def test_who_lost_a_lease_cannot_finish(self, harness: CompetingHarness) -> None:
        """The commit of one who was too slow fails; the one who has the messages now finishes them."""
        harness.publish(numbered(0, 2))
        with _opened(harness, "a") as slow, _opened(harness, "b") as other:
            lost = _lease(harness, slow, _MANY)
            _pass(harness, slow, 2 * _PART)
            poll = _lease(harness, other, _MANY)
            check_numbers(sorted(harness.numbers(poll)), range(2), "after a lease ran out")
            try:
                with harness.commit() as tx:
                    slow.finish(tx, lost)
            except HeadraceError:
                pass  # as it must
            else:
                raise AssertionError("messages that another holds were finished: both have their results")
            with harness.commit() as tx:
                other.finish(tx, poll)
            assert other.exhausted(), "who holds the messages has finished them"

    def test_released_messages_come_at_once(self, harness: CompetingHarness) -> None:
        """Others need not wait for what is given back."""
        harness.publish(numbered(0, 3))
        with _opened(harness, "a") as source, _opened(harness, "b") as other:
            source.release(_lease(harness, source, _MANY))
            found = sorted(_finished(harness, other))
            check_numbers(found, range(3), "after they were given back")

    def test_a_new_process_of_an_instance_reclaims_its_own(self, harness: CompetingHarness) -> None:
        """What its dead process held comes at once; what other instances hold does not."""
        harness.publish(numbered(0, 4))
        with _opened(harness, "a") as dead, _opened(harness, "b") as other:
            own = harness.numbers(_lease(harness, dead, 2))
            _lease(harness, other, 2)
            with _opened(harness, "a") as heir:
                heir.reclaim()
                found = sorted(_finished(harness, heir))
                check_numbers(found, sorted(own), "reclaimed")

    def test_exhausted_tells_the_truth(self, harness: CompetingHarness) -> None:
        """It is true if and only if nothing waits and nothing is leased, by whomever."""
        with _opened(harness, "a") as source, _opened(harness, "b") as other:
            assert source.exhausted(), "nothing was ever there"
            harness.publish(numbered(0, 2))
            assert not source.exhausted(), "two messages wait"
            poll = _lease(harness, source, _MANY)
            assert not source.exhausted(), "two messages are leased"
            assert not other.exhausted(), "two messages are leased by another"
            with harness.commit() as tx:
                source.finish(tx, poll)
            assert source.exhausted(), "all are finished"
            assert other.exhausted(), "all are finished by another"

    def test_a_message_that_kills_is_set_aside_alone(self, harness: CompetingHarness) -> None:
        """One that was handed out too often becomes a dead letter; its neighbours are finished."""
        harness.publish(numbered(0, 4))
        finished: list[int] = []
        deaths = 0
        for _ in range(harness.max_deliveries * 8):
            with _opened(harness) as source:
                source.reclaim()
                poll = source.lease(_MANY, _MUCH_BYTES)
                if poll is None:
                    break
                if 1 in harness.numbers(poll):
                    deaths += 1
                    continue
                with harness.commit() as tx:
                    source.finish(tx, poll)
                finished += harness.numbers(poll)
        check_numbers(sorted(finished), [0, 2, 3], "beside a message that kills")
        check_numbers(harness.set_aside(), [1], "set aside")
        assert deaths <= harness.max_deliveries, f"handed out {deaths} times, not {harness.max_deliveries}"

    def test_a_broken_connection_is_transient_and_loses_nothing(self, harness: CompetingHarness) -> None:
        """While it is down a lease raises Transient; then all that was not finished comes, the rest not."""
        skip_unless(harness.breaks, "a connection that breaks")
        harness.publish(numbered(0, 6))
        with _opened(harness) as source:
            poll = _lease(harness, source, 2)
            with harness.commit() as tx:
                source.finish(tx, poll)
            found = harness.numbers(poll)
            harness.cut()
            check_transient(lambda: source.lease(2, _MUCH_BYTES), "a lease with a broken connection")
            harness.heal()
            poll = recovered(harness.clock, lambda: source.lease(2, _MUCH_BYTES))
            assert poll is not None, "messages wait, and after the connection is back none comes"
            with harness.commit() as tx:
                source.finish(tx, poll)
            _pass(harness, source, 2)
            found += harness.numbers(poll) + _finished(harness, source)
        check_numbers(sorted(found), range(6), "with a connection that broke")

    def test_closing_leaves_nothing_open(self, harness: CompetingHarness) -> None:
        """Neither files nor threads stay; a second close does nothing."""
        harness.publish(numbered(0, 20))

        def use() -> object:
            with _opened(harness) as source:
                source.lease(1, _MUCH_BYTES)
            source.close()
            return source

        check_nothing_stays_open(use)


@contextlib.contextmanager
def _opened(harness: CompetingHarness, owner: str = "a") -> Iterator[CompetingSource]:
    with contextlib.closing(harness.open(owner)) as source:
        yield source


def _pass(harness: CompetingHarness, source: CompetingSource, timeouts: float) -> None:
    harness.clock.sleep(source.visibility_timeout_s * timeouts)


def _lease(
    harness: CompetingHarness, source: CompetingSource, max_events: int, max_bytes: int = _MUCH_BYTES
) -> Poll:
    """Lease messages, of which some wait, and check what holds for any lease."""
    poll = source.lease(max_events, max_bytes)
    assert poll is not None, "messages wait, and none is handed out"
    assert 1 <= poll.events <= max_events, f"{poll.events} messages, asked for 1 to {max_events}"
    size_bytes = sum(map(len, poll.bodies))
    assert poll.events == 1 or size_bytes <= max_bytes, f"{size_bytes} bytes, asked for {max_bytes}"
    assert len(poll.offsets) == len(poll.leases) == poll.events, "an id and a lease for each message"
    assert len(set(poll.offsets)) == poll.events, "each message has an id of its own"
    return poll


def _finished(harness: CompetingHarness, source: CompetingSource) -> list[int]:
    """Lease and finish, a few at a time, until nothing waits; returns the numbers."""
    found: list[int] = []
    for _ in range(_MOST_LEASES):
        if (poll := source.lease(3, _MUCH_BYTES)) is None:
            return found
        with harness.commit() as tx:
            source.finish(tx, poll)
        found += harness.numbers(poll)
    raise AssertionError(f"after {_MOST_LEASES} leases there is still something: the same comes for ever")
