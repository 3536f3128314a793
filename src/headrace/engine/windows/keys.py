"""Keys of groups and partitions: expressions whose equal values make one group (see `equality`).

A key is some columns of a frame, named after its place: one for each type that occurs, and one that marks
floats among equal bigints, so that a group of floats shows a float. A column that is missing is NULL in all
rows, so frames with keys are put together by ``pl.concat(frames, how="diagonal")``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from headrace.engine.equality import canonical, whole_floats
from headrace.engine.evaluation import Planes
from headrace.engine.expressions import evaluate
from headrace.engine.ordering import sort_columns
from headrace.engine.planes import named, occurring, planes_among
from headrace.events.batch import Batch, ValueType
from headrace.sql.plan import Expression


class Keys:
    """Keys, in order, as columns whose names begin with `prefix`."""

    def __init__(self, expressions: Sequence[Expression], script: str, prefix: str = "@key") -> None:
        self._expressions, self._script = tuple(expressions), script
        self.prefixes = [f"{prefix}{place}:" for place in range(len(self._expressions))]

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the columns of the keys of each row; none when all keys are NULL. Raises RowError."""
        columns: list[pl.Series] = []
        values = evaluate(self._expressions, batch, self._script)
        for prefix, planes in zip(self.prefixes, values, strict=True):
            floats = planes.get(ValueType.FLOAT)
            columns += named(prefix, canonical(planes))
            if floats is not None:
                were_floats = whole_floats(floats)
                if were_floats.any():
                    columns.append(were_floats.alias(_floats(prefix)))
        return columns

    def equal(self, columns: Collection[str]) -> list[str]:
        """Return those of `columns` that rows of one group are equal in, NULL being equal to NULL."""
        return [name for prefix in self.prefixes for name in planes_among(prefix, columns).values()]

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return what ``group_by(equal columns).agg(...)`` keeps of the keys besides, at a merge as well."""
        marks = [_floats(prefix) for prefix in self.prefixes]
        return [pl.col(mark).fill_null(value=False).all() for mark in marks if mark in columns]

    def order(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return what to sort by, NULL first, to have rows in the order of their keys."""
        result = []
        for prefix in self.prefixes:
            planes = {type_: pl.col(name) for type_, name in planes_among(prefix, columns).items()}
            result += sort_columns(planes)
            if ValueType.BIT in planes and len(planes) > 1:
                result.append(planes[ValueType.BIT])  # the bit 1 is another key than the number 1
        return result

    def values(self, frame: pl.DataFrame) -> list[Planes]:
        """Return the value of each key in every row of `frame`."""
        return [self._value(prefix, frame) for prefix in self.prefixes]

    def _value(self, prefix: str, frame: pl.DataFrame) -> Planes:
        names = planes_among(prefix, frame.columns)
        planes = {type_: frame.get_column(name) for type_, name in names.items()}
        if _floats(prefix) in frame.columns:
            wholes = planes[ValueType.BIGINT]
            were_floats = frame.get_column(_floats(prefix)).fill_null(value=False)
            nothing = wholes.clear(len(wholes))
            shown = wholes.zip_with(were_floats, nothing).cast(pl.Float64)
            floats = planes.get(ValueType.FLOAT)
            planes[ValueType.FLOAT] = (
                shown if floats is None else floats.zip_with(floats.is_not_null(), shown)
            )
            planes[ValueType.BIGINT] = wholes.zip_with(~were_floats, nothing)
        return occurring(planes)


def _floats(prefix: str) -> str:
    return f"{prefix}was_float"
