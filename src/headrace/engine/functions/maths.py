"""The mathematical functions. NULL in gives NULL out; a bit counts as a bigint, a text as a float.

ABS, CEILING, FLOOR, ROUND, SIGN and POWER give the type of their first argument, the others float. A result
that is out of the range of its type, or no finite number (SQRT(-1)), is a fault.

ROUND goes half away from zero, by scaling as T-SQL does: ROUND(123.9995, 3) is 124.0. A negative length
rounds before the point; more places than a float has change nothing. POWER of bigints is exact; a bigint to
a power that leaves a fraction (2 to the -1) is cut towards zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import polars as pl

from headrace.engine.casts import BIGINT, FLOAT, wanted
from headrace.engine.functions.arithmetic import numbers
from headrace.engine.functions.kernels import Check, checked, plain, refuses
from headrace.engine.rows import quotient
from headrace.engine.values import Fault, Kernel, Plane, Scope, Value, combined, of_type
from headrace.events.batch import ValueType
from headrace.events.formats.json_exact import MAX_BIGINT, MIN_BIGINT
from headrace.sql.plan import Call

#: Digits that a float can hold; rounding to more places changes nothing.
_FLOAT_DIGITS: Final = 15

#: From here on a float has no fraction, so scaling it up could only lose digits.
_WHOLE_FLOAT: Final = 2.0**52

_BIGINT_DIGITS: Final = 19
_TWO_TO_63: Final = 2.0**63


def _by_type(
    whole: Callable[[pl.Expr], pl.Expr], real: Callable[[pl.Expr], pl.Expr], *checks: Check
) -> Kernel:
    """Return the kernel of a function of one number that keeps its type."""

    def kernel(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
        value = numbers(scope, call.arguments[0], arguments[0])
        planes = dict(value.planes)
        faults = value.faults
        if BIGINT in planes:
            faults = (*faults, *checked(call, [value], [planes[BIGINT]], checks))
            planes[BIGINT] = whole(planes[BIGINT])
        if FLOAT in planes:
            planes[FLOAT] = real(planes[FLOAT])
        return Value(planes, faults, declared=value.declared)

    return kernel


def _same(plane: pl.Expr) -> pl.Expr:
    return plane


_LOWEST: Final = Check(
    lambda number: number == MIN_BIGINT,
    refuses(f"The absolute value of {{0}} is out of the range of bigint, which ends at {MAX_BIGINT}"),
    "CAST it to float",
)


def _finite(compute: Callable[[pl.Expr], pl.Expr], problem: str) -> Kernel:
    """Return the kernel of a function from float to float whose result must be a finite number."""
    check = Check(lambda number: ~compute(number).is_finite(), refuses(problem))
    return plain([FLOAT], FLOAT, compute, check)


def _out_of_range(*found: tuple[Any, ValueType], name: str) -> str:
    values = ", ".join(str(value) for value, _ in found)
    return f"{name} of {values} is out of the range of {found[0][1]}"


def _round(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    number = numbers(scope, call.arguments[0], arguments[0])
    length = wanted(scope, call.arguments[1], arguments[1], BIGINT)
    return replace(combined([number, length], partial(_rounded, scope, call)), declared=number.declared)


def _rounded(scope: Scope, call: Call, number: Plane, length: Plane) -> Value:
    if number.type is FLOAT:
        return of_type(FLOAT, _round_real(number.values, length.values))
    wide = scope.once(_round_whole(number.values, length.values))
    result = wide.cast(pl.Int64, strict=False)
    unfit = wide.is_not_null() & result.is_null()
    problem = partial(_out_of_range, name="ROUND")
    return of_type(BIGINT, result, [Fault(unfit, call, problem, (number.shown, length.shown))])


def _round_real(number: pl.Expr, length: pl.Expr) -> pl.Expr:
    decimals = pl.lit(10.0).pow(length.clip(0, _FLOAT_DIGITS))
    scaled = quotient((number * decimals).round(0, mode="half_away_from_zero"), decimals)
    fine = (length > _FLOAT_DIGITS) | (number.abs() >= _WHOLE_FLOAT) | ~scaled.is_finite()
    tens = pl.lit(10.0).pow(-length.clip(-400, 0))
    coarse = quotient(number, tens).round(0, mode="half_away_from_zero") * tens
    coarse = pl.when(tens.is_finite()).then(coarse).otherwise(number * 0.0)
    return pl.when(length < 0).then(coarse).when(fine).then(number).otherwise(scaled)


def _round_whole(number: pl.Expr, length: pl.Expr) -> pl.Expr:
    tens = pl.lit(10, dtype=pl.Int128).pow(-length.clip(-_BIGINT_DIGITS - 1, 0))
    magnitude = number.cast(pl.Int128).abs()
    rounded = (magnitude + tens // 2) // tens * tens
    return pl.when(number < 0).then(0 - rounded).otherwise(rounded)


def _power(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    values = [numbers(scope, node, value) for node, value in zip(call.arguments, arguments, strict=True)]
    result = combined(values, partial(_powered, scope, call))
    return replace(result, declared=values[0].declared)


def _powered(scope: Scope, call: Call, base: Plane, exponent: Plane) -> Value:
    real = scope.once(base.values.cast(pl.Float64).pow(exponent.values.cast(pl.Float64)))
    fault = Fault(
        _unfit(base, real), call, partial(_out_of_range, name="POWER"), (base.shown, exponent.shown)
    )
    if base.type is FLOAT:
        return of_type(FLOAT, real, [fault])
    if exponent.type is FLOAT:
        return of_type(BIGINT, real.cast(pl.Int64, strict=False), [fault])
    # The power of the floats tells whether a power of bigints fits: the only ones near 2 to the 63rd are
    # those of 2 and of exponent 1. Above 63 only -1, 0 and 1 fit, and there the exponent counts by being
    # odd.
    times = exponent.values
    small = pl.when(times <= 63).then(times).otherwise(62 + times % 2)
    exact = base.values.pow(small.clip(0, 63))
    result = pl.when(times >= 0).then(exact).otherwise(real.cast(pl.Int64, strict=False))
    where = fault.where & (times != 1)
    return of_type(BIGINT, result, [replace(fault, where=where)])


def _unfit(base: Plane, real: pl.Expr) -> pl.Expr:
    if base.type is FLOAT:
        return ~real.is_finite()
    return ~(real.is_finite() & (real >= -_TWO_TO_63) & (real < _TWO_TO_63))


KERNELS: Final[dict[str, Kernel]] = {
    "ABS": _by_type(lambda number: number.abs(), lambda number: number.abs(), _LOWEST),
    "CEILING": _by_type(_same, lambda number: number.ceil()),
    "EXP": _finite(lambda number: number.exp(), "EXP of {0} is out of the range of float"),
    "FLOOR": _by_type(_same, lambda number: number.floor()),
    "POWER": _power,
    "ROUND": _round,
    "SIGN": _by_type(lambda number: number.sign(), lambda number: number.sign()),
    "SQRT": _finite(lambda number: number.sqrt(), "SQRT of {0} is no number"),
    "SQUARE": _finite(lambda number: number * number, "SQUARE of {0} is out of the range of float"),
}
