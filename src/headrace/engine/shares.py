"""Which tasks an instance takes: its share, and for as long as others are gone theirs.

Tasks are counted, and every n-th belongs to an instance. Who is there is told by heartbeats: a task whose
instance does not come back is taken over, and given back when it does.
"""

from __future__ import annotations

from typing import Final

from headrace.clock import Clock
from headrace.local.progress import Progress

#: How long nothing is heard of an instance before others take its tasks over.
TAKE_OVER_AFTER_S: Final = 3.0


class Shares:
    """The share of instance number `instance` of a job that runs as `instances`.

    A stage of a job is scaled with the `whole`.
    """

    def __init__(
        self,
        progress: Progress,
        job: str,
        instance: int,
        instances: int,
        clock: Clock,
        *,
        whole: str | None = None,
    ) -> None:
        self._progress, self._job, self._whole, self._clock = progress, job, whole or job, clock
        self._instance, self._configured = instance, instances
        self._own_only_until_ns = clock.monotonic_ns() + int(TAKE_OVER_AFTER_S * 1e9)
        self._present: frozenset[int] = frozenset()
        self._takes_all = False
        self.instances = instances

    @property
    def wanted(self) -> bool:
        """Whether the job still runs as so many instances that this is one of them."""
        return self._instance < self.instances

    def refresh(self) -> None:
        """Learn how many instances there are to be, and who is there."""
        self.instances = self._progress.scale(self._whole) or self._configured
        since_us = self._clock.now_us() - int(TAKE_OVER_AFTER_S * 1e6)
        self._present = frozenset(
            state.number for state in self._progress.instances(self._job) if state.heartbeat_us > since_us
        )

    def take_all(self) -> None:
        """Take whatever is free from now on: at the end of the inputs an instance may be gone for good."""
        self._takes_all = True

    def takes(self, task: int) -> bool:
        """Tell whether a free task is this instance's to take."""
        owner = task % self.instances
        if self._takes_all or owner == self._instance:
            return True
        return self._clock.monotonic_ns() >= self._own_only_until_ns and owner not in self._present

    def gives(self, task: int) -> bool:
        """Tell whether a task that this instance has belongs to another that is there."""
        owner = task % self.instances
        return owner != self._instance and owner in self._present
