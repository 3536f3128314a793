"""The arguments of aggregates: what is converted silently."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from headrace.engine.evaluation import Planes
from headrace.engine.expressions import evaluate
from headrace.events.batch import HIDDEN, Batch, Column, ValueType
from headrace.sql.plan import Cast, ColumnRef, Expression

_OTHERS: Final = f"{HIDDEN}others"


class Argument:
    """An argument of an aggregate, read as numbers or as values that have an order.

    A text that is not cast to nvarchar(max) right there is read as a float; what cannot be read raises
    RowError, and so does a record or array.
    """

    def __init__(self, expression: Expression, script: str) -> None:
        self._expression, self._script = expression, script
        self._as_text = isinstance(expression, Cast) and expression.type is ValueType.TEXT
        self._as_float = Cast(ColumnRef(_OTHERS), ValueType.FLOAT, safe=False, span=expression.span)

    def values(self, batch: Batch) -> Planes:
        """Return the values as they are."""
        return evaluate([self._expression], batch, self._script)[0]

    def numbers(self, batch: Batch) -> Planes:
        """Return the values as bigints and floats; a bit is 0 or 1."""
        planes = self._with_floats(self.values(batch), {ValueType.BIT, ValueType.BIGINT, ValueType.FLOAT})
        bit = planes.pop(ValueType.BIT, None)
        if bit is not None:
            planes[ValueType.BIGINT] = _together(planes.get(ValueType.BIGINT), bit.cast(pl.Int64))
        return planes

    def ordered(self, batch: Batch) -> Planes:
        """Return the values as bits, bigints, floats and datetimes, or as texts where they are cast so."""
        kept = {ValueType.BIT, ValueType.BIGINT, ValueType.FLOAT, ValueType.DATETIME}
        return self._with_floats(self.values(batch), {*kept, ValueType.TEXT} if self._as_text else kept)

    def _with_floats(self, planes: Planes, kept: Collection[ValueType]) -> Planes:
        """Return `planes` with those that are not of a type in `kept` read as floats."""
        others = {type_: plane for type_, plane in planes.items() if type_ not in kept}
        if not others:
            return dict(planes)
        column = Column(_OTHERS, tuple(others))
        frame = pl.DataFrame([plane.alias(column.physical(type_)) for type_, plane in others.items()])
        [read] = evaluate([self._as_float], Batch(frame, (column,)), self._script)
        result = {type_: plane for type_, plane in planes.items() if type_ in kept}
        for type_, plane in read.items():
            result[type_] = _together(result.get(type_), plane)
        return result


def _together(left: pl.Series | None, right: pl.Series) -> pl.Series:
    return right if left is None else left.zip_with(left.is_not_null(), right)
