"""JOIN with reference data: each event with the rows that match in the snapshot valid at its time.

Reference data move no time and nothing is kept: the event's row keeps its time and its origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from headrace.engine.expressions import RowError, evaluate
from headrace.engine.joins.keys import Keys
from headrace.engine.joins.pairs import LEFT, NO_PAIRS, Grouped, Matching, pair_rows
from headrace.engine.joins.reference import Reference
from headrace.engine.operator import NEVER_US
from headrace.engine.operators.qualify import qualify
from headrace.errors import DataError
from headrace.events.batch import TIME, Batch, concat
from headrace.sql.plan import ReferenceJoin

#: What is valid before the first snapshot.
_NOTHING: Final = Batch(pl.DataFrame(), ())


class ReferenceLookup:
    """Joins rows with the reference data of a ReferenceJoin; a snapshot is grouped by its keys only once.

    `current` gives the data that count now: they may be others for each batch.
    """

    def __init__(self, join: ReferenceJoin, current: Callable[[], Reference], script: str) -> None:
        self._join = join
        self._script = script
        self._current = current
        self._reference = current()
        self._matching = Matching(join.equal, join.condition, script)
        self._snapshots: dict[int, tuple[Batch, Grouped]] = {}

    def joined(self, batch: Batch) -> Batch:
        """Return each row of `batch` with every reference row that matches, in the order of both.

        Raises RowError, about a row of `batch`, where a comparison or the condition fails; DataError where a
        key of a reference row does, or where too many rows match.
        """
        if batch.height == 0:
            return batch
        if (current := self._current()) is not self._reference:
            self._reference, self._snapshots = current, {}
        parts = [self._looked_up(batch, place, rows) for place, rows in self._places(batch)]
        if len(parts) == 1:
            return Batch(parts[0].frame.drop(LEFT), parts[0].columns)
        together = concat(parts)
        return Batch(together.frame.sort(LEFT, maintain_order=True).drop(LEFT), together.columns)

    def _places(self, batch: Batch) -> Iterator[tuple[int, pl.Series | None]]:
        """Yield the place of each snapshot in use, -1 before the first, and its rows; None for all."""
        starts = self._reference.starts_us
        if starts == (NEVER_US,):
            yield 0, None
            return
        times = batch.frame[TIME].to_physical()
        places = pl.Series(starts, dtype=pl.Int64).search_sorted(times, side="right").cast(pl.Int64) - 1
        needed = places.unique().to_list()
        for place in needed:
            yield place, None if len(needed) == 1 else (places == place).arg_true()

    def _looked_up(self, batch: Batch, place: int, rows: pl.Series | None) -> Batch:
        """Return some rows of `batch` joined with one snapshot, beside the place of each in `batch`."""
        part = batch if rows is None else Batch(batch.frame[rows], batch.columns)
        try:
            reference, pairs = self._matches(part, place)
        except RowError as error:
            error.row = error.row if rows is None else int(rows[error.row])
            raise
        if self._join.outer:
            every = pl.select(pl.int_range(part.height, dtype=pl.UInt32).alias(LEFT))
            pairs = every.join(pairs, on=LEFT, how="left", maintain_order="left_right")
        found = pair_rows(part, reference, pairs)
        at = pairs[LEFT] if rows is None else rows.gather(pairs[LEFT]).alias(LEFT)
        return Batch(found.frame.with_columns(at), found.columns)

    def _matches(self, part: Batch, place: int) -> tuple[Batch, pl.DataFrame]:
        keys = Keys(evaluate(self._matching.left, part, self._script), part.height, self._script)
        if place < 0:
            return _NOTHING, NO_PAIRS
        if place not in self._snapshots:
            self._snapshots[place] = self._snapshot(place)
        reference, grouped = self._snapshots[place]
        if reference.height == 0:
            return reference, NO_PAIRS
        return reference, self._matching.pairs((part, keys), (reference, grouped), None)

    def _snapshot(self, place: int) -> tuple[Batch, Grouped]:
        rows = qualify(self._reference.batches[place], self._join.name)
        try:
            keys = evaluate(self._matching.right, rows, self._script)
        except RowError as error:
            raise DataError(f"reference data {self._join.reference!r}: {error}") from None
        return rows, Grouped(Keys(keys, rows.height, self._script))
