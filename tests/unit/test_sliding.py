"""Sliding windows: when a group's content changes, and what it then holds."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from typing import Any

import polars as pl
import pytest

from headrace.engine.operators import aggregate_sliding
from headrace.engine.row_error import RowError
from headrace.engine.windows import stretches
from headrace.errors import DataError
from headrace.models.aggregate import PythonAggregate
from headrace.sql.plan import Sliding
from tests.unit.windowing import SECOND, Row, by_hand, found, slices

TEN = "SlidingWindow(second, 10)"


def at(*times: float, **fields: Any) -> list[Row]:
    return [{"t": time, "id": place, **fields} for place, time in enumerate(times, start=1)]


def counts(events: list[Row], cuts: tuple[float, ...] = (), start_us: int = 0) -> list[tuple[float, int]]:
    return [(row["at"], row["n"]) for row in found("COUNT(*) AS n", TEN, events, cuts, start_us=start_us)]


# --- when ------------------------------------------------------------------------------------------------


def test_a_row_comes_when_an_event_comes_and_when_it_goes_but_not_when_nothing_is_left() -> None:
    assert counts(at(10, 12, 25)) == [(10, 1), (12, 2), (20, 1), (25, 1)]


def test_one_event_that_goes_at_the_instant_another_comes_is_one_change() -> None:
    assert counts(at(10, 20, 30)) == [(10, 1), (20, 1), (30, 1)]


def test_events_of_one_time_come_and_go_together() -> None:
    assert counts(at(1, 1, 1, 4, 4)) == [(1, 3), (4, 5), (11, 2)]


def test_an_event_as_old_as_the_size_is_out() -> None:
    rows = found("COLLECT(id) AS ids", TEN, at(10, 20, 29.999999))
    assert [(row["at"], row["ids"]) for row in rows] == [(10, [1]), (20, [2]), (29.999999, [2, 3]), (30, [3])]


def test_times_before_1970_are_times_like_any_other() -> None:
    assert counts(at(-15, -12, -1), start_us=0) == [(-15, 1), (-12, 2), (-5, 1), (-1, 1)]


def test_changes_are_judged_group_by_group() -> None:
    events = [{"t": 1, "k": "x"}, {"t": 3, "k": "y"}, {"t": 3, "k": "x"}, {"t": 13, "k": "z"}]
    rows = found("k, COUNT(*) AS n", f"k, {TEN}", events)
    assert [(row["at"], row["k"], row["n"]) for row in rows] == [
        (1, "x", 1),
        (3, "x", 2),
        (3, "y", 1),
        (11, "x", 1),
        (13, "z", 1),
    ]


def test_null_keys_are_a_group_and_equal_numbers_are_one() -> None:
    events = [{"t": 1, "k": None}, {"t": 1, "k": 1.0}, {"t": 2, "k": 1}, {"t": 3, "k": None}]
    rows = found("k, COUNT(*) AS n", f"k, {TEN}", events)
    assert [(row["at"], row["k"], row["n"]) for row in rows] == [
        (1, None, 1),
        (1, 1.0, 1),
        (2, 1, 2),
        (3, None, 2),
        (11, None, 1),
        (11, 1, 1),
    ]


# --- slices ----------------------------------------------------------------------------------------------


def test_what_goes_while_no_events_come_is_told_by_slices_without_events() -> None:
    parts = [part for _, part in slices("COUNT(*) AS n", TEN, at(1, 3), [2, 4, 8, 11, 12, 20])]
    assert [[(row["at"], row["n"]) for row in part] for part in parts] == [
        [(1, 1)],
        [(3, 2)],
        [],
        [],
        [(11, 1)],
        [],
        [],
    ]


def test_a_change_at_the_frontier_waits_for_the_events_of_that_instant() -> None:
    assert counts(at(1, 2, 11), (11,)) == [(1, 1), (2, 2), (11, 2), (12, 1)]


def test_only_the_rows_of_the_last_size_are_kept_and_in_the_end_none() -> None:
    held = [state["rows"] for state, _ in slices("COUNT(*) AS n", TEN, at(*range(100)), [50, 105, 109, 110])]
    assert [rows.height if isinstance(rows, pl.DataFrame) else rows for rows in held] == [
        10,
        5,
        1,
        None,
        None,
    ]


# --- what ------------------------------------------------------------------------------------------------

LONG: list[Row] = [
    {
        "t": random.Random(place).randrange(120),
        "id": place,
        "k": f"k{place % 3}",
        "v": (place * 37) % 101 - 50,
    }
    for place in range(400)
]
LONG.sort(key=lambda event: (event["t"], event["id"]))


def collect_top(values: list[Row]) -> list[dict[str, Any]]:
    ranked = sorted(values, key=lambda event: -event["v"])[:3]
    return [{"rank": rank, "value": event["id"]} for rank, event in enumerate(ranked, start=1)]


def variance(values: list[Row]) -> float | None:
    return statistics.variance(event["v"] for event in values) if len(values) > 1 else None


#: An aggregate, and how to compute it from the events inside.
AGGREGATES: dict[str, Any] = {
    "COUNT(*)": len,
    "SUM(v)": lambda events: sum(event["v"] for event in events),
    "AVG(v)": lambda events: statistics.fmean(event["v"] for event in events),
    "MIN(v)": lambda events: min(event["v"] for event in events),
    "MAX(v)": lambda events: max(event["v"] for event in events),
    "COUNT(DISTINCT v)": lambda events: len(Counter(event["v"] for event in events)),
    "VAR(v)": variance,
    "STDEVP(v)": lambda events: statistics.pstdev(event["v"] for event in events),
    "PERCENTILE_DISC(0.5) OVER (ORDER BY v)": lambda events: statistics.median_low(
        event["v"] for event in events
    ),
    "PERCENTILE_CONT(0.5) OVER (ORDER BY v)": lambda events: statistics.median(
        event["v"] for event in events
    ),
    "TopOne(id) OVER (ORDER BY v DESC)": lambda events: max(events, key=lambda event: event["v"])["id"],
    "CollectTop(3, id) OVER (ORDER BY v DESC)": collect_top,
    "COLLECT(id)": lambda events: [event["id"] for event in events],
}


@pytest.mark.parametrize("written", [*AGGREGATES, ", ".join(AGGREGATES)])
def test_every_aggregate_works_over_windows_of_many_events(written: str) -> None:
    chosen = list(AGGREGATES) if written not in AGGREGATES else [written]
    items = ", ".join(f"{call} AS x{place}" for place, call in enumerate(chosen))
    rows = found(f"k, {items}", "k, SlidingWindow(second, 60)", LONG, [40, 41, 90, 130])
    expected = sorted(by_hand(Sliding(60 * SECOND), LONG, lambda event: event["k"]), key=lambda row: row[:2])
    assert [(row["at"], row["k"]) for row in rows] == [(time, key) for time, key, _ in expected]
    for row, (_, _, inside) in zip(rows, expected, strict=True):
        for place, call in enumerate(chosen):
            wanted = AGGREGATES[call](inside)
            if isinstance(wanted, float):
                wanted = pytest.approx(wanted, rel=1e-9, abs=1e-9)
            assert row[f"x{place}"] == wanted, call


def test_windows_of_many_events_are_put_together_from_few_merged_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = "MIN(v) AS least, SUM(v) AS total, TopOne(id) OVER (ORDER BY v) AS first_, COLLECT(id) AS ids"
    monkeypatch.setattr(stretches, "_SHORT", 10**9)
    plain = found(items, "SlidingWindow(second, 60)", LONG)
    monkeypatch.setattr(stretches, "_SHORT", 0)
    assert found(items, "SlidingWindow(second, 60)", LONG) == plain


def test_lists_are_made_for_some_windows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    items = "k, PERCENTILE_DISC(0.3) OVER (ORDER BY v) AS p, COUNT(DISTINCT v) AS n"
    plain = found(items, "k, SlidingWindow(second, 60)", LONG)
    monkeypatch.setattr(aggregate_sliding, "_MAX_LISTED", 150)
    assert found(items, "k, SlidingWindow(second, 60)", LONG) == plain


class Latest:
    """The last value, and how many there were."""

    def init(self) -> None:
        self.state: list[Any] = []

    def accumulate(self, value: Any, timestamp: object) -> None:
        self.state.append(value)

    def compute_result(self) -> dict[str, Any]:
        return {"last": self.state[-1], "n": len(self.state)}


def test_user_aggregates_get_the_events_of_each_window_in_order() -> None:
    user = {"latest": PythonAggregate("latest", Latest)}
    rows = found(
        "latest(v) AS x", TEN, [{"t": 1, "v": "a"}, {"t": 1, "v": 2}, {"t": 5, "v": None}], user=user
    )
    assert [(row["at"], row["x"]) for row in rows] == [
        (1, {"last": 2, "n": 2}),
        (5, {"last": None, "n": 3}),
        (11, {"last": None, "n": 1}),
    ]


# --- what fails ------------------------------------------------------------------------------------------


def test_an_argument_that_is_no_number_is_told_by_its_row_in_the_slice() -> None:
    events = [{"t": 1, "v": 1}, {"t": 2, "v": 2}, {"t": 3, "v": "x"}]
    with pytest.raises(RowError) as caught:
        found("SUM(v) AS s", TEN, events, [2])
    assert caught.value.row == 1


def test_a_sum_is_out_of_range_only_where_its_own_window_is() -> None:
    big = 2**62
    apart = [{"t": second, "k": second % 7, "v": big} for second in range(70)]
    assert {row["s"] for row in found("SUM(v) AS s", "k, SlidingWindow(second, 5)", apart)} == {big}
    with pytest.raises(DataError, match="out of range"):
        found("SUM(v) AS s", "k, SlidingWindow(second, 10)", apart)


def test_a_large_float_that_has_gone_leaves_no_trace() -> None:
    events = [{"t": place, "v": 1e18 if place == 5 else 0.1} for place in range(200)]
    rows = found("SUM(v) AS s", "SlidingWindow(second, 50)", events)
    assert {round(row["s"], 12) for row in rows if 60 <= row["at"] < 200} == {5.0}
