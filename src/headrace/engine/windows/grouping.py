"""GROUP BY: the keys and calls of an Aggregate, as steps that every kind of window is made of.

::

    batch --lift--> a row an event --first--> a row a group and slice --merge--> a row a group --rows--> batch

What rows are grouped by besides the keys (a pane, a window's end) is the operator's.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

import polars as pl

from headrace.engine.aggregates import Aggregator, aggregator, partials_of
from headrace.engine.windows.keys import Keys
from headrace.events.batch import TIME, Batch, Column, ValueType
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan

#: The end of the window that a row is of, in microseconds since 1970, as an Int64.
END: Final = "@end"

_ALL: Final = "@all"


class Grouping:
    """The keys and calls of `aggregate`; `user` are the user aggregates by the names they are called by."""

    def __init__(
        self, aggregate: plan.Aggregate, script: str, user: Mapping[str, UserAggregate] | None = None
    ) -> None:
        self._aggregate = aggregate
        self.keys = Keys([key.expression for key in aggregate.keys], script)
        self._finishers: list[Aggregator] = []
        self._folds: dict[Hashable, Aggregator] = {}
        for call in aggregate.calls:
            # Calls that have the same partial results have the same columns.
            known, partials = list(self._folds), partials_of(call)
            place = known.index(partials) if partials in known else len(known)
            finisher = aggregator(call, f"@call{place}:", script, user or {})
            self._finishers.append(finisher)
            self._folds.setdefault(partials, finisher)
        #: Whether `merge` needs its rows in order of time.
        self.ordered = any(fold.ordered for fold in self._folds.values())

    def lift(self, batch: Batch) -> pl.DataFrame:
        """Return the times, keys and lifted arguments of the rows of `batch`; raises RowError."""
        lifted = [series for fold in self._folds.values() for series in fold.lift(batch)]
        return pl.DataFrame([batch.frame.get_column(TIME), *self.keys.lift(batch), *lifted])

    def first(self, lifted: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
        """Return a partial result for each combination of the columns `by` and the keys, in any order."""
        parts = [part for fold in self._folds.values() for part in fold.first(lifted.columns)]
        return self._grouped(lifted, by, parts)

    def merge(self, partials: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
        """Return one partial result for each combination of the columns `by` and the keys, in any order.

        If `ordered`, those of one combination must come in order of time.
        """
        parts = [part for fold in self._folds.values() for part in fold.merge(partials.columns)]
        return self._grouped(partials, by, parts)

    def rows(self, merged: pl.DataFrame, window_id: str | None = None) -> Batch:
        """Return the result of each row of `merged` (it has END), by END and keys, then as given.

        Raises DataError where a value is out of range.
        """
        order = [pl.col(END), *self.keys.order(merged.columns)]
        frame = merged.sort(order, maintain_order=True)
        columns = [
            *zip((key.column for key in self._aggregate.keys), self.keys.values(frame), strict=True),
            *(
                (call.column, finisher.finish(frame))
                for call, finisher in zip(self._aggregate.calls, self._finishers, strict=True)
            ),
        ]
        if self._aggregate.window_column is not None:
            ids = (
                {} if window_id is None else {ValueType.TEXT: pl.repeat(window_id, frame.height, eager=True)}
            )
            columns.append((self._aggregate.window_column, ids))
        series = [frame.get_column(END).cast(pl.Datetime("us")).alias(TIME)]
        shown = []
        for name, planes in columns:
            column = Column(name, tuple(planes))
            shown.append(column)
            series += [plane.alias(column.physical(type_)) for type_, plane in planes.items()]
        return Batch(pl.DataFrame(series), tuple(shown))

    def _grouped(self, frame: pl.DataFrame, by: Sequence[str], parts: list[pl.Expr]) -> pl.DataFrame:
        names = [*by, *self.keys.equal(frame.columns)]
        parts = [*self.keys.first(frame.columns), *parts]
        if names:
            return frame.group_by(names).agg(parts)
        # One plan for all three steps: a call of Polars costs more than they do.
        one = frame.lazy().with_columns(pl.lit(0).alias(_ALL)).group_by(_ALL).agg(parts).drop(_ALL)
        return one.collect(engine="in-memory")
