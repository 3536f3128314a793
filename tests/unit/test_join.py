"""Joins of streams: which rows pair, when, in what order, and what is kept for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.joins import pairs
from headrace.engine.operator import FOREVER_US, Slice
from headrace.engine.operators.join import StreamJoin
from headrace.engine.operators.qualify import qualify
from headrace.engine.row_error import RowError
from headrace.errors import DataError
from headrace.events.batch import Batch
from headrace.sql.bind import bind
from headrace.sql.plan import Join, Project
from tests.unit.joining import SECOND, START_US, Bound, Event, Joined, double_loop, found, timed


def joined_rows(on: str, a: list[Event], b: list[Event], kind: str = "JOIN") -> list[list[Any]]:
    """Return the `n` of both sides of every row of a join."""
    answer = found(f"SELECT a.n AS x, b.n AS y FROM a {kind} b ON {on}", {"a": a, "b": b})
    return [[row.get("x"), row.get("y")] for row in answer]


def events(*keys: Any, t: float = 0) -> list[Event]:
    return [{"t": t, "n": place, "k": key} for place, key in enumerate(keys)]


SAME = "a.k = b.k AND DATEDIFF(second, a, b) BETWEEN 0 AND 1"


# --- bounds of time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "left", "right", "pairs"),
    [
        ("DATEDIFF(minute, a, b) BETWEEN 0 AND 1", 50, 40, True),
        ("DATEDIFF(minute, a, b) BETWEEN 0 AND 1", 50, 119, True),
        ("DATEDIFF(minute, a, b) BETWEEN 0 AND 1", 50, 120, False),
        ("DATEDIFF(minute, a, b) = 0", 50, 59.5, True),
        ("DATEDIFF(minute, a, b) = 0", 59.5, 60, False),
        ("DATEDIFF(second, b, a) BETWEEN 2 AND 3", 3, 0.5, True),
        ("DATEDIFF(second, b, a) BETWEEN 2 AND 3", 3, 1.5, True),
        ("DATEDIFF(second, b, a) BETWEEN 2 AND 3", 3, 2, False),
        ("DATEDIFF(second, a, b) BETWEEN 0 AND 100 AND DATEDIFF(minute, a, b) = 1", 30, 61, True),
        ("DATEDIFF(second, a, b) BETWEEN 0 AND 100 AND DATEDIFF(minute, a, b) = 1", 30, 59, False),
        ("DATEDIFF(day, a, b) BETWEEN 7 AND 7", 86_399, 7 * 86_400, True),
        ("DATEDIFF(microsecond, a, b) = 1", 1, 1.000001, True),
    ],
)
def test_a_bound_counts_the_boundaries_between_two_times(
    bound: str, left: float, right: float, pairs: bool
) -> None:
    rows = joined_rows(bound, [{"t": left, "n": 0}], [{"t": right, "n": 0}])
    assert rows == ([[0, 0]] if pairs else [])


def test_a_pair_has_the_later_time_of_both() -> None:
    answer = found(
        "SELECT System.Timestamp() AS at FROM a JOIN b ON DATEDIFF(second, a, b) BETWEEN -5 AND 5",
        {"a": [{"t": 3}], "b": [{"t": 1}, {"t": 4}]},
    )
    assert [row["seconds"] for row in answer] == [3, 4]


def test_pairs_come_by_time_then_left_row_then_right_row() -> None:
    rows = joined_rows(
        "DATEDIFF(second, a, b) BETWEEN -9 AND 9",
        [{"t": 2, "n": 0}, {"t": 5, "n": 1}, {"t": 5, "n": 2}],
        [{"t": 1, "n": 0}, {"t": 5, "n": 1}, {"t": 5, "n": 2}],
    )
    assert rows == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]


# --- keys --------------------------------------------------------------------------------------------------


def test_null_equals_nothing() -> None:
    assert joined_rows(SAME, events(None, 1), events(None, 1)) == [[1, 1]]


def test_numbers_are_equal_by_value_whatever_their_types() -> None:
    left = events(1, 1.0, 2.5, True, 2**53 + 1, -0.0)
    right = events(1.0, 1, 2.5, False, float(2**53), 0)
    pairs = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [3, 0], [3, 1], [5, 3], [5, 5]]
    assert joined_rows(SAME, left, right) == pairs


def test_texts_are_equal_to_the_letter() -> None:
    assert joined_rows(SAME, events("a", "A", "a ", "é"), events("a", "é")) == [[0, 0], [3, 1]]


def test_a_text_beside_a_number_is_read_as_one() -> None:
    assert joined_rows(SAME, events("1", " 2 ", "3.0", "2.5"), events(1, 2, 3, 2.5)) == [
        [0, 0],
        [1, 1],
        [2, 2],
        [3, 3],
    ]


def test_a_text_beside_a_bit_or_a_datetime_is_read_as_one() -> None:
    assert joined_rows(SAME, events("true", "0"), events(True, False)) == [[0, 0], [1, 1]]
    on = SAME.replace("a.k", "CAST(a.k AS datetime)")
    assert joined_rows(on, events("2026-03-02T10:00:00Z"), events("2026-03-02T11:00:00+01:00")) == [[0, 0]]


def test_texts_and_numbers_on_both_sides_meet_as_they_would_row_by_row() -> None:
    left, right = events("7", 7, "8", None), events(7, "7", 8.0, "8")
    assert joined_rows(SAME, left, right) == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [2, 3]]


def test_a_text_that_is_no_number_stops_the_job_where_it_meets_a_number() -> None:
    with pytest.raises(DataError, match=r"Cannot cast value 'x' .* in expression 'b\.k' at line 1"):
        joined_rows(SAME, events(1), events("x"))


def test_a_text_that_is_no_number_is_never_read_where_time_or_another_key_keeps_it_from_numbers() -> None:
    apart = [*events("x"), *events(1, t=5)]
    assert joined_rows(SAME, apart, apart) == [[0, 0], [0, 0]]
    both = f"a.n = b.n AND {SAME}"
    assert joined_rows(both, events("x", 1), events("x", 1)) == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("left", "right"), [({"x": 1}, {"x": 1}), ([1], [1]), ({"x": 1}, 1), ("x", {"x": 1})]
)
def test_records_and_arrays_cannot_be_joined_on(left: Any, right: Any) -> None:
    with pytest.raises(DataError, match=r"Cannot compare .* with .* in expression 'a\.k = b\.k'"):
        joined_rows(SAME, events(left), events(right))


def test_a_failing_key_names_its_row() -> None:
    on = SAME.replace("a.k", "CAST(a.k AS bigint)")
    with pytest.raises(DataError, match=r"Cannot cast value 'x' .* 'CAST\(a\.k AS bigint\)'"):
        joined_rows(on, events("1", "x"), events(1))
    with pytest.raises(DataError, match=r"Cannot cast value 'x' .* 'CAST\(b\.k AS bigint\)'"):
        joined_rows(SAME.replace("b.k", "CAST(b.k AS bigint)"), events(1), events("x"))


def test_several_keys_must_all_be_equal() -> None:
    left = [{"t": 0, "n": 0, "k": 1, "s": "x"}, {"t": 0, "n": 1, "k": 1, "s": "y"}]
    assert joined_rows(f"a.s = b.s AND {SAME}", left, left) == [[0, 0], [1, 1]]


# --- conditions --------------------------------------------------------------------------------------------


def test_a_condition_sees_the_columns_of_both_rows_and_the_time_of_the_pair() -> None:
    on = f"{SAME} AND a.n < b.n AND DATEPART(second, System.Timestamp()) = 1"
    left = [{"t": 0, "n": 0, "k": 1}, {"t": 0, "n": 5, "k": 1}]
    right = [{"t": 0, "n": 1, "k": 1}, {"t": 1, "n": 2, "k": 1}]
    assert joined_rows(on, left, right) == [[0, 2]]


def test_a_condition_decides_whether_a_left_row_stays_alone() -> None:
    on = f"{SAME} AND a.n < b.n"
    assert joined_rows(on, events(1, 1), events(1, 1), "LEFT JOIN") == [[0, 1], [1, None]]


def test_a_condition_that_fails_names_the_left_row_if_it_came_in_this_slice() -> None:
    join, script = _operator("a.n + CAST(b.k AS bigint) > 0 AND DATEDIFF(second, a, b) BETWEEN -9 AND 9")
    early, late = events(1), events("x", t=1)
    with pytest.raises(RowError) as caught:
        join.advance(join.initial(), _slices([*late, {"t": 1, "n": 9, "k": 1}], late))
    assert caught.value.row == 0
    state, _ = join.advance(join.initial(), _slices(early, [], 1))
    with pytest.raises(DataError, match="Cannot cast value 'x'") as caught_later:
        join.advance(state, _slices([], late))
    assert not isinstance(caught_later.value, RowError)
    assert script


# --- outer joins -------------------------------------------------------------------------------------------


def test_a_left_row_without_a_partner_comes_alone_at_its_time_plus_the_upper_bound() -> None:
    sql = "SELECT a.n AS x, b.n AS y FROM a LEFT JOIN b ON DATEDIFF(second, a, b) BETWEEN 0 AND 60"
    answer = found(sql, {"a": [{"t": 0.25, "n": 1}], "b": [{"t": 61, "n": 1}]})
    assert answer == [{"seconds": 60.25, "x": 1, "y": None}]


def test_a_missed_earlier_partner_is_dated_at_the_left_row_itself() -> None:
    sql = "SELECT a.n AS x FROM a LEFT JOIN b ON DATEDIFF(second, a, b) BETWEEN -9 AND -5"
    assert found(sql, {"a": [{"t": 20, "n": 1}], "b": []}) == [{"seconds": 20, "x": 1}]


def test_the_tightest_upper_bound_dates_a_row_that_stays_alone() -> None:
    sql = "SELECT a.n AS x FROM a LEFT JOIN b ON DATEDIFF(second, a, b) >= 0 AND DATEDIFF(minute, a, b) <= 2"
    assert found(sql, {"a": [{"t": 20, "n": 1}], "b": []}) == [{"seconds": 140, "x": 1}]


def test_a_source_that_an_outer_join_did_not_find_pairs_with_nothing() -> None:
    sql = (
        "SELECT a.n AS x, b.n AS y, c.n AS z FROM a "
        "LEFT JOIN b ON DATEDIFF(second, a, b) BETWEEN 0 AND 1 "
        "LEFT JOIN c ON DATEDIFF(second, b, c) BETWEEN 0 AND 5"
    )
    inputs = {"a": [{"t": 0, "n": 1}], "b": [{"t": 9, "n": 1}], "c": [{"t": 1, "n": 1}]}
    assert found(sql, inputs) == [{"seconds": 6, "x": 1, "y": None, "z": None}]


def test_pairs_do_not_wait_for_left_rows_that_have_their_partners() -> None:
    join, _ = _operator("DATEDIFF(minute, a, b) BETWEEN 0 AND 5", "LEFT JOIN")
    state, out = join.advance(join.initial(), _slices(events(1, t=2), events(1, t=2), 3))
    assert out.frontier_us == START_US + 3 * SECOND
    assert out.batch is not None
    assert out.batch.height == 1
    _, out = join.advance(state, _slices(events(1, t=310), [], 400))
    assert out.frontier_us == START_US + 400 * SECOND


# --- what is kept ------------------------------------------------------------------------------------------


def test_rows_are_kept_only_while_a_partner_can_come() -> None:
    join, _ = _operator("a.k = b.k AND DATEDIFF(minute, a, b) BETWEEN -1 AND 2")
    state, _ = join.advance(join.initial(), _slices(events(1, t=59), events(2, t=59), 60))
    assert [_height(state["left"]), _height(state["right"])] == [1, 1]
    state, _ = join.advance(state, _slices([], [], 120))  # a left row of minute 2 reaches back to minute 1
    assert [_height(state["left"]), _height(state["right"])] == [1, 0]
    state, _ = join.advance(state, _slices([], [], 179.9))
    assert _height(state["left"]) == 1
    state, _ = join.advance(state, _slices([], [], 180))
    assert _height(state["left"]) == 0


def test_a_row_that_can_only_have_earlier_partners_is_not_kept() -> None:
    join, _ = _operator("DATEDIFF(second, a, b) BETWEEN -5 AND -1", "LEFT JOIN")
    state, out = join.advance(join.initial(), _slices(events(1, t=3), [], 10))
    assert _height(state["left"]) == 0
    assert out.batch is not None


@pytest.mark.parametrize(
    ("joins", "times"),
    [
        ("JOIN b ON DATEDIFF(second, a, b) = 4 JOIN c ON DATEDIFF(second, a, c) = 0", [0, 4, 0.5]),
        ("LEFT JOIN b ON DATEDIFF(second, a, b) = 4 JOIN c ON DATEDIFF(second, a, c) = 0", [0, 9, 0.5]),
        ("JOIN b ON DATEDIFF(second, a, b) = -4 JOIN c ON DATEDIFF(second, b, c) = 0", [4, 0, 0.5]),
        (
            "JOIN b ON DATEDIFF(second, a, b) = -4 JOIN c ON DATEDIFF(second, a, c) = 4 "
            "JOIN d ON DATEDIFF(second, b, d) = 0",
            [4, 0, 8, 0.5],
        ),
        (
            "JOIN b ON DATEDIFF(second, a, b) = 4 JOIN c ON DATEDIFF(second, a, c) = -4 "
            "JOIN d ON DATEDIFF(second, c, d) = 0",
            [4, 8, 0, 0.5],
        ),
    ],
)
def test_a_row_waits_for_pairs_that_are_later_than_the_source_its_bound_names(
    joins: str, times: list[float]
) -> None:
    inputs = {name: [{"t": time}] for name, time in zip("abcd", times, strict=False)}
    for cut in range(8):
        assert len(found(f"SELECT a.t FROM a {joins}", inputs, [cut])) == 1


def test_nothing_is_kept_when_time_has_run_out() -> None:
    join, _ = _operator("DATEDIFF(minute, a, b) BETWEEN -5 AND 5", "LEFT JOIN")
    state, out = join.advance(join.initial(), _slices(events(1, 2), events(1, 2)))
    assert [state["left"], state["right"], state["waiting"]] == [None, None, None]
    assert out.frontier_us == FOREVER_US


def test_a_join_that_explodes_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MAX_JOIN_ROWS", 8)
    assert len(joined_rows("DATEDIFF(second, a, b) = 0", events(1, 2), events(1, 2, 3, 4))) == 8
    with pytest.raises(DataError, match="a join gives more than 8 rows at once"):
        joined_rows("DATEDIFF(second, a, b) = 0", events(1, 2, 3), events(1, 2, 3))


# --- against a double loop ---------------------------------------------------------------------------------

KEYS = st.sampled_from([None, 1, 1.0, 2, 2.5, True])
TIMES = st.integers(0, 40).map(lambda quarters: quarters / 4)
CUTS = st.one_of(
    st.lists(st.integers(-4, 80).map(lambda quarters: quarters / 4), max_size=12),
    st.integers(3, 9).map(lambda step: [quarters / 4 for quarters in range(step, 64, step)]),
)
LOW_AND_HIGH = st.one_of(
    st.tuples(st.integers(-4, 4), st.integers(0, 4)).map(lambda ends: (ends[0], sum(ends))),
    st.sampled_from([(-5, 5), (0, 0), (0, 1), (-3, -1)]),
)


@st.composite
def streams(draw: st.DrawFn, *names: str) -> dict[str, list[Event]]:
    def stream() -> list[Event]:
        times = sorted(draw(st.lists(TIMES, min_size=draw(st.sampled_from([0, 5, 9])), max_size=12)))
        return [{"t": time, "n": place, "k": draw(KEYS)} for place, time in enumerate(times)]

    return {name: stream() for name in names}


def bounds(draw: st.DrawFn, source: str) -> Bound:
    return Bound(source, *draw(LOW_AND_HIGH))


@st.composite
def chains(draw: st.DrawFn) -> list[Joined]:
    """Draw a join of two or three streams, the third bounded against one or both of the others."""
    keyed = st.booleans()
    chain = [Joined("b", (bounds(draw, "a"),), "a" if draw(keyed) else None, draw(st.booleans()))]
    if draw(st.booleans()):
        sources = draw(st.sampled_from([["a"], ["b"], ["a", "b"]]))
        third = tuple(bounds(draw, source) for source in sources)
        key = draw(st.sampled_from([None, "a", "b"]))
        chain.append(Joined("c", third, key, draw(st.booleans())))
    return chain


def _sql(chain: list[Joined]) -> str:
    items = ", ".join(f"{name}.n AS {name}" for name in ("a", *(joined.name for joined in chain)))
    return f"SELECT {items} FROM a {' '.join(joined.sql() for joined in chain)}"


@settings(max_examples=150, deadline=None)
@given(chain=chains(), inputs=streams("a", "b", "c"), cuts=CUTS, saved=st.booleans())
def test_joins_give_what_a_double_loop_gives_wherever_the_streams_are_cut(
    chain: list[Joined], inputs: Mapping[str, list[Event]], cuts: list[float], saved: bool
) -> None:
    used = {name: inputs[name] for name in ("a", *(joined.name for joined in chain))}
    expected = double_loop("a", chain, used)
    assert found(_sql(chain), used) == expected
    assert found(_sql(chain), used, cuts, saved=saved) == expected


@settings(max_examples=40, deadline=None)
@given(bound=LOW_AND_HIGH, inputs=streams("a"), cuts=CUTS, outer=st.booleans())
def test_a_stream_can_be_joined_with_itself(
    bound: tuple[int, int], inputs: Mapping[str, list[Event]], cuts: list[float], outer: bool
) -> None:
    low, high = bound
    joined = Joined("b", (Bound("a", low, high),), "a", outer)
    expected = double_loop("a", [joined], {"a": inputs["a"], "b": inputs["a"]})
    sql = _sql([joined]).replace("FROM a ", "FROM src a ").replace("JOIN b ", "JOIN src b ")
    assert found(sql, {"src": inputs["a"]}, cuts) == expected


@settings(max_examples=40, deadline=None)
@given(bound=LOW_AND_HIGH, inputs=streams("a", "b"), outer=st.booleans())
def test_rows_whose_partners_are_searched_by_time_are_the_same(
    bound: tuple[int, int], inputs: Mapping[str, list[Event]], outer: bool
) -> None:
    joined = Joined("b", (Bound("a", *bound),), "a", outer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "_LOOSE", 0)
        patch.setattr(pairs, "_CHUNK_PAIRS", 3)
        assert found(_sql([joined]), inputs, [5, 10]) == double_loop("a", [joined], inputs)


MIXED = st.sampled_from([None, 1, "1", 2.5, "2.5", " 2", 2, True, "0", 0.0, "01", "2.0", "x", {"x": 1}])


@settings(max_examples=150, deadline=None)
@given(left=st.lists(MIXED, max_size=5), right=st.lists(MIXED, max_size=5))
def test_keys_of_mixed_types_are_equal_just_where_the_operator_says_so_and_fail_where_it_does(
    left: list[Any], right: list[Any]
) -> None:
    def outcome(equation: str) -> list[list[Any]] | None:
        on = f"{equation} AND DATEDIFF(second, a, b) = 0"
        try:
            return joined_rows(on, events(*left), events(*right))
        except DataError:
            return None

    assert outcome("a.k = b.k") == outcome("(a.k = b.k OR 1 = 0)")


# --- the operator by itself --------------------------------------------------------------------------------


def _operator(on: str, kind: str = "JOIN") -> tuple[StreamJoin, str]:
    script = bind(f"SELECT a.n AS x FROM a {kind} b ON {on}")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Join)
    return StreamJoin(relation.source, script.text), script.text


def _slices(left: list[Event], right: list[Event], until: float | None = None) -> list[Slice]:
    frontier_us = FOREVER_US if until is None else START_US + round(until * SECOND)
    return [
        Slice(qualify(timed(side), name) if side else None, frontier_us)
        for name, side in (("a", left), ("b", right))
    ]


def _height(rows: object) -> int:
    return rows.height if isinstance(rows, Batch) else 0
