"""GROUP BY System.Timestamp(): a window for each instant that has events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from headrace.engine.operator import Slice, State
from headrace.engine.windows.grouping import END, Grouping
from headrace.events.batch import TIME
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan


class SnapshotAggregate:
    """Computes `aggregate`, whose window is `window`; keeps nothing, as a slice holds whole instants.

    `user` are the user aggregates by the names they are called by.
    """

    def __init__(
        self,
        aggregate: plan.Aggregate,
        window: plan.Snapshot,
        script: str,
        user: Mapping[str, UserAggregate] | None = None,
    ) -> None:
        self._window = window
        self._grouping = Grouping(aggregate, script, user)

    def initial(self) -> State:
        """Return the state, which is always empty."""
        return {}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the state, and a row for each group of each instant; raises RowError and DataError."""
        (given,) = inputs
        if given.batch is None or not given.batch.height:
            return state, Slice(None, given.frontier_us)
        lifted = self._grouping.lift(given.batch)
        partials = self._grouping.first(lifted.with_columns(pl.col(TIME).cast(pl.Int64).alias(END)), [END])
        return state, Slice(self._grouping.rows(partials, self._window.id), given.frontier_us)
