"""Windows(): the rows of several windows over the same events."""

from __future__ import annotations

from tests.unit.windowing import Row, found, slices

EVENTS: list[Row] = [
    {"t": time, "v": value, "k": key} for time, value, key in [(5, 1, "b"), (12, 2, "a"), (19, 4, "b")]
]

ITEMS = "System.Window().Id AS id_, SUM(v) AS s"
NAMED = (
    "Windows(Window('T10', TumblingWindow(second, 10)), Window('T20', Tumbling(second, 20)), "
    "Window('H20', HoppingWindow(second, 20, 10)))"
)


def shown(group_by: str, cuts: tuple[float, ...] = (), items: str = ITEMS) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in found(items, group_by, EVENTS, cuts)]


def test_the_rows_of_one_time_come_in_the_order_of_the_windows() -> None:
    assert shown(NAMED) == [
        (10, "T10", 1),
        (10, "H20", 1),
        (20, "T10", 6),
        (20, "T20", 7),
        (20, "H20", 7),
        (30, "H20", 6),
    ]


def test_within_a_window_rows_come_in_the_order_of_the_keys() -> None:
    windows = "Windows(Window('Z', TumblingWindow(second, 20)), Window('A', HoppingWindow(second, 20, 20)))"
    assert shown(f"k, {windows}", items="k, System.Window().Id AS id_, SUM(v) AS s") == [
        (20, "a", "Z", 2),
        (20, "b", "Z", 5),
        (20, "a", "A", 2),
        (20, "b", "A", 5),
    ]


def test_windows_without_ids_have_none() -> None:
    assert shown("Windows(TumblingWindow(second, 20), SessionWindow(second, 7, 100))") == [
        (20, None, 7),
        (26, None, 7),
    ]
    assert shown("TumblingWindow(second, 20)") == [(20, None, 7)]


def test_a_set_may_hold_windows_of_every_kind() -> None:
    windows = (
        "Windows(Window('hop', HoppingWindow(second, 20, 20)), Window('now', System.Timestamp()), "
        "Window('slide', SlidingWindow(second, 7)), Window('session', SessionWindow(second, 7, 100)))"
    )
    assert shown(windows) == [
        (5, "now", 1),
        (5, "slide", 1),
        (12, "now", 2),
        (12, "slide", 2),
        (19, "now", 4),
        (19, "slide", 4),
        (20, "hop", 7),
        (26, "session", 7),
    ]


def test_each_window_keeps_what_it_needs_from_slice_to_slice() -> None:
    whole = shown(NAMED)
    assert shown(NAMED, (5.5, 12, 12.5, 20, 20.5, 40)) == whole
    for row in whole:
        assert row in shown(NAMED, (19.5, 25))


def test_a_set_of_one_window_is_that_window() -> None:
    assert shown("Windows(Window('only', TumblingWindow(second, 10)))") == [(10, "only", 1), (20, "only", 6)]


def test_slices_in_which_no_window_ends_give_nothing() -> None:
    assert [len(rows) for _, rows in slices(ITEMS, NAMED, EVENTS, [6, 7, 11])] == [0, 0, 2, 4]
