"""The clocks of the stages: how long each was busy, so that the slowest can be named."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from headrace.clock import Clock

#: In the order of the data's path.
STAGES: Final = ("read", "decode", "order", "query", "score", "write", "commit", "deliver")


class StageClocks:
    """Busy time of each stage, in nanoseconds, and counts of rows, since the instance started."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.busy_ns = dict.fromkeys(STAGES, 0)
        self.events_in = self.rows_out = self.dead = self.epochs = 0

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to stage `name`."""
        began = self._clock.monotonic_ns()
        try:
            yield
        finally:
            self.busy_ns[name] += self._clock.monotonic_ns() - began

    def move(self, from_stage: str, to_stage: str, busy_ns: int) -> None:
        """Give a part of one stage's time to another that ran inside it."""
        self.busy_ns[from_stage] -= busy_ns
        self.busy_ns[to_stage] += busy_ns

    def counters(self) -> dict[str, float]:
        """Return everything counted, times in milliseconds, by name."""
        busy = {f"{name}_ms": round(spent / 1e6, 3) for name, spent in self.busy_ns.items()}
        return {
            "events_in": self.events_in,
            "rows_out": self.rows_out,
            "dead": self.dead,
            "epochs": self.epochs,
            **busy,
        }
