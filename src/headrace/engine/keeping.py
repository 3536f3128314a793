"""Who keeps the state of a job: one instance at a time that reads all partitions and saves in each commit.

The state is saved whole, in the transaction that holds the positions and the rows, so that a restart goes on
from it without reading anything again.
"""

from __future__ import annotations

import contextlib
import json
from typing import Final

from headrace.clock import Clock
from headrace.engine.tasks import TAKE_OVER_AFTER_S
from headrace.engine.timeline import Ticks, Timeline
from headrace.errors import Fatal, HeadraceError, Transient, UserError
from headrace.limits import MAX_STATE_BYTES
from headrace.local.namespace import Transaction
from headrace.local.ownership import Ownership
from headrace.local.progress import Progress

#: The task that all partitions of a job with state belong to.
STATE_TASK: Final = "state"

_ADVICE: Final = "`headrace run {job} --forget-state` goes on at the same positions without what was kept"


class Keeping:
    """The state of a job as one instance sees it: its own to advance and save once `acquire` says so."""

    def __init__(
        self, progress: Progress, job: str, owner: str, instance: int, timeline: Timeline, clock: Clock
    ) -> None:
        self._progress, self._job, self._owner, self._clock = progress, job, owner, clock
        self._timeline = timeline
        patience_s = TAKE_OVER_AFTER_S if instance else 0.0
        self._patient_until_ns = clock.monotonic_ns() + int(patience_s * 1e9)
        self._ownership: Ownership | None = None
        self._saved: dict[str, bytes] = {}
        self._ticks: dict[str, dict[int, int]] = {}
        self.epoch = 1

    @property
    def owned(self) -> bool:
        """Whether the state is this instance's."""
        return self._ownership is not None

    def acquire(self) -> bool:
        """Take the state and go on from what was saved, unless another instance has it; tell if it is ours.

        Raises UserError if another query saved it.
        """
        if self._ownership is not None:
            return True
        if self._clock.monotonic_ns() < self._patient_until_ns:
            return False
        try:
            self._ownership = self._progress.acquire(self._job, STATE_TASK, self._owner)
        except Transient:
            return False
        self._saved = self._progress.state(self._job, STATE_TASK)
        epochs = self._progress.epochs(self._job, STATE_TASK)
        self.epoch = epochs[-1].number + 1 if epochs else 1
        if self._saved:
            try:
                self._timeline.restore(self._saved)
            except UserError as error:
                raise _with_advice(self._job, error) from None
        return True

    def note(self, ticks: Ticks) -> None:
        """Remember how far time came without events, for the record of the next epoch."""
        for name, floors in ticks.items():
            self._ticks.setdefault(name, {}).update(floors)

    def snapshot(self) -> dict[str, bytes]:
        """Return what `save` takes; it is made before the commit, in which other processes wait."""
        parts = self._timeline.snapshot()
        size_bytes = sum(map(len, parts.values()))
        if size_bytes > MAX_STATE_BYTES:
            raise Fatal(
                f"the state of job '{self._job}' takes {size_bytes:,} bytes, more than {MAX_STATE_BYTES:,}: "
                "make windows shorter, bounds of joins closer or keys fewer"
            )
        return parts

    def save(self, tx: Transaction, parts: dict[str, bytes]) -> None:
        """Within the commit: check that the state is still ours, and save what has changed of it."""
        assert self._ownership is not None
        self._ownership.check(tx)
        changed = {part: body for part, body in parts.items() if body != self._saved.get(part)}
        self._progress.save_state(tx, self._job, STATE_TASK, changed)
        self._saved = parts
        self.epoch = 1 + self._progress.record_epoch(
            tx,
            self._job,
            STATE_TASK,
            json.dumps({"ticks": self._ticks}),
            {},
            watermark_us=self._timeline.frontier_us,
        )
        self._ticks = {}

    def release(self) -> None:
        """Give the state back."""
        if self._ownership is not None:
            with contextlib.suppress(HeadraceError):
                self._ownership.release()
            self._ownership = None


def check_nothing_kept(progress: Progress, job: str) -> None:
    """Raise UserError if a job whose query keeps nothing has the state of an earlier query."""
    if progress.state(job, STATE_TASK):
        raise _with_advice(job, UserError("the query keeps nothing, but the one before it has saved a state"))


def _with_advice(job: str, error: UserError) -> UserError:
    return UserError(f"job '{job}': {error}. {_ADVICE.format(job=job)}")
