"""Reading and decoding: the inputs of an instance, as batches.

Nothing is read ahead: a thread that read and decoded the next batch while a model scored the one in hand made
the whole slower (0.41 against 0.45 of scoring alone, on 2 processors that share a core).
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.clock import Clock
from headrace.connect.source import CompetingSource, Poll
from headrace.engine.arrivals import Arranger, Arrivals
from headrace.engine.leases import LeaseKeeper
from headrace.engine.stages import StageClocks
from headrace.engine.tasks import Tasks
from headrace.faults import crash_point
from headrace.limits import MAX_BATCH_BYTES


class Intake:
    """The inputs of one instance; leases of what it handed out are renewed until `done`."""

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

    def done(self, arrivals: Arrivals) -> None:
        """Let go of events whose commit stands."""
        for poll in arrivals.polls:
            if poll.input in self._keepers:
                self._keepers[poll.input].drop(poll)

    def close(self) -> None:
        """End the threads that renew leases."""
        for keeper in self._keepers.values():
            keeper.close()

    def take(self, rows: int) -> Arrivals | None:
        """Return the next events, about `rows` at most, decoded; None when there are none now."""
        with self._clocks.stage("read"):
            polls = self._tasks.read(rows, MAX_BATCH_BYTES)
            # While an event is looked for that kills, nothing else may be in hand and die of it.
            competing = {} if self._tasks.suspicious else self._competing
            for name, source in competing.items():
                poll = source.lease(rows, MAX_BATCH_BYTES)
                if poll is not None:
                    self._keepers[name].hold(poll)
                    polls.append(poll)
        if not polls:
            return None
        crash_point("job.after_read")
        if self._is_killer(polls):
            return Arrivals({}, [], polls, [0], [self._arranger.watermark_us(polls[0])])
        with self._clocks.stage("decode"):
            arrivals = self._arranger.arrange(polls, self._clock.now_us())
            arrivals.full = arrivals.events >= rows or arrivals.size_bytes >= MAX_BATCH_BYTES
        crash_point("job.after_decode")
        return arrivals

    def _is_killer(self, polls: Sequence[Poll]) -> bool:
        """Tell whether this is the one event that must not even be decoded again."""
        return len(polls) == 1 and self._tasks.killer(polls[0])
