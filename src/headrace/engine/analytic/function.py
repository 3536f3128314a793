"""What the operator asks of each kind of analytic function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from headrace.engine.analytic.lookback import Flags, Lookback
from headrace.engine.expressions import Planes
from headrace.events.batch import Batch
from headrace.sql.plan import Expression


@dataclass(frozen=True, slots=True)
class Events:
    """The events that count, by their numbers, and what the rows of a slice see of them.

    `frame` holds what is remembered of each event; a column that is missing is NULL throughout.
    """

    frame: pl.DataFrame
    lookback: Lookback


class Function(Protocol):
    """Calls of one kind over the same partitions and with the same WHEN, which look at the same events.

    `computed` are expressions that the calls need for every row, whether it counts or not.
    """

    computed: tuple[Expression, ...]

    def remember(self, batch: Batch) -> list[pl.Series]:
        """Return what to remember of the rows of `batch`, which all count; raises RowError."""
        ...

    def values(self, events: Events, computed: Sequence[Planes]) -> tuple[list[Planes], list[pl.Series]]:
        """Return the values of each call in a slice's rows, and columns to add to what is remembered.

        Raises DataError.
        """
        ...

    def needed(self, lookback: Lookback) -> Flags | None:
        """Return which events may be seen by a later row, whatever their times; None means all."""
        ...

    def horizon_us(self, frontier_us: int) -> int:
        """Return the time up to which (it included) no event is seen by any at `frontier_us` or later."""
        ...
