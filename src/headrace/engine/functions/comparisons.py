"""The comparisons = <> < <= > >=.

- Numbers compare by value, bigint with float exactly: 9007199254740993 is greater than the float
  9007199254740992.0, although the nearest float of both is the same. A bit counts as 0 or 1.
- Texts compare by code point: case, accents and trailing blanks matter.
- A text beside a number, bit or datetime is read as one (a whole number as a bigint); one that cannot be
  read is a fault. So is a comparison of any other two types, records and arrays included.
- With NULL on a side the result is unknown: neither the comparison nor its NOT is true (see `compiler`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import polars as pl

from headrace.engine.casts import (
    BIGINT,
    BIT,
    DATETIME,
    FLOAT,
    TEXT,
    TRY_CAST_ADVICE,
    shown,
    wanted,
)
from headrace.engine.values import (
    FALSE,
    NUMBERS,
    TRUE,
    VARIES,
    Fault,
    Plane,
    Scope,
    Value,
    combined,
    of_type,
    when,
)
from headrace.events.batch import ValueType
from headrace.events.formats.json_exact import MAX_BIGINT, MIN_BIGINT
from headrace.sql.plan import Expression

Comparison = Callable[[Any, Any], Any]

COMPARISONS: Final[dict[str, Comparison]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

#: The comparison with its sides exchanged.
_TURNED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

#: Every whole number up to here is a float as it is.
_EXACT_FLOAT: Final = 2**53


def compare(
    scope: Scope,
    symbol: str,
    node: Expression,
    left: tuple[Expression, Value],
    right: tuple[Expression, Value],
) -> Value:
    """Compile ``left symbol right``, each side given with the expression it is written as.

    The result is a bit that is NULL where it is unknown; `node` is what a fault of a pair of types points at.
    """
    sides = (left[1], right[1])
    value = combined(sides, partial(_compare, scope, symbol, (node, left[0], right[0])))
    plane = value.planes.get(BIT, pl.lit(None, dtype=pl.Boolean))
    return of_type(BIT, plane, value.faults)


def _compare(
    scope: Scope,
    symbol: str,
    nodes: tuple[Expression, Expression, Expression],
    left: Plane,
    right: Plane,
) -> Value:
    node, left_node, right_node = nodes
    types = {left.type, right.type}
    if types <= set(NUMBERS):
        return of_type(BIT, _numbers(symbol, left, right))
    if types in ({TEXT}, {DATETIME}):
        return of_type(BIT, COMPARISONS[symbol](left.values, right.values))
    if left.type is TEXT and right.type in {*NUMBERS, DATETIME}:
        return _text_with(scope, symbol, left_node, left, right)
    if right.type is TEXT and left.type in {*NUMBERS, DATETIME}:
        return _text_with(scope, _TURNED[symbol], right_node, right, left)
    where = left.values.is_not_null() & right.values.is_not_null()
    return Value({}, (Fault(where, node, _no_comparison, (left.shown, right.shown), _FIELDS_ADVICE),))


_FIELDS_ADVICE: Final = "compare a field or an element of it, or CAST it"


def _no_comparison(left: tuple[Any, ValueType], right: tuple[Any, ValueType]) -> str:
    return f"Cannot compare {left[1]} with {right[1]}"


def _text_with(scope: Scope, symbol: str, node: Expression, text: Plane, other: Plane) -> Value:
    if other.type in {BIT, DATETIME}:
        value = wanted(scope, node, text.shown, other.type)
        plane = COMPARISONS[symbol](value.planes[other.type], other.values)
        return of_type(BIT, plane, [fault.within(other.values.is_not_null()) for fault in value.faults])
    stripped = text.values.str.strip_chars()
    whole = scope.once(stripped.cast(pl.Int64, strict=False), (node, "whole"))
    real = scope.once(stripped.cast(pl.Float64, strict=False), (node, "real"))
    unread = text.values.is_not_null() & ~real.is_finite().fill_null(value=False) & other.values.is_not_null()
    problem = partial(_unread, type_=other.type)
    fault = Fault(unread, node, problem, (text.shown,), TRY_CAST_ADVICE)
    as_whole = _numbers(symbol, Plane(BIGINT, whole), other)
    as_real = _numbers(symbol, Plane(FLOAT, real), other)
    return of_type(BIT, when(whole.is_not_null(), as_whole, as_real), [fault])


def _unread(found: tuple[Any, ValueType], *, type_: ValueType) -> str:
    return f"Cannot cast value {shown(*found)} of type {found[1]} to type {type_}"


def _numbers(symbol: str, left: Plane, right: Plane) -> pl.Expr:
    left, right = _bit_as_bigint(left), _bit_as_bigint(right)
    if left.type is right.type:
        return _plain(symbol, left.values, right.values)
    if left.type is FLOAT:
        left, right, symbol = right, left, _TURNED[symbol]
    if isinstance(right.constant, float):
        return _whole_with_constant(symbol, left.values, right.constant)
    if isinstance(left.constant, int) and abs(left.constant) <= _EXACT_FLOAT:
        return _plain(symbol, pl.lit(float(left.constant)), right.values)
    return _whole_with_real(symbol, left.values, right.values)


def _plain(symbol: str, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    if not left.meta.root_names():
        # A constant on the left of a column that Polars keeps as one value would make one row.
        left, right, symbol = right, left, _TURNED[symbol]
    result: pl.Expr = COMPARISONS[symbol](left, right)
    return result


def _bit_as_bigint(plane: Plane) -> Plane:
    if plane.type is not BIT:
        return plane
    constant = VARIES if plane.constant is VARIES else int(bool(plane.constant))
    return replace(plane, type=BIGINT, values=plane.values.cast(pl.Int64), constant=constant)


def _whole_with_constant(symbol: str, whole: pl.Expr, real: float) -> pl.Expr:
    """Compare whole numbers with a float, as whole numbers."""
    if real.is_integer() and MIN_BIGINT <= real <= MAX_BIGINT:
        return _plain(symbol, whole, pl.lit(int(real), dtype=pl.Int64))
    if symbol in {"=", "<>"} or not MIN_BIGINT <= real <= MAX_BIGINT:
        always = COMPARISONS[symbol](0, real)  # out of range, 0 is on the same side of it as all others
        return pl.when(whole.is_not_null()).then(TRUE if always else FALSE)
    bound = math.floor(real) if symbol in {"<=", ">"} else math.ceil(real)
    return _plain(symbol, whole, pl.lit(bound, dtype=pl.Int64))


def _whole_with_real(symbol: str, whole: pl.Expr, real: pl.Expr) -> pl.Expr:
    """Compare whole numbers with the floor or ceiling of floats, which is a bigint if it is in range."""
    above, below = real >= float(MAX_BIGINT), real < float(MIN_BIGINT)
    in_range = pl.when(~(above | below)).then(real)
    if symbol in {"=", "<>"}:
        whole_real = pl.when(in_range == in_range.floor()).then(in_range)
        equal = (whole == whole_real.cast(pl.Int64, strict=False)).fill_null(value=False)
        result = equal if symbol == "=" else ~equal
        return pl.when(whole.is_not_null() & real.is_not_null()).then(result)
    bound = in_range.floor() if symbol in {"<=", ">"} else in_range.ceil()
    compared = _plain(symbol, whole, bound.cast(pl.Int64, strict=False))
    far = above if symbol in {"<", "<="} else below
    return pl.when(above | below).then(pl.when(whole.is_not_null()).then(far)).otherwise(compared)
