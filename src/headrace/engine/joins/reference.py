"""Reference data: rows that stand still while a stream flows past; each snapshot is valid from a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.engine.operator import NEVER_US
from headrace.events.batch import ORIGIN, TIME, Batch


@dataclass(frozen=True, slots=True)
class Reference:
    """Snapshots in order of time: at any moment the latest one whose start has been reached is valid.

    `starts_us` are microseconds since 1970 UTC, each once. Before the first start there are no rows.
    """

    starts_us: tuple[int, ...]
    batches: tuple[Batch, ...]

    @property
    def columns(self) -> frozenset[str]:
        """The names of all columns that occur."""
        return frozenset(column.name for batch in self.batches for column in batch.columns)

    @staticmethod
    def of(batch: Batch) -> Reference:
        """Return reference data that never change."""
        return Reference.of_snapshots([(NEVER_US, batch)])

    @staticmethod
    def of_snapshots(snapshots: Sequence[tuple[int, Batch]]) -> Reference:
        """Return reference data whose snapshots are valid from their times, in microseconds since 1970 UTC.

        They may come in any order; of two with the same time the latter counts.
        """
        by_start = dict(snapshots)
        starts = tuple(sorted(by_start))
        return Reference(starts, tuple(_untimed(by_start[start]) for start in starts))


def _untimed(batch: Batch) -> Batch:
    """Return the rows without the times and origins that reading them as events may have given them."""
    return Batch(batch.frame.drop(TIME, ORIGIN, strict=False), batch.columns)
