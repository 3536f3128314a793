"""Bringing relations that lag differently to one frontier: what is ahead of the slowest waits as state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine.operator import Slice, State
from headrace.events.batch import Batch, concat, times_us

_WAITING: Final = "waiting"


def align(state: State, slices: Sequence[Slice]) -> tuple[State, list[Slice]]:
    """Return the next state, and `slices` cut to the smallest of their frontiers.

    Rows at or above it wait in the state (empty at first) and stand before the later ones of their source.
    """
    frontier_us = min(part.frontier_us for part in slices)
    waiting = state.get(_WAITING) or [None] * len(slices)
    assert isinstance(waiting, Sequence)
    if all(batch is None for batch in waiting) and all(part.frontier_us == frontier_us for part in slices):
        return {}, list(slices)
    kept: list[Batch | None] = []
    ready: list[Slice] = []
    for earlier, part in zip(waiting, slices, strict=True):
        assert earlier is None or isinstance(earlier, Batch)
        below, above = split(joined(earlier, part.batch), frontier_us)
        ready.append(Slice(below, frontier_us))
        kept.append(above)
    return ({_WAITING: kept} if any(batch is not None for batch in kept) else {}), ready


def joined(earlier: Batch | None, later: Batch | None) -> Batch | None:
    """Return the rows of both, one after the other; None when there are none."""
    filled = [batch for batch in (earlier, later) if batch is not None and batch.height]
    return concat(filled) if filled else None


def split(batch: Batch | None, frontier_us: int) -> tuple[Batch | None, Batch | None]:
    """Return the rows below a frontier and the others; `batch` is in order of time."""
    if batch is None or batch.height == 0:
        return None, None
    below = rows_below(batch.frame, frontier_us)
    if below == batch.height:
        return batch, None
    if below == 0:
        return None, batch
    return (
        Batch(batch.frame.head(below), batch.columns),
        Batch(batch.frame.slice(below), batch.columns),
    )


def rows_below(rows: pl.DataFrame, frontier_us: int) -> int:
    """Return how many of `rows`, which are in order of time, are below a frontier."""
    return int(times_us(rows).searchsorted(frontier_us, side="left"))
