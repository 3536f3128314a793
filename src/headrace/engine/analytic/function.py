"""What the operator asks of each kind of analytic function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from headrace.engine.analytic.lookback import Flags, Lookback, look_back
from headrace.engine.expressions import Planes
from headrace.events.batch import TIME, Batch, times_us
from headrace.sql.plan import Expression

#: Columns of the keys of partitions; those of what is remembered begin otherwise.
KEY: Final = "key"


@dataclass(frozen=True, slots=True)
class Events:
    """The events that calls look at, in order of arrival: those `kept` of earlier slices, then `counting`.

    Both hold TIME, the keys and what is remembered of events that count; a column that is missing is NULL
    throughout. `rows` are times and keys of all rows of the slice, and `counts` tells which of them count.
    """

    kept: pl.DataFrame
    counting: pl.DataFrame
    rows: pl.DataFrame
    counts: Flags

    def together(self) -> pl.DataFrame:
        """Return all events, by their numbers."""
        return pl.concat([self.kept, self.counting], how="diagonal")

    def lookback(self) -> Lookback:
        """Return what the rows see of all events."""
        return self.lookback_on(self.kept)

    def lookback_on(self, earlier: pl.DataFrame) -> Lookback:
        """Return what the rows see if `earlier` were kept; times and keys are enough."""
        # Beside their times, since a slice whose keys are all NULL has no columns of them.
        keyed = [frame[[TIME, *keys_of(frame)]] for frame in (earlier, self.rows)]
        return look_back(
            pl.concat(keyed, how="diagonal").get_columns()[1:],
            np.concatenate([times_us(earlier), times_us(self.counting)]),
            times_us(self.rows),
            self.counts,
        )


def keys_of(frame: pl.DataFrame) -> list[str]:
    """Return the names of the columns of keys."""
    return [name for name in frame.columns if name.startswith(KEY)]


class Function(Protocol):
    """Calls of one kind over the same partitions and with the same WHEN, which look at the same events.

    `computed` are expressions that the calls need for every row, whether it counts or not.
    """

    computed: tuple[Expression, ...]

    def remember(self, batch: Batch) -> list[pl.Series]:
        """Return what to remember of the rows of `batch`, which all count; raises RowError."""
        ...

    def advance(self, events: Events, computed: Sequence[Planes]) -> tuple[list[Planes], pl.DataFrame]:
        """Return the values of each call in a slice's rows, and the events to keep, whatever their times.

        Raises DataError.
        """
        ...

    def horizon_us(self, frontier_us: int) -> int:
        """Return the time up to which (it included) no event is seen by any at `frontier_us` or later."""
        ...
