"""Aggregates of many ranges of rows that overlap, as sliding windows do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.engine.windows.grouping import Grouping
from headrace.engine.windows.stretches import cover

Rows = npt.NDArray[np.int64]

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


def grows(lifted: pl.DataFrame, grouping: Grouping) -> bool:
    """Return whether a partial result holds lists, which take as long to merge as to make."""
    partials = grouping.first(lifted.clear())
    return any(isinstance(dtype, pl.List) for dtype in partials.schema.values())


def one_each(lifted: pl.DataFrame, grouping: Grouping) -> pl.DataFrame:
    """Return a partial result for each of the rows `lifted`, which have no columns of keys."""
    return _by_number(grouping.first(_numbered(lifted, _NODE, np.arange(lifted.height)), [_NODE]), _NODE)


def of_rows(lifted: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> pl.DataFrame:
    """Return a partial result for each of `ranges` of the rows `lifted`, which have no columns of keys.

    All rows of all ranges are laid out side by side.
    """
    lengths = ranges.lengths
    first = ranges.starts - (np.cumsum(lengths) - lengths)
    rows = np.repeat(first, lengths) + np.arange(int(lengths.sum()))
    numbers = np.repeat(np.arange(len(lengths)), lengths)
    return _by_number(grouping.first(_numbered(lifted[rows], _RANGE, numbers), [_RANGE]), _RANGE)


def of_partials(partials: pl.DataFrame, grouping: Grouping, ranges: Ranges) -> pl.DataFrame:
    """Return a partial result for each of `ranges` of `partials`, which have no columns of keys.

    Ranges have the results of the blocks that cover them in common, so each is made from few.
    """
    covered = cover(ranges.starts, ranges.ends, partials.height)
    levels = [partials]
    while len(levels) < covered.levels:
        pairs = _numbered(levels[-1], _NODE, np.arange(levels[-1].height) // 2)
        levels.append(_by_number(grouping.merge(pairs, [_NODE]), _NODE))
    blocks = pl.concat(levels, how="diagonal")[covered.blocks]
    return _by_number(grouping.merge(_numbered(blocks, _RANGE, covered.stretches), [_RANGE]), _RANGE)


def _numbered(frame: pl.DataFrame, name: str, numbers: Rows) -> pl.DataFrame:
    return frame.with_columns(pl.Series(name, numbers).set_sorted())


def _by_number(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    return frame.sort(name).drop(name)
