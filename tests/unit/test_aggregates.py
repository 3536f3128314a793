"""Aggregates: what each function gives, over mixed types and NULL, however events are cut into slices."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.expressions import RowError
from headrace.engine.query import query
from headrace.errors import DataError
from headrace.events.batch import ValueType
from headrace.models.aggregate import PythonAggregate
from headrace.sql.plan import AggregateCall, Cast, Order, WholeRow
from tests.unit.aggregating import K, X, Y, call, operator_of, run, tumbling, value

TEXT = Cast(X, ValueType.TEXT, safe=False)


def over(function: str, *values: Any, **clauses: Any) -> Any:
    """Return an aggregate of x over events with these values; `...` stands for an event without x."""
    events = [{"i": i} if x is ... else {"i": i, "x": x} for i, x in enumerate(values)]
    return value(call(function, X, **clauses), events)


def same(found: Any, expected: Any) -> bool:
    return type(found) is type(expected) and found == expected


# --- counts -----------------------------------------------------------------------------------------------


def test_count_of_nothing_counts_events_and_count_of_a_value_those_that_have_one() -> None:
    assert value(call("COUNT"), [{"x": 1}, {"x": None}, {}]) == 3
    assert over("COUNT", 1, None, ..., "a", 2.5, False) == 4
    assert over("COUNT", None, ...) == 0


def test_count_distinct_takes_bigints_and_floats_by_value_and_texts_to_the_letter() -> None:
    assert over("COUNT", 1, 1.0, 1.5, 1, "1", "a", "A", "a", None, distinct=True) == 5
    assert over("COUNT", True, 1, distinct=True) == 2
    assert over("COUNT", None, distinct=True) == 0


def test_count_distinct_tells_records_and_whole_events_apart_by_their_json() -> None:
    assert over("COUNT", {"a": 1}, {"a": 1}, {"a": 2}, [1], distinct=True) == 3
    events = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}, {"a": 1, "b": None}]
    assert value(call("COUNT", WholeRow(), distinct=True), events) == 2


# --- sums and means ---------------------------------------------------------------------------------------


def test_a_sum_of_bigints_is_a_bigint_and_with_a_float_among_them_a_float() -> None:
    assert same(over("SUM", 1, 2, None, 3), 6)
    assert same(over("SUM", 1, 2.0), 3.0)
    assert same(over("SUM", 1.5, ..., 2), 3.5)
    assert same(over("SUM", True, True, 2), 4)


def test_a_sum_of_nothing_but_null_is_null() -> None:
    assert over("SUM", None, ...) is None
    assert over("AVG", None) is None


def test_a_sum_of_bigints_is_exact_and_may_go_out_of_range_on_the_way() -> None:
    assert same(over("SUM", 2**62, 2**62, -(2**62)), 2**62)
    assert same(over("SUM", 2**53, 1), 2**53 + 1)
    assert same(over("SUM", -(2**63)), -(2**63))
    assert same(over("SUM", 2**63 - 1, 0, 5, -5), 2**63 - 1)


def test_a_sum_out_of_range_stops_the_job_instead_of_wrapping() -> None:
    with pytest.raises(DataError, match=r"out of range of bigint.*CAST"):
        over("SUM", 2**62, 2**62)
    with pytest.raises(DataError, match="out of range of float"):
        over("SUM", 1.7e308, 1.7e308)


def test_the_mean_of_bigints_is_a_float_with_its_fraction() -> None:
    assert same(over("AVG", 1, 2), 1.5)
    assert same(over("AVG", 4, None, 4), 4.0)
    assert same(over("AVG", 2**62, 2**62), float(2**62))
    assert same(over("AVG", True, False, 2, 3.0), 1.5)


def test_a_text_is_read_as_a_float_and_stops_the_job_where_it_is_none() -> None:
    assert same(over("SUM", "1", 2), 3.0)
    assert same(over("MAX", "10", "9"), 10.0)
    for function in ("SUM", "AVG", "MIN", "MAX", "STDEV"):
        with pytest.raises(RowError, match="Cannot cast value 'n/a' of type"):
            over(function, 1, "n/a")
        with pytest.raises(RowError, match="of type record to type float"):
            over(function, {"a": 1})


# --- extremes ---------------------------------------------------------------------------------------------


def test_extremes_compare_numbers_by_value_and_keep_the_type_of_the_winner() -> None:
    assert same(over("MAX", 1, 2.5, None, 2), 2.5)
    assert same(over("MIN", 1, 2.5, 1.5), 1)
    assert same(over("MAX", 2**53 + 1, float(2**53)), 2**53 + 1)
    assert same(over("MIN", 2**63 - 1, float(2**63)), 2**63 - 1)
    assert same(over("MAX", 2**63 - 1, float(2**63)), float(2**63))
    assert same(over("MAX", 3.0, 3), 3)
    assert same(over("MAX", False, True), True)
    assert same(over("MIN", True, 2), True)
    assert over("MIN", None) is None


def test_extremes_of_a_text_that_is_cast_compare_by_code_point() -> None:
    texts = [{"x": "pear"}, {"x": "Fig"}, {"x": 7}, {"x": None}, {"x": "é"}]
    assert value(call("MAX", TEXT), texts) == "é"
    assert value(call("MIN", TEXT), texts) == "7"


def test_extremes_of_datetimes_are_datetimes() -> None:
    moment = Cast(X, ValueType.DATETIME, safe=False)
    times = [{"x": "2026-03-02T09:00:01Z"}, {"x": "2026-03-02T09:00:03Z"}, {"x": None}]
    assert value(call("MAX", moment), times) == datetime(2026, 3, 2, 9, 0, 3, tzinfo=UTC)


# --- spread -----------------------------------------------------------------------------------------------


def test_spreads_divide_by_the_count_less_one_or_by_the_count() -> None:
    assert over("VAR", 2, 4, None, 6.0) == pytest.approx(4.0)
    assert over("VARP", 2, 4, 6) == pytest.approx(8 / 3)
    assert over("STDEV", 2, 4, 6) == pytest.approx(2.0)
    assert over("STDEVP", 2, 4, 6) == pytest.approx(math.sqrt(8 / 3))


def test_of_one_value_the_spread_of_a_sample_is_null_and_that_of_a_population_0() -> None:
    assert [over(name, 5) for name in ("VAR", "STDEV", "VARP", "STDEVP")] == [None, None, 0.0, 0.0]
    assert over("VARP", None) is None


def test_spread_is_sound_far_from_zero_and_none_for_equal_values() -> None:
    assert over("VAR", 1e9 + 1, 1e9 + 2, 1e9 + 3) == pytest.approx(1.0, rel=1e-12)
    assert over("VARP", *[0.1] * 7) == 0.0


def test_a_spread_out_of_range_stops_the_job() -> None:
    with pytest.raises(DataError, match="out of range of float"):
        over("VAR", 1e300, -1e300)


# --- percentiles ------------------------------------------------------------------------------------------


def percentile(function: str, share: float, *values: Any, descending: bool = False) -> Any:
    made = call(function, parameters=(share,), order=(Order(X, descending),))
    return value(made, [{"x": x} for x in values])


def test_a_continuous_percentile_lies_between_values() -> None:
    assert same(percentile("PERCENTILE_CONT", 0.5, 4, 1, None, 3, 2), 2.5)
    assert percentile("PERCENTILE_CONT", 0.25, 10, 20, 30.0) == pytest.approx(15.0)
    assert percentile("PERCENTILE_CONT", 0.25, 10, 20, 30, descending=True) == pytest.approx(25.0)
    assert [percentile("PERCENTILE_CONT", share, 7, 8) for share in (0, 1)] == [7.0, 8.0]
    assert percentile("PERCENTILE_CONT", 0.5, None) is None


def test_a_discrete_percentile_is_one_of_the_values_with_its_type() -> None:
    assert same(percentile("PERCENTILE_DISC", 0.5, 4, 1, None, 3, 2), 2)
    assert same(percentile("PERCENTILE_DISC", 0.5, 4, 1.5, 3), 3)
    assert same(percentile("PERCENTILE_DISC", 0.25, 4, 1.5, 3), 1.5)
    assert percentile("PERCENTILE_DISC", 0.25, 1, 2, 3, 4, descending=True) == 4
    assert [percentile("PERCENTILE_DISC", share, 7, 8) for share in (0, 1)] == [7, 8]
    assert same(percentile("PERCENTILE_DISC", 0.5, 2**53 + 1, 2**53 + 3), 2**53 + 1)
    assert percentile("PERCENTILE_DISC", 0.5, None) is None


def test_a_discrete_percentile_decides_by_quotients_as_shares_are_compared() -> None:
    assert percentile("PERCENTILE_DISC", 0.1, *range(1, 31)) == 3
    assert percentile("PERCENTILE_DISC", 0.07, *range(1, 101)) == 7


# --- collections ------------------------------------------------------------------------------------------


def test_collect_gives_values_exactly_in_order_of_arrival_without_null() -> None:
    values = [1, 2.0, 0.1, 'a"b\n', None, True, {"b": 1, "a": [1.50]}, [1, None], 1e300]
    assert over("COLLECT", *values) == [x for x in values if x is not None]
    assert over("COLLECT", "x", "", "y") == ["x", "", "y"]
    assert over("COLLECT", 5) == [5]
    assert over("COLLECT", None) is None


def test_collect_of_datetimes_writes_them_with_seven_digits() -> None:
    moment = Cast(X, ValueType.DATETIME, safe=False)
    assert value(call("COLLECT", moment), [{"x": "2026-03-02T09:00:01.5Z"}]) == [
        "2026-03-02T09:00:01.5000000Z"
    ]


def test_collect_of_whole_events_gives_their_records() -> None:
    events = [{"a": 1}, {"b": "x", "a": None}, {}]
    assert value(call("COLLECT", WholeRow()), events) == [{"a": 1}, {"b": "x"}, {}]


def ranked(function: str, argument: Any, *order: Order, parameters: tuple[int, ...] = ()) -> AggregateCall:
    return call(function, argument, parameters=parameters, order=order)


def test_collect_top_ranks_from_1_and_null_is_the_least_key() -> None:
    events = [{"y": "a", "x": 120}, {"y": "b", "x": 80}, {"y": "c", "x": None}, {"y": "d", "x": 300.5}]
    longest = value(ranked("COLLECTTOP", Y, Order(X, descending=True), parameters=(2,)), events)
    assert longest == [{"rank": 1, "value": "d"}, {"rank": 2, "value": "a"}]
    shortest = value(ranked("COLLECTTOP", Y, Order(X), parameters=(9,)), events)
    assert [record["value"] for record in shortest] == ["c", "b", "a", "d"]
    assert [record["rank"] for record in shortest] == [1, 2, 3, 4]


def test_collect_top_leaves_out_values_that_are_null_and_is_null_of_none() -> None:
    events = [{"y": None, "x": 2}, {"y": 5, "x": 1}]
    assert value(ranked("COLLECTTOP", Y, Order(X), parameters=(3,)), events) == [{"rank": 1, "value": 5}]
    assert value(ranked("COLLECTTOP", Y, Order(X), parameters=(3,)), [{"x": 1}]) is None


def test_top_one_gives_a_value_with_its_type_or_the_whole_event() -> None:
    events = [{"y": 1.5, "x": 1}, {"y": 7, "x": 3}, {"y": "a", "x": 2, "z": {"q": 1}}]
    assert same(value(ranked("TOPONE", Y, Order(X, descending=True)), events), 7)
    assert value(ranked("TOPONE", WholeRow(), Order(X, descending=True)), events) == events[1]
    assert value(ranked("TOPONE", WholeRow(), Order(Y, descending=True), Order(X)), events[:2]) == events[1]


def test_ties_go_to_the_first_arrival_in_either_direction() -> None:
    events = [{"y": i, "x": x} for i, x in enumerate([2, 1, 1, 2])]
    assert value(ranked("TOPONE", Y, Order(X)), events) == 1
    assert value(ranked("TOPONE", Y, Order(X, descending=True)), events) == 0
    top = value(ranked("COLLECTTOP", Y, Order(X, descending=True), parameters=(3,)), events)
    assert [record["value"] for record in top] == [0, 3, 1]


def test_order_by_several_columns_and_of_bigints_among_floats_goes_by_value() -> None:
    events = [
        {"y": 1, "x": 2**53 + 1},
        {"y": 2, "x": float(2**53)},
        {"y": 3, "x": 2**53 + 1},
        {"y": 4, "x": 0.5},
    ]
    order = (Order(X, descending=True), Order(Y, descending=True))
    top = value(ranked("COLLECTTOP", Y, *order, parameters=(4,)), events)
    assert [record["value"] for record in top] == [3, 1, 2, 4]
    assert value(ranked("TOPONE", Y, *order), events) == 3


# --- user aggregates --------------------------------------------------------------------------------------


class Log:
    """Remembers what it was given."""

    def init(self) -> None:
        self.seen: list[Any] = []

    def accumulate(self, value: Any, other: Any, timestamp: datetime) -> None:
        self.seen.append([value, other, timestamp.timestamp()])

    def compute_result(self) -> list[Any]:
        return self.seen


class Failing:
    def accumulate(self, value: Any, timestamp: datetime) -> None:
        raise ValueError("no")

    def compute_result(self) -> object:
        return None


def test_a_user_aggregate_gets_the_arguments_with_their_types_and_the_time_in_order() -> None:
    events = [{"x": 1, "y": "a"}, {"x": 0.1, "y": None}, {"x": {"p": [1]}, "y": True}, {"x": "1", "y": [2]}]
    found = value(call("log", X, Y, user=True), events, log=PythonAggregate("log", Log))
    assert found == [[event["x"], event["y"], i] for i, event in enumerate(events, start=1)]
    assert [type(row[0]) for row in found] == [int, float, dict, str]


def test_a_user_aggregate_that_fails_stops_the_job_and_says_so() -> None:
    with pytest.raises(DataError, match="failing failed: ValueError: no"):
        value(call("failing", X, user=True), [{"x": 1}], failing=PythonAggregate("failing", Failing))


# --- keys -------------------------------------------------------------------------------------------------


def test_equal_keys_make_one_group_and_rows_come_in_the_order_of_keys() -> None:
    keys = [2, None, "b", 1.0, 1, 2.5, "a", ..., True]
    events = [(1, {} if key is ... else {"k": key}) for key in keys]
    found = run(operator_of(tumbling(10), [call("COUNT", column="n")], [K]), events)
    assert [type(row["k0"]) for row in found[3:5]] == [int, bool]
    assert [(row["k0"], row["n"]) for row in found] == [
        (None, 2), ("a", 1), ("b", 1), (1, 2), (True, 1), (2, 1), (2.5, 1)
    ]  # fmt: skip


def test_a_key_is_shown_as_a_float_where_all_events_of_the_group_have_floats() -> None:
    events = [(1, {"k": 3.0}), (2, {"k": 4.0}), (3, {"k": 3.0}), (4, {"k": 4})]
    for cuts in ([], [2, 3, 4]):
        found = run(operator_of(tumbling(10), [call("COUNT", column="n")], [K]), events, cuts)
        assert [(row["k0"], row["n"]) for row in found] == [(3, 2), (4, 2)]
        assert [type(row["k0"]) for row in found] == [float, int]


# --- everything, against plain Python ---------------------------------------------------------------------

NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([0.5, 1.0, -2.5, 2**53, float(2**53), 2**53 + 1]),
)
FUNCTIONS = ("COUNT", "SUM", "AVG", "MIN", "MAX", "VAR", "STDEVP", "COLLECT")


def by_hand(function: str, found: list[Any]) -> Any:
    if function == "COUNT":
        return len(found)
    if not found:
        return None
    count = len(found)
    mean = math.fsum(found) / count
    squares = math.fsum((x - mean) ** 2 for x in found)
    match function:
        case "SUM":
            return math.fsum(found) if any(isinstance(x, float) for x in found) else sum(found)
        case "AVG":
            return mean
        case "MIN":
            return min(found)
        case "MAX":
            return max(found)
        case "VAR":
            return None if count == 1 else squares / (count - 1)
        case "STDEVP":
            return math.sqrt(squares / count)
    return found


def near(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and found is not None:
        return bool(found == pytest.approx(expected, rel=1e-9, abs=1e-6))
    return bool(found == expected)


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([1, 1.0, "a", None]), NUMBERS), max_size=14
    ),
    cuts=st.lists(st.integers(0, 22), max_size=5),
)
def test_aggregates_over_mixed_numbers_are_what_plain_python_finds(
    events: list[tuple[int, Any, Any]], cuts: list[int]
) -> None:
    events.sort(key=lambda event: event[0])
    order = (Order(X, descending=True),)
    calls = [
        *(call(name, X, column=name) for name in FUNCTIONS),
        call("COUNT", X, column="DISTINCT", distinct=True),
        call("TOPONE", Y, column="TOPONE", order=order),
        call("COLLECTTOP", Y, column="COLLECTTOP", order=order, parameters=(2,)),
        call("TOPONE", X, column="LEAST", order=(Order(X), Order(Y, descending=True))),
        call("COLLECTTOP", X, column="LEASTS", order=(Order(X),), parameters=(3,)),
        call("PERCENTILE_DISC", column="DISC", parameters=(0.3,), order=(Order(X),)),
        call("PERCENTILE_CONT", column="CONT", parameters=(0.3,), order=order),
    ]
    given_events = [(time, {"k": k, "x": x, "y": i}) for i, (time, k, x) in enumerate(events)]
    found = run(operator_of(tumbling(10), calls, [K]), given_events, cuts)
    groups: dict[Any, list[dict[str, Any]]] = {}
    for time, fields in given_events:
        groups.setdefault((-(-time // 10) * 10, fields["k"]), []).append(fields)
    assert {(row["@"], row["k0"]) for row in found} == set(groups)
    for row in found:
        fields = groups[row["@"], row["k0"]]
        values = [event["x"] for event in fields if event["x"] is not None]
        for function in FUNCTIONS:
            assert near(row[function], by_hand(function, values)), function
        ranks = sorted(fields, key=lambda event: (event["x"] is None, -(event["x"] or 0)))
        ordered = sorted(values)
        share = [x for i, x in enumerate(ordered) if (i + 1) / len(ordered) >= 0.3]
        place = 0.3 * (len(values) - 1)
        down = ordered[::-1]
        assert row["DISTINCT"] == len({(isinstance(x, bool), x) for x in values})
        assert row["TOPONE"] == ranks[0]["y"]
        assert [record["value"] for record in row["COLLECTTOP"]] == [event["y"] for event in ranks[:2]]
        assert row["LEAST"] == (ordered[0] if ordered else None)
        assert [record["value"] for record in row["LEASTS"] or ()] == ordered[:3]
        assert row["DISC"] == (share[0] if share else None)
        between = None
        if values:
            low, high = down[math.floor(place)], down[math.ceil(place)]
            between = float(low + (high - low) * (place - math.floor(place)))
        assert near(row["CONT"], between)


def test_first_values_by_numbers_of_two_types_where_some_rows_have_no_value() -> None:
    rows = [
        {"k": k, "v": v} for k, v in [(1, 1), (1, 1), ("p", 2.5), (1, 2), (1, 2.5), ("p", None), ("q", None)]
    ]
    sql = """SELECT CollectTop(2, v) OVER (ORDER BY v DESC) AS c, TopOne(v) OVER (ORDER BY v) AS t FROM src
    GROUP BY k, System.Timestamp()"""
    events = [{**row, "EventEnqueuedUtcTime": "2026-03-02T08:00:00Z"} for row in rows]
    found = [query(sql, {"src": events})["output"] for _ in range(20)]
    assert found == found[:1] * 20
    values = [(row["t"], [top["value"] for top in row["c"] or ()]) for row in found[0]]
    assert sorted(values, key=repr) == [(1, [2.5, 2]), (2.5, [2.5]), (None, [])]
