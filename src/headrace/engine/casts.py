"""Conversions between the types: CAST, TRY_CAST, and what is done where a function wants another type.

============ ==============================================================================================
from, to     how
============ ==============================================================================================
bit          to bigint and float 0 or 1; to text ``true`` or ``false``
bigint       to bit 0 for 0, else 1; to float the nearest; to text its digits
float        to bit 0 for 0, else 1; to bigint towards zero, failing out of range; to text the fewest digits
             that read back the same, without a fraction where it is whole (``3``, ``0.1``, ``1e+16``)
text         to bit from ``true``, ``false``, ``1``, ``0`` in any case; to bigint from digits with a sign; to
             float from a decimal number with an exponent, never ``NaN`` or infinity; to datetime from ISO
             8601 (see `timestamps`); blanks around them do not matter, and everything else fails
datetime     to text with seven digits and ``Z``
record,      to text their JSON; from text only where it is JSON of just that kind
array
============ ==============================================================================================

Every other pair fails. Failing means NULL under TRY_CAST; under CAST it stops the job. Where a function or
operator wants another type than it gets the same conversions are made silently, failing like CAST, but a
record or array is never taken for a text nor the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
import polars as pl

from headrace.engine import timestamps
from headrace.engine.rows import mapped, per_unique
from headrace.engine.values import Fault, Scope, Value, any_of, null
from headrace.events.batch import DTYPES, ValueType
from headrace.events.formats.json_exact import read_object
from headrace.events.formats.json_lines import BadEvent, nesting
from headrace.limits import MAX_JSON_DEPTH
from headrace.sql.plan import Expression

BIT, BIGINT, FLOAT, TEXT = ValueType.BIT, ValueType.BIGINT, ValueType.FLOAT, ValueType.TEXT
DATETIME, RECORD, ARRAY = ValueType.DATETIME, ValueType.RECORD, ValueType.ARRAY

TRY_CAST_ADVICE: Final = "TRY_CAST gives NULL instead"

_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_JSON_BLANKS: Final = " \t\r\n"

#: Characters of a value that a message shows.
_SHOWN_CHARS: Final = 60

Conversion = Callable[[pl.Expr], pl.Expr]


def _float_to_text(plane: pl.Expr) -> pl.Expr:
    text = plane.cast(pl.String).str.strip_suffix(".0")
    return pl.when(text == "-0").then(pl.lit("0")).otherwise(text)


def _bit_to_text(plane: pl.Expr) -> pl.Expr:
    return pl.when(plane).then(pl.lit("true")).when(~plane).then(pl.lit("false"))


def _text_to_bit(plane: pl.Expr) -> pl.Expr:
    word = plane.str.strip_chars().str.to_lowercase()
    return (
        pl.when(word.is_in(["true", "1"]))
        .then(statement=True)
        .when(word.is_in(["false", "0"]))
        .then(statement=False)
    )


def _text_to_bigint(plane: pl.Expr) -> pl.Expr:
    return plane.str.strip_chars().cast(pl.Int64, strict=False)


def _text_to_float(plane: pl.Expr) -> pl.Expr:
    number = plane.str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _text_to_datetime(plane: pl.Expr) -> pl.Expr:
    return mapped([plane.str.strip_chars()], lambda texts: timestamps.read(texts[0]), DTYPES[DATETIME])


def _float_to_bigint(plane: pl.Expr) -> pl.Expr:
    return plane.cast(pl.Int64, strict=False)


def _nonzero(plane: pl.Expr) -> pl.Expr:
    return plane != 0


def _same(plane: pl.Expr) -> pl.Expr:
    return plane


def _plain(type_: ValueType) -> Conversion:
    return lambda plane: plane.cast(DTYPES[type_])


#: Conversions that take every value.
_SURE: Final[dict[tuple[ValueType, ValueType], Conversion]] = {
    **{(type_, type_): _same for type_ in ValueType},
    (BIT, BIGINT): _plain(BIGINT),
    (BIT, FLOAT): _plain(FLOAT),
    (BIT, TEXT): _bit_to_text,
    (BIGINT, BIT): _nonzero,
    (BIGINT, FLOAT): _plain(FLOAT),
    (BIGINT, TEXT): _plain(TEXT),
    (FLOAT, BIT): _nonzero,
    (FLOAT, TEXT): _float_to_text,
    (DATETIME, TEXT): timestamps.written,
    (RECORD, TEXT): _same,
    (ARRAY, TEXT): _same,
}

#: Conversions that give NULL for what they cannot convert.
_FAILING: Final[dict[tuple[ValueType, ValueType], Conversion]] = {
    (FLOAT, BIGINT): _float_to_bigint,
    (TEXT, BIT): _text_to_bit,
    (TEXT, BIGINT): _text_to_bigint,
    (TEXT, FLOAT): _text_to_float,
    (TEXT, DATETIME): _text_to_datetime,
    (TEXT, RECORD): lambda plane: json_texts(plane, dict),
    (TEXT, ARRAY): lambda plane: json_texts(plane, list),
}

#: Pairs that only an explicit CAST converts.
_EXPLICIT: Final = frozenset({(RECORD, TEXT), (ARRAY, TEXT), (TEXT, RECORD), (TEXT, ARRAY)})


def cast(scope: Scope, node: Expression, value: Value, type_: ValueType, *, safe: bool) -> Value:
    """Return `value` as `type_`; what fails is a fault at `node`, or NULL where `safe`."""
    return _converted(scope, node, value, type_, safe=safe, explicit=True)


def wanted(scope: Scope, node: Expression, value: Value, type_: ValueType) -> Value:
    """Return `value`, written at `node`, as the `type_` that what uses it wants."""
    return _converted(scope, node, value, type_, safe=False, explicit=False)


def _converted(
    scope: Scope, node: Expression, value: Value, type_: ValueType, *, safe: bool, explicit: bool
) -> Value:
    if set(value.planes) == {type_}:
        return replace(value, declared=type_)
    results: list[pl.Expr] = []
    failing: list[pl.Expr] = []
    for source, plane in value.planes.items():
        pair = (source, type_)
        if pair in _EXPLICIT and not explicit:
            failing.append(plane.is_not_null())
        elif pair in _SURE:
            results.append(_SURE[pair](plane))
        elif pair in _FAILING:
            result = _FAILING[pair](plane)
            result = result if safe else scope.once(result, (node, source, type_))
            results.append(result)
            failing.append(plane.is_not_null() & result.is_null())
        else:
            failing.append(plane.is_not_null())
    faults = value.faults
    if failing and not safe:
        problem = partial(_problem, type_=type_)
        faults = (*faults, Fault(any_of(failing), node, problem, (value,), TRY_CAST_ADVICE))
    plane = pl.coalesce(results) if len(results) > 1 else results[0] if results else null(type_)
    return Value({type_: plane}, faults, declared=type_)


def shown(value: Any, type_: ValueType | None) -> str:
    """Return a value as a message shows it, cut where it is long."""
    if type_ is None:
        return "NULL"
    text = str(value).lower() if type_ is BIT else str(value)
    text = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
    return f"'{text}'" if type_ in {TEXT, DATETIME} else text


def _problem(found: tuple[Any, ValueType], *, type_: ValueType) -> str:
    value, source = found
    return f"Cannot cast value {shown(value, source)} of type {source} to type {type_}"


def json_texts(texts: pl.Expr, kind: type[dict[str, Any]] | type[list[Any]]) -> pl.Expr:
    """Return the texts that are JSON of `kind`, without the blanks around it; NULL for the others."""
    return per_unique([texts], partial(_json_text, kind=kind), pl.String())


def _json_text(text: str, kind: type) -> str | None:
    encoded = text.encode()
    try:
        if kind is dict:
            read_object(encoded)
        elif encoded.count(b"[") + encoded.count(b"{") > MAX_JSON_DEPTH and nesting(encoded) > MAX_JSON_DEPTH:
            return None
        else:
            _ARRAY.decode(encoded)
    except (BadEvent, msgspec.DecodeError):
        return None
    return text.strip(_JSON_BLANKS)
