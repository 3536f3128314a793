"""Faults of sources."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any

from headrace.connect.source import Poll
from headrace.errors import HeadraceError, Transient
from headrace.local.namespace import Transaction
from headrace.testing.conformance.planted.fault import Around, Fault


class LosesTheLastBatch(Fault):
    """Takes the end for the beginning of nothing: what reaches up to it never comes."""

    def poll(self, partition: int, *asked: int) -> Poll | None:
        """Return nothing where there is a last batch."""
        found: Poll | None = self._inner.poll(partition, *asked)
        return None if found is None or found.next_offset >= self._inner.end(partition) else found


class SkipsBetweenPolls(Fault):
    """Goes on one event too far."""

    def poll(self, *asked: int) -> Poll | None:
        """Return where to read on, wrong by one."""
        found: Poll | None = self._inner.poll(*asked)
        return None if found is None else replace(found, behind=found.next_offset + 1)


class Reorders(Fault):
    """Gives the events of a poll, or of a lease, the last first."""

    def poll(self, *asked: int) -> Poll | None:
        """Return the bodies turned around."""
        return self._turned(self._inner.poll(*asked))

    def lease(self, *asked: int) -> Poll | None:
        """Return the messages turned around."""
        return self._turned(self._inner.lease(*asked))

    def _turned(self, found: Poll | None) -> Poll | None:
        return None if found is None else replace(found, bodies=list(found.bodies)[::-1], chunks=None)


class DoublesOnReconnect(Fault):
    """Begins one event too early after the connection broke."""

    step = -1

    def poll(self, partition: int, offset: int, *limits: int) -> Poll | None:
        """Read from a wrong place the first time after a failure."""
        if self._was_broken:
            offset += self.step
        try:
            found: Poll | None = self._inner.poll(partition, offset, *limits)
        except Transient:
            self._was_broken = True
            raise
        self._was_broken = False
        return found


class LosesOnReconnect(DoublesOnReconnect):
    """Begins one event too late after the connection broke."""

    step = 1


class IgnoresTheLimitOfEvents(Fault):
    """Gives all there are."""

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        """Return more events than were asked for."""
        found: Poll | None = self._inner.poll(partition, offset, max_events * 10, max_bytes)
        return found

    def lease(self, max_events: int, max_bytes: int) -> Poll | None:
        """Return more messages than were asked for."""
        found: Poll | None = self._inner.lease(max_events * 10, max_bytes)
        return found


class IgnoresTheLimitOfBytes(Fault):
    """Gives events however large they are together."""

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        """Return more bytes than were asked for."""
        found: Poll | None = self._inner.poll(partition, offset, max_events, max_bytes * 1_000)
        return found


class WaitsForEvents(Fault):
    """Blocks where there is nothing."""

    def poll(self, *asked: int) -> Poll | None:
        """Return None only after a while."""
        found: Poll | None = self._inner.poll(*asked)
        if found is None:
            time.sleep(0.4)
        return found


class EndsForGood(Fault):
    """Takes the end for the end of all days."""

    _is_over = False

    def poll(self, *asked: int) -> Poll | None:
        """Return None for ever once there was nothing."""
        found: Poll | None = None if self._is_over else self._inner.poll(*asked)
        self._is_over = found is None
        return found


class JoinsWrongly(Fault):
    """Ends the last line, too."""

    def poll(self, *asked: int) -> Poll | None:
        """Return joined bodies with a newline too many."""
        found: Poll | None = self._inner.poll(*asked)
        return None if found is None else replace(found, chunks=[b"\n".join(found.bodies) + b"\n"])


class CountsAnewAfterARestart(Fault):
    """Has offsets that mean something only to the process that gave them."""

    def __init__(self, inner: Any, around: Around) -> None:
        super().__init__(inner, around)
        self._shift = around.shared["opened"] = around.shared.get("opened", 0) + 1

    def begin(self, partition: int) -> int:
        """Return an offset of this process."""
        begin: int = self._inner.begin(partition)
        shift: int = self._shift
        return begin + shift

    def poll(self, partition: int, offset: int, *limits: int) -> Poll | None:
        """Return offsets of this process."""
        found: Poll | None = self._inner.poll(partition, max(0, offset - self._shift), *limits)
        if found is None:
            return None
        offsets = [one + self._shift for one in found.offsets]
        return replace(found, offsets=offsets, behind=found.next_offset + self._shift)


class EndsTooEarly(Fault):
    """Does not count the last event."""

    def end(self, partition: int) -> int:
        """Return an end that has an event behind it."""
        return int(self._inner.end(partition)) - 1


class StartsTooLate(Fault):
    """Takes every time for one to come."""

    def offset_at(self, partition: int, time_us: int) -> int:
        """Return the end."""
        end: int = self._inner.end(partition)
        return end


class PromisesTooMuch(Fault):
    """Promises quiet for an hour."""

    def quiet_since(self, offsets: dict[int, int], now_us: int) -> dict[int, int]:
        """Return a time to come."""
        return dict.fromkeys(offsets, now_us + 3_600_000_000)


class ReadsOnePartition(Fault):
    """Reads the first partition whatever it is asked for."""

    def poll(self, partition: int, *asked: int) -> Poll | None:
        """Return events of another partition."""
        found: Poll | None = self._inner.poll(0, *asked)
        return None if found is None else replace(found, partition=partition)


class TrimsBodies(Fault):
    """Makes bodies nicer than they were published."""

    def poll(self, *asked: int) -> Poll | None:
        """Return bodies without the white space at their ends."""
        found: Poll | None = self._inner.poll(*asked)
        return (
            None if found is None else replace(found, bodies=[b.strip() for b in found.bodies], chunks=None)
        )


class AcknowledgesEarly(Fault):
    """Finishes messages as they are handed out, before anything came of them."""

    def lease(self, *asked: int) -> Poll | None:
        """Lease and finish."""
        found: Poll | None = self._inner.lease(*asked)
        if found is not None:
            with self._around.commit() as tx:
                self._inner.finish(tx, found)
        return found

    def finish(self, tx: Transaction, poll: Poll) -> None:
        """Do nothing more."""


class FinishesNothing(Fault):
    """Forgets to delete."""

    def finish(self, tx: Transaction, poll: Poll) -> None:
        """Do nothing."""


class FinishesWhatIsLost(Fault):
    """Does not mind that another has the messages."""

    def finish(self, tx: Transaction, poll: Poll) -> None:
        """Finish what can be, silently."""
        with contextlib.suppress(HeadraceError):
            self._inner.finish(tx, poll)


class RenewsNothing(Fault):
    """Lets leases run out."""

    def renew(self, poll: Poll) -> None:
        """Do nothing."""


class ReleasesNothing(Fault):
    """Keeps what it gives back."""

    def release(self, poll: Poll) -> None:
        """Do nothing."""


class ReclaimsNothing(Fault):
    """Leaves what its predecessor held."""

    def reclaim(self) -> None:
        """Do nothing."""


class NeverGivesAgain(Fault):
    """Hands a message out once, whatever became of it."""

    def lease(self, *asked: int) -> Poll | None:
        """Return only what nobody ever had."""
        found: Poll | None = self._inner.lease(*asked)
        given = self._around.shared.setdefault("given", set())
        if found is None or given.intersection(found.offsets):
            return None
        given.update(found.offsets)
        return found


class LeasesTwice(Fault):
    """Hands the same messages to two instances."""

    def lease(self, *asked: int) -> Poll | None:
        """Return what another instance was given just now."""
        last: Poll | None = self._around.shared.pop("last", None)
        found = last or self._inner.lease(*asked)
        if last is None:
            self._around.shared["last"] = found
        return found


class IsExhaustedTooSoon(Fault):
    """Does not count what is leased."""

    def exhausted(self) -> bool:
        """Return true."""
        return True


class IsNeverExhausted(Fault):
    """Always waits for more."""

    def exhausted(self) -> bool:
        """Return false."""
        return False
