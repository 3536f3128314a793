"""What the oracle computes with: timed rows, and values that are equal by the language's rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

#: The units of durations, and DATEDIFF's, in microseconds.
UNITS_US = {
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}

Row = dict[str, Any]


class Timed(NamedTuple):
    """A row and its System.Timestamp(), in microseconds."""

    time: int
    row: Row


def microseconds(text: str) -> int:
    """Return the instant of an ISO 8601 text; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def iso(time: int) -> str:
    """Return an instant as the language writes it, with seven digits."""
    return (EPOCH + time * MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def same_key(value: Any) -> Any:
    """Return what is equal for values that are the same key.

    NULL is one key; bigint and float compare by value, texts exactly, records and arrays by their JSON.
    """
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("bit", value)
    if isinstance(value, int | float):
        return ("number", value)
    if isinstance(value, str):
        return ("text", value)
    return ("json", json.dumps(value))


def keys_of(row: Row, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the key of a row over several columns; a column that is not there is NULL."""
    return tuple(same_key(row.get(name)) for name in names)
