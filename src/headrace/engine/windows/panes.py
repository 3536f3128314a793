"""Panes: the stretches of time that hopping windows are made of.

Time is cut wherever a window begins or ends: at the ends of windows and, where the size is no multiple of the
hop, once more between them. All times here are microseconds since 1970, as Int64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import polars as pl

from headrace.engine.analytic.lookback import Numbers
from headrace.engine.windows.grouping import END
from headrace.sql.plan import Hopping
from headrace.sql.windows import ALIGNMENT_US

_Time = TypeVar("_Time", int, pl.Expr)

#: The end of the pane that a row is of.
PANE: Final = "@pane"


@dataclass(frozen=True, slots=True)
class Panes:
    """The panes of hopping windows."""

    window: Hopping

    @property
    def _origin_us(self) -> int:
        return ALIGNMENT_US + self.window.offset_us

    @property
    def tumbling(self) -> bool:
        """Whether each pane is one window, and each window one pane."""
        return self.window.hop_us == self.window.size_us

    def of(self, time_us: pl.Expr) -> pl.Expr:
        """Return the end of the pane that a time lies in, NULL where no window covers it."""
        size_us, hop_us = self.window.size_us, self.window.hop_us
        end = self._end_from(time_us)
        if size_us < hop_us:
            return pl.when(end - time_us < size_us).then(end)
        between = end - size_us % hop_us
        return end if size_us % hop_us == 0 else pl.when(between >= time_us).then(between).otherwise(end)

    def last_unneeded(self, until_us: int) -> int:
        """Return the last end of a pane over which no window ends at or after `until_us`."""
        return self._end_from(until_us) - self.window.size_us

    def ends(self, panes: pl.Series, since_us: int, until_us: int) -> pl.Series:
        """Return the ends, since <= end < until, of the windows that cover any of `panes`; both in order."""
        pane, size_us = pl.col(PANE), self.window.size_us
        begin = pl.max_horizontal(pane, pane.shift() + size_us, pl.lit(since_us))
        stop = pl.min_horizontal(pane + size_us, pl.lit(until_us))
        ends = pl.int_ranges(self._end_from(begin), stop, self.window.hop_us)
        return panes.alias(PANE).to_frame().select(ends.alias(END)).to_series().explode().drop_nulls()

    def covered(self, panes: pl.Series, ends: pl.Series) -> tuple[Numbers, Numbers]:
        """Return where in `panes` those of each window begin, and where they end; panes are in order."""
        begins = panes.search_sorted(ends - self.window.size_us, side="right")
        behind = panes.search_sorted(ends, side="right")
        return begins.cast(pl.Int64).to_numpy(), behind.cast(pl.Int64).to_numpy()

    def _end_from(self, time_us: _Time) -> _Time:
        """Return the end of the first window that ends at or after a time."""
        hop_us = self.window.hop_us
        return (time_us + (hop_us - 1 - self._origin_us)) // hop_us * hop_us + self._origin_us
