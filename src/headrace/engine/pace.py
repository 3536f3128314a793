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

SHORTEST_REST_S: Final = 0.0005
LONGEST_REST_S: Final = 0.02

#: How soon a job that keeps something asks how far time has come where nothing did, and how seldom when
#: nothing comes of it: a window closes as late.
SHORTEST_TICK_S: Final = 0.025
LONGEST_TICK_S: Final = 1.0


class Pace:
    """Adapts the rows of a batch to the time that batches take, and rests longer the longer nothing comes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows = FIRST_BATCH_ROWS
        self._rest_s = SHORTEST_REST_S

    @contextlib.contextmanager
    def timed(self, rows: int, *, full: bool) -> Iterator[None]:
        """Time an epoch of `rows` events: a quick full one makes the next larger, a slow one smaller."""
        began = self._clock.monotonic_ns()
        yield
        took_s = max((self._clock.monotonic_ns() - began) / 1e9, 1e-6)
        self._rest_s = SHORTEST_REST_S
        if full and took_s < EPOCH_S:
            growth = 8 if took_s < EPOCH_S / 8 else 2
            self.rows = min(MAX_BATCH_ROWS, max(self.rows, rows * growth))
        elif took_s > 2 * EPOCH_S:
            self.rows = max(1, min(self.rows, int(rows * EPOCH_S / took_s)))

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
