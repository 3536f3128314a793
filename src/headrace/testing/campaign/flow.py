"""How events keep coming: evenly, now and then many at once, and few while a job is far behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from headrace.clock import Clock
from headrace.testing.campaign.events import READINGS
from headrace.testing.campaign.run import Run
from headrace.testing.campaign.watching import Watch

#: So many readings at once give the jobs a backlog.
_BURST_EVERY_S: Final = 9.0
_BURST: Final = 1_500

#: While the slowest job is so far behind only a few come: the others are to have something to do.
_MOST_BEHIND: Final = 20_000
_TRICKLE: Final = 0.2


@dataclass(slots=True)
class Flow:
    """Lets readings be published, `rate` a second and bursts."""

    run: Run
    watch: Watch
    rate: float
    clock: Clock
    _readings: float = 0
    _last_ns: int = field(init=False)
    _next_burst_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self._last_ns = self.clock.monotonic_ns()
        self._next_burst_ns = self._last_ns + int(_BURST_EVERY_S * 1e9)

    @property
    def readings(self) -> int:
        """How many readings may be published by now."""
        return int(self._readings)

    def go_on(self) -> None:
        """Let through what is due since this was last called."""
        now_ns = self.clock.monotonic_ns()
        passed_s, self._last_ns = (now_ns - self._last_ns) / 1e9, now_ns
        behind = self.readings - self.watch.slowest(READINGS) > _MOST_BEHIND
        self._readings += self.rate * passed_s * (_TRICKLE if behind else 1)
        if now_ns >= self._next_burst_ns and not behind:
            self._next_burst_ns = now_ns + int(_BURST_EVERY_S * 1e9)
            self._readings += _BURST
        self.run.due(self.readings)
