"""Aggregates OVER: each event looks back, itself included, as a walk through the events does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.operator import Slice
from headrace.engine.operators.analytic import AnalyticFunctions
from headrace.engine.operators.project import project
from headrace.engine.row_error import RowError
from headrace.engine.snapshot import decode, encode
from headrace.engine.windows.stretches import cover
from headrace.errors import DataError
from headrace.events.formats.json import rows
from headrace.models.aggregate import PythonAggregate
from headrace.sql.bind import bind
from headrace.sql.plan import Analytic, Project
from tests.unit.looking_back import (
    CUTS,
    KEYS,
    MIXED,
    SECOND,
    START_US,
    Event,
    found,
    key_of,
    seen,
    streams,
    timed,
)

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
    assert found(items, valued(1, 2, 1)) == [
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
    got = found(items, valued(1, 2, 3, 4, 5), cuts=[1, 2, 3, 4], saved=True)
    assert [tuple(row.values()) for row in got] == [(1, 1, 1), (3, 3, 1), (5, 6, 1), (7, 10, 2), (9, 14, 3)]


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
        k=KEYS,
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
@given(
    streams(k=st.integers(0, 1), v=st.none() | st.sampled_from("abc"), o=st.none() | st.integers(0, 4)),
    CUTS,
    st.sampled_from([1, 4, 30]),
)
def test_the_top_of_what_is_seen_is_found(events: list[Event], cuts: list[int], limit_s: int) -> None:
    over = f"OVER (PARTITION BY k ORDER BY o DESC LIMIT DURATION(second, {limit_s}))"
    items = f"CollectTop(2, v) {over} AS two, TopOne(v) {over} AS one, TopOne() {over} AS row"
    for place, row in enumerate(found(items, events, cuts=cuts, saved=True)):
        before = seen(events, place, key=lambda e: e["k"], when=lambda _: True, limit_s=limit_s)
        order = sorted([*before, events[place]], key=lambda e: -1 if e["o"] is None else e["o"], reverse=True)
        values = [event["v"] for event in order if event["v"] is not None]
        assert row["one"] == (values[0] if values else None)
        assert row["row"] == {name: value for name, value in order[0].items() if value is not None}
        assert [item["value"] for item in row["two"] or []] == values[:2]


class Longest:
    """A user aggregate: the longest text so far."""

    def init(self) -> None:
        self.text = ""

    def accumulate(self, value: str, timestamp: datetime) -> None:
        self.text = max(self.text, value, key=len)

    def compute_result(self) -> str:
        return self.text


def test_a_user_aggregate_looks_back_as_others_do() -> None:
    query = "SELECT uda.longest(v) OVER (LIMIT DURATION(second, 2)) AS x FROM src"
    script = bind(query, aggregates={"uda.longest"})
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Analytic)
    user = {"uda.longest": PythonAggregate("uda.longest", Longest)}
    operator = AnalyticFunctions(relation.source, script.text, user)
    state, got = operator.initial(), []
    for time, text in enumerate(["a", "bbb", "cc", "d", "ee"]):
        part = Slice(timed([{"t": time, "v": text}]), START_US + time * SECOND + 1)
        state, given_back = operator.advance(decode(encode(state)), [part])
        assert given_back.batch is not None
        got += [row["x"] for row in rows(project(given_back.batch, relation.items, script.text))]
    assert got == ["a", "bbb", "bbb", "cc", "ee"]


def stretches_of(places: int) -> st.SearchStrategy[tuple[int, list[tuple[int, int]]]]:
    pairs = st.tuples(st.integers(0, places), st.integers(0, places))
    # With so many stretches blocks are worth computing, with few they are not.
    return st.tuples(st.just(places), st.lists(pairs, max_size=5) | st.lists(pairs, min_size=40, max_size=50))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70).flatmap(stretches_of))
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
