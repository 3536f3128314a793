"""Values of the language one by one: as Python has them, plain data that keeps their types.

A bit is a bool, a bigint an int, a float a float, a text a str and NULL None; a datetime, record or array is
the pair of its type's name and how it is stored: microseconds since 1970, or JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import polars as pl

from headrace.engine.evaluation import Planes
from headrace.events.batch import DTYPES, ValueType

Native: TypeAlias = bool | int | float | str | tuple[str, int | str] | None

_PLAIN: Final[dict[type, ValueType]] = {
    bool: ValueType.BIT,
    int: ValueType.BIGINT,
    float: ValueType.FLOAT,
    str: ValueType.TEXT,
}
_PAIRED: Final = {
    type_.name.lower(): type_ for type_ in (ValueType.DATETIME, ValueType.RECORD, ValueType.ARRAY)
}

NUMBERS: Final = frozenset({bool, int, float})

_DATETIME: Final = ValueType.DATETIME.name.lower()


def array(text: str) -> Native:
    """Return the array with this JSON text."""
    return (ValueType.ARRAY.name.lower(), text)


def type_of(value: Native) -> ValueType:
    """Return the type of a value that is not NULL."""
    return _PAIRED[value[0]] if isinstance(value, tuple) else _PLAIN[type(value)]


def is_datetime(value: Native) -> bool:
    """Return whether `value` is a datetime."""
    return type(value) is tuple and value[0] == _DATETIME


def natives(planes: Mapping[ValueType, pl.Series], height: int) -> list[Native]:
    """Return the value of each of `height` rows."""
    columns = [_column(type_, plane) for type_, plane in planes.items()]
    if not columns:
        return [None] * height
    if len(columns) == 1:
        return columns[0]
    return [next((value for value in row if value is not None), None) for row in zip(*columns, strict=True)]


def _column(type_: ValueType, plane: pl.Series) -> list[Native]:
    name = type_.name.lower()
    if name not in _PAIRED:
        return plane.to_list()
    stored = plane.cast(pl.Int64) if type_ is ValueType.DATETIME else plane
    return [None if value is None else (name, value) for value in stored.to_list()]


def planes_of(values: Sequence[Native]) -> Planes:
    """Return the planes of values row by row: the inverse of `natives`."""
    columns: dict[ValueType, list[object]] = {}
    for row, value in enumerate(values):
        if value is not None:
            type_ = type_of(value)
            if type_ not in columns:
                columns[type_] = [None] * len(values)
            columns[type_][row] = value[1] if isinstance(value, tuple) else value
    return {
        type_: pl.Series(column, dtype=pl.Int64).cast(DTYPES[type_])
        if type_ is ValueType.DATETIME
        else pl.Series(column, dtype=DTYPES[type_])
        for type_, column in columns.items()
    }
