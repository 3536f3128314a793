"""JOIN of two streams: the pairs of rows whose times are within bounds and that match.

A pair is found in the slice in which the later of its rows comes, so an inner join lags behind nothing. Each
side keeps its rows as long as a partner can still come.

A LEFT JOIN dates a left row without a partner at its time plus the upper bound of DATEDIFF, and is certain of
it when the unit of time is over in which the last partner could come. Until then nothing later may leave, so
pairs wait, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.engine.alignment import joined, rows_below, split
from headrace.engine.expressions import Planes, RowError, evaluate
from headrace.engine.joins.keys import Keys
from headrace.engine.joins.pairs import LEFT, NO_PAIRS, RIGHT, Grouped, Matching, Times, pair_rows
from headrace.engine.joins.times import FIRST, LAST, Reach
from headrace.engine.operator import Slice, State, StateValue
from headrace.errors import DataError
from headrace.events.batch import ORIGIN, TIME, Batch, Column, ValueType
from headrace.sql.plan import Join

#: Kept beside the columns of left rows: which row of its side it is, and whether it has had a partner.
_NUMBER: Final = "@number"
_MATCHED: Final = "@matched"

#: Rows kept in more pieces than this are put into one.
_MAX_PIECES: Final = 16


@dataclass(frozen=True, slots=True)
class _Side:
    """Rows in order of arrival: `kept` ones from earlier slices, then those of this slice."""

    rows: Batch
    kept: int

    @staticmethod
    def of(kept: StateValue, new: Batch | None) -> _Side | None:
        assert kept is None or isinstance(kept, Batch)
        rows = joined(kept, new)
        if rows is None:
            return None
        if rows.frame.n_chunks() > _MAX_PIECES:
            rows = Batch(rows.frame.rechunk(), rows.columns)
        return _Side(rows, 0 if kept is None else kept.height)


class StreamJoin:
    """The operator of a Join; its two inputs have one frontier."""

    def __init__(self, join: Join, script: str) -> None:
        self._outer = join.outer
        self._script = script
        self._reach = Reach.of(join)
        self._matching = Matching(join.equal, join.condition, script)
        self._left_values = (*(bound.left for bound in join.bounds), *self._matching.left)

    def initial(self) -> State:
        """Return the state before the first slice."""
        return {"left": None, "right": None, "left_rows": 0, "waiting": None}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the next state and the rows that are certain.

        Raises RowError for a left row of this slice, DataError for anything else that makes the job stop.
        """
        seen = state["left_rows"]
        assert isinstance(seen, int)
        arrived = self._left_rows(inputs[0].batch, seen)
        left = _Side.of(state["left"], arrived)
        right = _Side.of(state["right"], self._right_rows(inputs[1].batch))
        frontier_us = inputs[0].frontier_us
        found, kept_left, absent = None, None, None
        if left is not None:
            pairs = NO_PAIRS if right is None else self._pairs(left, right)
            if right is not None and pairs.height:
                found = _in_order(left.rows, right.rows, pairs)
            kept_left, absent = self._open(left.rows, pairs, frontier_us)
        result, waiting = Slice(found, frontier_us), None
        if self._outer:
            result, waiting = self._certain([state["waiting"], found, absent], kept_left, frontier_us)
        return {
            "left": kept_left,
            "right": None if right is None else self._open_right(right.rows, frontier_us),
            "left_rows": seen + (0 if arrived is None else arrived.height),
            "waiting": waiting,
        }, result

    # --- arrival ------------------------------------------------------------------------------------------

    def _left_rows(self, batch: Batch | None, seen: int) -> Batch | None:
        """Return left rows with the times that partners may have, and their keys; raises RowError."""
        if batch is None or batch.height == 0:
            return None
        values = evaluate(self._left_values, batch, self._script)
        bounds = len(self._reach.bounds)
        added = self._reach.partners(values[:bounds], batch.height).get_columns()
        added += _key_columns(values[bounds:])
        if self._outer:
            numbers = pl.int_range(seen, seen + batch.height, dtype=pl.Int64, eager=True)
            added += [numbers.alias(_NUMBER), pl.repeat(False, batch.height, eager=True).alias(_MATCHED)]
        return Batch(batch.frame.drop(ORIGIN, strict=False).with_columns(added), batch.columns)

    def _right_rows(self, batch: Batch | None) -> Batch | None:
        """Return right rows with their keys."""
        if batch is None or batch.height == 0:
            return None
        try:
            keys = evaluate(self._matching.right, batch, self._script)
        except RowError as error:
            raise DataError(str(error)) from None
        return Batch(batch.frame.drop(ORIGIN, strict=False).with_columns(_key_columns(keys)), batch.columns)

    # --- pairs --------------------------------------------------------------------------------------------

    def _pairs(self, left: _Side, right: _Side) -> pl.DataFrame:
        """Return the pairs that have a row of this slice, in order of the left row, then of the right one."""
        frame = left.rows.frame
        times = Times(frame[FIRST], frame[LAST], right.rows.frame[TIME].to_physical(), left.kept, right.kept)
        grouped = Grouped(self._keys(right.rows), right.kept)
        try:
            return self._matching.pairs((left.rows, self._keys(left.rows)), (right.rows, grouped), times)
        except RowError as error:
            if error.row < left.kept:
                raise DataError(str(error)) from None
            error.row -= left.kept
            raise

    def _keys(self, rows: Batch) -> Keys:
        keys = [_planes(rows.frame, number) for number in range(len(self._matching.left))]
        return Keys(keys, rows.height, self._script)

    # --- what is kept -------------------------------------------------------------------------------------

    def _open(self, left: Batch, pairs: pl.DataFrame, frontier_us: int) -> tuple[Batch | None, Batch | None]:
        """Return the left rows for which a partner can still come, and of the others those that had none."""
        frame = left.frame
        open_ = (frame[LAST] >= frontier_us).fill_null(value=False)
        if not self._outer:
            return _or_none(frame.filter(open_), left), None
        if pairs.height:
            matched = frame[_MATCHED].to_numpy().copy()
            matched[pairs[LEFT].to_numpy()] = True
            frame = frame.with_columns(pl.Series(_MATCHED, matched))
        alone = frame.filter(~open_ & ~frame[_MATCHED])
        delay = pl.duration(microseconds=self._reach.absence_us)
        names = [TIME, _NUMBER, *(name for column in left.columns for name in column.physicals)]
        absent = alone.select(names).with_columns(pl.col(TIME) + delay)
        return _or_none(frame.filter(open_), left), _or_none(absent, left)

    def _open_right(self, right: Batch, frontier_us: int) -> Batch | None:
        """Return the right rows for which a partner can still come."""
        gone = rows_below(right.frame, self._reach.forgotten_before(frontier_us))
        return _or_none(right.frame.slice(gone), right)

    def _certain(
        self, rows: Sequence[StateValue], undecided: Batch | None, frontier_us: int
    ) -> tuple[Slice, Batch | None]:
        """Return the rows of an outer join before those that may still come, and the others."""
        if undecided is not None:
            earliest = undecided.frame.filter(~pl.col(_MATCHED))[TIME].to_physical().min()
            if isinstance(earliest, int):
                frontier_us = min(frontier_us, earliest + self._reach.absence_us)
        together = None
        for batch in rows:
            assert batch is None or isinstance(batch, Batch)
            together = joined(together, batch)
        if together is None:
            return Slice(None, frontier_us), None
        in_order = together.frame.sort(TIME, _NUMBER, maintain_order=True)
        ready, waiting = split(Batch(in_order, together.columns), frontier_us)
        if ready is not None:
            ready = Batch(ready.frame.drop(_NUMBER), ready.columns)
        return Slice(ready, frontier_us), waiting


def _in_order(left: Batch, right: Batch, pairs: pl.DataFrame) -> Batch:
    """Return the rows of `pairs` in order of time, left rows with their numbers."""
    times = (pl.lit(side.frame[TIME]).gather(pl.col(place)) for side, place in ((left, LEFT), (right, RIGHT)))
    at = pl.max_horizontal(list(times)).alias(TIME)
    pairs = pairs.with_columns(at)
    if not pairs[TIME].is_sorted():
        pairs = pairs.sort(TIME, maintain_order=True)
    rows = pair_rows(left, right, pairs)
    if _NUMBER not in left.frame.columns:
        return rows
    return Batch(rows.frame.with_columns(left.frame[_NUMBER].gather(pairs[LEFT])), rows.columns)


def _key_columns(keys: Sequence[Planes]) -> list[pl.Series]:
    return [
        values.alias(_key(number).physical(type_))
        for number, planes in enumerate(keys)
        for type_, values in planes.items()
    ]


def _planes(frame: pl.DataFrame, number: int) -> Planes:
    """Return the values of a key that `_key_columns` put beside the rows."""
    names = {type_: _key(number).physical(type_) for type_ in ValueType}
    found = {type_: frame.get_column(name) for type_, name in names.items() if name in frame.columns}
    return {type_: values for type_, values in found.items() if values.null_count() < len(values)}


def _key(number: int) -> Column:
    return Column(f"@key{number}", ())


def _or_none(frame: pl.DataFrame, like: Batch) -> Batch | None:
    return Batch(frame, like.columns) if frame.height else None
