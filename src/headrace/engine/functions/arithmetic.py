"""The operators + - * / % and the bit operators & | ^ ~.

- bigint with bigint gives bigint: / cuts towards zero and % has the sign of the dividend (as T-SQL); a
  result out of range, and a divisor of zero, are faults, never a wrap.
- float with any number gives float; a result that is no finite number is a fault. A bit counts as 0 or 1.
- A text beside a number is taken for a float. Text + text joins them; text with text under another operator
  are both taken for floats.
- Datetimes have DATEADD and DATEDIFF, records and arrays no operator at all: a fault.
- Bit operators take bits (result bit) and bigints (one is enough for bigint); a text is taken for a bigint.
- NULL with anything is NULL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from headrace.engine.casts import BIGINT, BIT, DATETIME, FLOAT, TEXT, wanted
from headrace.engine.rows import aligned, mapped, quotient
from headrace.engine.values import NUMBERS, Fault, Plane, Scope, Value, all_of, any_of, combined, of_type
from headrace.events.batch import ValueType
from headrace.events.formats.json_exact import MAX_BIGINT, MIN_BIGINT
from headrace.sql.plan import Binary, Expression, Unary


def arithmetic(scope: Scope, node: Binary, left: Value, right: Value) -> Value:
    """Compile ``left operator right`` for one of + - * / %."""
    return combined([left, right], partial(_arithmetic, scope, node))


def _arithmetic(scope: Scope, node: Binary, left: Plane, right: Plane) -> Value:
    types = {left.type, right.type}
    if types == {TEXT} and node.operator == "+":
        return of_type(TEXT, pl.concat_str([left.values, right.values]))
    if not types <= {*NUMBERS, TEXT}:
        advice = "DATEADD and DATEDIFF compute with datetimes" if DATETIME in types else ""
        return _refused(node, left, right, advice)
    if types <= {BIT, BIGINT}:
        return _whole(node, left, right)
    faults: list[Fault] = []
    sides = []
    for plane, side in ((left, node.left), (right, node.right)):
        value = wanted(scope, side, plane.shown, FLOAT)
        other = right if plane is left else left
        faults.extend(fault.within(other.values.is_not_null()) for fault in value.faults)
        sides.append(value.planes[FLOAT])
    return _real(scope, node, sides[0], sides[1], tuple(faults))


def _whole(node: Binary, left: Plane, right: Plane) -> Value:
    first, second = (
        plane.values.cast(pl.Int64) if plane.type is BIT else plane.values for plane in (left, right)
    )
    result, overflow = _WHOLE[node.operator](first, second)
    both = (Value({BIGINT: first}), Value({BIGINT: second}))
    if isinstance(right.constant, int):
        overflow = _beyond(node.operator, first, int(right.constant))
    faults = []
    if overflow is not None:
        faults.append(Fault(overflow, node, partial(_out_of_range, node.operator), both, _FLOAT_ADVICE))
    if node.operator in "/%" and (right.constant == 0 or not isinstance(right.constant, int)):
        faults.append(_zero_divisor(node, first, second, both))
    return of_type(BIGINT, result, faults)


def _beyond(operator: str, left: pl.Expr, right: int) -> pl.Expr | None:
    """Return where `left operator right` is out of range, by the range of `left`; None if it never is."""
    least, most = MIN_BIGINT, MAX_BIGINT
    if operator in "+-":
        moved = right if operator == "+" else -right
        least, most = least - min(moved, 0), most - max(moved, 0)
    elif operator == "*" and right:
        ends = sorted((Fraction(least, right), Fraction(most, right)))
        least, most = max(math.ceil(ends[0]), least), min(math.floor(ends[1]), most)
    elif operator == "/" and right == -1:
        least += 1
    outside = [left < least] if least > MIN_BIGINT else []
    outside += [left > most] if most < MAX_BIGINT else []
    return any_of(outside) if outside else None


def _real(scope: Scope, node: Binary, left: pl.Expr, right: pl.Expr, faults: tuple[Fault, ...]) -> Value:
    both = (Value({FLOAT: left}), Value({FLOAT: right}))
    result = _REAL[node.operator](left, right)
    if node.operator == "%":
        result = scope.once(result)
    if node.operator in "/%":
        faults = (*faults, _zero_divisor(node, left, right, both))
    out = Fault(~result.is_finite(), node, partial(_out_of_range, node.operator), both)
    return of_type(FLOAT, result, (*faults, out))


_FLOAT_ADVICE: Final = "CAST one side to float if the nearest float will do"


def _zero_divisor(node: Binary, left: pl.Expr, right: pl.Expr, both: tuple[Value, ...]) -> Fault:
    where = (right == 0) & left.is_not_null()
    return Fault(where, node, _divided_by_zero, both, "NULLIF(divisor, 0) gives NULL instead")


def _divided_by_zero(left: tuple[Any, ValueType], _right: tuple[Any, ValueType]) -> str:
    return f"Cannot divide {left[0]} by zero"


def _out_of_range(operator: str, left: tuple[Any, ValueType], right: tuple[Any, ValueType]) -> str:
    return f"{left[0]} {operator} {right[0]} is out of the range of {left[1]}"


def _refused(node: Binary, left: Plane, right: Plane, advice: str = "") -> Value:
    def problem(first: tuple[Any, ValueType], second: tuple[Any, ValueType]) -> str:
        return f"Operator {node.operator} cannot take {first[1]} and {second[1]}"

    where = left.values.is_not_null() & right.values.is_not_null()
    return Value({}, (Fault(where, node, problem, (left.shown, right.shown), advice),))


def _add(left: pl.Expr, right: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    total = left + right
    return total, ((left ^ total) & (right ^ total)) < 0


def _subtract(left: pl.Expr, right: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    difference = left - right
    return difference, ((left ^ right) & (left ^ difference)) < 0


def _multiply(left: pl.Expr, right: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    return left * right, (left.cast(pl.Int128) * right) != left * right


def _divide(left: pl.Expr, right: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    floor = left // right
    cut = floor + (((left ^ right) < 0) & (left % right != 0)).cast(pl.Int64)
    return cut, (left == MIN_BIGINT) & (right == -1)


def _remainder(left: pl.Expr, right: pl.Expr) -> tuple[pl.Expr, None]:
    floored = left % right
    return floored - pl.when((floored != 0) & ((left ^ right) < 0)).then(right).otherwise(0), None


def _real_remainder(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    # Polars computes left - floor(left / right) * right, which is far off for large quotients.
    return _both_present(left, right, mapped([left, right], _fmod, pl.Float64()))


def _fmod(sides: Sequence[pl.Series]) -> pl.Series:
    left, right = aligned(sides)
    with np.errstate(invalid="ignore"):
        return pl.Series(np.fmod(left.to_numpy(), right.to_numpy()))


_WHOLE: Final[dict[str, Callable[[pl.Expr, pl.Expr], tuple[pl.Expr, pl.Expr | None]]]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
}
_REAL: Final[dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": quotient,
    "%": _real_remainder,
}


def negated(scope: Scope, node: Unary, operand: Value) -> Value:
    """Compile unary minus."""
    value = numbers(scope, node.operand, operand)
    faults = value.faults
    planes = dict(value.planes)
    if BIGINT in planes:
        lowest = planes[BIGINT] == MIN_BIGINT
        faults = (*faults, Fault(lowest, node, _no_counterpart, (value,), "CAST it to float"))
    planes = {type_: -plane for type_, plane in planes.items()}
    return Value(planes, faults, declared=value.declared)


def _no_counterpart(found: tuple[Any, ValueType]) -> str:
    return f"-({found[0]}) is out of the range of bigint, which ends at {MAX_BIGINT}"


def numbers(scope: Scope, node: Expression, value: Value) -> Value:
    """Return `value`, written at `node`, as bigint or float: a bit as bigint, a text as float."""
    if value.planes.keys() <= {BIGINT, FLOAT}:
        return value
    whole = {type_: plane for type_, plane in value.planes.items() if type_ in {BIT, BIGINT}}
    rest = {type_: plane for type_, plane in value.planes.items() if type_ not in {BIT, BIGINT}}
    parts = []
    if whole:
        parts.append(wanted(scope, node, Value(whole), BIGINT))
    if rest:
        parts.append(wanted(scope, node, Value(rest), FLOAT))
    planes = {type_: plane for part in parts for type_, plane in part.planes.items()}
    faults = (*value.faults, *(fault for part in parts for fault in part.faults))
    declared = None if value.declared is None else (FLOAT if value.declared in {TEXT, FLOAT} else BIGINT)
    return Value(planes, faults, declared=declared)


def bitwise(scope: Scope, node: Binary, left: Value, right: Value) -> Value:
    """Compile ``left operator right`` for one of & | ^."""
    return combined([left, right], partial(_bitwise, scope, node))


def _bitwise(scope: Scope, node: Binary, left: Plane, right: Plane) -> Value:
    types = {left.type, right.type}
    if not types <= {BIT, BIGINT, TEXT}:
        return _refused(node, left, right, "bit operators take bit and bigint; CAST the others")
    if types == {BIT}:
        return of_type(BIT, _BITWISE[node.operator](left.values, right.values))
    faults: list[Fault] = []
    sides = []
    for plane, side in ((left, node.left), (right, node.right)):
        value = wanted(scope, side, plane.shown, BIGINT)
        other = right if plane is left else left
        faults.extend(fault.within(other.values.is_not_null()) for fault in value.faults)
        sides.append(value.planes[BIGINT])
    return of_type(BIGINT, _BITWISE[node.operator](sides[0], sides[1]), faults)


_BITWISE: Final[dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "&": lambda left, right: _both_present(left, right, left & right),
    "|": lambda left, right: _both_present(left, right, left | right),
    "^": lambda left, right: left ^ right,
}


def _both_present(left: pl.Expr, right: pl.Expr, result: pl.Expr) -> pl.Expr:
    # For bits Polars has three-valued logic (false & NULL is false), the language has NULL.
    return pl.when(all_of([left.is_not_null(), right.is_not_null()])).then(result)


def complement(scope: Scope, node: Unary, operand: Value) -> Value:
    """Compile ~: not for a bit, the bitwise complement for a bigint."""
    return combined([operand], partial(_complement, scope, node))


def _complement(scope: Scope, node: Unary, plane: Plane) -> Value:
    if plane.type in {BIT, BIGINT}:
        return of_type(plane.type, ~plane.values)
    if plane.type is TEXT:
        value = wanted(scope, node.operand, plane.shown, BIGINT)
        return of_type(BIGINT, ~value.planes[BIGINT], value.faults)

    def problem(found: tuple[Any, ValueType]) -> str:
        return f"Operator ~ cannot take {found[1]}"

    where = plane.values.is_not_null()
    return Value({}, (Fault(where, node, problem, (plane.shown,), "it takes bit and bigint"),))
