"""Frames of any Polars types to batches: each value as a type of the language, or a reason why not."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from headrace.events.batch import DTYPES, ORIGIN, Batch, Column, ValueType
from headrace.events.formats.decoded import Decoded, Reject
from headrace.events.formats.json_values import NoCounterpartError, typed_value

#: The years that a datetime of the language has.
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)

#: Decimals of so few digits are a float and back again.
_FLOAT_DIGITS: Final = 15

_TO_US: Final = {"ns": 1_000, "us": 1}


def decode_frame(frame: pl.DataFrame) -> Decoded:
    """Return the rows of `frame` with 0, 1, ... in ORIGIN; columns are those with a value, in order.

    Integers are bigint, floats and decimals float, dates and timestamps datetime in UTC (nanoseconds are
    cut), structs record and lists array, both as JSON. A row is a Reject when no type holds a value of it:
    an integer out of bigint range, NaN or an infinity, a decimal that no float gives back, a datetime before
    year 1 or after 9999, bytes, a time of day, a duration.
    """
    planes, columns = [pl.int_range(frame.height, dtype=pl.Int64, eager=True).alias(ORIGIN)], []
    reasons: dict[int, str] = {}
    for values in frame.get_columns():
        if values.null_count() == frame.height:
            continue
        type_, plane = _plane(values, reasons)
        if plane.null_count() == frame.height:
            continue
        column = Column(values.name, (type_,))
        planes.append(plane.alias(column.physicals[0]))
        columns.append(column)
    batch = Batch(pl.DataFrame(planes), tuple(columns))
    if reasons:
        batch = batch.filter(~batch.frame[ORIGIN].is_in(list(reasons)))
    return Decoded(batch, tuple(Reject(*item) for item in sorted(reasons.items())))


def float_of(value: Decimal) -> float:
    """Return the float that stands for a decimal; raises NoCounterpartError if it does not give it back."""
    if not value.is_finite() or Decimal(repr(float(value))) != value:
        raise NoCounterpartError(f"no float is exactly {value}")
    return float(value)


def _plane(values: pl.Series, reasons: dict[int, str]) -> tuple[ValueType, pl.Series]:
    """Return the type of a column and its plane, and add why rows have no place in it to `reasons`."""
    dtype = values.dtype
    if dtype == pl.Boolean:
        return ValueType.BIT, values
    if dtype.is_integer():
        bigints = values.cast(pl.Int64, strict=False)
        _refuse(values, bigints, reasons, "is out of bigint range")
        return ValueType.BIGINT, bigints
    if dtype.is_float():
        floats = values.cast(pl.Float64)
        finite = floats.set(~floats.is_finite(), None)
        _refuse(floats, finite, reasons, "is no float of the language")
        return ValueType.FLOAT, finite
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return ValueType.TEXT, values.cast(pl.String)
    if isinstance(dtype, pl.Date | pl.Datetime):
        return ValueType.DATETIME, _datetimes(values, reasons)
    if isinstance(dtype, pl.Decimal) and (dtype.precision or 38) <= _FLOAT_DIGITS:
        return ValueType.FLOAT, values.cast(pl.Float64)
    return _one_by_one(values, reasons)


def _refuse(values: pl.Series, held: pl.Series, reasons: dict[int, str], problem: str) -> None:
    if held.null_count() > values.null_count():
        for row in (held.is_null() & values.is_not_null()).arg_true().to_list():
            reasons.setdefault(row, f"{values[row]} in '{values.name}' {problem}")


def _datetimes(values: pl.Series, reasons: dict[int, str]) -> pl.Series:
    """Return dates or timestamps in UTC: Polars keeps those with a zone so."""
    unit = values.dtype.time_unit if isinstance(values.dtype, pl.Datetime) else None
    if unit is None:
        count = values.cast(pl.Int64) * 86_400_000_000
    elif unit == "ms":
        count = values.to_physical()
        count = count.set(count.abs() > 1 << 50, 1 << 50) * 1_000  # far past year 9999, without an overflow
    else:
        count = values.to_physical() // _TO_US[unit]
    whole = count.cast(DTYPES[ValueType.DATETIME])
    held = whole.set(~whole.is_between(_FIRST, _LAST), None)
    if held.null_count() > values.null_count():
        for row in (held.is_null() & values.is_not_null()).arg_true().to_list():
            reasons.setdefault(row, f"a datetime in '{values.name}' is not in the years 1 to 9999")
    return held


def _one_by_one(values: pl.Series, reasons: dict[int, str]) -> tuple[ValueType, pl.Series]:
    """Return the plane of nested values, long decimals, and what has no counterpart."""
    type_ = _type_of(values.dtype)
    if type_ in (ValueType.RECORD, ValueType.ARRAY) and _written_right(values.dtype):
        wrapped = pl.select(pl.struct(values.alias("v")).struct.json_encode()).to_series()
        texts = wrapped.str.strip_prefix('{"v":').str.strip_suffix("}")
        return type_, texts.set(values.is_null(), None)
    held: list[Any] = [None] * len(values)
    for row in values.is_not_null().arg_true().to_list():
        try:
            held[row] = typed_value(_exact(values[row]))[1]
        except (NoCounterpartError, ValueError, OverflowError) as error:  # Python has no year 10,000
            reasons.setdefault(row, f"in '{values.name}': {error}")
    return type_, pl.Series(held, dtype=DTYPES[type_])


def _type_of(dtype: pl.DataType) -> ValueType:
    if isinstance(dtype, pl.Struct):
        return ValueType.RECORD
    return ValueType.ARRAY if isinstance(dtype, pl.List | pl.Array) else ValueType.FLOAT


def _written_right(dtype: pl.DataType) -> bool:
    """Whether Polars writes all values of a type to JSON as they are: it makes NULL of NaN, for example."""
    if isinstance(dtype, pl.Struct):
        return all(_written_right(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    if isinstance(dtype, pl.List):
        return _written_right(dtype.inner)  # type: ignore[arg-type]
    return dtype.is_integer() or isinstance(dtype, pl.String | pl.Boolean)


def _exact(value: Any) -> Any:
    """Return a value with its decimals as floats, however deep."""
    if isinstance(value, Decimal):
        return float_of(value)
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    return [_exact(item) for item in value] if isinstance(value, list | pl.Series) else value


def frame_row_text(frame: pl.DataFrame) -> bytes:
    """Return the one row of a frame as JSON whatever is in it."""
    row: dict[str, Any] = {}
    for values in frame.get_columns():
        try:
            row[values.name] = values.to_list()[0]
        except (ValueError, OverflowError):  # Python has no year 10,000
            row[values.name] = str(values.to_physical().to_list()[0])
    return row_text(row)


def row_text(row: dict[str, Any]) -> bytes:
    """Return a row as JSON whatever is in it: what has no counterpart is text."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=_text).encode()


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)
