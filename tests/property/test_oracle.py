"""The oracle itself, on the worked examples of the language's documentation and on plain boundaries."""

from __future__ import annotations

import pytest

from tests.property.oracle import aggregates, looking_back
from tests.property.oracle.joins import Bound, date_diff, join, look_up
from tests.property.oracle.ordering import Arrival, Tolerance, in_order
from tests.property.oracle.stream import Row, Timed, iso, microseconds
from tests.property.oracle.windows import Hopping, Session, Sliding, Snapshot, groups

SECOND, MINUTE = 1_000_000, 60_000_000


def at(*seconds: float) -> list[Timed]:
    return [Timed(round(second * SECOND), {"id": number}) for number, second in enumerate(seconds, start=1)]


def ends(filled: list[tuple[int, list[Row]]], unit: int = SECOND) -> list[tuple[float, list[int]]]:
    return [(end / unit, [row["id"] for row in rows]) for end, rows in filled]


def test_an_instant_is_written_with_seven_digits_and_read_back() -> None:
    assert iso(microseconds("2026-03-02T09:00:00.000001+01:00")) == "2026-03-02T08:00:00.0000010Z"


def test_a_tumbling_window_holds_its_end_and_not_its_start() -> None:
    assert ends(Hopping(10 * SECOND, 10 * SECOND).fill(at(0, 0.001, 10, 10.001, 20))) == [
        (0, [1]),
        (10, [2, 3]),
        (20, [4, 5]),
    ]


def test_an_offset_of_minus_a_millisecond_turns_the_boundaries_around() -> None:
    assert ends(Hopping(10 * SECOND, 10 * SECOND, -1000).fill(at(0, 9.999, 10))) == [
        (9.999, [1, 2]),
        (19.999, [3]),
    ]


def test_a_hopping_window_overlaps_its_neighbours() -> None:
    assert ends(Hopping(10 * SECOND, 5 * SECOND).fill(at(5, 6, 12))) == [
        (5, [1]),
        (10, [1, 2]),
        (15, [2, 3]),
        (20, [3]),
    ]


def test_a_hop_longer_than_the_window_leaves_rows_out() -> None:
    assert ends(Hopping(5 * SECOND, 10 * SECOND).fill(at(3, 6, 10, 11))) == [(10, [2, 3])]


def test_a_sliding_window_answers_when_a_row_enters_and_when_it_leaves() -> None:
    assert ends(Sliding(10 * SECOND).fill(at(10, 12, 25))) == [(10, [1]), (12, [1, 2]), (20, [2]), (25, [3])]


def test_all_changes_of_a_sliding_window_at_one_instant_are_one_answer() -> None:
    assert ends(Sliding(10 * SECOND).fill(at(10, 10, 20))) == [(10, [1, 2]), (20, [3])]


def test_a_sliding_window_is_judged_per_group() -> None:
    rows = [Timed(1 * SECOND, {"id": 1, "k": "x"}), Timed(3 * SECOND, {"id": 2, "k": "y"})]
    assert sorted(ends(groups(rows, Sliding(5 * SECOND), ("k",)))) == [(1, [1]), (3, [2])]


def test_a_session_ends_a_timeout_after_its_last_row() -> None:
    assert ends(Session(5 * MINUTE, 60 * MINUTE).fill(at(60, 240, 1200)), MINUTE) == [(9, [1, 2]), (25, [3])]


def test_a_gap_of_exactly_the_timeout_goes_on() -> None:
    assert ends(Session(5 * SECOND, 60 * SECOND).fill(at(1, 6, 11.001))) == [(11, [1, 2]), (16.001, [3])]


def test_a_session_is_cut_only_at_a_check_point_at_which_it_is_old_enough() -> None:
    rows = at(*(60 * minute for minute in (1, 5, 9, 13, 17, 21, 25)))
    assert ends(Session(5 * MINUTE, 10 * MINUTE).fill(rows), MINUTE) == [(20, [1, 2, 3, 4, 5]), (30, [6, 7])]


def test_a_session_that_begins_at_a_check_point_lives_one_maximum() -> None:
    rows = at(10, 14, 18, 20, 21, 25)
    assert ends(Session(5 * SECOND, 10 * SECOND).fill(rows)) == [(20, [1, 2, 3, 4]), (30, [5, 6])]


def test_what_follows_a_cut_beyond_the_timeout_opens_a_session_of_its_own() -> None:
    rows = at(11, 15, 19, 23, 27, 33)
    assert ends(Session(5 * SECOND, 10 * SECOND).fill(rows)) == [(30, [1, 2, 3, 4, 5]), (38, [6])]


def test_sessions_of_keys_are_independent_and_groups_share_the_end_of_theirs() -> None:
    rows = [
        Timed(second * SECOND, {"id": second, "k": key, "g": group})
        for second, key, group in ((1, "x", 1), (3, "y", 1), (4, "x", 2), (12, "y", 1))
    ]
    together = groups(rows, Session(5 * SECOND, 60 * SECOND), ("g",))
    assert ends(together) == [(9, [1, 3]), (9, [4]), (17, [12])]
    apart = groups(rows, Session(5 * SECOND, 60 * SECOND, ("k",)), ("g",))
    assert sorted(ends(apart)) == [(8, [3]), (9, [1]), (9, [4]), (17, [12])]


def test_a_snapshot_is_one_instant() -> None:
    assert ends(Snapshot().fill(at(1, 1, 2))) == [(1, [1, 2]), (2, [3])]


def test_null_keys_are_one_group_and_numbers_group_by_value() -> None:
    rows = [
        Timed(SECOND, {"id": number, "k": key}) for number, key in enumerate((None, 1, 1.0, "1", None), 1)
    ]
    rows.append(Timed(SECOND, {"id": 6}))
    assert sorted(ends(groups(rows, Snapshot(), ("k",)))) == [(1, [1, 5, 6]), (1, [2, 3]), (1, [4])]


def arrivals(*times: tuple[float, float]) -> list[Arrival]:
    return [
        Arrival(round(time * SECOND), round(arrived * SECOND), {"id": number})
        for number, (time, arrived) in enumerate(times, start=1)
    ]


def order(rows: list[Timed]) -> list[tuple[int, float]]:
    return [(row["id"], time / SECOND) for time, row in rows]


def test_without_a_policy_events_are_put_in_order() -> None:
    unordered = [*arrivals((5, 9), (3, 9)), Arrival(None, 0, {"id": 3})]
    assert order(in_order(unordered, None)) == [(2, 3), (1, 5)]


def test_an_early_event_is_dropped_and_moves_nothing() -> None:
    tolerance = Tolerance(5 * SECOND, 0, drops=False)
    assert order(in_order(arrivals((400.001, 100), (100, 100), (400, 100)), tolerance)) == [
        (2, 100),
        (3, 400),
    ]


def test_a_late_event_is_adjusted_to_its_bound_or_dropped() -> None:
    events = arrivals((10, 10), (4, 12), (8, 13))
    assert order(in_order(events, Tolerance(5 * SECOND, 4 * SECOND, drops=False))) == [
        (2, 7),
        (3, 8),
        (1, 10),
    ]
    assert order(in_order(events, Tolerance(5 * SECOND, 4 * SECOND, drops=True))) == [(3, 8), (1, 10)]


def test_an_event_below_the_watermark_is_adjusted_to_it_or_dropped() -> None:
    events = arrivals((30, 30), (20, 30), (31, 31))
    adjusts, drops = (Tolerance(30 * SECOND, 5 * SECOND, drops=drops) for drops in (False, True))
    assert order(in_order(events, adjusts)) == [(2, 25), (1, 30), (3, 31)]
    assert order(in_order(events, drops)) == [(1, 30), (3, 31)]


def test_each_substream_has_a_watermark_of_its_own_and_a_null_key_is_dropped() -> None:
    events = [
        Arrival(second * SECOND, second * SECOND + SECOND, {"id": number, "k": key})
        for number, (second, key) in enumerate(((9, "p"), (5, "q"), (6, "p"), (7, None)), start=1)
    ]
    assert order(in_order(events, Tolerance(60 * SECOND, 0, drops=True), ("k",))) == [(2, 5), (1, 9)]


def test_aggregates_skip_null_and_a_sum_keeps_its_type() -> None:
    rows = [{"v": 1}, {"v": None}, {}, {"v": 2}]
    found = aggregates.values(rows, "v")
    assert found == [1, 2]
    assert type(aggregates.total(found)) is int
    assert type(aggregates.total([*found, 0.5])) is float
    assert aggregates.average(found) == 1.5
    assert aggregates.total([]) is aggregates.average([]) is aggregates.percentile([], 0.5, True) is None
    assert aggregates.count_distinct([1, 1.0, "1", 2]) == 3
    with pytest.raises(aggregates.Overflow):
        aggregates.total([2**63 - 1, 1])


def test_a_sample_of_one_has_no_variance_and_a_population_of_one_has_none_of_it() -> None:
    assert aggregates.variance([2, 4], sample=True) == 2
    assert aggregates.variance([2, 4], sample=False) == 1
    assert aggregates.deviation([4], sample=True) is None
    assert aggregates.deviation([4], sample=False) == 0


def test_percentiles_interpolate_or_take_a_value() -> None:
    assert aggregates.percentile([10, 20, 30, 40], 0.5, continuous=True) == 25
    assert aggregates.percentile([10, 20, 30, 40], 0.5, continuous=False) == 20
    assert aggregates.percentile([10, 20, 30, 40], 0.5, continuous=False, descending=True) == 30
    assert aggregates.percentile([10, 20, 30, 40], 0, continuous=False) == 10
    assert aggregates.percentile([10, 20, 30, 40], 1, continuous=True) == 40


def test_null_is_the_least_value_of_an_order() -> None:
    rows = [{"id": 1, "w": 120}, {"id": 2, "w": 80}, {"id": 3, "w": None}, {"id": 4, "w": 300}]
    assert aggregates.top(rows, [("w", True)], 2, "id") == [{"rank": 1, "value": 4}, {"rank": 2, "value": 1}]
    assert aggregates.top(rows, [("w", False)], 2, "id") == [{"rank": 1, "value": 3}, {"rank": 2, "value": 2}]


def test_lag_takes_earlier_rows_for_which_when_is_true_and_last_itself_too() -> None:
    rows = [
        Timed(second * SECOND, {"k": key, "v": value})
        for second, key, value in ((1, "t", 20), (2, "n", 99), (3, "t", None), (4, "n", 98), (13, "n", 1))
    ]
    over = looking_back.Over(10 * SECOND, when=lambda row: row["k"] == "t")
    assert [looking_back.lag(rows, at, over, "v", default=-1) for at in range(5)] == [-1, 20, 20, None, -1]
    assert [looking_back.last(rows, at, over, "v", default=-1) for at in range(5)] == [20, 20, None, None, -1]
    assert [looking_back.lag(rows, at, over, "v", 2, -1) for at in range(5)] == [-1, -1, -1, 20, -1]


def test_the_first_of_an_interval_is_the_first_for_which_when_is_true() -> None:
    rows = [Timed(second * SECOND, {"v": second}) for second in (1, 2, 10, 11)]
    found = [looking_back.is_first(rows, at, 10 * SECOND, (), lambda row: row["v"] != 1) for at in range(4)]
    assert found == [0, 1, 0, 1]


def test_datediff_counts_boundaries() -> None:
    assert date_diff(MINUTE, 119 * SECOND, 120 * SECOND) == 1
    assert date_diff(MINUTE, 120 * SECOND, 60 * SECOND) == -1
    assert date_diff(SECOND, -1, 0) == 1


def test_a_join_gives_pairs_at_the_later_time_and_an_absence_at_its_bound() -> None:
    left, right = at(50, 300), at(40, 119, 120)
    bound = Bound(MINUTE, 0, 1)
    pairs = join(left, right, bound, lambda one, other: True, outer=True)
    assert [(time / SECOND, row["id"], other and other["id"]) for time, row, other in pairs] == [
        (50, 1, 1),
        (119, 1, 2),
        (360, 2, None),
    ]


def test_reference_data_give_a_row_for_each_that_fits() -> None:
    found = look_up(at(1, 2), [{"id": 1}, {"id": 1}], lambda row, other: row["id"] == other["id"], outer=True)
    assert [(row["id"], other) for _, row, other in found] == [(1, {"id": 1}), (1, {"id": 1}), (2, None)]
