"""Units of time, and the calls that hold a length of time, such as Duration(minute, 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from headrace.errors import did_you_mean
from headrace.sql.scope import Names
from headrace.sql.syntax import place

_DAY_US: Final = 86_400_000_000

#: The longest window, join bound or LIMIT DURATION (reference, A2 and A3).
LONGEST_US: Final = 7 * _DAY_US

_UNITS: Final = (
    ("day", ("days", "dd", "d"), _DAY_US),
    ("hour", ("hours", "hh"), 3_600_000_000),
    ("minute", ("minutes", "mi", "n"), 60_000_000),
    ("second", ("seconds", "ss", "s"), 1_000_000),
    ("millisecond", ("milliseconds", "ms"), 1_000),
    ("microsecond", ("microseconds", "mcs"), 1),
)

#: The size of each spelling of a unit.
UNITS_US: Final = {word: size for name, words, size in _UNITS for word in (name, *words)}

_UNIT_NAMES: Final = ", ".join(name for name, _, _ in _UNITS)


def unit_us(names: Names, node: exp.Expr) -> int:
    """Return the size of the unit that a bare word names."""
    word = node.name if isinstance(node, exp.Column) else ""
    size = UNITS_US.get(word.lower())
    if size is None:
        advice = did_you_mean(word, UNITS_US) or f"Write one of {_UNIT_NAMES}, without quotes."
        raise names.error("a unit of time is needed here", node, advice)
    return size


def text_of(names: Names, node: exp.Expr) -> str | None:
    """Return the text that is written, in single quotes or in double ones, where no column is possible."""
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    if isinstance(node, exp.Column) and names.text[place(node).start] == '"':
        return str(node.name)
    return None


def whole_number(names: Names, node: exp.Expr) -> int:
    """Return the value of a whole number, with or without a minus; it must be written as such."""
    sign, digits = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    if not isinstance(digits, exp.Literal) or digits.is_string or not digits.this.isdecimal():
        raise names.error("a whole number is needed here", node, "It must be written as a number.")
    return sign * int(digits.this[:20])  # Python refuses to read thousands of digits


def length_us(names: Names, unit: int, node: exp.Expr, what: str) -> int:
    """Return a length of `unit` microseconds times a number from 1, of seven days at most."""
    number = whole_number(names, node)
    if number < 1:
        raise names.error(f"{what} must be 1 or more", node)
    if number * unit > LONGEST_US:
        raise names.error(f"{what} may last 7 days at most", node)
    return number * unit


def duration_us(names: Names, node: exp.Expr, called: str, what: str) -> int:
    """Return the length of ``called(unit, n)``, such as Duration(minute, 5); `what` is what it is for."""
    return length_us(names, *duration_parts(names, node, called), what)


def duration_parts(names: Names, node: exp.Expr, called: str) -> tuple[int, exp.Expr]:
    """Return the unit and the number of ``called(unit, n)``."""
    if not is_call(node, called) or len(node.expressions) != 2:
        raise names.error(f"{called}(unit, n) is needed here", node, f"Write {called}(minute, 5).")
    unit, number = node.expressions
    return unit_us(names, unit), number


def is_call(node: exp.Expr, *called: str) -> bool:
    """Return whether `node` calls one of the functions `called`, without a prefix."""
    if not isinstance(node, exp.Anonymous) or node.args["prefix"]:
        return False
    return str(node.this.name).upper() in {name.upper() for name in called}


def call_name(node: exp.Expr) -> str:
    """Return the upper-case name that a call without a prefix has; empty for anything else."""
    return str(node.this.name).upper() if is_call_node(node) else ""


def is_call_node(node: exp.Expr) -> bool:
    """Return whether `node` is a call without a prefix."""
    return isinstance(node, exp.Anonymous) and not node.args["prefix"]


def is_system(node: exp.Expr, name: str) -> bool:
    """Return whether `node` is ``System.name`` itself, with or without parentheses."""
    if isinstance(node, exp.Anonymous):
        parts = [*(part.name for part in node.args["prefix"]), node.this.name]
    elif isinstance(node, exp.Dot) and isinstance(node.this, exp.Column):
        parts = [node.this.name, node.expression.name]
    else:
        return False
    return [str(part).upper() for part in parts] == ["SYSTEM", name.upper()]


def named_lengths(names: Names, nodes: Sequence[exp.Expr]) -> dict[str, exp.Expr]:
    """Return the calls among the arguments of a window by their upper-case names; each stands once."""
    found: dict[str, exp.Expr] = {}
    for node in nodes:
        name = call_name(node)
        if name in found:
            raise names.error(f"{node.this.name} is there twice", node)
        found[name] = node
    return found
