"""The conditions of DEFINE, tried event by event.

The parts of a condition without aggregates are computed for all rows of a slice at once. What is left of it,
where it only compares, computes and connects numbers, texts and datetimes, runs as Python on single values;
whatever else there is, and whatever could fail, is left to `evaluate` over a batch of that one row, so that
values, errors and messages are those of any other expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from headrace.engine.expressions import RowError, evaluate
from headrace.engine.functions.comparisons import COMPARISONS
from headrace.engine.matching.natives import NUMBERS, Native, is_datetime, natives, planes_of
from headrace.engine.matching.running import Aggregates, States
from headrace.events.batch import Batch, ValueType
from headrace.events.formats.json_exact import MAX_BIGINT, MIN_BIGINT
from headrace.sql.guards import columns
from headrace.sql.plan import Binary, Case, ColumnRef, Expression, In, IsNull, Like, Literal, Unary

#: The values of a part of a condition in every row of a slice.
Values: TypeAlias = Sequence[Native]

#: What is left of a condition: its value, given those of its parts, the row, and the states of aggregates.
_Rest: TypeAlias = Callable[[Sequence[Values], int, States], Native]

_TRUE: Final = Literal(True, ValueType.BIT)
_FALSE: Final = Literal(False, ValueType.BIT)
_UNKNOWN: Final = Literal(None, None)


class _NotPlain(Exception):
    """Values that are left to `evaluate`."""


class Conditions:
    """The conditions of one MATCH_RECOGNIZE, over its `aggregates`."""

    def __init__(self, aggregates: Aggregates, script: str) -> None:
        self._aggregates, self._script = aggregates, script
        self._parts: list[Expression] = []

    def compiled(self, expression: Expression) -> Condition:
        """Return a condition ready to be tried."""
        if not self._aggregated(expression):
            return Condition(self._part(expression))
        return Condition(None, partial(self._holds, expression, self._rest(expression)))

    def parts(self, batch: Batch) -> list[Values]:
        """Return the values of the parts of all conditions in every row of `batch`.

        Where one of them fails for some row it is computed row by row, when it is asked for: a pattern may
        never get there.
        """
        try:
            found = evaluate(self._parts, batch, self._script)
        except RowError:
            return [self._separate(part, batch) for part in self._parts]
        return [natives(planes, batch.height) for planes in found]

    def _separate(self, part: Expression, batch: Batch) -> Values:
        try:
            [planes] = evaluate([part], batch, self._script)
        except RowError:
            return _RowByRow(part, batch, self._script)
        return natives(planes, batch.height)

    def _part(self, expression: Expression) -> int:
        self._parts.append(expression)
        return len(self._parts) - 1

    def _aggregated(self, expression: Expression) -> bool:
        return not set(self._aggregates.columns).isdisjoint(columns(expression))

    def _holds(
        self,
        expression: Expression,
        rest: _Rest | None,
        parts: Sequence[Values],
        row: int,
        states: States,
        batch: Batch,
    ) -> bool:
        if rest is not None:
            try:
                return rest(parts, row, states) is True
            except (_NotPlain, RowError):
                pass  # a part that fails may be one that nobody looks at
        event = Batch(batch.frame.slice(row, 1), batch.columns)
        used = set(columns(expression))
        for index, column in enumerate(self._aggregates.columns):
            if column in used:
                value = self._aggregates.value(states, index, row)
                event = event.with_column(column, planes_of([value]))
        return _of_one_row(expression, event, row, self._script) is True

    # --- what is left of a condition ----------------------------------------------------------------------

    def _rest(self, node: Expression) -> _Rest | None:
        """Return how `node` is computed on single values, None where that is left to `evaluate`."""
        if not self._aggregated(node):
            return self._looked_up(node)
        match node:
            case ColumnRef(name):
                index, value = self._aggregates.columns.index(name), self._aggregates.value
                return lambda _parts, row, states: value(states, index, row)
            case IsNull(operand):
                return _applied(_is_null, self._rest(operand))
            case Unary("NOT", operand):
                return _applied(_not, self._rest(operand))
            case Binary("AND" | "OR" as operator, left, right):
                return _connected(self._rest(left), self._rest(right), settled_by=operator == "OR")
            case Binary(operator, left, right) if operator in _PLAIN_OPERATORS:
                return _combined(_PLAIN_OPERATORS[operator], self._rest(left), self._rest(right))
        return None

    def _looked_up(self, node: Expression) -> _Rest:
        if isinstance(node, Literal) and not isinstance(node.value, datetime):
            value: Native = node.value
            return lambda _parts, _row, _states: value
        # As a value a condition that is unknown would be false.
        known = Case(((node, _TRUE), (Unary("NOT", node), _FALSE)), _UNKNOWN) if _is_condition(node) else node
        part = self._part(known)
        return lambda parts, row, _states: parts[part][row]


class Condition(NamedTuple):
    """The condition of a variable: a `part` that is true or not in each row, or one that needs aggregates.

    That one, `holds`, tells for the values of all parts, a row, the states of aggregates and the slice; it
    raises RowError. Where both are None any event will do.
    """

    part: int | None
    holds: Callable[[Sequence[Values], int, States, Batch], bool] | None = None


class _RowByRow(Sequence[Native]):
    """The values of an expression that fails for some rows of a batch, computed when they are asked for."""

    def __init__(self, expression: Expression, batch: Batch, script: str) -> None:
        self._expression, self._batch, self._script = expression, batch, script

    def __len__(self) -> int:
        return self._batch.height

    def __getitem__(self, row: Any) -> Any:
        event = Batch(self._batch.frame.slice(row, 1), self._batch.columns)
        return _of_one_row(self._expression, event, row, self._script)


def _of_one_row(expression: Expression, event: Batch, row: int, script: str) -> Native:
    """Return the value of an expression in a batch of one row, which is `row` of the slice."""
    try:
        [planes] = evaluate([expression], event, script)
    except RowError as error:
        error.row = row
        raise
    return natives(planes, 1)[0]


# --- single values ---------------------------------------------------------------------------------------


def _is_condition(node: Expression) -> bool:
    match node:
        case In() | Like() | IsNull() | Unary("NOT"):
            return True
        case Binary(operator):
            return operator in COMPARISONS or operator in ("AND", "OR")
    return False


def _applied(function: Callable[[Native], Native], operand: _Rest | None) -> _Rest | None:
    if operand is None:
        return None
    return lambda parts, row, states: function(operand(parts, row, states))


def _combined(
    function: Callable[[Native, Native], Native], left: _Rest | None, right: _Rest | None
) -> _Rest | None:
    if left is None or right is None:
        return None
    return lambda parts, row, states: function(left(parts, row, states), right(parts, row, states))


def _connected(left: _Rest | None, right: _Rest | None, *, settled_by: bool) -> _Rest | None:
    """Return AND or OR, which the first side that is `settled_by` settles; NULL is unknown."""
    if left is None or right is None:
        return None

    def connected(parts: Sequence[Values], row: int, states: States) -> Native:
        first = left(parts, row, states)
        if first is settled_by:
            return settled_by
        second = right(parts, row, states)
        if second is settled_by:
            return settled_by
        return None if first is None or second is None else not settled_by

    return connected


def _is_null(value: Native) -> bool:
    return value is None


def _not(value: Native) -> bool | None:
    return None if value is None else not value


def _comparison(symbol: str) -> Callable[[Native, Native], bool | None]:
    compare: Callable[[Any, Any], bool] = COMPARISONS[symbol]

    def compared(left: Native, right: Native) -> bool | None:
        if left is None or right is None:
            return None
        first, second = type(left), type(right)
        if (first in NUMBERS and second in NUMBERS) or first is second is str:
            return compare(left, right)
        if is_datetime(left) and is_datetime(right):
            return compare(left, right)
        raise _NotPlain

    return compared


def _arithmetic(
    whole: Callable[[int, int], int], real: Callable[[float, float], float], *, divides: bool = False
) -> Callable[[Native, Native], Native]:
    def computed(left: Native, right: Native) -> Native:
        if left is None or right is None:
            return None
        if not isinstance(left, bool | int | float) or not isinstance(right, bool | int | float):
            raise _NotPlain
        if divides and right == 0:
            raise _NotPlain
        if isinstance(left, float) or isinstance(right, float):
            number = real(float(left), float(right))
            if math.isfinite(number):
                return number
        elif MIN_BIGINT <= (result := whole(left, right)) <= MAX_BIGINT:
            return result
        raise _NotPlain

    return computed


def _quotient(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return left - _quotient(left, right) * right


_PLAIN_OPERATORS: Final[dict[str, Callable[[Native, Native], Native]]] = {
    **{symbol: _comparison(symbol) for symbol in COMPARISONS},
    "+": _arithmetic(lambda left, right: left + right, lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right, lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right, lambda left, right: left * right),
    "/": _arithmetic(_quotient, lambda left, right: left / right, divides=True),
    "%": _arithmetic(_remainder, math.fmod, divides=True),
}
