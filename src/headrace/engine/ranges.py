"""Aggregates of many ranges of rows that overlap, as sliding windows do.

Where a partial result has a fixed size, rows are merged two by two, the results two by two again and so on;
any range is then at most two of them on each level, so a window of a million rows costs about twenty merges.
Where it grows with its rows (a list of values), or where ranges are short, the rows of each range are
aggregated for themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.engine.grouping import Grouping

Rows = npt.NDArray[np.int64]

#: Rows that all ranges may have in all, for each row and range there is, before merging by two is faster.
_SHORT: Final = 8

#: Rows that are laid out side by side at once: about 100 MB a few columns wide.
_MAX_LAID_OUT: Final = 2_000_000

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
    """Return a partial result for each range of the rows `lifted`, in the order of `ranges`.

    `lifted` has no columns of keys that `grouping` groups by: a range never holds rows of two groups.
    """
    short = _SHORT * (lifted.height + len(ranges.starts))
    if int(ranges.lengths.sum()) <= short or _grows(lifted, grouping):
        return pl.concat(_laid_out(lifted, grouping, ranges), how="diagonal")
    return _from_nodes(lifted, grouping, ranges)


def _grows(lifted: pl.DataFrame, grouping: Grouping) -> bool:
    """Return whether a partial result holds lists."""
    partials = grouping.first(lifted.clear())
    return any(isinstance(dtype, pl.List) for dtype in partials.schema.values())


def _laid_out(lifted: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> Iterator[pl.DataFrame]:
    """Yield partial results of ranges, made from all rows of each."""
    lengths = ranges.lengths
    before = np.cumsum(lengths) - lengths
    start = 0
    while start < len(lengths):
        end = max(start + 1, int(np.searchsorted(before, before[start] + _MAX_LAID_OUT)))
        some = lengths[start:end]
        places = np.repeat(np.arange(len(some)), some)
        rows = np.arange(len(places)) + np.repeat(ranges.starts[start:end] - before[start:end], some)
        rows += before[start]
        yield _in_order(grouping.first(_numbered(lifted[rows], _RANGE, places), [_RANGE]), _RANGE)
        start = end


def _from_nodes(lifted: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> pl.DataFrame:
    """Return partial results of ranges, made from results of 1, 2, 4, 8 ... rows."""
    levels, nodes, places = _cut(ranges)
    made = [_in_order(grouping.first(_numbered(lifted, _NODE, np.arange(lifted.height)), [_NODE]), _NODE)]
    for _ in range(int(levels.max())):
        pairs = made[-1].with_columns(pl.col(_NODE) // 2)
        made.append(_in_order(grouping.merge(pairs, [_NODE]), _NODE))
    heights = np.array([0, *(level.height for level in made)])
    rows = nodes + np.cumsum(heights)[levels]
    parts = pl.concat(made, how="diagonal").drop(_NODE)[rows]
    return _in_order(grouping.merge(_numbered(parts, _RANGE, places), [_RANGE]), _RANGE)


def _cut(ranges: Ranges) -> tuple[Rows, Rows, Rows]:
    """Return nodes that make up the ranges: level, number on the level, and place of the range.

    Node i of level k is the rows ``i * 2**k <= row < (i + 1) * 2**k``. The nodes of a range come in order.
    """
    starts, ends = ranges.starts.copy(), ranges.ends.copy()
    places = np.arange(len(starts))
    left: list[tuple[Rows, Rows, Rows]] = []
    right: list[tuple[Rows, Rows, Rows]] = []
    level = 0
    while len(places):
        odd = starts % 2 == 1
        left.append((np.full(int(odd.sum()), level), starts[odd], places[odd]))
        odd_end = ends % 2 == 1
        right.append((np.full(int(odd_end.sum()), level), ends[odd_end] - 1, places[odd_end]))
        starts, ends = (starts + 1) // 2, ends // 2
        goes_on = starts < ends
        starts, ends, places = starts[goes_on], ends[goes_on], places[goes_on]
        level += 1
    levels, nodes, of = zip(*left, *reversed(right), strict=True)
    return np.concatenate(levels), np.concatenate(nodes), np.concatenate(of)


def _numbered(frame: pl.DataFrame, name: str, numbers: Rows) -> pl.DataFrame:
    return frame.with_columns(pl.Series(name, numbers))


def _in_order(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.sort(name)
