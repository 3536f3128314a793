"""Python values to the values of the language."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

import numpy as np

from headrace.events.batch import ValueType
from headrace.events.formats.json_exact import MAX_BIGINT, MIN_BIGINT
from headrace.limits import MAX_JSON_DEPTH

#: The Python types that planes hold as they are.
PLAIN_TYPES: Final[dict[type, ValueType]] = {
    bool: ValueType.BIT,
    int: ValueType.BIGINT,
    float: ValueType.FLOAT,
    str: ValueType.TEXT,
}


class NoCounterpartError(ValueError):
    """A Python value that no type of the language holds."""


def typed_value(value: Any) -> tuple[ValueType, Any]:
    """Return the type of a value that is not None, and how a plane of that type holds it."""
    if isinstance(value, Mapping):
        return ValueType.RECORD, _json_text(value)
    if isinstance(value, list | tuple | np.ndarray):
        return ValueType.ARRAY, _json_text(value)
    scalar = _scalar(value)
    if type(scalar) is int and not MIN_BIGINT <= scalar <= MAX_BIGINT:
        raise NoCounterpartError(f"{scalar} is out of bigint range")
    return PLAIN_TYPES.get(type(scalar), ValueType.DATETIME), scalar


def _json_text(value: Any) -> str:
    return json.dumps(_nested(value, MAX_JSON_DEPTH), ensure_ascii=False, separators=(",", ":"))


def _nested(value: Any, depth: int) -> Any:
    """Return a value as it stands inside a record or array, `depth` levels deep at most."""
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        if depth == 0:
            raise NoCounterpartError(f"nested deeper than {MAX_JSON_DEPTH}")
        if isinstance(value, Mapping):
            return {key_text(key): _nested(item, depth - 1) for key, item in value.items()}
        return [_nested(item, depth - 1) for item in value]
    if value is None:
        return None
    scalar = _scalar(value)
    if isinstance(scalar, datetime):
        return scalar.isoformat(timespec="microseconds") + "0Z"
    return scalar


def key_text(key: Any) -> str:
    """Return the key of a row or record; raises NoCounterpartError if it is no text."""
    if not isinstance(key, str):
        raise NoCounterpartError(f"the key {key!r} is no text")
    return _unicode(key)


def _scalar(value: Any) -> bool | int | float | str | datetime:
    """Return a value of exactly one of the plain types, or a datetime in UTC without a zone."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        number = float(value)
        if not math.isfinite(number):
            raise NoCounterpartError(f"{value} is no float of the language; use None for a missing value")
        return number
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, date):
        return datetime.combine(value, time())
    kind = type(value).__name__
    raise NoCounterpartError(
        f"a value of type {kind} has no counterpart; make it text, a number or a datetime"
    )


def _unicode(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NoCounterpartError(f"text with half a surrogate pair at character {error.start}") from None
    return str.__str__(text)
