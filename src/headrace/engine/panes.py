"""Panes: the stretches of time that hopping windows are made of.

Time is cut wherever a window begins or ends: at the ends of windows and, where the size is no multiple of the
hop, once more between them. All times here are microseconds since 1970, as Int64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import polars as pl

from headrace.engine.grouping import END
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

    def windows(self, panes: pl.Series, since_us: int, until_us: int) -> pl.DataFrame:
        """Return each of `panes` with the END of each window over it that ends in since <= END < until."""
        start = self._end_from(pl.max_horizontal(pl.col(PANE), pl.lit(since_us)))
        stop = pl.min_horizontal(pl.col(PANE) + self.window.size_us, pl.lit(until_us))
        ends = pl.int_ranges(start, stop, self.window.hop_us).alias(END)
        return panes.alias(PANE).to_frame().select(PANE, ends).explode(END).drop_nulls()

    def _end_from(self, time_us: _Time) -> _Time:
        """Return the end of the first window that ends at or after a time."""
        hop_us = self.window.hop_us
        return (time_us + (hop_us - 1 - self._origin_us)) // hop_us * hop_us + self._origin_us
