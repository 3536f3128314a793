"""Sliding and session windows, and sets of windows, against windows found by hand, however events are cut.

The bits of SUM(bit) are the events that a row was made of, so a row that holds a wrong event cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.operators import aggregate_session
from headrace.sql.plan import Hopping, Session, Sliding, Snapshot
from headrace.sql.windows import Window
from tests.unit.windowing import SECOND, START_US, Row, by_hand, found, same

KEYS = st.sampled_from([None, 1, 1.0, 2, 2.5, "1", "x", True, {"a": 1}, {"a": 1.0}, [1]])
VALUES = st.sampled_from([None, 1, 7, 2.5, -3, 2**60, "4"])

#: Where time begins: before 1970 as well, and on and off the multiples of a window.
STARTS = st.sampled_from([START_US, START_US + 7, 0, -3 * SECOND, -86_400 * 365 * SECOND * 100])

ITEMS = (
    "SUM(bit) AS bits, COUNT(*) AS n, COUNT(v) AS values_, MAX(CAST(v AS float)) AS most, COLLECT(id) AS ids"
)


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    """Events in order of time, many of them at one time, in steps that often are just a window's length."""
    steps = draw(st.lists(st.sampled_from([0, 0, 0.5, 1, 2, 3, 5, 10, 11, 40]), max_size=24))
    times = [sum(steps[: place + 1]) for place in range(len(steps))]
    return [
        {"t": time, "id": place, "bit": 1 << place, "k": draw(KEYS), "g": draw(KEYS), "v": draw(VALUES)}
        for place, time in enumerate(times)
    ]


CUTS = st.lists(st.sampled_from([-1, 0, 0.25, 1, 3, 5, 7, 10, 12, 20, 21, 40, 63, 100, 200]), max_size=8)


def key_of(*names: str) -> Callable[[Row], Any]:
    return lambda event: tuple(event[name] for name in names)


def expected(window: Window, events: list[Row], start_us: int, *, session: tuple[str, ...] = ()) -> Any:
    groups = by_hand(window, events, key_of("k", "g"), key_of(*session), start_us)
    return sorted(((at, *summary(group, inside)) for at, group, inside in groups), key=repr)


def summary(group: Any, inside: list[Row]) -> tuple[Any, ...]:
    values = [event["v"] for event in inside if event["v"] is not None]
    most = max(map(float, values), default=None)
    ids = [event["id"] for event in inside]
    return group, sum(event["bit"] for event in inside), len(inside), len(values), most, ids


def shown(row: Row) -> tuple[Any, ...]:
    key = same((row["k"], row["g"]))
    return row["at"], key, row["bits"], row["n"], row["values_"], row["most"], row["ids"]


def check(
    window: Window, group_by: str, events: list[Row], cuts: list[float], start_us: int, **how: Any
) -> None:
    items = f"k, g, {ITEMS}"
    whole = found(items, f"k, g, {group_by}", events, start_us=start_us)
    assert sorted(map(shown, whole), key=repr) == expected(window, events, start_us, **how)
    assert [row["at"] for row in whole] == sorted(row["at"] for row in whole)
    assert found(items, f"k, g, {group_by}", events, cuts, start_us=start_us, saved=True) == whole


@given(streams(), CUTS, STARTS, st.sampled_from([1, 3, 10]))
@settings(max_examples=60, deadline=None)
def test_sliding_windows_hold_what_the_reference_says(
    events: list[Row], cuts: list[float], start_us: int, size: int
) -> None:
    check(Sliding(size * SECOND), f"SlidingWindow(second, {size})", events, cuts, start_us)


@given(streams(), CUTS, STARTS, st.sampled_from([(1, 1), (2, 5), (5, 10), (10, 7), (40, 3)]))
@settings(max_examples=60, deadline=None)
def test_sessions_of_all_events_hold_what_the_reference_says(
    events: list[Row], cuts: list[float], start_us: int, lengths: tuple[int, int]
) -> None:
    timeout, longest = lengths
    window = Session(timeout * SECOND, longest * SECOND)
    check(window, f"SessionWindow(second, {timeout}, {longest})", events, cuts, start_us)


@pytest.mark.parametrize("keys", [("k",), ("g", "k"), ("v",), ("v", "k")])
@given(streams(), CUTS, STARTS, st.sampled_from([(1, 1), (2, 5), (5, 10), (40, 3)]))
@settings(max_examples=25, deadline=None)
def test_sessions_with_keys_hold_what_the_reference_says(
    keys: tuple[str, ...], events: list[Row], cuts: list[float], start_us: int, lengths: tuple[int, int]
) -> None:
    timeout, longest = lengths
    window = Session(timeout * SECOND, longest * SECOND)
    over = f"SessionWindow(second, {timeout}, {longest}) OVER (PARTITION BY {', '.join(keys)})"
    check(window, over, events, cuts, start_us, session=keys)
    with patch.object(aggregate_session, "_MANY", 0):  # as if there were very many sessions
        check(window, over, events, cuts, start_us, session=keys)


@given(streams(), CUTS, STARTS)
@settings(max_examples=25, deadline=None)
def test_a_set_of_windows_gives_the_rows_of_each(events: list[Row], cuts: list[float], start_us: int) -> None:
    members: dict[str, tuple[str, Window]] = {
        "slide": ("SlidingWindow(second, 5)", Sliding(5 * SECOND)),
        "hop": ("HoppingWindow(second, 10, 5)", Hopping(10 * SECOND, 5 * SECOND)),
        "session": ("SessionWindow(second, 5, 10)", Session(5 * SECOND, 10 * SECOND)),
        "instant": ("System.Timestamp()", Snapshot()),
    }
    written = ", ".join(f"Window('{name}', {text})" for name, (text, _) in members.items())
    items = f"k, g, System.Window().Id AS id_, {ITEMS}"
    whole = found(items, f"k, g, Windows({written})", events, start_us=start_us)
    for name, (_, window) in members.items():
        rows = sorted((shown(row) for row in whole if row["id_"] == name), key=repr)
        assert rows == expected(window, events, start_us)
    places = [(row["at"], list(members).index(row["id_"])) for row in whole]
    assert places == sorted(places)
    assert found(items, f"k, g, Windows({written})", events, cuts, start_us=start_us, saved=True) == whole
