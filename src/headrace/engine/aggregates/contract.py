"""What every aggregate is: a fold over events that is done in parts, so that windows keep parts, not events.

The parts live in frames: beside the columns that rows are grouped by, each aggregator has columns of its own,
whose names begin with its prefix. A column that is missing from a frame is NULL in all its rows, so frames
are put together by ``pl.concat(frames, how="diagonal")``, lifted ones as well as partial ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import polars as pl

from headrace.engine.evaluation import Planes
from headrace.events.batch import Batch


class Aggregator(Protocol):
    """One aggregate call, computed as ``finish(merge(first(lift(rows)), ...))``.

    `first` and `merge` give expressions for ``group_by(...).agg(...)``, one row for each group; they are told
    the names of the columns that the frame has, others than their own included. Rows of a group come in order
    of time, and of arrival at one time.
    """

    @property
    def ordered(self) -> bool:
        """Whether `merge` depends on the order of the partial results of a group."""
        ...

    def lift(self, batch: Batch, /) -> list[pl.Series]:
        """Return what the aggregate needs of each row of `batch`, full-length.

        Each row's part is its own: lifted rows may be filtered, sorted and kept. Raises RowError.
        """
        ...

    def first(self, columns: Collection[str], /) -> list[pl.Expr]:
        """Return what makes a partial result of a group of lifted rows."""
        ...

    def merge(self, columns: Collection[str], /) -> list[pl.Expr]:
        """Return what makes one partial result of several; it is associative."""
        ...

    def finish(self, partials: pl.DataFrame, /) -> Planes:
        """Return the value of each row of `partials`; raises DataError where it is out of range."""
        ...
