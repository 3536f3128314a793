"""GROUP BY SlidingWindow: a row of a group at each instant at which what it holds changes (reference, B4).

A group holds the events of (instant - size, instant]. That changes when an event comes, at its time t, and
when it goes, at t + size; both at one instant are one change. A group that holds nothing gives no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import polars as pl

from headrace.engine.operator import NEVER_US, Slice, State
from headrace.engine.windows.grouping import END, Grouping
from headrace.engine.windows.ranges import Ranges, Rows, grows, of_partials, of_rows, one_each
from headrace.events.batch import TIME, Batch, concat, times_us
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan

#: Rows that windows hold together while their lists are made: about 100 MB of values.
_MAX_LISTED: Final = 2_000_000

#: Chunks of the rows that are kept, one a slice, before they are put together.
_MAX_CHUNKS: Final = 64

_GROUP: Final = "@group"


class SlidingAggregate:
    """Computes `aggregate`, whose window is `window`; keeps the rows of the last `size_us`, lifted.

    `user` are the user aggregates by the names they are called by.
    """

    def __init__(
        self,
        aggregate: plan.Aggregate,
        window: plan.Sliding,
        script: str,
        user: Mapping[str, UserAggregate] | None = None,
    ) -> None:
        self._size_us, self._id = window.size_us, window.id
        self._grouping = Grouping(aggregate, script, user)

    def initial(self) -> State:
        """Return a state without rows."""
        return {"rows": None, "frontier_us": NEVER_US}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the rows of all changes before the frontier; raises RowError, and DataError out of range."""
        [given] = inputs
        frontier_us = given.frontier_us
        frames = [state["rows"]] if isinstance(state["rows"], pl.DataFrame) else []
        if given.batch is not None and given.batch.height:
            frames.append(self._grouping.lift(given.batch))
        if not frames:
            return {"rows": None, "frontier_us": frontier_us}, Slice(None, frontier_us)
        since_us = cast("int", state["frontier_us"])
        rows = pl.concat(frames, how="diagonal")
        if rows.n_chunks() > _MAX_CHUNKS:
            rows = rows.rechunk()
        # An event that is just as old as the size is in no window any more, but it has not yet gone.
        kept = rows.slice(_place(rows, frontier_us - self._size_us))
        after: State = {"rows": kept if kept.height else None, "frontier_us": frontier_us}
        return after, Slice(self._changes(rows, since_us, frontier_us), frontier_us)

    def _changes(self, rows: pl.DataFrame, since_us: int, frontier_us: int) -> Batch | None:
        """Return a row for each group and change with `since_us` <= time < `frontier_us`."""
        keys = self._grouping.keys.equal(rows.columns)
        listed = grows(rows.drop(keys), self._grouping)
        events = rows if listed else self._pieces(rows, keys, since_us, frontier_us)
        by_group = events.sort(keys, maintain_order=True) if keys else events
        changes = _found(_Events.of(by_group, keys), self._size_us, since_us, frontier_us)
        if not len(changes.ends_us):
            return None
        partials_of = of_rows if listed else of_partials
        batches = []
        for part in changes.parts(_MAX_LISTED) if listed else [changes]:
            partials = partials_of(by_group.drop(keys), self._grouping, part.held)
            held = (by_group.get_column(key).gather(part.held.starts) for key in keys)
            result = partials.with_columns(pl.Series(END, part.ends_us), *held)
            batches.append(self._grouping.rows(result, self._id))
        return concat(batches)

    def _pieces(
        self, rows: pl.DataFrame, keys: Sequence[str], since_us: int, frontier_us: int
    ) -> pl.DataFrame:
        """Return a partial result for each event, with its time and keys, in order of time.

        Events from before the slice that do not go in it are in every window of their group: one result
        stands for all of these.
        """
        stay, come = _place(rows, frontier_us - self._size_us), _place(rows, since_us)
        pieces = [self._one_each(rows.head(min(stay, come)), keys)]
        if stay < come:
            shared = self._grouping.first(rows.slice(stay, come - stay))
            time = pl.lit(frontier_us - self._size_us, pl.Int64).cast(pl.Datetime("us"))
            pieces.append(shared.with_columns(time.alias(TIME)))
        pieces.append(self._one_each(rows.slice(come), keys))
        return pl.concat([piece for piece in pieces if piece.height], how="diagonal")

    def _one_each(self, rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
        return one_each(rows.drop(keys), self._grouping).with_columns(rows.select(TIME, *keys))


def _place(rows: pl.DataFrame, time_us: int) -> int:
    """Return the number of `rows`, which are in order of time, that are before a time."""
    return int(times_us(rows).searchsorted(time_us, side="left"))


@dataclass(frozen=True, slots=True)
class _Events:
    """The times of events in order of group and time; events of one group have one number, from 0 on."""

    times_us: Rows
    groups: Rows

    @classmethod
    def of(cls, by_group: pl.DataFrame, keys: Sequence[str]) -> _Events:
        times = times_us(by_group)
        if not keys:
            return cls(times, np.zeros(len(times), dtype=np.int64))
        begins = pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys)
        numbers = by_group.select(begins.cum_sum().cast(pl.Int64).alias(_GROUP))
        return cls(times, numbers.to_series().to_numpy())


@dataclass(frozen=True, slots=True)
class _Changes:
    """Instants of groups, and the rows that the group holds then."""

    ends_us: Rows
    held: Ranges

    def parts(self, most_rows: int) -> Iterator[_Changes]:
        """Yield the changes in order of time, some at a time, that hold about `most_rows`, whole instants."""
        order = np.argsort(self.ends_us, kind="stable")
        ends_us = self.ends_us[order]
        numbers = np.cumsum(self.held.lengths[order]) // most_rows
        numbers = numbers[np.searchsorted(ends_us, ends_us)]
        for some in np.split(order, np.flatnonzero(np.diff(numbers)) + 1):
            yield _Changes(self.ends_us[some], Ranges(self.held.starts[some], self.held.ends[some]))


def _found(events: _Events, size_us: int, since_us: int, frontier_us: int) -> _Changes:
    """Return the changes with `since_us` <= time < `frontier_us` after which the group holds something."""
    times_us, groups = events.times_us, events.groups
    # Events of one group and time come and go together: the first of each such run speaks for it.
    first = np.ones(len(times_us), dtype=bool)
    first[1:] = (times_us[1:] != times_us[:-1]) | (groups[1:] != groups[:-1])
    runs = np.flatnonzero(first)
    after_run = np.append(runs[1:], len(times_us))
    run_us, run_groups = times_us[runs], groups[runs]

    comes = run_us >= since_us
    goes_us = run_us + size_us
    goes = (goes_us >= since_us) & (goes_us < frontier_us)
    place = _Places(events)
    come_starts = place.after(run_groups[comes], run_us[comes] - size_us)
    come_ends = after_run[comes]
    go_starts = after_run[goes]
    go_ends = place.after(run_groups[goes], goes_us[goes])
    # Where others come at the instant they are the change; where none is left there is no row.
    alone = (go_ends > go_starts) & (times_us[go_ends - 1] != goes_us[goes])
    return _Changes(
        np.concatenate([run_us[comes], goes_us[goes][alone]]),
        Ranges(np.concatenate([come_starts, go_starts[alone]]), np.concatenate([come_ends, go_ends[alone]])),
    )


class _Places:
    """Finds places among events in order of group and time, by one number for both."""

    def __init__(self, events: _Events) -> None:
        # Times are replaced by their ranks, which do not overflow beside a group.
        self._instants_us, ranks = np.unique(events.times_us, return_inverse=True)
        self._width = len(self._instants_us) + 1
        self._numbers = events.groups * self._width + ranks

    def after(self, groups: Rows, times_us: Rows) -> Rows:
        """Return the first place in each group behind all events up to its time."""
        ranks = np.searchsorted(self._instants_us, times_us, side="right")
        return np.searchsorted(self._numbers, groups * self._width + ranks)
