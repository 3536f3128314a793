"""The window functions: exactly one stands in GROUP BY, and each window of a group makes a row at its end.

Every window is (start, end]. A unit is a bare word as for DATEADD, from day to microsecond; a window lasts
seven days at most.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.entry import Entry, Example
from headrace.sql.catalogue.example_events import READINGS, at
from headrace.sql.catalogue.signature import BIGINT, Group, Parameter

_UNIT: Final = Parameter("unit")
_SIZE: Final = Parameter("size", BIGINT)
_OFFSET: Final = Parameter("offset", BIGINT, optional=True)
_WINDOW: Final = Parameter("window")

_COUNTED: Final = """SELECT System.Timestamp() AS ending, COUNT(*) AS n
FROM readings TIMESTAMP BY t
GROUP BY """


def _window(
    written: str, parameters: tuple[Parameter, ...], doc: str, example: str, counts: dict[datetime, int]
) -> Entry:
    """Return the entry of a kind of windows; `counts` is how many events each window of `example` has."""
    name = written.partition("(")[0]
    rows = tuple({"ending": ending, "n": count} for ending, count in counts.items())
    return Entry(
        name,
        Group.WINDOW,
        parameters,
        None,
        written,
        doc,
        Example(_COUNTED + example, READINGS, rows),
        other_names=(name.removesuffix("Window"),),
    )


ENTRIES: Final = (
    _window(
        "HoppingWindow(unit, size, hop [, offset])",
        (_UNIT, _SIZE, Parameter("hop", BIGINT), _OFFSET),
        "Makes windows of one size that end at every multiple of `hop`, counted from midnight.",
        "HoppingWindow(minute, 2, 1)",
        {at(1): 3, at(2): 4, at(3): 1},
    ),
    _window(
        "SessionWindow(unit, timeout, longest) [OVER (PARTITION BY key)]",
        (_UNIT, Parameter("timeout", BIGINT), Parameter("longest", BIGINT)),
        "Makes windows that end `timeout` after their last event, or at a multiple of `longest` once they "
        "last that long.",
        "SessionWindow(second, 20, 60)",
        {at(0, 50): 3, at(1, 30): 1},
    ),
    _window(
        "SlidingWindow(unit, size)",
        (_UNIT, _SIZE),
        "Makes windows that end wherever an event enters or leaves the last `size`.",
        "SlidingWindow(second, 30)",
        {at(0, 10): 1, at(0, 20): 2, at(0, 30): 3, at(0, 40): 2, at(0, 50): 1, at(1, 10): 1},
    ),
    _window(
        "TumblingWindow(unit, size [, offset])",
        (_UNIT, _SIZE, _OFFSET),
        "Makes windows of one size, one after the other, counted from midnight.",
        "TumblingWindow(minute, 1)",
        {at(1): 3, at(2): 1},
    ),
    Entry(
        "Window",
        Group.WINDOW,
        (Parameter("id", frozenset({ValueType.TEXT})), _WINDOW),
        None,
        "Window('id', window)",
        "Gives a window of Windows() an id, which System.Window().Id returns.",
        Example(
            """SELECT System.Window().Id AS window, COUNT(*) AS n
FROM readings TIMESTAMP BY t
GROUP BY Windows(
    Window('short', TumblingWindow(minute, 1)),
    Window('long', TumblingWindow(minute, 2)))""",
            READINGS,
            ({"window": "short", "n": 3}, {"window": "short", "n": 1}, {"window": "long", "n": 4}),
        ),
    ),
    Entry(
        "Windows",
        Group.WINDOW,
        (_WINDOW,),
        None,
        "Windows(window, ...)",
        "Makes the windows of several kinds at once; either all of them have an id or none has.",
        Example(
            _COUNTED + "Windows(TumblingWindow(minute, 1), TumblingWindow(minute, 2))",
            READINGS,
            ({"ending": at(1), "n": 3}, {"ending": at(2), "n": 1}, {"ending": at(2), "n": 4}),
        ),
        variadic=True,
    ),
)
