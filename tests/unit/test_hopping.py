"""Tumbling, hopping and snapshot windows: which events they hold, and when they are complete."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.operator import FOREVER_US, Slice
from headrace.engine.windows.panes import Panes
from headrace.errors import QueryError
from headrace.sql.plan import AggregateCall, ColumnRef, Hopping, Snapshot
from headrace.sql.windows import ALIGNMENT_US
from tests.unit.aggregating import SECOND_US, K, X, batch_of, call, operator_of, run, tumbling

COUNT = call("COUNT", column="n")
SUM = call("SUM", X, column="s")


def hopping(size_s: int, hop_s: int, offset_s: int = 0, name: str | None = None) -> Hopping:
    return Hopping(size_s * SECOND_US, hop_s * SECOND_US, offset_s * SECOND_US, name)


def counts(window: Hopping | Snapshot, *times: int, cuts: tuple[int, ...] = ()) -> list[tuple[float, int]]:
    found = run(operator_of(window, [COUNT]), [(time, {}) for time in times], cuts)
    return [(row["@"], row["n"]) for row in found]


def test_a_window_holds_its_end_and_not_its_start_and_an_empty_one_gives_nothing() -> None:
    assert counts(tumbling(10), 0, 1, 10, 11, 20, 45) == [(0, 1), (10, 2), (20, 2), (50, 1)]


def test_windows_begin_at_midnight_of_the_year_1_shifted_by_the_offset() -> None:
    day = 86_400
    assert counts(tumbling(7 * day), 4 * day, 4 * day + 1) == [
        (4 * day, 1),
        (11 * day, 1),
    ]  # Monday 5 Jan 1970
    assert counts(hopping(10, 10, 3), 3, 4) == [(3, 1), (13, 1)]
    assert counts(hopping(10, 10, -3), 7, 8) == [(7, 1), (17, 1)]


def test_an_event_is_in_every_hopping_window_over_it() -> None:
    assert counts(hopping(10, 5), 7) == [(10, 1), (15, 1)]
    assert counts(hopping(10, 4), 7) == [(8, 1), (12, 1), (16, 1)]
    assert counts(hopping(15, 1), 3) == [(end, 1) for end in range(3, 18)]


def test_a_day_of_windows_that_each_event_is_in_is_put_together_from_few_results() -> None:
    day = 86_400
    times = sorted({(i * 7919) % day for i in range(300)})
    found = run(
        operator_of(hopping(day, 60), [COUNT, SUM]), [(time, {"x": 1}) for time in times], cuts=[5000]
    )
    ends = range(0, 2 * day, 60)
    expected = [(end, sum(end - day < time <= end for time in times)) for end in ends]
    assert [(row["@"], row["n"]) for row in found] == [(end, count) for end, count in expected if count]
    assert all(row["n"] == row["s"] for row in found)


def test_hops_longer_than_the_size_leave_out_the_events_between() -> None:
    assert counts(hopping(3, 10), 7, 8, 10, 11) == [(10, 2)]
    assert counts(hopping(3, 10), 5, 11) == []


def test_windows_before_1970_end_where_they_should() -> None:
    assert counts(tumbling(10), -11, -10, -9, 0) == [(-10, 2), (0, 2)]


def test_a_window_is_complete_once_the_frontier_has_passed_its_end() -> None:
    operator = operator_of(tumbling(10), [COUNT])
    state, early = operator.advance(operator.initial(), [Slice(batch_of([(4, {})]), 10 * SECOND_US)])
    assert (early.batch, early.frontier_us) == (None, 10 * SECOND_US)
    state, late = operator.advance(state, [Slice(batch_of([(10, {})]), 10 * SECOND_US + 1)])
    assert late.batch is not None
    assert late.batch.frame["bigint:n"].to_list() == [2]
    assert state["partials"] == []


def test_what_no_window_needs_any_more_is_dropped() -> None:
    operator = operator_of(hopping(10, 4), [COUNT], [K])
    state = operator.initial()
    most = 0
    for second in range(1, 200):
        state, _ = operator.advance(
            state, [Slice(batch_of([(second, {"k": second})]), (second + 1) * SECOND_US)]
        )
        partials = state["partials"]
        assert isinstance(partials, list)
        most = max(most, sum(frame.height for frame in partials))
    assert most <= 14
    assert operator.advance(state, [Slice(None, FOREVER_US)])[0]["partials"] == []


def test_many_slices_of_one_window_are_merged() -> None:
    operator = operator_of(tumbling(1_000_000), [COUNT, SUM], [K])
    state = operator.initial()
    for second in range(1, 500):
        part = batch_of([(second, {"k": second % 3, "x": 1})])
        state, _ = operator.advance(state, [Slice(part, (second + 1) * SECOND_US)])
        partials = state["partials"]
        assert isinstance(partials, list)
        assert len(partials) <= 65
    _, last = operator.advance(state, [Slice(None, FOREVER_US)])
    assert last.batch is not None
    assert last.batch.frame["bigint:n"].to_list() == [166, 167, 166]


def test_a_snapshot_is_a_window_for_each_instant() -> None:
    assert counts(Snapshot(), 1, 1, 3, 3, 3, 4, cuts=(2, 4)) == [(1, 2), (3, 3), (4, 1)]
    events: list[tuple[int, dict[str, Any]]] = [
        (1, {"k": "b"}),
        (1, {"k": "a"}),
        (1, {"k": "b"}),
        (2, {"k": "a"}),
    ]
    found = run(operator_of(Snapshot(), [COUNT], [K]), events)
    assert [(row["@"], row["k0"], row["n"]) for row in found] == [(1, "a", 1), (1, "b", 2), (2, "a", 1)]


@pytest.mark.parametrize("window", [hopping(10, 5, name="w"), Snapshot("w"), hopping(10, 5), Snapshot()])
def test_rows_tell_the_id_of_their_window_where_it_is_asked_for(window: Hopping | Snapshot) -> None:
    from dataclasses import replace

    from headrace.engine.operators.aggregate_hopping import HoppingAggregate
    from headrace.engine.operators.aggregate_snapshot import SnapshotAggregate
    from headrace.sql.plan import Aggregate, Scan

    aggregate = replace(Aggregate(Scan("src"), (window,), (), (COUNT,)), window_column="id")
    operator = (
        SnapshotAggregate(aggregate, window, "")
        if isinstance(window, Snapshot)
        else HoppingAggregate(aggregate, window, "")
    )
    assert {row["id"] for row in run(operator, [(1, {}), (2, {})])} == {window.id}


def test_windows_without_number_are_refused() -> None:
    week_us = 7 * 24 * 3600 * SECOND_US
    with pytest.raises(QueryError, match="each event is in 604,800,000 windows"):
        operator_of(Hopping(week_us, 1000), [COUNT])


@given(
    size=st.integers(1, 30), hop=st.integers(1, 30), offset=st.integers(-40, 40), time=st.integers(-100, 100)
)
def test_a_pane_is_in_the_windows_that_its_times_are_in(size: int, hop: int, offset: int, time: int) -> None:
    panes = Panes(Hopping(size, hop, offset))
    [pane] = pl.select(panes.of(pl.lit(time, pl.Int64))).to_series().to_list()
    first = ALIGNMENT_US + offset + -(-(time - ALIGNMENT_US - offset) // hop) * hop
    ends = [end for end in range(first, time + size, hop) if end - size < time <= end]
    assert (pane is None) == (not ends)
    if pane is not None:
        assert panes.ends(pl.Series([pane]), -1000, 1000).to_list() == ends
        assert panes.last_unneeded(ends[-1]) < pane <= panes.last_unneeded(ends[-1] + 1)


@settings(max_examples=80, deadline=None)
@given(
    size=st.integers(1, 30),
    hop=st.integers(1, 15),
    tumbles=st.booleans(),
    offset=st.integers(-5, 5),
    events=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(["a", "b", None]), st.sampled_from([None, 1, 2, 2.5])),
        max_size=20,
    ),
    cuts=st.lists(st.integers(0, 62), max_size=8),
)
def test_hopping_windows_are_what_plain_python_finds_wherever_events_are_cut(
    size: int, hop: int, tumbles: bool, offset: int, events: list[tuple[int, Any, Any]], cuts: list[int]
) -> None:
    size = hop if tumbles else size
    events.sort(key=lambda event: event[0])
    given_events = [(time, {"k": k, "x": x, "i": i}) for i, (time, k, x) in enumerate(events)]
    collect = AggregateCall("c", "COLLECT", (ColumnRef("i"),))
    found = run(operator_of(hopping(size, hop, offset), [COUNT, SUM, collect], [K]), given_events, cuts)
    expected = []
    origin = ALIGNMENT_US // SECOND_US + offset
    for end in range(-100, 200):
        for key in (None, "a", "b"):
            inside = [f for time, f in given_events if end - size < time <= end and f["k"] == key]
            if (end - origin) % hop == 0 and inside:
                values = [fields["x"] for fields in inside if fields["x"] is not None]
                expected.append(
                    {
                        "@": end,
                        "k0": key,
                        "n": len(inside),
                        "s": sum(values) if values else None,
                        "c": [fields["i"] for fields in inside],
                    }
                )
    assert found == expected
