"""Time is a parameter: whoever needs the time is handed a `Clock`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now_us(self) -> int:
        """Return the wall time in microseconds since 1970-01-01 UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Return a time in nanoseconds that never goes backwards, for measuring durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; a manual clock moves instead."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return the wall time in microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def monotonic_ns(self) -> int:
        """Return the monotonic time in nanoseconds."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(seconds)


@dataclass(slots=True)
class ManualClock:
    """A clock that tests move by hand."""

    us: int = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z

    def now_us(self) -> int:
        """Return the time it was set to."""
        return self.us

    def monotonic_ns(self) -> int:
        """Return the same time in nanoseconds."""
        return self.us * 1000

    def sleep(self, seconds: float) -> None:
        """Move the clock forward."""
        self.us += int(seconds * 1_000_000)
