"""Aggregates OVER: for each event the aggregate of those before it, itself included, within LIMIT DURATION.

A row whose events all fail WHEN or are too old sees none: COUNT is then 0 and everything else NULL
(reference, B6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import polars as pl

from headrace.engine.aggregates import Aggregator, aggregator
from headrace.engine.analytic.function import Events
from headrace.engine.analytic.lookback import Flags, Lookback, Numbers
from headrace.engine.analytic.stretches import cover
from headrace.engine.expressions import Planes
from headrace.engine.planes import occurring
from headrace.events.batch import Batch, ValueType
from headrace.models.aggregate import UserAggregate
from headrace.sql.plan import AnalyticCall, Expression

_BLOCK: Final = "@block"
_STRETCH: Final = "@stretch"


class Over:
    """Calls of aggregates."""

    computed: tuple[Expression, ...] = ()

    def __init__(self, calls: Sequence[AnalyticCall], script: str, user: Mapping[str, UserAggregate]) -> None:
        self._calls = calls
        self._aggregators = [
            aggregator(call.call, f"{number}:", script, user) for number, call in enumerate(calls)
        ]

    def remember(self, batch: Batch) -> list[pl.Series]:
        """Return what the aggregates need of each row."""
        return [series for part in self._aggregators for series in part.lift(batch)]

    def values(self, events: Events, _computed: Sequence[Planes]) -> tuple[list[Planes], list[pl.Series]]:
        """Return the aggregates of what each row sees."""
        lookback = events.lookback
        listed = events.frame[lookback.listed]
        results: list[Planes] = [{}] * len(self._calls)
        for limit_us in dict.fromkeys(call.limit_us for call in self._calls):
            places = [place for place, call in enumerate(self._calls) if call.limit_us == limit_us]
            first = lookback.since(limit_us)
            aggregators = [self._aggregators[place] for place in places]
            found = _aggregated(aggregators, listed, first, lookback.behind)
            for place, planes in zip(places, found, strict=True):
                results[place] = self._with_nothing(place, planes, first == lookback.behind)
        return results, []

    def needed(self, _lookback: Lookback) -> Flags | None:
        """Return None: all events are needed until they are too old."""
        return None

    def horizon_us(self, frontier_us: int) -> int:
        """Return where the longest limit ends."""
        return frontier_us - max(call.limit_us or 0 for call in self._calls)

    def _with_nothing(self, place: int, planes: Planes, nothing: Flags) -> Planes:
        """Return `planes` with what the aggregate of nothing is, where there is nothing."""
        call = self._calls[place].call
        if call.user or call.function != "COUNT" or not nothing.any():
            return planes
        counts = planes.get(ValueType.BIGINT, pl.repeat(None, len(nothing), dtype=pl.Int64, eager=True))
        return {ValueType.BIGINT: counts.fill_null(0)}


def _aggregated(
    aggregators: Sequence[Aggregator], listed: pl.DataFrame, first: Numbers, behind: Numbers
) -> list[Planes]:
    """Return, for each aggregator, those of the stretches of `listed` from `first` to before `behind`."""
    covered = cover(first, behind, listed.height)
    if not covered.levels:
        return [{} for _ in aggregators]
    partials = pl.concat(_levels(aggregators, listed, covered.levels), how="diagonal")
    stretches = pl.Series(_STRETCH, covered.stretches).set_sorted()
    parts = partials[covered.blocks].with_columns(stretches)
    merges = [part for each in aggregators for part in each.merge(partials.columns)]
    merged = parts.group_by(_STRETCH, maintain_order=True).agg(merges)
    rows = merged.get_column(_STRETCH)
    return [_spread(each.finish(merged), rows, len(first)) for each in aggregators]


def _levels(aggregators: Sequence[Aggregator], listed: pl.DataFrame, levels: int) -> list[pl.DataFrame]:
    """Return the partial results of all blocks, level by level."""
    block = pl.int_range(pl.len(), dtype=pl.Int64).alias(_BLOCK)
    firsts = [part for each in aggregators for part in each.first(listed.columns)]
    result = [_grouped(listed.with_columns(block), firsts)]
    while len(result) < levels:
        below = result[-1].with_columns(block // 2)
        result.append(_grouped(below, [part for each in aggregators for part in each.merge(below.columns)]))
    return result


def _grouped(frame: pl.DataFrame, parts: Sequence[pl.Expr]) -> pl.DataFrame:
    blocks = frame.get_column(_BLOCK).set_sorted()
    return frame.with_columns(blocks).group_by(_BLOCK, maintain_order=True).agg(parts).drop(_BLOCK)


def _spread(planes: Planes, rows: pl.Series, height: int) -> Planes:
    """Return `planes`, which are of `rows`, at those of `height` rows; NULL elsewhere."""
    if len(rows) == height:
        return occurring(planes)
    index = np.full(height, -1)
    index[rows.to_numpy()] = np.arange(len(rows))
    places = pl.Series(index).set(pl.Series(index < 0), None)
    return occurring({type_: plane.gather(places) for type_, plane in planes.items()})
