"""Aggregates OVER: each event looks back, itself included, as a walk through the events does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.analytic.stretches import cover
from headrace.engine.row_error import RowError
from headrace.errors import DataError
from tests.unit.looking_back import CUTS, MIXED, Event, found, key_of, seen, streams

LIMIT = "LIMIT DURATION(second, 5)"


def column(items: str, events: list[Event], **how: Any) -> list[Any]:
    return [row["x"] for row in found(f"{items} AS x", events, **how)]


def valued(*values: Any) -> list[Event]:
    return [{"t": time, "v": value} for time, value in enumerate(values)]


def test_an_aggregate_sees_the_event_itself_and_what_came_before_it_at_the_same_time() -> None:
    events = [{"t": 1, "v": 1}, {"t": 1, "v": 2}, {"t": 1, "v": 4}, {"t": 2, "v": 8}]
    assert column(f"SUM(v) OVER ({LIMIT})", events) == [1, 3, 7, 15]


def test_an_event_as_old_as_the_limit_is_out() -> None:
    events = [{"t": 0, "v": 1}, {"t": 4.999999, "v": 2}, {"t": 5, "v": 4}, {"t": 20, "v": 8}]
    assert column(f"SUM(v) OVER ({LIMIT})", events) == [1, 3, 6, 8]


def test_rows_that_see_nothing_count_0_and_have_no_other_aggregate() -> None:
    over = f"OVER ({LIMIT} WHEN v > 1)"
    items = f"COUNT(*) {over} AS n, COUNT(v) {over} AS c, SUM(v) {over} AS s, MAX(v) {over} AS m"
    rows = found(items, valued(1, 2, 1))
    assert rows == [
        {"n": 0, "c": 0, "s": None, "m": None},
        {"n": 1, "c": 1, "s": 2, "m": 2},
        {"n": 1, "c": 1, "s": 2, "m": 2},
    ]
    assert column("COUNT(*) OVER (LIMIT DURATION(second, 5) WHEN v > 9)", valued(1, 2)) == [0, 0]


def test_a_sum_keeps_no_trace_of_what_has_left() -> None:
    assert column(f"SUM(v) OVER ({LIMIT})", valued(1e300, 1.5, *[0.25] * 10))[-1] == 1.25
    assert column(f"AVG(v) OVER ({LIMIT})", valued(1e17, *[0.1] * 12))[-1] == pytest.approx(0.1, rel=1e-15)


def test_a_sum_is_a_float_only_while_a_float_is_in_sight() -> None:
    got = column(f"SUM(v) OVER ({LIMIT})", valued(1, 2.5, 1, 1, 1, 1, 1))
    assert [(type(value), value) for value in got[-2:]] == [(float, 6.5), (int, 5)]


def test_a_sum_of_bigints_out_of_range_is_an_error_and_never_wraps() -> None:
    most = 2**63 - 1
    assert column(f"SUM(v) OVER ({LIMIT})", valued(most, -most, most))[-1] == most
    with pytest.raises(DataError, match="out of range"):
        column(f"SUM(v) OVER ({LIMIT})", valued(most, 1))


def test_an_argument_is_read_only_where_when_is_true() -> None:
    events = valued("x", "7", "8", "y")
    assert column(f"SUM(v) OVER ({LIMIT} WHEN v < 'x')", events) == [None, 7, 15, 15]
    with pytest.raises(RowError, match="'y'") as error:
        column(f"SUM(v) OVER ({LIMIT} WHEN v <> 'x')", events)
    assert error.value.row == 3


def test_calls_with_several_limits_share_what_is_kept() -> None:
    items = (
        "SUM(v) OVER (LIMIT DURATION(second, 2)) AS a, SUM(v) OVER (LIMIT DURATION(second, 4)) AS b, "
        "MIN(v) OVER (LIMIT DURATION(second, 3)) AS c"
    )
    rows = found(items, valued(1, 2, 3, 4, 5), cuts=[1, 2, 3, 4], saved=True)
    assert [tuple(row.values()) for row in rows] == [(1, 1, 1), (3, 3, 1), (5, 6, 1), (7, 10, 2), (9, 14, 3)]


def total(values: list[Any]) -> Any:
    if not values:
        return None
    return math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)


NUMERIC: dict[str, Callable[[list[Any]], Any]] = {
    "SUM(v)": total,
    "AVG(v)": lambda values: math.fsum(values) / len(values) if values else None,
    "MIN(v)": lambda values: min(values, default=None),
    "MAX(v)": lambda values: max(values, default=None),
    "COUNT(v)": len,
}


@settings(max_examples=100, deadline=None)
@given(
    streams(
        k=MIXED,
        v=st.none() | st.integers(-5, 5) | st.sampled_from([0.5, -2.25, 1e6]),
        w=st.booleans(),
    ),
    CUTS,
    st.sampled_from(sorted(NUMERIC)),
    st.sampled_from([1, 2, 5, 30]),
    st.booleans(),
)
def test_numbers_are_what_a_walk_through_the_events_gives(
    events: list[Event], cuts: list[int], name: str, limit_s: int, saved: bool
) -> None:
    over = f"OVER (PARTITION BY k LIMIT DURATION(second, {limit_s}) WHEN w = 1)"
    got = column(f"{name} {over}", events, cuts=cuts, saved=saved)
    for place, value in enumerate(got):
        before = seen(events, place, key=lambda e: key_of(e["k"]), when=lambda e: e["w"], limit_s=limit_s)
        before += [events[place]] if events[place]["w"] else []
        expected = NUMERIC[name]([event["v"] for event in before if event["v"] is not None])
        assert value == (expected if expected is None else pytest.approx(expected, rel=1e-12))
        if name in {"SUM(v)", "COUNT(v)"}:
            assert type(value) is type(expected)


@settings(max_examples=60, deadline=None)
@given(streams(k=st.integers(0, 2), v=MIXED), CUTS, st.sampled_from([1, 4, 30]), st.booleans())
def test_collected_events_are_those_that_are_seen(
    events: list[Event], cuts: list[int], limit_s: int, saved: bool
) -> None:
    got = column(
        f"COLLECT(v) OVER (PARTITION BY k LIMIT DURATION(second, {limit_s}))", events, cuts=cuts, saved=saved
    )
    for place, values in enumerate(got):
        before = seen(events, place, key=lambda e: e["k"], when=lambda _: True, limit_s=limit_s)
        expected = [event["v"] for event in [*before, events[place]] if event["v"] is not None]
        assert json.dumps(values or []) == json.dumps(expected)


@settings(max_examples=40, deadline=None)
@given(streams(k=st.integers(0, 1), v=st.none() | st.integers(0, 4)), CUTS, st.sampled_from([1, 4, 30]))
def test_the_top_of_what_is_seen_is_the_same_however_it_is_cut(
    events: list[Event], cuts: list[int], limit_s: int
) -> None:
    for place, event in enumerate(events):
        event["n"] = place
    over = f"OVER (PARTITION BY k ORDER BY v DESC LIMIT DURATION(second, {limit_s}))"
    items = f"CollectTop(2, v) {over} AS two, TopOne(v) {over} AS one, TopOne() {over} AS row"
    rows = found(items, events)
    assert rows == found(items, events, cuts=cuts, saved=True)
    for place, row in enumerate(rows):
        before = seen(events, place, key=lambda e: e["k"], when=lambda _: True, limit_s=limit_s)
        order = sorted((-1 if e["v"] is None else e["v"] for e in [*before, events[place]]), reverse=True)
        values = [None if value < 0 else value for value in order]
        assert row["one"] == values[0]
        assert row["row"]["v"] == values[0]
        assert [item.get("value") for item in row["two"]] == values[:2]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70).flatmap(
        lambda places: st.tuples(
            st.just(places), st.lists(st.tuples(st.integers(0, places), st.integers(0, places)))
        )
    )
)
def test_the_blocks_of_a_stretch_are_its_places_in_order(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    places, pairs = drawn
    stretches = [(min(pair), max(pair)) for pair in pairs]
    begins, ends = (np.array([pair[side] for pair in stretches], dtype=np.int64) for side in (0, 1))
    covered = cover(begins, ends, places)
    blocks: list[list[int]] = [[place] for place in range(places)]
    below = blocks
    for _ in range(covered.levels - 1):
        below = [list(chain(*below[start : start + 2])) for start in range(0, len(below), 2)]
        blocks = [*blocks, *below]
    got: list[list[int]] = [[] for _ in stretches]
    for stretch, block in zip(covered.stretches, covered.blocks, strict=True):
        got[stretch] += blocks[block]
    assert got == [list(range(begin, end)) for begin, end in stretches]
