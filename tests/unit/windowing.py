"""Windowed aggregates run over events that are cut into slices anywhere, beside the windows found by hand.

An event has a time in seconds (`t`, any number), keys (`k`, `g`), a value (`v`) and its number (`id`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from headrace.engine.operator import FOREVER_US, Operator, Slice, State
from headrace.engine.operators.aggregate import aggregate_operator
from headrace.engine.operators.project import project
from headrace.engine.snapshot import decode, encode
from headrace.events.batch import TIME, Batch
from headrace.events.formats.json import from_rows, rows
from headrace.models.aggregate import UserAggregate
from headrace.sql.bind import bind
from headrace.sql.plan import Aggregate, Project
from headrace.sql.windows import Window
from tests.unit.windows_by_hand import Event, windows_of

SECOND = 1_000_000

#: Midnight of 2 March 2026 in microseconds.
START_US = 1_772_409_600_000_000

Row = dict[str, Any]


def batch_of(events: Sequence[Row], start_us: int = START_US) -> Batch:
    """Return events, which are in order of time, as a batch."""
    batch = from_rows(events)
    times = pl.Series(TIME, [start_us + round(event["t"] * SECOND) for event in events], dtype=pl.Int64)
    return Batch(batch.frame.with_columns(times.cast(pl.Datetime("us"))), batch.columns)


def grouped(
    items: str, group_by: str, user: Mapping[str, UserAggregate] | None = None
) -> tuple[Operator, Project, str]:
    """Return the operator of ``SELECT items FROM src GROUP BY group_by``, and what it comes from."""
    script = bind(f"SELECT {items} FROM src GROUP BY {group_by}", aggregates=list(user or {}))
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Aggregate)
    return aggregate_operator(relation.source, script.text, user), relation, script.text


def slices(
    items: str,
    group_by: str,
    events: Sequence[Row],
    cuts: Iterable[float] = (),
    *,
    start_us: int = START_US,
    saved: bool = False,
    user: Mapping[str, UserAggregate] | None = None,
) -> Iterator[tuple[State, list[Row]]]:
    """Yield the state and the rows after each slice of `events`, cut at each of the times `cuts`.

    The time of a row, in seconds, is `at`. With `saved` the state is written and read between slices.
    """
    operator, relation, text = grouped(items, group_by, user)
    state = operator.initial()
    bounds = [*(start_us + round(cut * SECOND) for cut in sorted(cuts)), FOREVER_US]
    places = [start_us + round(event["t"] * SECOND) for event in events]
    begin, since_us = 0, -FOREVER_US
    for frontier_us in bounds:
        end = sum(place < frontier_us for place in places)
        batch = batch_of(events[begin:end], start_us) if end > begin else None
        state, part = operator.advance(state, [Slice(batch, frontier_us)])
        if saved:
            state = decode(encode(state))
        assert part.frontier_us == frontier_us
        result: list[Row] = []
        if part.batch is not None:
            ends = part.batch.frame.get_column(TIME).to_physical().to_list()
            assert ends
            assert all(since_us <= time < frontier_us for time in ends)
            shown = rows(project(part.batch, relation.items, text))
            result = [
                {"at": (time - start_us) / SECOND, **row} for time, row in zip(ends, shown, strict=True)
            ]
        yield state, result
        begin, since_us = end, frontier_us


def found(
    items: str, group_by: str, events: Sequence[Row], cuts: Iterable[float] = (), **how: Any
) -> list[Row]:
    """Return the rows of all `slices`."""
    return [row for _, part in slices(items, group_by, events, cuts, **how) for row in part]


def by_hand(
    window: Window,
    events: Sequence[Row],
    group: Callable[[Row], Any] = lambda _: None,
    session: Callable[[Row], Any] = lambda _: None,
    start_us: int = START_US,
) -> list[tuple[float, Hashable, list[Row]]]:
    """Return (time in seconds, the group's key, the events inside) of each window and group."""
    made = [
        Event(start_us + round(event["t"] * SECOND), same(group(event)), same(session(event)), event)
        for event in events
    ]
    return [((row.time - start_us) / SECOND, row.group, row.values) for row in windows_of(window, made)]


def same(value: Any) -> Hashable:
    """Return something that is equal for values that are one key: a tuple, part by part."""
    if isinstance(value, tuple):
        return tuple(map(same, value))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("bit", value)
    if isinstance(value, int | float):
        return ("number", int(value) if value == int(value) else value)
    return ("json", json.dumps(value, separators=(",", ":")))
