"""The order of values of several types: NULL, then texts, datetimes and at last numbers by value.

It decides MIN and MAX, ORDER BY of aggregates, and the order of rows of one window. A bit counts as 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from headrace.engine.values import NUMBERS
from headrace.events.batch import ValueType

_MAX_BIGINT: Final = 2**63 - 1
_MIN_BIGINT: Final = -(2**63)

#: Types that are no numbers, the greatest first.
_OTHERS: Final = (ValueType.DATETIME, ValueType.TEXT, ValueType.RECORD, ValueType.ARRAY)


def sort_columns(planes: Mapping[ValueType, pl.Expr]) -> list[pl.Expr]:
    """Return what to sort by, NULL being the least in each, to have the values of `planes` in order."""
    numbers = [type_ for type_ in NUMBERS if type_ in planes]
    columns = _numbers(planes, numbers)
    return [*columns, *(planes[type_] for type_ in _OTHERS if type_ in planes)]


def _numbers(planes: Mapping[ValueType, pl.Expr], types: list[ValueType]) -> list[pl.Expr]:
    if len(types) < 2:
        return [planes[type_] for type_ in types]
    wholes = [planes[type_].cast(pl.Int64) for type_ in types if type_ is not ValueType.FLOAT]
    whole = wholes[0] if len(wholes) == 1 else pl.coalesce(wholes)
    if ValueType.FLOAT not in types:
        return [whole]
    real = planes[ValueType.FLOAT]
    # The nearest floats of bigints are in the order of the bigints, or equal; equal ones are whole.
    nearest = pl.coalesce(real, whole.cast(pl.Float64))
    beyond = pl.when(real > 0).then(_MAX_BIGINT).when(real < 0).then(_MIN_BIGINT)
    return [nearest, pl.coalesce(whole, real.cast(pl.Int64, strict=False), beyond)]
