"""LAG, LAST and ISFIRST: which earlier event is found, and what is kept to find it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.operator import Slice
from headrace.engine.row_error import RowError
from tests.unit.looking_back import (
    CUTS,
    KEYS,
    MIXED,
    SECOND,
    START_US,
    Event,
    analytic,
    found,
    key_of,
    seen,
    streams,
    timed,
)


def column(items: str, events: list[Event], **how: Any) -> list[Any]:
    return [row["x"] for row in found(f"{items} AS x", events, **how)]


def test_lag_finds_the_event_before_also_at_the_same_time() -> None:
    events = [{"t": 1, "v": "a"}, {"t": 1, "v": "b"}, {"t": 1, "v": "c"}, {"t": 2, "v": "d"}]
    assert column("LAG(v) OVER (LIMIT DURATION(second, 9))", events) == [None, "a", "b", "c"]
    assert column("LAG(v, 2) OVER (LIMIT DURATION(second, 9))", events) == [None, None, "a", "b"]


def test_lag_does_not_see_an_event_that_is_as_old_as_the_limit() -> None:
    events = [{"t": 0, "v": 1}, {"t": 5, "v": 2}, {"t": 9.999999, "v": 3}]
    assert column("LAG(v) OVER (LIMIT DURATION(second, 5))", events) == [None, None, 2]


def test_the_default_of_lag_stands_only_where_there_is_no_event() -> None:
    events = [{"t": 0, "v": None}, {"t": 1, "v": 2}, {"t": 9, "v": 3}]
    assert column("LAG(v, 1, 7) OVER (LIMIT DURATION(second, 5))", events) == [7, None, 7]
    assert column("LAG(v, 1, 'none') OVER (LIMIT DURATION(second, 5))", events) == ["none", None, "none"]
    assert column("LAG(v, 1, 'none') OVER (LIMIT DURATION(second, 5))", events, cuts=[1, 4]) == [
        "none",
        None,
        "none",
    ]


def test_when_says_which_events_are_found_not_which_rows_get_a_value() -> None:
    events = [
        {"t": 1, "k": "temp", "v": 20},
        {"t": 2, "k": "noise", "v": 99},
        {"t": 3, "k": "temp", "v": 21},
        {"t": 4, "k": "noise", "v": 98},
        {"t": 5, "k": "temp", "v": 25},
    ]
    lag = "LAG(v) OVER (LIMIT DURATION(minute, 1) WHEN k = 'temp')"
    last = "LAST(v) OVER (LIMIT DURATION(minute, 1) WHEN k = 'temp')"
    assert column(lag, events) == [None, 20, 20, 21, 21]
    assert column(last, events) == [20, 20, 21, 21, 25]
    assert column("LAST(v, -1) OVER (LIMIT DURATION(minute, 1) WHEN k = 'none')", events) == [-1] * 5


def test_an_argument_is_computed_only_where_when_is_true() -> None:
    events = [{"t": 1, "v": "x"}, {"t": 2, "v": "7"}, {"t": 3, "v": "8"}]
    limit = "LIMIT DURATION(second, 9)"
    assert column(f"LAG(CAST(v AS bigint)) OVER ({limit} WHEN v <> 'x')", events) == [None, None, 7]
    events.append({"t": 4, "v": "y"})
    with pytest.raises(RowError, match="'y'") as error:
        column(f"LAG(CAST(v AS bigint)) OVER ({limit} WHEN v <> 'x')", events)
    assert error.value.row == 3


def test_lag_of_a_whole_event_is_a_record() -> None:
    events = [{"t": 1, "v": 1.5}, {"t": 2, "w": [1]}]
    assert column("LAG(*) OVER (LIMIT DURATION(second, 9))", events) == [None, {"t": 1, "v": 1.5}]


def test_partitions_are_told_by_value_and_null_is_one() -> None:
    keys = [1, 1.0, "1", None, 2**60, None, float(2**60), 1.5, 1.5]
    events = [{"t": time, "k": key, "v": time} for time, key in enumerate(keys)]
    over = "OVER (PARTITION BY k LIMIT DURATION(second, 99))"
    assert column(f"LAG(v) {over}", events) == [None, 0, None, None, None, 3, 4, None, 7]
    assert column(f"COUNT(*) {over}", events, cuts=range(9)) == [1, 2, 1, 1, 1, 2, 2, 1, 2]


def test_a_found_value_has_its_own_type() -> None:
    values = [1, 2.0, "x", True, {"a": 1.0}, [1], None]
    events = [{"t": time, "v": value} for time, value in enumerate(values)]
    got = column("LAG(v) OVER (LIMIT DURATION(second, 9))", events, cuts=range(7), saved=True)
    assert [(type(value), value) for value in got] == [(type(value), value) for value in [None, *values[:-1]]]


@settings(max_examples=60, deadline=None)
@given(
    streams(k=KEYS, v=MIXED, w=st.booleans()),
    CUTS,
    st.integers(min_value=0, max_value=3),
    st.sampled_from([1, 2, 5, 30]),
    st.booleans(),
)
def test_lag_and_last_are_what_a_walk_through_the_events_finds(
    events: list[Event], cuts: list[int], offset: int, limit_s: int, saved: bool
) -> None:
    name = f"LAG(v, {offset}, 'none')" if offset else "LAST(v, 'none')"
    over = f"OVER (PARTITION BY k LIMIT DURATION(second, {limit_s}) WHEN w = 1)"
    got = column(f"{name} {over}", events, cuts=cuts, saved=saved)
    for place, value in enumerate(got):
        before = seen(events, place, key=lambda e: key_of(e["k"]), when=lambda e: e["w"], limit_s=limit_s)
        if offset == 0:
            before = [*before, *([events[place]] if events[place]["w"] else [])]
        # The offset counts events that satisfy WHEN however old; only the one that is found has to be young.
        reach = max(offset, 1)
        expected = before[-reach]["v"] if len(before) >= reach else "none"
        assert (type(value), value) == (type(expected), expected)


@settings(max_examples=40, deadline=None)
@given(streams(k=KEYS, w=st.booleans()), CUTS, st.sampled_from([1, 3, 7]), st.booleans())
def test_is_first_is_one_for_the_first_event_of_each_interval(
    events: list[Event], cuts: list[int], interval_s: int, saved: bool
) -> None:
    call = f"ISFIRST(second, {interval_s}) OVER (PARTITION BY k WHEN w = 1)"
    got = column(call, events, cuts=cuts, saved=saved)
    taken: set[object] = set()
    day_s = 24 * 3600
    for event, value in zip(events, got, strict=True):
        since_monday_0001 = 62_135_596_800 + START_US // SECOND + event["t"]
        interval = key_of(event["k"]), -(-since_monday_0001 // interval_s)
        assert value == int(event["w"] and interval not in taken)
        if event["w"]:
            taken.add(interval)
    assert 62_135_596_800 % day_s == 0


def test_an_event_at_the_end_of_an_interval_belongs_to_it() -> None:
    events = [{"t": 0}, {"t": 1}, {"t": 10}, {"t": 10.000001}]
    assert column("ISFIRST(second, 10)", events) == [1, 1, 0, 1]


def test_calls_with_several_reaches_share_what_they_keep() -> None:
    limit = "PARTITION BY k LIMIT DURATION"
    items = (
        f"LAG(v) OVER ({limit}(second, 3)) AS a, LAG(v, 2) OVER ({limit}(second, 9)) AS b, "
        "ISFIRST(second, 2) OVER (PARTITION BY k) AS c, ISFIRST(second, 5) OVER (PARTITION BY k) AS d"
    )
    events = [{"t": t, "k": t % 2, "v": t} for t in range(1, 8)]
    expected = found(items, events)
    assert expected == found(items, events, cuts=range(9), saved=True)
    assert [row["a"] for row in expected] == [None, None, 1, 2, 3, 4, 5]
    assert [row["b"] for row in expected] == [None, None, None, None, 1, 2, 3]
    assert [row["c"] for row in expected] == [1, 1, 1, 1, 1, 1, 1]
    assert [row["d"] for row in expected] == [1, 1, 0, 0, 0, 1, 1]


def kept(items: str, events: list[Event], frontier_s: float) -> list[pl.DataFrame | None]:
    operator, _, _ = analytic(items)
    state, _ = operator.advance(
        operator.initial(), [Slice(timed(events), START_US + round(frontier_s * SECOND))]
    )
    frames = state["events"]
    assert isinstance(frames, list)
    return frames


def test_only_events_that_can_still_be_found_are_kept() -> None:
    events = [{"t": t, "k": t % 2, "v": t, "big": "x" * 100} for t in range(20)]
    [lag] = kept("LAG(v, 2) OVER (PARTITION BY k LIMIT DURATION(second, 60)) AS x", events, 20)
    assert lag is not None
    assert lag["0:bigint"].to_list() == [16, 17, 18, 19]
    assert len(lag.columns) == 3
    [old] = kept("LAG(v, 2) OVER (PARTITION BY k LIMIT DURATION(second, 3)) AS x", events, 20.5)
    assert old is not None
    assert old["0:bigint"].to_list() == [18, 19]
    [nothing] = kept("LAG(v) OVER (LIMIT DURATION(second, 3)) AS x", events, 22)
    assert nothing is None
    [first] = kept("ISFIRST(second, 10) OVER (PARTITION BY k) AS x", events, 20)
    assert first is not None
    assert first.height == 2
    [nothing] = kept("ISFIRST(second, 10) AS x", events, 20.000001)
    assert nothing is None


def test_time_alone_lets_go_of_what_is_kept() -> None:
    operator, _, _ = analytic("LAG(v) OVER (LIMIT DURATION(second, 5)) AS x")
    before, _ = operator.advance(operator.initial(), [Slice(timed([{"t": 0, "v": 1}]), START_US + SECOND)])
    still, _ = operator.advance(before, [Slice(None, START_US + 5 * SECOND - 1)])
    after, part = operator.advance(still, [Slice(None, START_US + 5 * SECOND)])
    assert part.batch is None
    kept = [[frame is not None for frame in state["events"]] for state in (before, still, after)]
    assert kept == [[True], [True], [False]]


def test_a_slice_whose_keys_are_all_null_sees_events_of_other_keys_kept_before() -> None:
    events = [{"t": 1, "k": "a", "v": 1}, {"t": 2, "k": None, "v": 2}, {"t": 3, "k": None, "v": 3}]
    lag = "LAG(v) OVER (PARTITION BY k LIMIT DURATION(second, 5)) AS x"
    for cuts in ([], [1.5], [1.5, 2.5]):
        assert [row["x"] for row in found(lag, events, cuts)] == [None, None, 2]
