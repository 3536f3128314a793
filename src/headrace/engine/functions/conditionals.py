"""COALESCE and NULLIF; CASE is an expression of its own (see `compiler`).

The result of COALESCE has the type of the value that it takes; an argument is computed only where those
before it are NULL. NULLIF(a, b) is CASE WHEN a = b THEN NULL ELSE a END.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from headrace.engine.casts import BIT
from headrace.engine.functions.comparisons import compare
from headrace.engine.values import FALSE, Fault, Kernel, Scope, Value, first_present, null, when
from headrace.sql.plan import Call


def _coalesce(_scope: Scope, _call: Call, arguments: Sequence[Value]) -> Value:
    faults: list[Fault] = []
    taken = FALSE
    for place, value in enumerate(arguments):
        faults.extend(fault.within(~taken) if place else fault for fault in value.faults)
        taken = taken | value.present
    types = {value.declared for value in arguments}
    declared = types.pop() if len(types) == 1 else None
    return replace(first_present(arguments), faults=tuple(faults), declared=declared)


def _nullif(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    value = arguments[0]
    pairs = zip(call.arguments, arguments, strict=True)
    equal = compare(scope, "=", call, *pairs)
    same = equal.planes[BIT].fill_null(value=False)
    planes = {type_: when(same, null(type_), plane) for type_, plane in value.planes.items()}
    return Value(planes, equal.faults, declared=value.declared)


KERNELS: Final[dict[str, Kernel]] = {"COALESCE": _coalesce, "NULLIF": _nullif}
