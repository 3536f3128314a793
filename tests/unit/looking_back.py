"""Analytic functions run over events that are cut into slices anywhere, and what a list of them says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from headrace.engine.operator import FOREVER_US, Slice
from headrace.engine.operators.analytic import AnalyticFunctions
from headrace.engine.operators.project import project
from headrace.engine.snapshot import decode, encode
from headrace.events.batch import TIME, Batch
from headrace.events.formats.json import from_rows, rows
from headrace.sql.bind import bind
from headrace.sql.plan import Analytic, Project

SECOND = 1_000_000

#: Midnight of 2 March 2026 in microseconds.
START_US = 1_772_409_600_000_000

Event = dict[str, Any]

#: Values of every type, some of them equal in value or to the eye.
MIXED = st.sampled_from(
    [None, 1, 1.0, 2, 2.5, -3, 2**60, "1", "x", "é", True, False, {"a": 1}, {"a": 1.0}, [], [1, "x"]]
)

#: Keys that are easily confused.
KEYS = st.sampled_from([None, 1, 1.0, "1", True, {"a": 1}])


def timed(events: Sequence[Event], start_us: int = START_US) -> Batch:
    """Return events in order of their field `t`, in seconds, as a batch with times."""
    batch = from_rows(events)
    times = pl.Series(TIME, [start_us + round(event["t"] * SECOND) for event in events], dtype=pl.Int64)
    return Batch(batch.frame.with_columns(times.cast(pl.Datetime("us"))), batch.columns)


def analytic(items: str) -> tuple[AnalyticFunctions, Project, str]:
    """Return the operator of the analytic functions of a SELECT list, and the list itself."""
    script = bind(f"SELECT {items} FROM src")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Analytic)
    return AnalyticFunctions(relation.source, script.text), relation, script.text


def found(
    items: str, events: Sequence[Event], cuts: Iterable[float] = (), *, saved: bool = False
) -> list[Event]:
    """Return the rows of a SELECT list over `events`, which come in slices up to each of the times `cuts`.

    With `saved` the state is written and read between slices.
    """
    operator, relation, text = analytic(items)
    state = operator.initial()
    result: list[Event] = []
    bounds = [*(START_US + round(cut * SECOND) for cut in sorted(cuts)), FOREVER_US]
    places = [event["t"] * SECOND + START_US for event in events]
    begin = 0
    for frontier_us in bounds:
        end = sum(place < frontier_us for place in places)
        batch = timed(events[begin:end]) if end > begin else None
        state, part = operator.advance(state, [Slice(batch, frontier_us)])
        if saved:
            state = decode(encode(state))
        assert part.frontier_us == frontier_us
        if part.batch is not None and part.batch.height:
            result += rows(project(part.batch, relation.items, text))
        begin = end
    return result


def seen(
    events: Sequence[Event],
    place: int,
    *,
    key: Callable[[Event], object],
    when: Callable[[Event], bool],
    limit_s: float | None,
) -> list[Event]:
    """Return the events before `place` that the event there sees: its partition, WHEN, LIMIT DURATION."""
    now = events[place]
    return [
        event
        for event in events[:place]
        if key(event) == key(now) and when(event) and (limit_s is None or event["t"] > now["t"] - limit_s)
    ]


def key_of(value: object) -> object:
    """Return what tells keys apart: numbers by value, records and arrays by their text."""
    if isinstance(value, bool | str | None):
        return type(value).__name__, value
    return ("number", value) if isinstance(value, int | float) else ("text", json.dumps(value))


def streams(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Event]]:
    """Return lists of events in order of time, many of them at the same time."""
    steps = st.sampled_from([0, 0, 0, 1, 1, 2, 5, 11])
    event = st.fixed_dictionaries({"t": steps, **fields})

    def accumulated(events: list[Event]) -> list[Event]:
        time = 0
        for event in events:
            time += event["t"]
            event["t"] = time
        return events

    return st.lists(event, min_size=1, max_size=30).map(accumulated)


CUTS = st.lists(st.integers(min_value=0, max_value=60), max_size=6)
