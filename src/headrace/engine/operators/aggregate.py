"""GROUP BY with any windows: an operator for each, and what Windows() makes of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.engine.operator import Operator, Slice, State
from headrace.engine.operators.aggregate_hopping import HoppingAggregate
from headrace.engine.operators.aggregate_session import SessionAggregate
from headrace.engine.operators.aggregate_sliding import SlidingAggregate
from headrace.engine.operators.aggregate_snapshot import SnapshotAggregate
from headrace.events.batch import TIME, Batch, concat
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan


def aggregate_operator(
    aggregate: plan.Aggregate, script: str, user: Mapping[str, UserAggregate] | None = None
) -> Operator:
    """Return the operator of `aggregate`; `user` are the user aggregates by the names they are called by.

    Its rows come in order of time, then of their window's place in Windows(), then of their keys.
    """
    operators = [_of_window(aggregate, window, script, user) for window in aggregate.windows]
    return operators[0] if len(operators) == 1 else WindowSet(operators)


def _of_window(
    aggregate: plan.Aggregate,
    window: plan.Window,
    script: str,
    user: Mapping[str, UserAggregate] | None,
) -> Operator:
    match window:
        case plan.Hopping():
            return HoppingAggregate(aggregate, window, script, user)
        case plan.Sliding():
            return SlidingAggregate(aggregate, window, script, user)
        case plan.Session():
            return SessionAggregate(aggregate, window, script, user)
        case plan.Snapshot():
            return SnapshotAggregate(aggregate, window, script, user)


class WindowSet:
    """Windows(): the rows of all of `operators`, which read the same source."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        self._operators = tuple(operators)

    def initial(self) -> State:
        """Return the first state of each operator."""
        return {"windows": [operator.initial() for operator in self._operators]}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the next state of each operator and the rows of all; raises RowError and DataError."""
        states = state["windows"]
        assert isinstance(states, Sequence)
        following, batches = [], []
        for operator, before in zip(self._operators, states, strict=True):
            assert isinstance(before, Mapping)
            after, made = operator.advance(before, inputs)
            following.append(after)
            batches.append(made.batch)
        return {"windows": following}, Slice(_together(batches), inputs[0].frontier_us)


def _together(batches: Sequence[Batch | None]) -> Batch | None:
    """Return the rows of `batches` in order of time, then as given."""
    filled = [batch for batch in batches if batch is not None and batch.height]
    if len(filled) < 2:
        return filled[0] if filled else None
    rows = concat(filled)
    return Batch(rows.frame.sort(TIME, maintain_order=True), rows.columns)
