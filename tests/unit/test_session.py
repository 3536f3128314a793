"""Session windows: where they end, whose events they hold, and what is kept for the next slice."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from headrace.engine.row_error import RowError
from tests.unit.windowing import Row, found, slices

#: A timeout of 5 seconds, checks at the multiples of 10.
FIVE_TEN = "SessionWindow(second, 5, 10)"
FIVE = "SessionWindow(second, 5, 3600)"


def at(*times: float) -> list[Row]:
    return [{"t": time, "id": time} for time in times]


def sessions(*times: float, window: str = FIVE_TEN, cuts: tuple[float, ...] = ()) -> list[tuple[float, Any]]:
    return [(row["at"], row["ids"]) for row in found("COLLECT(id) AS ids", window, at(*times), cuts)]


# --- ends ------------------------------------------------------------------------------------------------


def test_a_session_ends_at_the_timeout_after_its_last_event() -> None:
    assert sessions(1, 4, 20, window=FIVE) == [(9, [1, 4]), (25, [20])]


def test_an_event_just_as_late_as_the_timeout_joins() -> None:
    assert sessions(1, 6, 11.000001, window=FIVE) == [(11, [1, 6]), (16.000001, [11.000001])]


def test_events_of_one_time_are_in_one_session() -> None:
    assert sessions(1, 1, 1, 6, 6, window=FIVE) == [(11, [1, 1, 1, 6, 6])]


def test_the_length_is_judged_at_multiples_of_the_longest_duration_only() -> None:
    # At 10 it is 9 seconds old and lives on; at 20 it is 19 seconds old.
    assert sessions(1, 5, 9, 13, 17, 21, 25) == [(20, [1, 5, 9, 13, 17]), (30, [21, 25])]


def test_a_session_that_opens_at_a_multiple_is_judged_at_the_next() -> None:
    assert sessions(10, 14, 18, 22) == [(20, [10, 14, 18]), (27, [22])]


def test_an_event_at_a_check_belongs_to_the_window_that_ends_there() -> None:
    assert sessions(10, 15, 20, 24) == [(20, [10, 15, 20]), (29, [24])]
    assert sessions(1, 5, 9, 13, 17, 20, 21) == [(20, [1, 5, 9, 13, 17, 20]), (26, [21])]


def test_the_window_after_a_check_opens_there_and_is_judged_at_the_next_one() -> None:
    times = (1, 5, 9, 13, 17, 21, 25, 29, 33)
    assert sessions(*times) == [(20, [1, 5, 9, 13, 17]), (30, [21, 25, 29]), (38, [33])]


def test_a_window_that_its_timeout_would_end_behind_a_check_ends_at_the_check() -> None:
    assert sessions(10, 14, 18) == [(20, [10, 14, 18])]


def test_windows_between_checks_without_events_give_no_rows() -> None:
    assert sessions(1, 48, 49, window="SessionWindow(second, 60, 10)") == [(20, [1]), (50, [48, 49])]


def test_times_before_1970_have_checks_as_well() -> None:
    rows = found("COUNT(*) AS n", FIVE_TEN, at(-19, -15, -11, -7, -3, 1, 5), start_us=0)
    assert [(row["at"], row["n"]) for row in rows] == [(0, 5), (10, 2)]


# --- keys ------------------------------------------------------------------------------------------------

EVENTS: list[Row] = [
    {"t": 1, "k": "x", "g": 1},
    {"t": 3, "k": "y", "g": 1},
    {"t": 6, "k": "x", "g": 2},
    {"t": 7, "k": None, "g": 1},
    {"t": 9, "k": "y", "g": 1},
    {"t": 11, "k": None, "g": 1},
]


def test_without_partition_by_a_session_belongs_to_all_events_and_groups_share_its_end() -> None:
    rows = found("k, COUNT(*) AS n", f"k, {FIVE}", EVENTS)
    assert [(row["at"], row["k"], row["n"]) for row in rows] == [(16, None, 2), (16, "x", 2), (16, "y", 2)]


def test_with_partition_by_each_key_has_sessions_of_its_own() -> None:
    rows = found("k, COUNT(*) AS n", f"k, {FIVE} OVER (PARTITION BY k)", EVENTS)
    assert [(row["at"], row["k"], row["n"]) for row in rows] == [
        (8, "y", 1),
        (11, "x", 2),
        (14, "y", 1),
        (16, None, 2),
    ]


def test_groups_inside_the_sessions_of_a_key_share_its_end() -> None:
    rows = found("k, g, COUNT(*) AS n", f"k, g, {FIVE} OVER (PARTITION BY k)", EVENTS)
    assert [(row["at"], row["k"], row["g"]) for row in rows if row["k"] == "x"] == [
        (11, "x", 1),
        (11, "x", 2),
    ]


def test_sessions_of_keys_that_are_not_grouped_by_are_rows_of_their_own_in_the_order_of_the_keys() -> None:
    events = [{"t": 1, "k": k, "v": v} for v, k in enumerate(["b", None, "a", 10, 9])]
    rows = found("SUM(v) AS s", f"{FIVE} OVER (PARTITION BY k)", events)
    assert [(row["at"], row["s"]) for row in rows] == [(6, 1), (6, 2), (6, 0), (6, 4), (6, 3)]


def test_a_bigint_and_a_float_of_one_value_are_one_key() -> None:
    events = [{"t": 1, "k": 1.0}, {"t": 2, "k": 1}, {"t": 3, "k": 2.0}]
    rows = found("k, COUNT(*) AS n", f"k, {FIVE} OVER (PARTITION BY k)", events, [1.5])
    assert [(row["at"], row["k"], row["n"]) for row in rows] == [(7, 1, 2), (8, 2.0, 1)]
    assert [type(row["k"]) for row in rows] == [int, float]


# --- slices ----------------------------------------------------------------------------------------------


def test_a_session_is_given_when_no_event_can_join_it_any_more() -> None:
    parts = [part for _, part in slices("COUNT(*) AS n", FIVE, at(1, 6, 11), [6, 11, 16, 16.000001])]
    assert [[(row["at"], row["n"]) for row in part] for part in parts] == [[], [], [], [(16, 3)], []]


def test_a_session_goes_on_behind_a_check_whose_row_was_given_before() -> None:
    cuts = (1, 9, 20, 20.5, 21, 30, 30.5, 31)
    times = (1, 5, 9, 13, 17, 22, 26, 30, 34)
    assert (
        sessions(*times, cuts=cuts)
        == sessions(*times)
        == [
            (20, [1, 5, 9, 13, 17]),
            (30, [22, 26, 30]),
            (39, [34]),
        ]
    )


def test_a_session_that_was_cut_twice_within_its_timeout_is_one_that_goes_on() -> None:
    # Slices without events in between, in which only some of what is known of a session is due.
    window, times = "SessionWindow(second, 2, 2)", (18, 20, 20.999, 22.5, 23, 24.999)
    expected = [(20, [18, 20]), (22, [20.999]), (24, [22.5, 23]), (26, [24.999])]
    assert sessions(*times, window=window) == expected
    assert sessions(*times, window=window, cuts=(18, 20, 20.999, 21.5, 21.999, 22.5, 23)) == expected


@pytest.mark.parametrize("key", [None, 5, "x"])
def test_an_event_joins_the_session_of_its_key_among_very_many_others(key: Any) -> None:
    keys = [None, *range(50), *map(str, range(50)), "x"]
    events = [{"t": 0, "k": other} for other in keys] + [{"t": 4, "k": key}]
    rows = found("k, COUNT(*) AS n", f"k, {FIVE} OVER (PARTITION BY k)", events, [1, 5], saved=True)
    assert [(row["at"], row["k"], row["n"]) for row in rows if row["n"] == 2] == [(9, key, 2)]
    assert len(rows) == len(keys)


def test_partial_results_are_kept_and_not_events() -> None:
    events = [{"t": place / 100, "k": place % 3, "v": place} for place in range(1_000)]
    states = [state for state, _ in slices("k, SUM(v) AS s, MAX(v) AS m", f"k, {FIVE}", events, [5, 9.5])]
    for state in states[:2]:
        assert [height(state[name]) for name in ("sessions", "partials")] == [1, 3]


def test_nothing_is_kept_of_sessions_that_have_ended() -> None:
    events = [{"t": place / 10, "k": place} for place in range(100)]
    cuts = [3, 12, 15]
    parts = slices("k, COUNT(*) AS n", f"k, {FIVE} OVER (PARTITION BY k)", events, cuts)
    assert [height(state["sessions"]) for state, _ in parts] == [30, 30, 0, 0]


def test_a_session_that_a_check_has_ended_is_known_until_its_timeout() -> None:
    parts = list(slices("COUNT(*) AS n", FIVE_TEN, at(10, 14, 18), [20.5, 23, 23.5]))
    assert [len(rows) for _, rows in parts] == [1, 0, 0, 0]
    assert [(height(state["sessions"]), height(state["partials"])) for state, _ in parts] == [
        (1, 0),
        (1, 0),
        (0, 0),
        (0, 0),
    ]


def height(frame: Any) -> int:
    return frame.height if isinstance(frame, pl.DataFrame) else 0


def test_a_key_that_cannot_be_computed_is_told_by_its_row_in_the_slice() -> None:
    events = [{"t": 1, "k": "1"}, {"t": 2, "k": "2"}, {"t": 3, "k": "x"}]
    with pytest.raises(RowError) as caught:
        found("COUNT(*) AS n", f"{FIVE} OVER (PARTITION BY CAST(k AS bigint))", events, [2])
    assert caught.value.row == 1
