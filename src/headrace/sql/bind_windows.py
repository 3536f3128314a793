"""What GROUP BY must hold: exactly one window, of at most seven days."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from headrace.errors import QueryError
from headrace.sql.catalogue.elsewhere import WINDOWS
from headrace.sql.scope import Names

_WINDOW_NAMES: Final = frozenset(name.upper() for name in WINDOWS)

#: Parts of a window call that hold durations or windows of their own.
_PARTS: Final = frozenset({"DURATION", "HOP", "TIMEOUT", "MAXDURATION", "WINDOW"})

_DAY_US: Final = 86_400_000_000
_LONGEST_US: Final = 7 * _DAY_US
_UNITS_US: Final = {
    spelling: size
    for spellings, size in (
        (("day", "days", "dd", "d"), _DAY_US),
        (("hour", "hours", "hh"), 3_600_000_000),
        (("minute", "minutes", "mi", "n"), 60_000_000),
        (("second", "seconds", "ss", "s"), 1_000_000),
        (("millisecond", "milliseconds", "ms"), 1_000),
        (("microsecond", "microseconds", "mcs"), 1),
    )
    for spelling in spellings
}

_ADVICE: Final = "Add one such as TumblingWindow(minute, 1), or System.Timestamp() for events of one instant."


def check_group(names: Names, group: exp.Expr) -> QueryError:
    """Return what is wrong with a GROUP BY for ever; if nothing is, that it is still to come."""
    windows = [key for key in group.expressions if _is_window(key)]
    if not windows and not any(_is_system_timestamp(key) for key in group.expressions):
        return names.error("GROUP BY needs a time window", group, _ADVICE)
    if len(windows) > 1:
        advice = "Windows(window, window, ...) holds several windows."
        return names.error("GROUP BY takes one window", windows[1], advice)
    for window in windows:
        for length in _too_long(_call(window)):
            return names.error("a window may last 7 days at most", length)
    return names.error("GROUP BY and time windows are not available yet", group)


def _call(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node, exp.Window) else node


def _is_window(node: exp.Expr) -> bool:
    call = _call(node)
    return isinstance(call, exp.Anonymous) and call.this.name.upper() in _WINDOW_NAMES


def _is_system_timestamp(node: exp.Expr) -> bool:
    """Return whether `node` is System.Timestamp itself; an expression over it is no window."""
    if isinstance(node, exp.Anonymous):
        names = [*(part.name for part in node.args["prefix"]), node.this.name]
    elif isinstance(node, exp.Dot) and isinstance(node.this, exp.Column):
        names = [node.this.name, node.expression.name]
    else:
        return False
    return [name.upper() for name in names] == ["SYSTEM", "TIMESTAMP"]


def _number(node: exp.Expr) -> int:
    """Return the value of a whole number, capped so that it is read in no time; 0 for anything else."""
    whole = isinstance(node, exp.Literal) and not node.is_string and node.this.isdecimal()
    return int(node.this[:20]) if whole else 0


def _too_long(node: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the literal lengths of a window call, and of the calls in it, that exceed seven days."""
    if not isinstance(node, exp.Anonymous) or not node.expressions:
        return
    unit, *lengths = node.expressions
    size_us = _UNITS_US.get(unit.name.lower(), 0) if isinstance(unit, exp.Column) else 0
    for length in lengths:
        if _number(length) * size_us > _LONGEST_US:
            yield length
    for part in node.expressions:
        if isinstance(part, exp.Anonymous) and part.this.name.upper() in _PARTS | _WINDOW_NAMES:
            yield from _too_long(part)
