"""Batches to Python rows and back, for callers who hold values rather than bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import polars as pl

from headrace.errors import DataError
from headrace.events.batch import DTYPES, HIDDEN, Batch, Column, ValueType
from headrace.events.formats.json_exact import LINE, NESTED, check_size
from headrace.events.formats.json_table import assemble, batch_of
from headrace.events.formats.json_values import PLAIN_TYPES, NoCounterpartError, key_text, typed_value


def rows(batch: Batch) -> list[dict[str, Any]]:
    """Return the rows as dicts of int, float, str, bool, datetime (aware, UTC), dict, list and None.

    As in JSON output, an open column is left out where it is NULL, and a hidden one everywhere.
    """
    columns = [column for column in batch.columns if not column.name.startswith(HIDDEN)]
    values = [_values(batch.frame, column) for column in columns]
    if not columns:
        return [{} for _ in range(batch.height)]
    names = [column.name for column in columns]
    found = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    for column in columns:
        if column.open:
            for row in found:
                if row[column.name] is None:
                    del row[column.name]
    return found


def _values(frame: pl.DataFrame, column: Column) -> list[Any]:
    merged: list[Any] = [None] * frame.height
    for plane in column.planes:
        values = frame[column.physical(plane)].to_list()
        if plane in NESTED:
            values = [None if text is None else parsed(text) for text in values]
        elif plane is ValueType.DATETIME:
            values = [None if value is None else value.replace(tzinfo=UTC) for value in values]
        if len(column.planes) == 1:
            return values
        merged = [old if new is None else new for old, new in zip(merged, values, strict=True)]
    return merged


def parsed(text: str) -> Any:
    """Return a record or array as Python holds it; a number beyond any float as a Decimal."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text, parse_float=_float_or_decimal, parse_int=_int_or_decimal)


def _float_or_decimal(text: str) -> float | Decimal:
    number = float(text)
    return number if math.isfinite(number) else Decimal(text)


def _int_or_decimal(text: str) -> int | Decimal:
    # Python refuses to make an int of thousands of digits.
    return int(text) if len(text) < 1_000 else Decimal(text)


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Batch:
    """Return Python rows as a batch, with the index of each row in ORIGIN.

    Types follow the values: bool is bit, int bigint, float (and Decimal) float, str text, datetime (and date)
    datetime, in UTC if it has no zone; a mapping is a record, a list or tuple an array; None is NULL. Raises
    DataError, with row and column, for a value that no type holds.
    """
    names: dict[str, None] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"row {index} is a {type(row).__name__}; a row is a dict of names and values")
        names.update(dict.fromkeys(row))
    check_size(len(rows), len(names))
    planes = [pl.int_range(len(rows), dtype=pl.Int64, eager=True).alias(LINE)]
    for name in names:
        try:
            planes += _planes(key_text(name), [row.get(name) for row in rows])
        except NoCounterpartError as error:
            raise DataError(str(error)) from None
    frame = assemble([pl.DataFrame(planes)])
    return batch_of(frame, np.arange(len(rows)), lambda line: list(rows[line]))


def _planes(name: str, values: list[Any]) -> list[pl.Series]:
    """Return the planes of a column: at once when its values are of one plain type, else one by one."""
    types = set(map(type, values)) - {type(None)}
    if len(types) == 1 and (plain := PLAIN_TYPES.get(types.pop())):
        series = _series_or_none(name, plain, values)
        if series is not None:
            return [series]
    found: dict[ValueType, list[Any]] = {}
    for index, value in enumerate(values):
        if value is not None:
            try:
                plane, held = typed_value(value)
            except NoCounterpartError as error:
                raise NoCounterpartError(f"row {index}, column {name!r}: {error}") from None
            found.setdefault(plane, [None] * len(values))[index] = held
    return [pl.Series(Column(name, ()).physical(plane), held, DTYPES[plane]) for plane, held in found.items()]


def _series_or_none(name: str, plane: ValueType, values: list[Any]) -> pl.Series | None:
    """Return the plane of values of one type, or None if some value is out of range or no Unicode."""
    try:
        series = pl.Series(Column(name, ()).physical(plane), values, DTYPES[plane])
    except (TypeError, UnicodeEncodeError):
        return None
    return None if plane is ValueType.FLOAT and not series.is_finite().all() else series
