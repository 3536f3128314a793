"""The order of values of several types: NULL, then texts, datetimes and at last numbers by value.

It decides MIN and MAX, ORDER BY of aggregates, and the order of rows of one window. A bit counts as 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import polars as pl

from headrace.engine.values import NUMBERS
from headrace.events.batch import DTYPES, ValueType

#: The greatest float that is a bigint: the next is greater than all bigints.
_MAX_WHOLE_FLOAT: Final = math.nextafter(2.0**63, 0)

#: The types of `fixed_columns`: numbers as the nearest floats and as whole numbers, datetimes, texts.
FIXED: Final = tuple(
    DTYPES[type_] for type_ in (ValueType.FLOAT, ValueType.BIGINT, ValueType.DATETIME, ValueType.TEXT)
)

#: Types that are no numbers, the greatest first.
_OTHERS: Final = (ValueType.DATETIME, ValueType.TEXT, ValueType.RECORD, ValueType.ARRAY)


def sort_columns(planes: Mapping[ValueType, pl.Expr]) -> list[pl.Expr]:
    """Return what to sort by, NULL being the least in each, to have the values of `planes` in order."""
    numbers = [planes[type_] for type_ in NUMBERS if type_ in planes]
    if len(numbers) > 1:
        nearest, exact = _numbers(planes)
        numbers = [nearest, exact] if ValueType.FLOAT in planes else [exact]
    return [*numbers, *(planes[type_] for type_ in _OTHERS if type_ in planes)]


def fixed_columns(planes: Mapping[ValueType, pl.Expr]) -> list[pl.Expr]:
    """Return what to sort by in columns that are the same whatever types there are: see FIXED."""
    null = pl.lit(None)
    others = [planes.get(type_, null) for type_ in (ValueType.DATETIME, ValueType.TEXT)]
    return [part.cast(dtype) for part, dtype in zip([*_numbers(planes), *others], FIXED, strict=True)]


def _numbers(planes: Mapping[ValueType, pl.Expr]) -> tuple[pl.Expr, pl.Expr]:
    """Return numbers as the nearest floats, and as whole numbers, which decide between equal floats."""
    wholes = [planes[type_].cast(pl.Int64) for type_ in (ValueType.BIGINT, ValueType.BIT) if type_ in planes]
    whole = pl.coalesce(wholes) if wholes else pl.lit(None, pl.Int64)
    nearest = whole.cast(pl.Float64).clip(upper_bound=_MAX_WHOLE_FLOAT)
    real = planes.get(ValueType.FLOAT)
    if real is None:
        return nearest, whole
    return pl.coalesce(real, nearest), pl.coalesce(whole, real.cast(pl.Int64, strict=False))
