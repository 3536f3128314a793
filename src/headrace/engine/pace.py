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
            self.rows = min(MAX_BATCH_ROWS, max(self.rows, rows * 2))
        elif took_s > 2 * EPOCH_S:
            self.rows = max(1, min(self.rows, int(rows * EPOCH_S / took_s)))

    def rest(self) -> None:
        """Wait a little for events to come."""
        self._clock.sleep(self._rest_s)
        self._rest_s = min(LONGEST_REST_S, self._rest_s * 2)
