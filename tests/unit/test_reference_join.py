"""Joins with reference data: which rows match, in what order, and which snapshot is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.joins import pairs
from headrace.engine.joins.reference import Reference
from headrace.engine.operators.qualify import qualify
from headrace.engine.operators.reference_join import ReferenceLookup
from headrace.engine.row_error import RowError
from headrace.errors import DataError
from headrace.events.batch import ORIGIN, TIME
from headrace.events.formats.json import from_rows
from headrace.sql.bind import bind
from headrace.sql.plan import Project, ReferenceJoin, qualified
from tests.unit.joining import SECOND, START_US, Event, found, timed


def events(*keys: Any) -> list[Event]:
    return [{"t": 0, "n": place, "k": key} for place, key in enumerate(keys)]


def looked_up(
    on: str, left: Sequence[Event], reference: Sequence[Event] | Reference, kind: str = "JOIN"
) -> list[list[Any]]:
    """Return the `n` of both sides of every row of a join of `a` with the reference data `r`."""
    if not isinstance(reference, Reference):
        reference = Reference.of(from_rows(reference))
    sql = f"SELECT a.n AS x, r.n AS y FROM a {kind} r ON {on}"
    answer = found(sql, {"a": left}, references={"r": reference})
    return [[row.get("x"), row.get("y")] for row in answer]


# --- rows and keys -----------------------------------------------------------------------------------------


def test_every_reference_row_that_matches_gives_a_row_in_the_order_of_both() -> None:
    assert looked_up("a.k = r.k", events("x", "y", "x", "z"), events("y", "x", "w", "x")) == [
        [0, 1],
        [0, 3],
        [1, 0],
        [2, 1],
        [2, 3],
    ]


def test_an_outer_join_keeps_the_events_without_a_match_in_their_place() -> None:
    assert looked_up("a.k = r.k", events("x", "z", None, "x"), events("x"), "LEFT JOIN") == [
        [0, 0],
        [1, None],
        [2, None],
        [3, 0],
    ]


def test_an_event_keeps_its_time_and_its_origin() -> None:
    lookup, name = _lookup("a.k = r.k", Reference.of(timed([{"t": 50, "k": 1}, {"t": 60, "k": 1}])))
    given_ = qualify(timed([{"t": 3, "k": 2}, {"t": 7, "k": 1}]), name)
    joined = lookup.joined(given_)
    assert joined.frame[TIME].to_list() == [given_.frame[TIME][1]] * 2
    assert joined.frame[ORIGIN].to_list() == [1, 1]


def test_keys_are_equal_as_the_operator_says() -> None:
    assert looked_up("a.k = r.k", events(1, 2.5, None, "1"), events(1.0, 2.5, None, "1")) == [
        [0, 0],
        [0, 3],
        [1, 1],
        [3, 0],
        [3, 3],
    ]


def test_reference_data_that_are_all_text_join_with_numbers() -> None:
    assert looked_up("a.k = r.k", events(7, 8), events("8", " 7", "9")) == [[0, 1], [1, 0]]


def test_a_text_that_is_no_number_stops_the_job_where_it_meets_a_number() -> None:
    with pytest.raises(DataError, match=r"Cannot cast value 'x' .* in expression 'r\.k' at line 1"):
        looked_up("a.k = r.k", events(1), events("1", "x"))


def test_a_condition_without_equal_columns_looks_at_every_reference_row() -> None:
    assert looked_up("a.n >= r.n", events(0, 0), events(0, 0, 0)) == [[0, 0], [1, 0], [1, 1]]


def test_a_condition_and_equal_columns_must_both_hold() -> None:
    on = "a.k = r.k AND a.n >= r.n"
    assert looked_up(on, events("x", "x"), events("x", "x", "y"), "LEFT JOIN") == [[0, 0], [1, 0], [1, 1]]
    assert looked_up(on, events("y", "x"), events("z", "y"), "LEFT JOIN") == [[0, None], [1, None]]


def test_a_condition_on_the_event_alone_can_be_all_there_is() -> None:
    assert looked_up("a.n = 1", events(0, 0), events(0, 0)) == [[1, 0], [1, 1]]


def test_a_condition_that_fails_names_the_event() -> None:
    lookup, name = _lookup(
        "a.k = r.k AND CAST(a.n AS bigint) > r.n", Reference.of(from_rows(events("x", "y")))
    )
    rows = [{"t": 0, "k": "z", "n": "bad"}, {"t": 1, "k": "y", "n": "bad"}]
    with pytest.raises(RowError, match="Cannot cast value 'bad'") as caught:
        lookup.joined(qualify(timed(rows), name))
    assert caught.value.row == 1


def test_a_key_of_the_reference_data_that_fails_names_them() -> None:
    with pytest.raises(DataError, match="reference data 'r': Cannot cast value 'x'"):
        looked_up("a.k = CAST(r.k AS bigint)", events(1), events("x"))


@pytest.mark.parametrize("kind", ["JOIN", "LEFT JOIN"])
def test_reference_data_without_rows_match_nothing(kind: str) -> None:
    assert looked_up("a.k = r.k", events(1), [], kind) == ([[0, None]] if kind == "LEFT JOIN" else [])


def test_too_many_matches_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MAX_JOIN_ROWS", 5)
    with pytest.raises(DataError, match="a join gives more than 5 rows at once"):
        looked_up("a.k = r.k", events(1, 1), events(1, 1, 1))


def test_reference_data_can_be_joined_after_streams_and_with_reference_data() -> None:
    sql = (
        "SELECT a.n AS a, b.n AS b, r.n AS r, s.n AS s FROM a "
        "JOIN b ON a.k = b.k AND DATEDIFF(second, a, b) BETWEEN 0 AND 5 "
        "JOIN r ON b.k = r.k LEFT JOIN s ON r.n = s.n"
    )
    references = {"r": Reference.of(from_rows(events(1, 2, 1))), "s": Reference.of(from_rows([{"n": 2}]))}
    answer = found(sql, {"a": events(1), "b": events(2, 1)}, references=references)
    assert [[row.get(name) for name in "abrs"] for row in answer] == [[0, 1, 0, None], [0, 1, 2, 2]]


# --- snapshots ---------------------------------------------------------------------------------------------


def snapshot(second: float, *names: int) -> tuple[int, Any]:
    return START_US + round(second * SECOND), from_rows([{"n": name} for name in names])


def test_an_event_joins_the_latest_snapshot_that_has_begun_at_its_time() -> None:
    reference = Reference.of_snapshots([snapshot(20, 3), snapshot(10, 1, 2)])
    times = [{"t": time, "n": time} for time in (9.5, 10, 19.5, 20, 99)]
    assert looked_up("a.t >= 0", times, reference) == [
        [10, 1],
        [10, 2],
        [19.5, 1],
        [19.5, 2],
        [20, 3],
        [99, 3],
    ]


def test_before_the_first_snapshot_nothing_matches() -> None:
    reference = Reference.of_snapshots([snapshot(10, 1)])
    assert looked_up("a.t >= 0", [{"t": 9, "n": 9}], reference) == []
    assert looked_up("a.t >= 0", [{"t": 9, "n": 9}, {"t": 10, "n": 10}], reference, "LEFT JOIN") == [
        [9, None],
        [10, 1],
    ]


def test_of_two_snapshots_of_one_time_the_latter_counts() -> None:
    reference = Reference.of_snapshots([snapshot(10, 1), snapshot(10, 2)])
    assert looked_up("a.t >= 0", [{"t": 10, "n": 10}], reference) == [[10, 2]]


def test_events_need_not_come_in_order_of_time() -> None:
    reference = Reference.of_snapshots([snapshot(0, 1), snapshot(10, 2)])
    lookup, name = _lookup("a.t >= r.n", reference)
    joined = lookup.joined(qualify(timed([{"t": 12}, {"t": 2}, {"t": 11}, {"t": 0}]), name))
    (column,) = joined.named(qualified("r", "n"))
    assert joined.frame[column.physicals[0]].to_list() == [2, 1, 2]
    assert joined.frame[ORIGIN].to_list() == [0, 1, 2]


def test_a_failure_in_one_of_several_snapshots_names_the_event() -> None:
    reference = Reference.of_snapshots([snapshot(0, 1), snapshot(10, 2)])
    lookup, name = _lookup("CAST(a.k AS bigint) > r.n", reference)
    with pytest.raises(RowError) as caught:
        lookup.joined(qualify(timed([{"t": 0, "k": "5"}, {"t": 12, "k": "5"}, {"t": 12, "k": "x"}]), name))
    assert caught.value.row == 2


# --- against a double loop ---------------------------------------------------------------------------------

KEYS = st.sampled_from([None, 1, 1.0, 2, 2.5, True, 3])
TABLE = st.lists(KEYS, max_size=6).map(lambda keys: events(*keys))


@settings(max_examples=60, deadline=None)
@given(
    left=st.lists(st.tuples(st.integers(0, 12), KEYS), max_size=12),
    snapshots=st.dictionaries(st.integers(0, 12), TABLE, max_size=3),
    outer=st.booleans(),
    by=st.sampled_from(["a.k = r.k", "(a.k = r.k OR 1 = 0)"]),
)
def test_rows_are_those_of_a_double_loop(
    left: list[tuple[int, Any]], snapshots: dict[int, list[Event]], outer: bool, by: str
) -> None:
    rows = [{"t": t, "n": n, "k": k} for n, (t, k) in enumerate(sorted(left, key=lambda event: event[0]))]
    reference = Reference.of_snapshots(
        [(START_US + start * SECOND, from_rows(table)) for start, table in snapshots.items()]
    )
    expected: list[list[Any]] = []
    for row in rows:
        started = [start for start in snapshots if start <= row["t"]]
        table = snapshots[max(started)] if started else []
        matches = [other["n"] for other in table if row["k"] is not None and row["k"] == other["k"]]
        expected += [[row["n"], match] for match in (matches or ([None] if outer else []))]
    assert looked_up(by, rows, reference, "LEFT JOIN" if outer else "JOIN") == expected


def _lookup(on: str, reference: Reference) -> tuple[ReferenceLookup, str]:
    """Return what joins the rows of a source with reference data, and the name of that source."""
    script = bind(f"SELECT a.t FROM a JOIN r ON {on}", references=["r"])
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, ReferenceJoin)
    return ReferenceLookup(relation.source, lambda: reference, script.text), "a"
