"""Aggregates of many ranges of rows that overlap, as sliding windows do.

Where ranges are short, or a partial result grows with its rows (a list of values), the rows of each range
are aggregated for themselves. Elsewhere partial results are merged two by two, the merged ones two by two
again and so on, and a range is put together from few of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.engine.grouping import Grouping
from headrace.engine.stretches import cover

Rows = npt.NDArray[np.int64]

#: Rows that all ranges may have in all, for each row and range there is, before merging by two is faster.
_SHORT: Final = 8

_RANGE: Final = "@range"
_NODE: Final = "@node"


@dataclass(frozen=True, slots=True)
class Ranges:
    """The rows ``starts[i] <= row < ends[i]`` for each i; none is empty."""

    starts: Rows
    ends: Rows

    @property
    def lengths(self) -> Rows:
        """The number of rows of each range."""
        return self.ends - self.starts


def merged_ranges(lifted: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> pl.DataFrame:
    """Return a partial result for each of `ranges` of the rows `lifted`, in their order.

    `lifted` has no columns of keys that `grouping` groups by: a range never holds rows of two groups.
    """
    laid_out = int(ranges.lengths.sum())
    if laid_out <= _SHORT * (lifted.height + len(ranges.starts)) or grows(lifted, grouping):
        return _by_rows(lifted, grouping, ranges)
    return _by_nodes(lifted, grouping, ranges)


def grows(lifted: pl.DataFrame, grouping: Grouping) -> bool:
    """Return whether a partial result holds lists, which take as long to merge as to make."""
    partials = grouping.first(lifted.clear())
    return any(isinstance(dtype, pl.List) for dtype in partials.schema.values())


def _by_rows(lifted: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> pl.DataFrame:
    """Return the partial results of all ranges, made from the rows of each."""
    lengths = ranges.lengths
    first = ranges.starts - (np.cumsum(lengths) - lengths)
    rows = np.repeat(first, lengths) + np.arange(int(lengths.sum()))
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    return grouping.first(_numbered(lifted[rows], _RANGE, numbers), [_RANGE]).sort(_RANGE).drop(_RANGE)


def _by_nodes(lifted: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> pl.DataFrame:
    """Return the partial results of all ranges, made from results of 1, 2, 4, 8 ... rows."""
    covered = cover(ranges.starts, ranges.ends, lifted.height)
    level = grouping.first(_numbered(lifted, _NODE, np.arange(lifted.height)), [_NODE]).sort(_NODE)
    levels = [level]
    while len(levels) < covered.levels:
        pairs = level.with_columns((pl.col(_NODE) // 2).set_sorted())
        level = grouping.merge(pairs, [_NODE]).sort(_NODE)
        levels.append(level)
    nodes = pl.concat(levels, how="diagonal").drop(_NODE)[covered.blocks]
    return grouping.merge(_numbered(nodes, _RANGE, covered.stretches), [_RANGE]).sort(_RANGE).drop(_RANGE)


def _numbered(frame: pl.DataFrame, name: str, numbers: Rows) -> pl.DataFrame:
    return frame.with_columns(pl.Series(name, numbers).set_sorted())
