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
from headrace.engine.analytic.function import Events, keys_of
from headrace.engine.analytic.lookback import Flags, Lookback, Numbers
from headrace.engine.expressions import Planes
from headrace.engine.planes import occurring
from headrace.engine.windows.stretches import cover
from headrace.events.batch import TIME, Batch, ValueType, times_us
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

    def advance(self, events: Events, _computed: Sequence[Planes]) -> tuple[list[Planes], pl.DataFrame]:
        """Return the aggregates of what each row sees; events are kept until they are too old."""
        results: list[Planes] = [{}] * len(self._calls)
        for limit_us in dict.fromkeys(call.limit_us for call in self._calls):
            places = [place for place, call in enumerate(self._calls) if call.limit_us == limit_us]
            aggregators = [self._aggregators[place] for place in places]
            assert limit_us is not None
            partials, lookback = _pieces(aggregators, events, limit_us)
            first = lookback.since(limit_us)
            found = _aggregated(aggregators, partials[lookback.listed], first, lookback.behind)
            for place, planes in zip(places, found, strict=True):
                results[place] = self._with_nothing(place, planes, first == lookback.behind)
        return results, events.together()

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


def _pieces(
    aggregators: Sequence[Aggregator], events: Events, limit_us: int
) -> tuple[pl.DataFrame, Lookback]:
    """Return a partial result for each event that some rows see and some do not, and who sees which.

    What all rows of the slice see of those kept from before stands for one event of its partition.
    """
    shared_us = int(times_us(events.rows)[-1]) - limit_us
    passing = int(times_us(events.kept).searchsorted(shared_us, side="right"))
    passing_events, seen_by_all = events.kept.head(passing), events.kept.slice(passing)
    parts = [_each(aggregators, passing_events)] if passing else []
    if seen_by_all.height:
        shared = _of_partitions(aggregators, seen_by_all)
        parts.append(shared.with_columns(pl.lit(shared_us + 1).cast(pl.Datetime("us")).alias(TIME)))
    earlier = pl.concat(parts, how="diagonal") if parts else events.kept.clear()
    if events.counting.height:
        parts.append(_each(aggregators, events.counting))
    return pl.concat(parts, how="diagonal") if parts else earlier, events.lookback_on(earlier)


def _each(aggregators: Sequence[Aggregator], frame: pl.DataFrame) -> pl.DataFrame:
    """Return a partial result for each event, with its time and keys."""
    firsts = [part for each in aggregators for part in each.first(frame.columns)]
    numbered = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(_BLOCK))
    return pl.concat([frame[[TIME, *keys_of(frame)]], _grouped(numbered, firsts)], how="horizontal")


def _of_partitions(aggregators: Sequence[Aggregator], frame: pl.DataFrame) -> pl.DataFrame:
    """Return a partial result for each partition, with its keys."""
    firsts = [part for each in aggregators for part in each.first(frame.columns)]
    keys = keys_of(frame)
    if keys:
        return frame.group_by(keys, maintain_order=True).agg(firsts)
    return _grouped(frame.with_columns(pl.lit(0, dtype=pl.Int64).alias(_BLOCK)), firsts)


def _aggregated(
    aggregators: Sequence[Aggregator], partials: pl.DataFrame, first: Numbers, behind: Numbers
) -> list[Planes]:
    """Return, for each aggregator, those of the stretches of `partials` from `first` to before `behind`."""
    covered = cover(first, behind, partials.height)
    if not covered.levels:
        return [{} for _ in aggregators]
    merges = [part for each in aggregators for part in each.merge(partials.columns)]
    parts = _levels(partials, merges, covered.levels)[covered.blocks]
    stretches = pl.Series(_STRETCH, covered.stretches).set_sorted()
    merged = parts.with_columns(stretches).group_by(_STRETCH, maintain_order=True).agg(merges)
    rows = merged.get_column(_STRETCH)
    return [_spread(each.finish(merged), rows, len(first)) for each in aggregators]


def _levels(partials: pl.DataFrame, merges: Sequence[pl.Expr], levels: int) -> pl.DataFrame:
    """Return the partial results of all blocks, level by level."""
    result = [partials]
    while len(result) < levels:
        block = pl.int_range(pl.len(), dtype=pl.Int64).alias(_BLOCK) // 2
        result.append(_grouped(result[-1].with_columns(block), merges))
    return pl.concat(result, how="diagonal")


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
