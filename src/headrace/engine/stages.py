"""The clocks of the stages: what each was busy for and with, and what the instance waited for instead.

Everything only grows while the instance runs, but for the sizes that `GAUGES` names: the difference of two
looks at `counters` is a rate. The loop works one stage after the other, but for a thread that reads and
decodes ahead; so of the time on the wall all that is no waiting is the loop's own work.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from headrace.clock import Clock

#: In the order of the data's path.
STAGES: Final = ("read", "decode", "order", "query", "score", "write", "commit", "deliver")

#: What the loop waits for: events to come, its turn to write the namespace, what is being read ahead.
Wait = Literal["idle", "lock_wait", "ahead_wait"]

WAITS: Final[tuple[Wait, ...]] = ("idle", "lock_wait", "ahead_wait")

#: The counters that may also become less.
GAUGES: Final = frozenset({"memory_bytes", "batch_limit_rows", "state_rows"})

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MEMORY: Final = Path("/proc/self/statm")


@dataclass(slots=True)
class Work:
    """What one stage did: nanoseconds busy, calls, and what went in and came out.

    `cpu_ns` is the part of its time in which its own thread had a processor; those of Polars are others.
    """

    busy_ns: int = 0
    cpu_ns: int = 0
    calls: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class StageClocks:
    """What each stage did since the instance started, and what the instance waited for.

    `sizes` is asked at each look for what is known elsewhere.
    """

    def __init__(self, clock: Clock, sizes: Callable[[], dict[str, float]] = dict) -> None:
        self._clock, self._sizes = clock, sizes
        self._began_ns = clock.monotonic_ns()
        self.work = {name: Work() for name in STAGES}
        self.waited_ns: dict[Wait, int] = dict.fromkeys(WAITS, 0)
        self.background_ns = 0
        self.events_in = self.rows_out = self.dead = self.epochs = 0
        self.inputs: dict[str, int] = {}

    def now_ns(self) -> int:
        """Return the time that `spent` and `waited` are told as their beginning."""
        return self._clock.monotonic_ns()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Work]:
        """Count a call of stage `name` and add the time that the block takes; gives what else is counted."""
        work, began, cpu_began = self.work[name], self._clock.monotonic_ns(), time.thread_time_ns()
        try:
            yield work
        finally:
            work.busy_ns += self._clock.monotonic_ns() - began
            work.cpu_ns += time.thread_time_ns() - cpu_began
            work.calls += 1

    def spent(self, name: str, began_ns: int) -> Work:
        """Count a call of stage `name` that ends now; returns what else is counted."""
        work = self.work[name]
        work.busy_ns += self._clock.monotonic_ns() - began_ns
        work.calls += 1
        return work

    @contextlib.contextmanager
    def waiting(self, wait: Wait) -> Iterator[None]:
        """Add the time that the block takes to what the instance waited for."""
        began = self._clock.monotonic_ns()
        try:
            yield
        finally:
            self.waited(wait, began)

    def waited(self, wait: Wait, began_ns: int, within: str | None = None) -> None:
        """Add the time until now to a wait; the stage `within` which it was is busy that much less."""
        waited_ns = self._clock.monotonic_ns() - began_ns
        self.waited_ns[wait] += waited_ns
        if within is not None:
            self.work[within].busy_ns -= waited_ns

    def move(
        self, from_stage: str, to_stage: str, busy_ns: int, calls: int, rows: int, cpu_ns: int = 0
    ) -> None:
        """Give a part of one stage's time to another that ran inside it, for so many rows."""
        self.work[from_stage].busy_ns -= busy_ns
        self.work[from_stage].cpu_ns -= cpu_ns
        into = self.work[to_stage]
        into.busy_ns += busy_ns
        into.cpu_ns += cpu_ns
        into.calls += calls
        into.rows_in += rows
        into.rows_out += rows

    def read(self, input_name: str, **counts: int) -> None:
        """Add to what an input has: its `events`, those `rejected`, and what the policy found of them."""
        for what, count in counts.items():
            if count:
                key = f"{what}/{input_name}"
                self.inputs[key] = self.inputs.get(key, 0) + count

    def counters(self) -> dict[str, float]:
        """Return everything counted by name, times in milliseconds; what is nought may be missing.

        ``read_ms`` is the time that stage was busy, ``read_cpu_ms`` the part of it in which its thread had a
        processor, where it is counted, and so for each; ``wall_ms`` since the start, ``cpu_ms``
        of the process, ``idle_ms``, ``lock_wait_ms`` and ``ahead_wait_ms`` of waiting, ``background_ms`` of
        the thread that reads ahead, whose work is that of `read` and `decode`.
        """
        used = resource.getrusage(resource.RUSAGE_SELF)
        counted: dict[str, float] = {
            "events_in": self.events_in,
            "rows_out": self.rows_out,
            "dead": self.dead,
            "epochs": self.epochs,
            "wall_ms": _ms(self._clock.monotonic_ns() - self._began_ns),
            "cpu_ms": round(1e3 * (used.ru_utime + used.ru_stime), 3),
            "background_ms": _ms(self.background_ns),
            "memory_bytes": memory_bytes(),
        }
        counted |= {f"{wait}_ms": _ms(spent) for wait, spent in self.waited_ns.items()}
        for name, work in self.work.items():
            counted[f"{name}_ms"] = _ms(work.busy_ns)
            counted[f"{name}_cpu_ms"] = _ms(work.cpu_ns)
            counts = {
                "calls": work.calls,
                "rows_in": work.rows_in,
                "rows_out": work.rows_out,
                "bytes_in": work.bytes_in,
                "bytes_out": work.bytes_out,
            }
            counted |= {f"{name}_{what}": count for what, count in counts.items() if count}
        return counted | self.inputs | self._sizes()


def memory_bytes() -> int:
    """Return how much memory this process has in use; the most it ever had where the system does not say."""
    try:
        return int(_MEMORY.read_text("ascii").split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _ms(spent_ns: int) -> float:
    return round(spent_ns / 1e6, 3)
