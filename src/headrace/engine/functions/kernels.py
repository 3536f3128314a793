"""How the plain functions become kernels: their arguments cast to what they want, NULL in giving NULL out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from headrace.engine.casts import wanted
from headrace.engine.values import Fault, Kernel, Scope, Value, all_of, faults_of, of_type
from headrace.events.batch import ValueType
from headrace.sql.plan import Call


@dataclass(frozen=True, slots=True)
class Check:
    """What a function refuses: rows where `fails(*arguments)` is true, told by `problem(*shown values)`."""

    fails: Callable[..., pl.Expr]
    problem: Callable[..., str]
    advice: str = ""


def plain(
    wants: Sequence[ValueType],
    gives: ValueType,
    compute: Callable[..., pl.Expr],
    *checks: Check,
) -> Kernel:
    """Return the kernel of a function with fixed types that gives NULL where an argument is NULL.

    `compute` gets the planes of the arguments and must give NULL for NULL.
    """

    def kernel(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
        values = cast_arguments(scope, call, arguments, wants)
        planes = planes_of(values, wants)
        faults = (*faults_of(values), *checked(call, values, planes, checks))
        return of_type(gives, compute(*planes), faults)

    return kernel


def placed(
    wants: Sequence[ValueType],
    gives: ValueType,
    compute: Callable[..., pl.Expr],
    *checks: Check,
) -> Kernel:
    """Return the kernel of a function that counts characters: `compute` also gets `wide`, see `positions`."""

    def kernel(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
        values = cast_arguments(scope, call, arguments, wants)
        planes = planes_of(values, wants)
        faults = (*faults_of(values), *checked(call, values, planes, checks))
        return of_type(gives, compute(*planes, wide=scope.wide), faults)

    return kernel


def cast_arguments(
    scope: Scope, call: Call, arguments: Sequence[Value], wants: Sequence[ValueType]
) -> list[Value]:
    """Return the arguments of `call`, each as the type wanted; a function may be called with fewer."""
    written = zip(call.arguments, arguments, wants, strict=False)
    return [wanted(scope, node, value, type_) for node, value, type_ in written]


def planes_of(values: Sequence[Value], types: Sequence[ValueType]) -> list[pl.Expr]:
    """Return the one plane of each of `values`."""
    return [value.planes[type_] for value, type_ in zip(values, types, strict=False)]


def checked(
    call: Call, values: Sequence[Value], planes: Sequence[pl.Expr], checks: Sequence[Check]
) -> list[Fault]:
    """Return the faults of `checks`, in rows where no argument is NULL."""
    present = [plane.is_not_null() for plane in planes]
    return [
        Fault(all_of([*present, check.fails(*planes)]), call, check.problem, tuple(values), check.advice)
        for check in checks
    ]


def refuses(sentence: str) -> Callable[..., str]:
    """Return the problem of a check that shows the values of the arguments as {0}, {1}, ..."""

    def problem(*found: tuple[Any, ValueType | None]) -> str:
        return sentence.format(*(value for value, _ in found))

    return problem
