"""Aggregates over a few events, cut into slices anywhere, the state written down and read between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from headrace.engine.operator import FOREVER_US, Operator, Slice
from headrace.engine.operators.aggregate_hopping import HoppingAggregate
from headrace.engine.operators.aggregate_snapshot import SnapshotAggregate
from headrace.engine.snapshot import decode, encode
from headrace.events.batch import TIME, Batch
from headrace.events.formats.json import from_rows, rows
from headrace.models.aggregate import UserAggregate
from headrace.sql.plan import (
    Aggregate,
    AggregateCall,
    ColumnRef,
    Expression,
    GroupKey,
    Hopping,
    Scan,
    Snapshot,
)

SECOND_US = 1_000_000

#: An event: its time in whole seconds, and its fields.
Event = tuple[int, Mapping[str, Any]]


def batch_of(events: Sequence[Event]) -> Batch | None:
    """Return events as a batch with their times."""
    if not events:
        return None
    batch = from_rows([dict(fields) for _, fields in events])
    times = pl.Series(TIME, [time * SECOND_US for time, _ in events], dtype=pl.Int64)
    return Batch(batch.frame.with_columns(times.cast(pl.Datetime("us"))), batch.columns)


def run(operator: Operator, events: Sequence[Event], cuts: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Return the rows, each with its time in seconds as ``@``, of events cut at some seconds."""
    state = operator.initial()
    found: list[dict[str, Any]] = []
    start = 0
    for cut in [*sorted(cuts), None]:
        end = len(events) if cut is None else sum(time < cut for time, _ in events)
        part = Slice(batch_of(events[start:end]), FOREVER_US if cut is None else cut * SECOND_US)
        state, result = operator.advance(decode(encode(state)), [part])
        start = end
        if result.batch is not None:
            times = result.batch.frame[TIME].cast(pl.Int64).to_list()
            shown = rows(result.batch)
            found += [{"@": time / SECOND_US, **row} for time, row in zip(times, shown, strict=True)]
            assert all(cut is None or time < cut * SECOND_US for time in times)
    return found


def operator_of(
    window: Hopping | Snapshot,
    calls: Sequence[AggregateCall],
    keys: Sequence[Expression] = (),
    users: Mapping[str, UserAggregate] | None = None,
) -> Operator:
    """Return the operator of one window; keys are the columns k0, k1, ..."""
    made = tuple(GroupKey(f"k{place}", key) for place, key in enumerate(keys))
    aggregate = Aggregate(Scan("src"), (window,), made, tuple(calls))
    if isinstance(window, Snapshot):
        return SnapshotAggregate(aggregate, window, "", users)
    return HoppingAggregate(aggregate, window, "", users)


def tumbling(size_s: int) -> Hopping:
    return Hopping(size_s * SECOND_US, size_s * SECOND_US)


def call(function: str, *arguments: Expression, column: str = "x", **clauses: Any) -> AggregateCall:
    return AggregateCall(column, function, arguments, **clauses)


X, Y, K = ColumnRef("x"), ColumnRef("y"), ColumnRef("k")


def value(made: AggregateCall, events: Sequence[Mapping[str, Any]], **users: UserAggregate) -> Any:
    """Return the value of one call over events that come one a second, in one slice and one in each."""
    timed = [(second, fields) for second, fields in enumerate(events, start=1)]
    operator = operator_of(tumbling(3600), [made], users=users)
    [whole] = run(operator, timed)
    [apart] = run(operator, timed, cuts=range(1, len(events) + 1))
    assert whole == apart
    return whole[made.column]
