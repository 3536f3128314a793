"""How much to read at once and how long to rest: latency when quiet, throughput when busy, nothing to set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from headrace.clock import Clock
from headrace.engine.tasks import FIRST_BATCH_ROWS
from headrace.limits import MAX_BATCH_ROWS

#: An epoch this long spreads the cost of its commit over enough work, and nobody waits long for a row.
EPOCH_S: Final = 0.1

#: Longer epochs are not aimed at, whatever a batch costs.
LONGEST_EPOCH_S: Final = 2.0

#: So much of what a batch costs anyway is aimed at, that there is room for rows.
_MORE: Final = 1.5

#: How much larger the batch is that follows a quick one. As part of what a batch costs does not grow with its
#: rows, one that is as much larger as there is time stays within that time.
_LEAST_GROWTH, _MOST_GROWTH = 2, 8

#: After so many batches it is tried again whether smaller ones cost less.
_ASK_AGAIN: Final = 50

SHORTEST_REST_S: Final = 0.0005
LONGEST_REST_S: Final = 0.02

#: How soon a job that keeps something asks how far time has come where nothing did, and how seldom when
#: nothing comes of it: a window closes as late.
SHORTEST_TICK_S: Final = 0.025
LONGEST_TICK_S: Final = 1.0


class Pace:
    """Adapts the rows of a batch to the time that batches take, and rests longer the longer nothing comes.

    Where a batch takes long however few rows it has, as on a slow disk, smaller ones would only be more: then
    the time that is aimed at is somewhat more than a batch takes anyway.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows = FIRST_BATCH_ROWS
        self._epoch_s = EPOCH_S
        self._slow: tuple[int, float] | None = None  # the batch that made the next one smaller
        self._batches = 0
        self._rest_s = SHORTEST_REST_S

    @contextlib.contextmanager
    def timed(self, rows: int, *, full: bool) -> Iterator[None]:
        """Time an epoch of `rows` events: a quick full one makes the next larger, a slow one smaller."""
        began = self._clock.monotonic_ns()
        yield
        took_s = max((self._clock.monotonic_ns() - began) / 1e9, 1e-6)
        self._rest_s = SHORTEST_REST_S
        self._batches += 1
        if took_s < EPOCH_S or self._batches % _ASK_AGAIN == 0:
            self._epoch_s, self._slow = EPOCH_S, None
        if self._is_due_to_rows(rows, took_s):
            self._slow = (rows, took_s) if took_s > 2 * self._epoch_s else None
        else:
            self._epoch_s = min(_MORE * took_s, LONGEST_EPOCH_S)
        if full and took_s < self._epoch_s:
            growth = min(_MOST_GROWTH, max(_LEAST_GROWTH, self._epoch_s / took_s))
            self.rows = min(MAX_BATCH_ROWS, max(self.rows, int(rows * growth)))
        elif took_s > 2 * self._epoch_s:
            self.rows = max(1, min(self.rows, int(rows * self._epoch_s / took_s)))

    def _is_due_to_rows(self, rows: int, took_s: float) -> bool:
        """Tell whether a batch that was made smaller has saved half of what fewer rows should, at least."""
        if self._slow is None or rows > 0.75 * self._slow[0]:
            return True
        before_rows, before_s = self._slow
        return took_s < before_s * (1 + rows / before_rows) / 2

    def rest(self) -> None:
        """Wait a little for events to come."""
        self._clock.sleep(self._rest_s)
        self._rest_s = min(LONGEST_REST_S, self._rest_s * 2)


class Ticking:
    """When to let time pass where nothing comes: soon behind events, the more seldom the less comes of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause_s = SHORTEST_TICK_S
        self._next_ns = clock.monotonic_ns()

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return self._clock.monotonic_ns() >= self._next_ns

    def wake(self) -> None:
        """Something came, so that time may matter soon."""
        self._pause_s = SHORTEST_TICK_S
        self._next_ns = min(self._next_ns, self._clock.monotonic_ns() + int(SHORTEST_TICK_S * 1e9))

    def ticked(self, *, fruitful: bool) -> None:
        """Time has passed, and something came of it or nothing did."""
        self._pause_s = SHORTEST_TICK_S if fruitful else min(LONGEST_TICK_S, 2 * self._pause_s)
        self._next_ns = self._clock.monotonic_ns() + int(self._pause_s * 1e9)
