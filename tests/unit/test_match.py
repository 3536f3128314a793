"""MATCH_RECOGNIZE: which events match, what a match tells, and what is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from headrace.engine.finite import Cuts
from headrace.engine.operator import FOREVER_US, NEVER_US, Slice
from headrace.engine.operators import match as match_module
from headrace.engine.operators.match import PatternMatch
from headrace.engine.query import query_in_pieces
from headrace.engine.snapshot import decode, encode
from headrace.errors import DataError
from headrace.events.batch import DTYPES, TIME, Batch, ValueType
from headrace.events.formats.json import from_rows
from headrace.sql.bind import bind
from headrace.sql.plan import Match, Project

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(second: float) -> str:
    return (NOON + timedelta(seconds=second)).isoformat()


def clauses(
    pattern: str, define: str, measures: str, *, limit: str = "minute, 1", partition: str = ""
) -> str:
    return f"""MATCH_RECOGNIZE (
        LIMIT DURATION({limit})
        {f"PARTITION BY {partition}" if partition else ""}
        MEASURES {measures}
        AFTER MATCH SKIP TO NEXT ROW
        PATTERN ({pattern})
        {f"DEFINE {define}" if define else ""}) AS T"""


def matched(
    events: list[dict[str, Any]], pattern: str, define: str, measures: str, **others: str
) -> list[Any]:
    """The rows of matches among events a second apart, unless they tell their second as `s`."""
    rows = [{**event, "t": at(event.get("s", second))} for second, event in enumerate(events)]
    query = f"SELECT * FROM src TIMESTAMP BY t {clauses(pattern, define, measures, **others)}"
    found = query_in_pieces(query, {"src": rows})["output"]
    for cuts in (Cuts(1), Cuts(2, restarting=True)):
        assert query_in_pieces(query, {"src": rows}, cuts=cuts)["output"] == found
    return found


def kinds(text: str) -> list[dict[str, Any]]:
    return [{"k": letter, "v": number} for number, letter in enumerate(text)]


def names(text: str, pattern: str, define: str = "") -> list[str]:
    """The variables that the events of each match took, among events of one-letter kinds."""
    define = define or "A AS A.k = 'a', B AS B.k = 'b', C AS C.k = 'c'"
    used = ", ".join(part for part in define.split(", ") if part[0] in pattern)
    found = matched(kinds(text), pattern, used, "Classifier() AS names, COUNT(*) AS n")
    assert all(row["n"] == len(row["names"]) for row in found)
    return ["".join(row["names"]) for row in found]


# --- patterns --------------------------------------------------------------------------------------------


def test_the_events_of_a_match_follow_one_another():
    assert names("abcacb", "A B C") == ["ABC"]


def test_a_pattern_that_ends_in_a_repeat_is_complete_at_the_first_event_that_will_do():
    assert names("aaa", "A+") == ["A", "A", "A"]
    assert names("abbb", "A B*") == ["A"]
    assert names("abbb", "A B+") == ["AB"]
    assert names("aaaa", "A{2,}") == ["AA", "AA", "AA"]


def test_a_match_may_begin_at_every_event_and_overlap_others():
    assert names("aab", "A+ B") == ["AAB", "AB"]


def test_an_event_begins_one_match_at_most():
    assert names("abab", "A (B | B A B)") == ["AB", "AB"]


def test_repeats_take_as_much_as_they_can():
    loose = "A AS A.k <> 'c', B AS B.k <> 'c', C AS C.k = 'c'"
    assert names("aac", "A+ B* C", loose)[0] == "AAC"
    assert names("aac", "A? B* C", loose)[0] == "ABC"
    assert names("aac", "B* A* C", loose)[0] == "BBC"


def test_the_left_alternative_comes_first():
    loose = "A AS A.k <> 'c', B AS B.k <> 'c', C AS C.k = 'c'"
    assert names("xc", "(B | A) C", loose) == ["BC"]
    assert names("xc", "(A | B) C", loose) == ["AC"]


def test_counts_in_braces_repeat():
    assert names("aaab", "A{2} B") == ["AAB"]
    assert names("aaab", "A{1,2} B") == ["AAB", "AB"]
    assert names("aab", "A{0,1} B") == ["AB", "B"]


def test_a_dot_and_a_variable_without_a_definition_take_any_event():
    assert names("axyb", "A . X B", "A AS A.k = 'a', B AS B.k = 'b'") == ["A.XB"]


def test_a_match_has_at_least_one_event():
    assert names("xax", "A*") == ["A"]


def test_groups_nest():
    assert names("abacac", "(A (B | C))+ A C") == ["ABAC", "ACAC"]


def test_two_ways_to_one_place_stay_apart_where_a_condition_looks_back():
    define = "A AS A.v >= 0, B AS B.v >= 0, C AS C.v = FIRST(B.v) + 2"
    assert matched(kinds("xxx"), "(A B | B A) C", define, "Classifier() AS names") == [
        {"names": ["B", "A", "C"]}
    ]


def test_a_pattern_whose_conditions_look_at_nothing_before_keeps_few_ways():
    events = kinds("x" * 40)
    assert matched(events, "(A | B | A B)* C", "C AS C.k = 'c'", "COUNT(*) AS n") == []


# --- conditions ------------------------------------------------------------------------------------------


def test_in_a_condition_the_event_itself_belongs_to_its_variable():
    rows = matched(
        kinds("xxxx"), "A+ B", "A AS SUM(A.v) < 3, B AS COUNT(B.v) = 1 AND B.v = 3", "SUM(A.v) AS s"
    )
    # 0 + 1 + 2 is 3 already; from 1 on it is 3, too; 2 alone is less.
    assert rows == [{"s": 2}]


def test_an_aggregate_of_a_variable_without_events_is_null_and_its_count_is_0():
    define = "A AS A.v = 0, B AS LAST(C.v) IS NULL AND COUNT(C.v) = 0"
    measures = "LAST(C.v) AS last, COUNT(C) AS n, SUM(C.v) AS s"
    assert matched(kinds("xx"), "A C* B", f"C AS C.v > 5, {define}", measures) == [{"n": 0}]


def test_a_comparison_with_null_is_unknown_and_so_is_its_not():
    events = [{"v": 1}, {}, {"v": 3}]
    assert matched(events, "A B", "A AS A.v = 1, B AS NOT (B.v = LAST(A.v))", "COUNT(*) AS n") == []
    assert (
        len(matched(events, "A B", "A AS A.v = 1, B AS NOT (B.v = 1 OR LAST(A.v) = 5)", "COUNT(*) AS n")) == 0
    )
    assert (
        len(matched(events, "A B", "A AS A.v = 1, B AS B.v IS NULL AND LAST(A.v) = 1", "COUNT(*) AS n")) == 1
    )


@pytest.mark.parametrize(
    "condition",
    [
        "DATEDIFF(second, LAST(A.t), B.t) = 1",
        "LAST(A.k) + '!' = 'a!'",
        "CONCAT(LAST(A.k), B.k) LIKE 'ab%'",
        "CASE WHEN LAST(A.v) = 0 THEN 1 ELSE 2 END = 1",
        "LAST(A.v) IN (0, 7)",
        "LAST(A.v) BETWEEN 0 AND B.v",
        "B.v > LAST(A.v) AND B.v * 3 / 2 = 1 AND B.v % 2 = 1 AND B.v - LAST(A.v) = 1",
        "7 / (LAST(A.v) + 2) = 3 AND -7 / (LAST(A.v) + 2) = -3 AND -7 % (LAST(A.v) + 2) = -1",
        "7.0 / (LAST(A.v) + 2) = 3.5 AND -7.5 % (LAST(A.v) + 2) = -1.5",
        "CAST(LAST(A.t) AS datetime) < CAST(B.t AS datetime)",
        "LAST(A.text) < B.v",
        "ABS(LAST(A.v) - B.v) = 1 OR CAST(LAST(A.k) AS bigint) = 1",
        "System.Timestamp() > LAST(A.t)",
    ],
)
def test_whatever_stands_over_aggregates_is_worth_what_it_is_elsewhere(condition):
    events = [{"k": "a", "v": 0, "text": "0.5"}, {"k": "b", "v": 1}]
    assert len(matched(events, "A B", f"A AS A.k = 'a', B AS {condition}", "COUNT(*) AS n")) == 1


def test_a_condition_that_fails_for_an_event_stops_the_job_only_where_the_pattern_gets_there():
    events = [{"k": "x", "v": "?"}, {"k": "a"}, {"k": "b", "v": "7"}]
    define = "A AS A.k = 'a', B AS CAST(B.v AS bigint) > 5"
    assert matched(events, "A B", define, "LAST(B.v) AS v") == [{"v": "7"}]
    with pytest.raises(DataError, match=r"Cannot cast value '\?' .* in expression 'CAST\(B\.v AS bigint\)'"):
        matched([events[1], events[0]], "A B", define, "LAST(B.v) AS v")


def test_what_fails_behind_an_aggregate_that_settles_it_is_not_looked_at():
    events = [{"k": "a", "v": 1}, {"k": "b", "v": "?"}]
    define = "A AS A.k = 'a', B AS LAST(A.v) = 2 AND CAST(B.v AS bigint) > 5"
    assert matched(events, "A B", define, "COUNT(*) AS n") == []
    with pytest.raises(DataError, match="Cannot cast"):
        matched(events, "A B", define.replace("= 2", "= 1"), "COUNT(*) AS n")


def test_a_tank_that_is_filled_too_fast_is_told():
    define = "Normal AS Normal.filling = 1, Dangerous AS Max(Dangerous.p) > 2 * Max(Normal.p)"
    events = [{"filling": 1, "p": p} for p in (10, 14, 19, 21, 50)]
    rows = matched(events, "Normal+ Dangerous+", define, "MAX(Dangerous.p) AS p, Classifier() AS c")
    assert [row["p"] for row in rows] == [50, 50, 50, 50]
    assert rows[0]["c"] == ["Normal"] * 4 + ["Dangerous"]


# --- measures --------------------------------------------------------------------------------------------


def test_measures_aggregate_over_the_events_of_their_variables():
    events = [{"v": value} for value in (5, 1, None, 2.5, True, 4)]
    measures = ", ".join(
        f"{name}(A.v) AS {name}" for name in ("FIRST", "LAST", "MIN", "MAX", "SUM", "AVG", "COUNT")
    )
    [row] = matched(events, "A{5} B", "B AS B.v = 4", measures)
    assert row == {"FIRST": 5, "LAST": True, "MIN": 1, "MAX": 5, "SUM": 9.5, "AVG": 9.5 / 4, "COUNT": 4}


def test_first_and_last_are_those_of_events_even_where_they_are_null():
    events = [{}, {"v": 1}, {}, {"k": "b"}]
    [row] = matched(
        events, "A{3} B", "B AS B.k = 'b'", "FIRST(A.v) AS f, LAST(A.v) AS l, MIN(A.v) AS m, COUNT(A) AS n"
    )
    assert row == {"m": 1, "n": 3}


def test_a_sum_of_bigints_is_a_bigint_and_an_average_a_float():
    [row] = matched(kinds("xxx"), "A{2} B", "B AS B.v = 2", "SUM(A.v) AS s, AVG(A.v) AS a")
    assert (repr(row["s"]), repr(row["a"])) == ("1", "0.5")


def test_aggregates_of_numbers_read_texts_as_floats_where_they_are_reached():
    events = [{"v": "?"}, {"k": "a", "v": "2"}, {"k": "a", "v": 3}, {"k": "b", "v": "?"}]
    define = "A AS A.k = 'a', B AS B.k = 'b'"
    measures = "SUM(A.v) AS s, MAX(A.v) AS most, MIN(A.v) AS least, LAST(B.v) AS v"
    rows = matched(events, "A+ B", define, measures)
    assert rows[0] == {"s": 5.0, "most": 3, "least": 2.0, "v": "?"}
    with pytest.raises(
        DataError, match=r"Cannot cast value '\?' of type nvarchar\(max\) to type float .* 'B.v'"
    ):
        matched(events, "A+ B", define, "SUM(B.v) AS s")


def test_a_sum_out_of_range_is_an_error_and_no_wrap():
    events = [{"v": 2**63 - 1}, {"v": 1}, {"v": -5, "k": "b"}]
    with pytest.raises(DataError, match=r"out of range .* 'SUM\(A.v\)'"):
        matched(events, "A A B", "B AS B.k = 'b'", "SUM(A.v) AS s")
    assert matched(events, "A A B", "B AS B.k = 'b'", "COUNT(*) AS n") == [{"n": 3}]


def test_values_of_every_type_come_out_as_they_went_in():
    values = [True, 7, 2.5, "text", {"b": [1, {}]}, [1, "x"], None]
    events = [{"v": value} for value in values]
    rows = matched(events, "A", "", "LAST(A.v) AS v")
    assert [row.get("v") for row in rows] == values
    assert [type(row.get("v")) for row in rows] == [type(value) for value in values]


def test_datetimes_are_compared_and_shown_as_such():
    measures = "MIN(A.moment) AS a, MAX(B.moment) AS b"
    script = f"""WITH s AS (SELECT CAST(t AS datetime) AS moment FROM src TIMESTAMP BY t)
        SELECT * FROM s {clauses("A B", "B AS B.moment > MAX(A.moment)", measures)}"""
    rows = [{"t": at(0)}, {"t": at(1)}]
    assert query_in_pieces(script, {"src": rows})["output"] == [{"a": NOON, "b": NOON + timedelta(seconds=1)}]


def test_a_measure_may_compute_with_aggregates():
    [row] = matched(
        kinds("xx"), "A B", "A AS A.v = 0, B AS B.v = 1", "(LAST(B.v) - LAST(A.v)) * 10 AS rise, 'x' AS y"
    )
    assert row == {"rise": 10, "y": "x"}


def test_a_field_may_lie_in_a_record():
    events = [{"r": {"x": 1}}, {"r": {"x": 2}}]
    rows = matched(events, "A B", "B AS B.r.x > LAST(A.r.x)", "LAST(B.r.x) AS x, LAST(A.r) AS r")
    assert rows == [{"x": 2, "r": {"x": 1}}]


def test_variables_and_functions_are_found_ignoring_case_and_named_as_the_pattern_spells_them():
    rows = matched(
        kinds("ab"), "Up DOWN", "up AS UP.K = 'a', down AS Down.v > last(uP.V)", "classifier() AS names"
    )
    assert rows == [{"names": ["Up", "DOWN"]}]


# --- partitions and time ---------------------------------------------------------------------------------


def test_matches_of_one_partition_do_not_see_the_events_of_others():
    events = [{"m": "x", "k": "a"}, {"m": "y", "k": "z"}, {"m": "x", "k": "b"}]
    define = "A AS A.k = 'a', B AS B.k = 'b'"
    assert matched(events, "A B", define, "COUNT(*) AS n", partition="m") == [{"m": "x", "n": 2}]
    assert matched(events, "A B", define, "COUNT(*) AS n") == []


def test_a_measure_with_the_name_of_a_key_takes_its_place():
    events = [{"m": "x", "n": 1}]
    assert matched(events, "A", "", "FIRST(A.n) AS M", partition="m, n") == [{"n": 1, "M": 1}]


def test_equal_keys_are_one_partition_whatever_their_types():
    events = [{"k": None}, {"k": 1}, {}, {"k": 1.0}, {"k": "1"}, {"k": True}]
    rows = matched(events, "A B", "", "COUNT(*) AS n", partition="k")
    assert rows == [{"n": 2}, {"k": 1.0, "n": 2}]


def test_keys_of_several_columns_are_not_mixed_up():
    events = [{"a": "1", "b": "11"}, {"a": "11", "b": "1"}, {"a": "1", "b": None}, {"a": None, "b": "1"}]
    assert matched(events, "A B", "", "COUNT(*) AS n", partition="a, b") == []


@pytest.mark.parametrize(("second", "found"), [(59.999999, 1), (60, 0), (61, 0)])
def test_all_events_of_a_match_are_younger_than_the_limit(second, found):
    events = [{"k": "a", "s": 0}, {"k": "b", "s": second}]
    rows = matched(events, "A B", "A AS A.k = 'a', B AS B.k = 'b'", "COUNT(*) AS n")
    assert len(rows) == found


def test_events_of_one_time_match_in_the_order_of_their_arrival():
    events = [{"k": letter, "s": 0} for letter in "abab"]
    rows = matched(events, "A B", "A AS A.k = 'a', B AS B.k = 'b'", "COUNT(*) AS n")
    assert len(rows) == 2


def test_a_match_has_the_time_of_its_last_event_and_rows_come_by_time_and_first_event():
    rows = [
        {"k": letter, "v": number, "t": at(second)}
        for number, (letter, second) in enumerate([("a", 0), ("a", 1), ("b", 2), ("b", 2)])
    ]
    query = f"""SELECT first, System.Timestamp() AS ended FROM src TIMESTAMP BY t
        {clauses("A+ B+ C*", "A AS A.k = 'a', B AS B.k = 'b'", "FIRST(A.v) AS first")} WHERE first < 5"""
    end = NOON + timedelta(seconds=2)
    assert query_in_pieces(query, {"src": rows})["output"] == [
        {"first": 0, "ended": end},
        {"first": 1, "ended": end},
    ]


def test_matches_are_a_source_like_any_other():
    rows = [{"k": letter, "t": at(second)} for second, letter in enumerate("abab")]
    query = f"""WITH m AS (SELECT T.n AS n, T.k FROM src TIMESTAMP BY t
        {clauses("A B", "A AS A.k = 'a', B AS B.k = 'b'", "COUNT(*) AS n, LAST(B.k) AS k")})
        SELECT k, SUM(n) AS n, COUNT(*) AS c FROM m GROUP BY k, TumblingWindow(minute, 1)"""
    assert query_in_pieces(query, {"src": rows})["output"] == [{"k": "b", "n": 4, "c": 2}]


# --- what is kept ----------------------------------------------------------------------------------------


def operator(pattern: str, define: str) -> PatternMatch:
    script = bind(f"SELECT * FROM src {clauses(pattern, define, 'COUNT(*) AS n', partition='m')}")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Match)
    return PatternMatch(relation.source, script.text)


def sliced(events: list[dict[str, Any]], seconds: list[int], frontier: int) -> Slice:
    batch = from_rows(events)
    column = pl.Series(TIME, [second * 1_000_000 for second in seconds], dtype=pl.Int64)
    frame = batch.frame.with_columns(column.cast(DTYPES[ValueType.DATETIME]))
    return Slice(Batch(frame, batch.columns), frontier * 1_000_000)


def test_what_cannot_be_completed_any_more_is_dropped():
    pattern = operator("A B", "A AS A.k = 'a', B AS B.k = 'b'")
    events = [{"m": "x", "k": "a"}, {"m": "y", "k": "a"}, {"m": "z", "k": "c"}]
    state, found = pattern.advance(pattern.initial(), [sliced(events, [0, 10, 20], 59)])
    assert found.batch is None
    assert set(state["begun"]) == {"TEXT:1:x", "TEXT:1:y"}
    state, _ = pattern.advance(state, [Slice(None, 60_000_000)])
    assert set(state["begun"]) == {"TEXT:1:y"}
    state, found = pattern.advance(decode(encode(state)), [Slice(None, FOREVER_US)])
    assert state == {"events": 3, "begun": {}}
    assert found == Slice(None, FOREVER_US)


def test_a_state_is_never_changed_in_place():
    pattern = operator("A+ B", "A AS A.k = 'a', B AS B.k = 'b'")
    state, _ = pattern.advance(pattern.initial(), [sliced([{"m": "x", "k": "a"}], [0], 1)])
    before = encode(state)
    for letter in "ab":
        pattern.advance(state, [sliced([{"m": "x", "k": letter}], [1], 2)])
    assert encode(state) == before
    assert pattern.initial() == {"events": 0, "begun": {}}
    assert pattern.advance(pattern.initial(), [Slice(None, NEVER_US)])[1] == Slice(None, NEVER_US)


def test_too_many_matches_begun_are_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(match_module, "MAX_OPEN_MATCHES", 5)
    events = [{"k": "a", "s": second} for second in range(6)]
    with pytest.raises(DataError, match=r"more than 5 matches that have begun.*LIMIT DURATION shorter"):
        matched(events, "A+ B", "A AS A.k = 'a', B AS B.k = 'b'", "COUNT(*) AS n")


def test_matches_too_old_to_be_completed_do_not_count_as_begun(monkeypatch):
    monkeypatch.setattr(match_module, "MAX_OPEN_MATCHES", 5)
    events = [{"k": "a", "m": second, "s": 20 * second} for second in range(20)]
    define = "A AS A.k = 'a', B AS B.k = 'b'"
    assert matched(events, "A+ B", define, "COUNT(*) AS n", partition="m") == []
