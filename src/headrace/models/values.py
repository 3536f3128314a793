"""Values of the query language as Python values, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np
import polars as pl

from headrace.events.batch import DTYPES, ValueType
from headrace.limits import MAX_JSON_DEPTH
from headrace.models.scorer import Argument, Planes

_BIGINT_BOUND: Final = 2**63
_JSON_TYPES: Final = (ValueType.RECORD, ValueType.ARRAY)


def python_rows(arguments: Sequence[Argument]) -> tuple[list[tuple[object, ...]], dict[int, str]]:
    """Return the arguments of each row as Python values, and why a row's could not be read, by row number.

    bit is bool, bigint int, float float, nvarchar(max) str, datetime a `datetime` in UTC, record dict, array
    list, NULL None. A record cannot be read when it holds a number that Python has no float for (1e999).
    """
    errors: dict[int, str] = {}
    columns = [_python_values(argument, errors) for argument in arguments]
    return list(zip(*columns, strict=True)), errors


def _python_values(argument: Argument, errors: dict[int, str]) -> list[object]:
    values: list[object] = [None] * argument.height
    for type_, plane in argument.planes.items():
        for row, value in enumerate(plane.to_list()):
            if value is None:
                continue
            if type_ in _JSON_TYPES:
                try:
                    values[row] = msgspec.json.decode(value)
                except msgspec.DecodeError as error:
                    errors[row] = f"a {type_} cannot be read: {error}"
            else:
                values[row] = value.replace(tzinfo=UTC) if type_ is ValueType.DATETIME else value
    return values


class PlaneBuilder:
    """Collects results row by row, each with the type that its Python value has."""

    def __init__(self, height: int) -> None:
        self._height = height
        self._planes: dict[ValueType, list[object]] = {}

    def put(self, row: int, value: object) -> None:
        """Set the result of `row`; raises ValueError, leaving it NULL, for what no query value can be."""
        if value is None:
            return
        type_, stored = _stored(value)
        plane = self._planes.get(type_)
        if plane is None:
            plane = self._planes[type_] = [None] * self._height
        plane[row] = stored

    def planes(self) -> Planes:
        """Return the planes of the types that occurred."""
        return {
            type_: pl.Series("result", values, dtype=DTYPES[type_]) for type_, values in self._planes.items()
        }


def _stored(value: object) -> tuple[ValueType, object]:
    """Return the type of `value` and how its plane stores it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return ValueType.RECORD, _json(value)
    if isinstance(value, list | tuple):
        return ValueType.ARRAY, _json(value)
    if isinstance(value, datetime):
        return ValueType.DATETIME, _in_utc(value)
    return _scalar_type(value), _scalar(value)


def _scalar_type(value: object) -> ValueType:
    match value:
        case bool():
            return ValueType.BIT
        case int():
            return ValueType.BIGINT
        case float():
            return ValueType.FLOAT
        case _:
            return ValueType.TEXT


def _scalar(value: object) -> bool | int | float | str:
    """Return `value` as a plain scalar, checked to be one that the language can hold."""
    match value:
        case bool():
            return value
        case int():
            if not -_BIGINT_BOUND <= value < _BIGINT_BOUND:
                raise ValueError(f"the integer {_shown(value)} does not fit into a bigint (64 bits)")
            return int(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is no value of a query; return None for NULL")
            return float(value)
        case str():
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError:
                    raise ValueError(
                        "the text holds half a surrogate pair, which UTF-8 cannot write"
                    ) from None
            return str.__str__(value)
        case _:
            raise ValueError(
                f"a value of type {type(value).__name__} cannot stand in a query; "
                "return None, bool, int, float, str, datetime, dict or list"
            )


def _shown(value: int) -> str:
    """Return an integer for a message; Python refuses to write one of thousands of digits."""
    return str(value) if value.bit_length() < 256 else f"of {value.bit_length()} bits"


def _in_utc(value: datetime) -> datetime:
    """Return the same instant as a naive UTC time; a naive one is taken for UTC."""
    if value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f"the time {value} lies outside of the years 1 to 9999 in UTC") from None


def _json(value: object) -> str:
    return msgspec.json.encode(_json_value(value, 1)).decode()


def _json_value(value: object, depth: int) -> object:
    """Return what JSON can say of `value`, or raise ValueError: nothing is dropped or rounded in silence."""
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_JSON_DEPTH}")
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    match value:
        case None:
            return None
        case dict():
            return {_key(key): _json_value(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_json_value(item, depth + 1) for item in value]
        case datetime():
            return _in_utc(value).isoformat(timespec="microseconds") + "0Z"
        case _:
            return _scalar(value)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r:.40} of a dict is no text")
    return str(_scalar(key))
