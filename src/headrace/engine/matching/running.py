"""Aggregates over the events of a match, one event after the other.

Each is a fold whose states are plain data. FIRST and LAST give the value of the first and last event, NULL
included; COUNT, SUM, AVG, MIN and MAX leave NULL out. Numbers that are texts are read as floats, as
aggregates in windows read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec
import polars as pl

from headrace.engine.casts import TRY_CAST_ADVICE, shown
from headrace.engine.expressions import Planes, RowError, evaluate
from headrace.engine.matching.automaton import START
from headrace.engine.matching.natives import NUMBERS, Native, array, is_datetime, natives, type_of
from headrace.engine.row_error import located
from headrace.events.batch import HIDDEN, Batch, Column, ValueType
from headrace.sql.plan import Cast, ColumnRef, MatchAggregate

#: A state: plain data. What it is belongs to the fold alone.
FoldState: TypeAlias = Any
States: TypeAlias = tuple[FoldState, ...]

_CLASSIFIER: Final = "CLASSIFIER"

_BIGINT_END: Final = 2**63

_TEXTS: Final = f"{HIDDEN}texts"
_AS_FLOAT: Final = Cast(ColumnRef(_TEXTS), ValueType.FLOAT, safe=True)

#: Which of equal numbers MIN and MAX show.
_PREFERENCE: Final = {int: 0, float: 1, bool: 2}


class _NotANumber(Exception):
    """A value that an aggregate of numbers cannot take."""

    def __init__(self, value: Native) -> None:
        self.value = value
        super().__init__()


class _OutOfRange(Exception):
    """A result that is out of the range of its type."""


@dataclass(frozen=True, slots=True)
class _Fold:
    """An aggregate: its state before any event, after one more value, and what a state is worth.

    `add` raises _NotANumber, `value` _OutOfRange. With `numbers` texts are read as floats where they can be.
    """

    initial: FoldState
    add: Callable[[FoldState, Native], FoldState]
    value: Callable[[FoldState], Native]
    numbers: bool = False


class Aggregates:
    """The aggregates of one MATCH_RECOGNIZE; their states are a tuple, in their order.

    `variables` are the variables of the pattern's places.
    """

    def __init__(
        self, aggregates: Sequence[MatchAggregate], variables: Sequence[str | None], script: str
    ) -> None:
        self._aggregates, self._script = aggregates, script
        self._folds = [_FOLDS.get(item.function) or _classifier(variables) for item in aggregates]
        self._arguments = [item.argument for item in aggregates if item.argument is not None]
        self.columns = tuple(item.column for item in aggregates)
        #: The states before the first event.
        self.initial: States = tuple(fold.initial for fold in self._folds)
        self._updates = [
            [
                (index, partial(_at_place, place) if item.function == _CLASSIFIER else fold.add)
                for index, (item, fold) in enumerate(zip(aggregates, self._folds, strict=True))
                if item.variable is None or item.variable == variable
            ]
            for place, variable in enumerate(variables)
        ]

    def values(self, batch: Batch) -> list[Sequence[Native]]:
        """Return what each aggregate adds for every row of `batch`; raises RowError."""
        found = iter(evaluate(self._arguments, batch, self._script))
        return [
            [True] * batch.height
            if item.argument is None
            else self._argument(fold, next(found), batch.height)
            for item, fold in zip(self._aggregates, self._folds, strict=True)
        ]

    def _argument(self, fold: _Fold, planes: Planes, height: int) -> Sequence[Native]:
        if not fold.numbers or ValueType.TEXT not in planes:
            return natives(planes, height)
        column = Column(_TEXTS, (ValueType.TEXT,))
        frame = pl.DataFrame([planes[ValueType.TEXT].alias(column.physical(ValueType.TEXT))])
        [read] = evaluate([_AS_FLOAT], Batch(frame, (column,)), self._script)
        rows = zip(natives(planes, height), natives(read, height), strict=True)
        # A text that is no number stays one: it is an error where it is added.
        return [number if number is not None else value for value, number in rows]

    def taken(self, states: States, place: int, values: Sequence[Sequence[Native]], row: int) -> States:
        """Return the states after the event `row`, whose `values` are given, at a place; raises RowError."""
        updates = self._updates[place]
        if not updates:
            return states
        after = list(states)
        for index, add in updates:
            try:
                after[index] = add(after[index], values[index][row])
            except _NotANumber as error:
                raise self._no_number(index, error.value, row) from None
        return tuple(after)

    def value(self, states: States, index: int, row: int) -> Native:
        """Return what an aggregate is worth; `row` is the event to blame. Raises RowError."""
        try:
            return self._folds[index].value(states[index])
        except _OutOfRange:
            node = ColumnRef(self.columns[index], self._aggregates[index].span)
            problem = "The result is out of range"
            message = located(problem, node, self._script, "CAST the field to float in a WITH step")
            raise RowError(message, row, node) from None

    def _no_number(self, index: int, value: Native, row: int) -> RowError:
        node = self._aggregates[index].argument
        assert node is not None
        type_ = type_of(value)
        stored = value[1] if isinstance(value, tuple) else value
        problem = f"Cannot cast value {shown(stored, type_)} of type {type_} to type {ValueType.FLOAT}"
        return RowError(located(problem, node, self._script, TRY_CAST_ADVICE), row, node)


# --- folds -----------------------------------------------------------------------------------------------


def _identity(state: FoldState) -> Native:
    return state  # type: ignore[no-any-return]


def _shown(state: FoldState) -> Native:
    return None if state is None else state[0]


def _number(value: Native) -> bool | int | float:
    if isinstance(value, bool | int | float):
        return value
    raise _NotANumber(value)


def _sum(state: FoldState, value: Native) -> FoldState:
    """Add to ``(whole, real, count)``, where `real` is None as long as there are only bigints."""
    if value is None:
        return state
    whole, real, count = state
    number = _number(value)
    if isinstance(number, float):
        return whole, number if real is None else real + number, count + 1
    return whole + number, real, count + 1


def _total(state: FoldState) -> Native:
    whole, real, count = state
    if not count:
        return None
    total: int | float = whole if real is None else whole + real
    in_range = -_BIGINT_END <= total < _BIGINT_END if real is None else math.isfinite(total)
    if not in_range:
        raise _OutOfRange
    return total


def _mean(state: FoldState) -> Native:
    whole, real, count = state
    if not count:
        return None
    mean = (whole if real is None else whole + real) / count
    if not math.isfinite(mean):
        raise _OutOfRange
    return float(mean)


def _extreme(sign: int) -> Callable[[FoldState, Native], FoldState]:
    """Return how MIN (`sign` -1) or MAX (1) goes on; datetimes come before numbers."""

    def add(state: FoldState, value: Native) -> FoldState:
        if value is None:
            return state
        if type(value) not in NUMBERS and not is_datetime(value):
            raise _NotANumber(value)
        if state is None:
            return value
        first, second = _rank(value), _rank(state)
        better = first > second if sign > 0 else first < second
        if first == second and type(value) in NUMBERS:
            better = _PREFERENCE[type(value)] < _PREFERENCE[type(state)]
        return value if better else state

    return add


def _rank(value: Any) -> tuple[bool, Any]:
    return type(value) in NUMBERS, value


def _one_more(state: FoldState, value: Native) -> FoldState:
    return state + (value is not None)


def _first(state: FoldState, value: Native) -> FoldState:
    return (value,) if state is None else state


def _last(_state: FoldState, value: Native) -> FoldState:
    return (value,)


_FOLDS: Final = {
    "AVG": _Fold((0, None, 0), _sum, _mean, numbers=True),
    "COUNT": _Fold(0, _one_more, _identity),
    "FIRST": _Fold(None, _first, _shown),
    "LAST": _Fold(None, _last, _shown),
    "MAX": _Fold(None, _extreme(1), _identity, numbers=True),
    "MIN": _Fold(None, _extreme(-1), _identity, numbers=True),
    "SUM": _Fold((0, None, 0), _sum, _total, numbers=True),
}


def _classifier(variables: Sequence[str | None]) -> _Fold:
    """Return Classifier(): the variables of the events in order, ``.`` for an event that took none."""
    spelled = ["." if name is None else name for name in variables]

    def value(state: FoldState) -> Native:
        return array(msgspec.json.encode([spelled[place] for place in state]).decode())

    return _Fold((), partial(_at_place, START), value)


def _at_place(place: int, state: FoldState, _value: Native) -> FoldState:
    return (*state, place)
