"""The error of a row that an expression cannot be computed for: which row, why, and where it is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from headrace.engine.values import Fault, Value
from headrace.errors import DataError
from headrace.events.batch import ValueType
from headrace.sql.plan import AggregateCall, Expression

#: Characters of an expression that a message shows.
_SHOWN_CHARS: Final = 100


class RowError(DataError):
    """A row that an expression cannot be computed for.

    `row` is its index in the batch, `expression` the one that failed; its span says where it is written.
    `origin` is the number of the input event that the row comes from, where that is known; `failing` says
    which rows of the batch fail as well, where more than the first were looked at.
    """

    origin: int | None = None
    failing: pl.Series | None = None

    def __init__(self, message: str, row: int, expression: Expression) -> None:
        self.row, self.expression = row, expression
        super().__init__(message)


def first_failure(faults: Sequence[Fault], frame: pl.DataFrame, script: str) -> RowError:
    """Return the error of the first row of `frame` for which one of `faults` is true; there must be one.

    Where several are true for that row it is the first of them.
    """
    failing = frame.select(fault.where.alias(str(number)) for number, fault in enumerate(faults))
    first = [mask.arg_true().head(1).to_list() for mask in failing]
    row = min(rows[0] for rows in first if rows)
    fault = faults[first.index([row])]
    found = [_value_in(value, frame.slice(row, 1)) for value in fault.shown]
    error = RowError(located(fault.problem(*found), fault.node, script, fault.advice), row, fault.node)
    error.failing = failing.select(pl.any_horizontal(pl.all().fill_null(value=False))).to_series()
    return error


def _value_in(value: Value, row: pl.DataFrame) -> tuple[Any, ValueType | None]:
    for type_, plane in value.planes.items():
        found = row.select(plane).item()
        if found is not None:
            return (f"{found.isoformat()}Z" if isinstance(found, datetime) else found), type_
    return None, None


def located(problem: str, node: Expression | AggregateCall, script: str, advice: str = "") -> str:
    """Return `problem` with the text and the place of `node` in `script`, and then `advice`."""
    written = " ".join(script[node.span.start : node.span.end].split())
    if written:
        written = written if len(written) <= _SHOWN_CHARS else written[:_SHOWN_CHARS] + "..."
        before = script[: node.span.start]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem += f" in expression '{written}' at line {line}, column {column}"
    return f"{problem}. {advice}" if advice else problem
