"""Analytic functions: the rows of a relation, each with values made of the rows before it.

Calls of one kind over the same partitions and with the same WHEN look at the same events. What is remembered
of an event that counts is a row of a frame: its time, its keys and what the calls need of it. It is kept as
long as a later event can see it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headrace.engine.analytic.anomaly import judging
from headrace.engine.analytic.change_points import ChangePoints
from headrace.engine.analytic.first_in import FirstIn
from headrace.engine.analytic.function import KEY, Events, Function
from headrace.engine.analytic.lag import Lag
from headrace.engine.analytic.over import Over
from headrace.engine.analytic.spikes import SpikesAndDips
from headrace.engine.equality import canonical
from headrace.engine.expressions import Planes, evaluate
from headrace.engine.operator import Slice, State
from headrace.engine.planes import named
from headrace.engine.row_error import RowError
from headrace.events.batch import TIME, Batch, Column, ValueType, times_us
from headrace.models.aggregate import UserAggregate
from headrace.sql.plan import Analytic, AnalyticCall, Expression

_FUNCTIONS: Final[Mapping[str, Callable[[Sequence[AnalyticCall], str], Function]]] = {
    "ANOMALYDETECTION_CHANGEPOINT": ChangePoints,
    "ANOMALYDETECTION_SPIKEANDDIP": SpikesAndDips,
    "ISFIRST": FirstIn,
    "LAG": Lag,
    "LAST": Lag,
}

#: The kind of all calls that are none of these functions.
_AGGREGATE: Final = "aggregate"

#: Where the names of functions that judge events begin.
_ANOMALY: Final = "ANOMALYDETECTION_"


@dataclass(frozen=True, slots=True)
class _Calls:
    """Calls that look at the same events, and the columns that they make."""

    columns: tuple[str, ...]
    function: Function
    partition: tuple[Expression, ...]
    when: Expression | None

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """What is computed for every row: the keys, what the function wants, the condition at last."""
        condition = () if self.when is None else (self.when,)
        return (*self.partition, *self.function.computed, *condition)


class AnalyticFunctions:
    """The operator of an Analytic relation of the script `script`.

    `user` are the user aggregates by the names they are called by.
    """

    def __init__(
        self, relation: Analytic, script: str, user: Mapping[str, UserAggregate] | None = None
    ) -> None:
        self._script = script
        self._groups = _grouped(relation.calls, script, user or {})
        self._expressions = tuple(part for group in self._groups for part in group.expressions)

    def initial(self) -> State:
        """Return the state before any event."""
        return {"events": [None] * len(self._groups)}

    def advance(self, state: State, inputs: Sequence[Slice]) -> tuple[State, Slice]:
        """Return the next state, and the rows of the slice with the columns of the calls."""
        [part] = inputs
        events = state["events"]
        assert isinstance(events, Sequence)
        batch, kept = part.batch, list(events)
        if batch is not None and batch.height:
            computed = iter(evaluate(self._expressions, batch, self._script))
            results: dict[str, Planes] = {}
            for place, group in enumerate(self._groups):
                values = [next(computed) for _ in group.expressions]
                found, kept[place] = _advance(group, events[place], batch, values)
                results.update(zip(group.columns, found, strict=True))
            batch = _with_columns(batch, results)
        for place, group in enumerate(self._groups):
            kept[place] = _since(kept[place], group.function.horizon_us(part.frontier_us))
        return {"events": kept}, Slice(batch, part.frontier_us)


def _grouped(calls: Sequence[AnalyticCall], script: str, user: Mapping[str, UserAggregate]) -> list[_Calls]:
    """Return the calls that look at the same events together."""
    groups: dict[object, list[AnalyticCall]] = {}
    for call in calls:
        groups.setdefault((_kind(call), call.partition, _condition(call)), []).append(call)
    return [
        _Calls(
            tuple(call.call.column for call in same),
            _function(same, script, user),
            same[0].partition,
            _condition(same[0]),
        )
        for same in groups.values()
    ]


def _kind(call: AnalyticCall) -> str:
    function = call.call.function
    if call.call.user or function not in _FUNCTIONS:
        return _AGGREGATE
    return "LAG" if function == "LAST" else function


def _condition(call: AnalyticCall) -> Expression | None:
    """Return the condition for an event to count, None where all do."""
    return judging(call) if _kind(call).startswith(_ANOMALY) else call.when


def _function(calls: Sequence[AnalyticCall], script: str, user: Mapping[str, UserAggregate]) -> Function:
    kind = _kind(calls[0])
    return Over(calls, script, user) if kind == _AGGREGATE else _FUNCTIONS[kind](calls, script)


def _advance(
    group: _Calls, kept: object, batch: Batch, computed: Sequence[Planes]
) -> tuple[list[Planes], pl.DataFrame]:
    """Return the values of the calls in the rows of `batch`, and the events that later rows may see."""
    keys = [
        plane
        for number, planes in enumerate(computed[: len(group.partition)])
        for plane in named(f"{KEY}{number}:", canonical(planes))
    ]
    counts, counting = _counting(group, batch, computed)
    rows = pl.DataFrame([batch.frame.get_column(TIME), *keys])
    events = Events(
        kept if isinstance(kept, pl.DataFrame) else rows.clear(),
        (rows if counts is None else rows.filter(counts)).hstack(_remembered(group, counting, counts)),
        rows,
        np.ones(batch.height, dtype=np.bool_) if counts is None else counts.to_numpy(),
    )
    wanted = computed[len(group.partition) :][: len(group.function.computed)]
    return group.function.advance(events, wanted)


def _counting(group: _Calls, batch: Batch, computed: Sequence[Planes]) -> tuple[pl.Series | None, Batch]:
    """Return which rows count, None for all, and those rows."""
    if group.when is None:
        return None, batch
    satisfied = computed[-1].get(ValueType.BIT)
    if satisfied is None:
        counts = pl.repeat(False, batch.height, eager=True)
    else:
        counts = satisfied.fill_null(value=False)
    return counts, batch.filter(counts)


def _remembered(group: _Calls, counting: Batch, counts: pl.Series | None) -> list[pl.Series]:
    try:
        return group.function.remember(counting)
    except RowError as error:
        if counts is not None:
            error.row = int(counts.arg_true()[error.row])
        raise


def _with_columns(batch: Batch, results: Mapping[str, Planes]) -> Batch:
    columns = [Column(name, tuple(planes)) for name, planes in results.items()]
    series = [
        plane.alias(column.physical(type_))
        for column in columns
        for type_, plane in results[column.name].items()
    ]
    return Batch(batch.frame.hstack(series), (*batch.columns, *columns))


def _since(kept: object, horizon_us: int) -> pl.DataFrame | None:
    """Return the events after `horizon_us`; they are in order of time."""
    if not isinstance(kept, pl.DataFrame):
        return None
    passed = int(times_us(kept).searchsorted(horizon_us, side="right"))
    return kept.slice(passed) if passed < kept.height else None
