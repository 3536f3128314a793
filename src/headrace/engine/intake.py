"""Reading and decoding: the next events, made ready while those in hand are worked on.

One thread reads ahead, and only while there is more than one batch to read: when it is quiet an event is
read the moment it comes, and nothing is handed between threads. Reading ahead of a model that keeps one
processor busy made the whole 11 % faster on a quiet machine with two, and up to 10 % slower on a busy one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from headrace.clock import Clock
from headrace.connect.source import CompetingSource, Poll
from headrace.engine.arrivals import Arranger, Arrivals
from headrace.engine.leases import LeaseKeeper
from headrace.engine.stages import StageClocks
from headrace.engine.tasks import Place, Tasks
from headrace.errors import HeadraceError
from headrace.faults import crash_point
from headrace.limits import MAX_BATCH_BYTES

#: A poll is cut between events, and its size is only estimated: it stays somewhat below what it may have.
_FULL: Final = 0.9


class Intake:
    """The inputs of one instance. What it handed out is its caller's until `done`."""

    def __init__(
        self,
        tasks: Tasks,
        competing: Sequence[CompetingSource],
        arranger: Arranger,
        clocks: StageClocks,
        clock: Clock,
    ) -> None:
        self._tasks, self._clocks, self._clock = tasks, clocks, clock
        self._keepers = {source.input: LeaseKeeper(source) for source in competing}
        self._competing = {source.input: source for source in competing}
        self._arranger = arranger
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="intake")
        self._ahead: Future[Arrivals | None] | None = None

    @property
    def pending(self) -> bool:
        """Whether events have been read, or are being read, that `take` has not returned."""
        return self._ahead is not None

    def take(self, rows: int, skipped: Container[Place] = ()) -> Arrivals | None:
        """Return the next events, about `rows` at most, decoded; None when there are none now.

        The partitions `skipped` are not read.
        """
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            with self._clocks.waiting("ahead_wait"):
                arrivals = ahead.result()
            if arrivals is not None:
                return arrivals
        return self._read(rows, skipped)

    def read_ahead(self, rows: int, skipped: Container[Place] = ()) -> None:
        """Begin to read what `take` will return next, unless an event is being looked for that kills."""
        if self._ahead is None and not self._tasks.suspicious:
            self._ahead = self._thread.submit(self._read_behind, rows, skipped)

    def done(self, arrivals: Arrivals) -> None:
        """Let go of events whose commit stands."""
        for poll in arrivals.polls:
            if poll.input in self._keepers:
                self._keepers[poll.input].drop(poll)

    def close(self, *, blameless: bool) -> None:
        """Give back what was read ahead, also what is in hand if no event is to blame, and end the threads.

        An error of reading ahead is nobody's now: whoever reads there again meets it.
        """
        with contextlib.suppress(HeadraceError):
            ahead = self._ahead.result() if self._ahead is not None else None
            for poll in ahead.polls if ahead is not None else ():
                if poll.input in self._competing:
                    self._keepers[poll.input].drop(poll)
                    self._competing[poll.input].release(poll)
        self._thread.shutdown()
        for name, keeper in self._keepers.items():
            keeper.close()
            for poll in keeper.held if blameless else ():
                with contextlib.suppress(HeadraceError):
                    self._competing[name].release(poll)

    def _read_behind(self, rows: int, skipped: Container[Place]) -> Arrivals | None:
        began_ns = self._clocks.now_ns()
        try:
            return self._read(rows, skipped)
        finally:
            self._clocks.background_ns += self._clocks.now_ns() - began_ns

    def _read(self, rows: int, skipped: Container[Place]) -> Arrivals | None:
        began_ns = self._clocks.now_ns()
        polls = self._tasks.read(rows, MAX_BATCH_BYTES, skipped)
        # While an event is looked for that kills, nothing else may be in hand and die of it.
        competing = {} if self._tasks.suspicious else self._competing
        for name, source in competing.items():
            poll = source.lease(rows, MAX_BATCH_BYTES)
            if poll is not None:
                self._keepers[name].hold(poll)
                polls.append(poll)
        if not polls:  # looking whether anything has come is no work
            self._clocks.waited("idle", began_ns)
            return None
        read = self._clocks.spent("read", began_ns)
        crash_point("job.after_read")
        if self._is_killer(polls):
            return self._arranger.killer(polls[0])
        with self._clocks.stage("decode") as decoded:
            arrivals = self._arranger.arrange(polls, self._clock.now_us())
        events, size_bytes = arrivals.events, arrivals.size_bytes
        arrivals.full = events >= rows * _FULL or size_bytes >= MAX_BATCH_BYTES * _FULL
        read.rows_out += events
        read.bytes_out += size_bytes
        decoded.rows_in += events
        decoded.bytes_in += size_bytes
        decoded.rows_out += events - len(arrivals.rejected)
        crash_point("job.after_decode")
        return arrivals

    def _is_killer(self, polls: Sequence[Poll]) -> bool:
        """Tell whether this is the one event that must not even be decoded again."""
        return len(polls) == 1 and self._tasks.killer(polls[0])
