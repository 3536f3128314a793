"""Joins run over streams that are cut into slices anywhere, and what a double loop over them gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from headrace.engine.joins.reference import Reference
from headrace.engine.operator import FOREVER_US, Slice
from headrace.engine.program import Program
from headrace.events.batch import ORIGIN, TIME, Batch
from headrace.events.formats.json import from_rows, rows
from headrace.sql.bind import bind

SECOND = 1_000_000

#: Midnight of 2 March 2026 in microseconds.
START_US = 1_772_409_600_000_000

Event = dict[str, Any]


def timed(events: Sequence[Event]) -> Batch:
    """Return events as a batch, at the seconds of their field `t`, in whose order they must be."""
    batch = from_rows(events)
    times = pl.Series(TIME, [START_US + round(event["t"] * SECOND) for event in events], dtype=pl.Int64)
    origins = pl.int_range(len(events), dtype=pl.Int64, eager=True).alias(ORIGIN)
    return Batch(batch.frame.with_columns(times.cast(pl.Datetime("us")), origins), batch.columns)


def found(
    sql: str,
    inputs: Mapping[str, Sequence[Event]],
    cuts: Iterable[float] = (),
    *,
    references: Mapping[str, Reference] | None = None,
    saved: bool = False,
) -> list[Event]:
    """Return the rows of a SELECT, each with its `seconds`, over inputs in slices up to each of `cuts`.

    With `saved` the state is written and read between slices.
    """
    script = bind(sql, references=list(references or ()))
    program = Program(script, {}, references=references)
    result: list[Event] = []
    streams = {name: timed(sorted(events, key=lambda event: event["t"])) for name, events in inputs.items()}
    start_us = -(2**62)
    for end_us in [*(START_US + round(cut * SECOND) for cut in sorted(cuts)), FOREVER_US]:
        slices = {name: Slice(_between(batch, start_us, end_us), end_us) for name, batch in streams.items()}
        batch = program.advance(slices).outputs.get("output")
        if batch is not None:
            seconds = [(at - START_US) / SECOND for at in batch.frame[TIME].to_physical()]
            result += [{"seconds": at, **row} for at, row in zip(seconds, rows(batch), strict=True)]
        if saved:
            snapshot = program.snapshot()
            program = Program(script, {}, references=references)
            program.restore(snapshot)
        start_us = end_us
    assert [row["seconds"] for row in result] == sorted(row["seconds"] for row in result)
    return result


def _between(batch: Batch, start_us: int, end_us: int) -> Batch | None:
    time = pl.col(TIME).to_physical()
    frame = batch.frame.filter((time >= start_us) & (time < end_us))
    return Batch(frame, batch.columns) if frame.height else None


@dataclass(frozen=True)
class Bound:
    """DATEDIFF(unit, source, joined) BETWEEN low AND high, of units of `seconds`."""

    source: str
    low: int
    high: int
    unit: str = "second"

    @property
    def seconds(self) -> int:
        return {"second": 1, "minute": 60}[self.unit]

    def allows(self, left: float | None, right: float) -> bool:
        """Count the boundaries between two times, which are seconds since midnight."""
        if left is None:
            return False
        return self.low <= right // self.seconds - left // self.seconds <= self.high


@dataclass(frozen=True)
class Joined:
    """One more stream of a join: bounded in time and, if `key` names a source before it, with its `k`."""

    name: str
    bounds: tuple[Bound, ...]
    key: str | None = None
    outer: bool = False

    def sql(self) -> str:
        conditions = [
            f"DATEDIFF({bound.unit}, {bound.source}, {self.name}) BETWEEN {bound.low} AND {bound.high}"
            for bound in self.bounds
        ]
        if self.key is not None:
            conditions.insert(0, f"{self.key}.k = {self.name}.k")
        return f"{'LEFT ' if self.outer else ''}JOIN {self.name} ON {' AND '.join(conditions)}"


@dataclass(frozen=True)
class _Row:
    """A row of the oracle: its time, and the event of each source (None where an outer join found none)."""

    time: float
    events: Mapping[str, Event | None]


def double_loop(first: str, chain: Sequence[Joined], inputs: Mapping[str, Sequence[Event]]) -> list[Event]:
    """Return what a chain of joins gives: `seconds`, and the `n` of each source."""
    result = [_Row(event["t"], {first: event}) for event in inputs[first]]
    for joined in chain:
        pairs: list[_Row] = []
        for left in result:
            partners = [right for right in inputs[joined.name] if _matches(left, joined, right)]
            pairs += [
                _Row(max(left.time, right["t"]), {**left.events, joined.name: right}) for right in partners
            ]
            if joined.outer and not partners:
                highest = min(bound.high * bound.seconds for bound in joined.bounds)
                pairs.append(_Row(left.time + max(highest, 0), {**left.events, joined.name: None}))
        result = sorted(pairs, key=lambda row: row.time)
    return [
        {"seconds": row.time, **{name: event and event["n"] for name, event in row.events.items()}}
        for row in result
    ]


def _matches(left: _Row, joined: Joined, right: Event) -> bool:
    times = {name: None if event is None else event["t"] for name, event in left.events.items()}
    if not all(bound.allows(times[bound.source], right["t"]) for bound in joined.bounds):
        return False
    if joined.key is None:
        return True
    event = left.events[joined.key]
    return event is not None and event.get("k") is not None and event["k"] == right.get("k")
