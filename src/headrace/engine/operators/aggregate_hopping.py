"""GROUP BY TumblingWindow and HoppingWindow: partial results by pane, put together when a window ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, cast

import polars as pl

from headrace.engine.operator import FOREVER_US, NEVER_US, Slice, State
from headrace.engine.windows.grouping import END, Grouping
from headrace.engine.windows.panes import PANE, Panes
from headrace.engine.windows.stretches import cover
from headrace.errors import QueryError
from headrace.events.batch import TIME, Batch
from headrace.limits import MAX_BATCH_ROWS, MAX_WINDOWS_OF_EVENT
from headrace.models.aggregate import UserAggregate
from headrace.sql import plan

#: So many panes or windows are grouped one by one: groups by keys alone are found much faster.
_FEW: Final = 8

#: Frames of partial results that are kept before they are merged, and the rows that may have been added.
_MAX_FRAMES: Final = 64
_MAX_ADDED_ROWS: Final = 4 * MAX_BATCH_ROWS

#: Partial results that are copied at once into the windows that they are of.
_MAX_COPIES: Final = 1_000_000

#: The pane, or panes in a row, that a partial result is of, and a part of the windows.
_NODE: Final = "@node"
_PART: Final = "@part"


class HoppingAggregate:
    """Computes `aggregate`, whose window is `window`; keeps partial results by pane.

    `user` are the user aggregates by the names they are called by. Raises QueryError where each event would
    be in far too many windows.
    """

    def __init__(
        self,
        aggregate: plan.Aggregate,
        window: plan.Hopping,
        script: str,
        user: Mapping[str, UserAggregate] | None = None,
    ) -> None:
        windows_of_event = math.ceil(window.size_us / window.hop_us)
        if windows_of_event > MAX_WINDOWS_OF_EVENT:
            problem = f"each event is in {windows_of_event:,} windows, more than {MAX_WINDOWS_OF_EVENT:,}"
            raise QueryError(problem, script, aggregate.span, advice="Take a longer hop")
        self._window = window
        self._panes = Panes(window)
        self._grouping = Grouping(aggregate, script, user)

    def initial(self) -> State:
        """Return the state without events."""
        return {"frontier_us": NEVER_US, "partials": [], "merged_rows": 0}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the next state, and a row for each group of each window that ends before the frontier.

        `partials` of the state are frames in order of time, and so are the rows of each, by panes, if the
        aggregates need it; `merged_rows` is how many rows the last merge has left.
        """
        (given,) = inputs
        since_us, until_us = cast("int", state["frontier_us"]), given.frontier_us
        kept = cast("list[pl.DataFrame]", state["partials"])
        new = self._partials(given.batch) if given.batch is not None and given.batch.height else []
        if self._panes.tumbling:
            closed = self._tumbled(kept, new, until_us)
        else:
            closed = self._hopped([*kept, *new], since_us, until_us)
        rows = self._grouping.rows(pl.concat(closed, how="diagonal"), self._window.id) if closed else None
        partials, merged_rows = self._kept([*kept, *new], cast("int", state["merged_rows"]), until_us)
        following: State = {"frontier_us": until_us, "partials": partials, "merged_rows": merged_rows}
        return following, Slice(rows, until_us)

    # --- partial results ----------------------------------------------------------------------------------

    def _partials(self, batch: Batch) -> list[pl.DataFrame]:
        """Return the partial results of the rows of `batch` by PANE."""
        lifted = self._grouping.lift(batch)
        panes = lifted.select(self._panes.of(pl.col(TIME).cast(pl.Int64)).alias(PANE)).to_series()
        if panes.null_count():
            covered = panes.is_not_null()
            lifted, panes = lifted.filter(covered), panes.filter(covered)
            if not lifted.height:
                return []
        runs = panes.rle().struct.unnest()
        if runs.height > _FEW or not self._grouping.keys.equal(lifted.columns):
            partials = self._grouping.first(lifted.with_columns(panes), [PANE])
            return [self._in_order(partials)]
        frames, start = [], 0
        for rows, pane in runs.iter_rows():
            partials = self._grouping.first(lifted.slice(start, rows))
            frames.append(partials.with_columns(pl.lit(pane, pl.Int64).alias(PANE)))
            start += rows
        return frames

    def _kept(
        self, partials: list[pl.DataFrame], merged_rows: int, until_us: int
    ) -> tuple[list[pl.DataFrame], int]:
        """Return the partial results that are needed for windows yet to end, merged now and then."""
        kept = _within(partials, self._panes.last_unneeded(until_us), FOREVER_US)
        rows = sum(frame.height for frame in kept)
        if len(kept) <= _MAX_FRAMES and rows <= 4 * merged_rows + _MAX_ADDED_ROWS:
            return kept, merged_rows if kept else 0
        merged = self._grouping.merge(pl.concat(kept, how="diagonal"), [PANE])
        return [self._in_order(merged)], merged.height

    def _in_order(self, partials: pl.DataFrame, column: str = PANE) -> pl.DataFrame:
        return partials.sort(column, maintain_order=True) if self._grouping.ordered else partials

    # --- windows ------------------------------------------------------------------------------------------

    def _tumbled(
        self, kept: list[pl.DataFrame], new: list[pl.DataFrame], until_us: int
    ) -> list[pl.DataFrame]:
        """Return the results of the windows that end before `until_us`, by END.

        Only one window can have begun before; all others are whole in one frame.
        """
        closed = []
        if kept:
            open_end_us = kept[0].item(0, PANE)
            if open_end_us >= until_us:
                return []
            closed.append(self._window_of([*kept, *_within(new, open_end_us - 1, open_end_us)], open_end_us))
            new = _within(new, open_end_us, FOREVER_US)
        return [*closed, *(frame.rename({PANE: END}) for frame in _within(new, NEVER_US, until_us - 1))]

    def _hopped(self, partials: list[pl.DataFrame], since_us: int, until_us: int) -> list[pl.DataFrame]:
        """Return the results of the windows with since <= end < until, by END."""
        if not partials:
            return []
        panes = pl.concat([frame.get_column(PANE) for frame in partials]).unique().sort()
        ends = self._panes.ends(panes, since_us, until_us)
        if len(ends) <= _FEW:
            size_us = self._window.size_us
            return [self._window_of(_within(partials, end - size_us, end), end) for end in ends]
        covered = cover(*self._panes.covered(panes, ends), len(panes))
        nodes = self._nodes(partials, panes, covered.levels)
        windows = pl.DataFrame({_NODE: covered.blocks, END: ends.to_numpy()[covered.stretches]})
        closed = []
        for some in self._in_parts(windows, nodes):
            copies = some.join(nodes, on=_NODE, maintain_order="left_right")
            closed.append(self._grouping.merge(copies, [END]))
        return closed

    def _nodes(self, partials: list[pl.DataFrame], panes: pl.Series, levels: int) -> pl.DataFrame:
        """Return partial results by _NODE: of panes, of two panes, of four and so on, as `cover` counts."""
        places = pl.DataFrame({PANE: panes, _NODE: pl.int_range(len(panes), eager=True)})
        level = pl.concat(partials, how="diagonal").join(places, on=PANE, maintain_order="left").drop(PANE)
        found, offset, size = [level], 0, len(panes)
        for _ in range(levels - 1):
            level = self._in_order(
                self._grouping.merge(level.with_columns(pl.col(_NODE) // 2), [_NODE]), _NODE
            )
            offset, size = offset + size, (size + 1) // 2
            found.append(level.with_columns(pl.col(_NODE) + offset))
        return pl.concat(found, how="diagonal")

    def _in_parts(self, windows: pl.DataFrame, nodes: pl.DataFrame) -> list[pl.DataFrame]:
        """Return `windows` in parts that have about as many partial results as may be copied at once."""
        copies = windows.height * nodes.height / nodes.get_column(_NODE).n_unique()
        parts = round(copies / _MAX_COPIES)
        if parts < 2:
            return [windows]
        window = windows.get_column(END).rle_id().cast(pl.Int64)
        part = window * parts // (window.item(-1) + 1)
        return windows.with_columns(part.alias(_PART)).partition_by(
            _PART, maintain_order=True, include_key=False
        )

    def _window_of(self, partials: list[pl.DataFrame], end_us: int) -> pl.DataFrame:
        """Return the results of one window."""
        together = pl.concat(partials, how="diagonal")
        return self._grouping.merge(together).with_columns(pl.lit(end_us, pl.Int64).alias(END))


def _within(partials: list[pl.DataFrame], after_us: int, last_us: int) -> list[pl.DataFrame]:
    """Return what there is of panes with `after_us` < PANE <= `last_us`."""
    found = []
    for frame in partials:
        panes = frame.get_column(PANE)
        least, most = cast("int", panes.min()), cast("int", panes.max())
        if after_us < least and most <= last_us:
            found.append(frame)
        elif least <= last_us and most > after_us:
            part = frame.filter(pl.col(PANE).is_between(after_us, last_us, closed="right"))
            found += [part] if part.height else []
    return found
