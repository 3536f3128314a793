"""ISFIRST: whether an event is the first of its partition in an interval.

Intervals are (start, end], counted from ALIGNMENT_US as windows are. An event that does not satisfy WHEN is
never the first (reference, B6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from headrace.engine.analytic.function import Events
from headrace.engine.analytic.lookback import Numbers
from headrace.engine.expressions import Planes
from headrace.events.batch import Batch, ValueType
from headrace.sql.plan import AnalyticCall, Expression
from headrace.sql.windows import ALIGNMENT_US

_Times = TypeVar("_Times", int, Numbers)


class FirstIn:
    """Calls of ISFIRST."""

    computed: tuple[Expression, ...] = ()

    def __init__(self, calls: Sequence[AnalyticCall], _script: str) -> None:
        self._intervals_us = [_interval_us(call) for call in calls]

    def remember(self, _batch: Batch) -> list[pl.Series]:
        """Return nothing: the time of an event is enough."""
        return []

    def advance(self, events: Events, _computed: Sequence[Planes]) -> tuple[list[Planes], pl.DataFrame]:
        """Return 1 where the event before is of an earlier interval, else 0; it is kept of each partition."""
        lookback = events.lookback()
        before = lookback.earlier(1, None)
        results: list[Planes] = []
        for interval_us in self._intervals_us:
            first = lookback.counts.copy()
            has_earlier = before >= 0
            began_us = _began_us(lookback.times_us[has_earlier], interval_us)
            first[has_earlier] &= lookback.seen_us[before[has_earlier]] <= began_us
            results.append({ValueType.BIGINT: pl.Series(first.astype(np.int64))})
        return results, events.together().filter(lookback.among_last(1))

    def horizon_us(self, frontier_us: int) -> int:
        """Return where the interval that `frontier_us` lies in began."""
        return min(_began_us(frontier_us, interval_us) for interval_us in self._intervals_us)


def _interval_us(call: AnalyticCall) -> int:
    interval_us = call.call.parameters[0]
    assert isinstance(interval_us, int)
    return interval_us


def _began_us(times_us: _Times, interval_us: int) -> _Times:
    """Return the start of the interval (start, end] that holds each time."""
    return times_us - 1 - (times_us - 1 - ALIGNMENT_US) % interval_us
