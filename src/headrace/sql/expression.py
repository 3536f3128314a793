"""The expressions of a bound plan: frozen values that say what is meant, not how it is computed.

`span` says where in the script a node stands; spans are all equal, so that the same call written twice is
seen to be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal as Choice

from headrace.errors import Span
from headrace.events.batch import ValueType

NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; `type` is None for NULL."""

    value: bool | int | float | str | datetime | None
    type: ValueType | None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column of the relation below, found by name at run time, ignoring case; absent reads as NULL."""

    name: str
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class FieldRef:
    """Property `name` of the record `base`; NULL where `base` is no record or has no such property."""

    base: Expression
    name: str
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class SystemTimestamp:
    """System.Timestamp() of the row."""

    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class WholeRow:
    """The row as a record: the columns of the source called `source` in a join, else all that ``*`` shows."""

    source: str | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Call:
    """A built-in scalar function, by its catalogue name (upper case)."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class UserCall:
    """A Python function or model, by its declared name; the planner moves it to an Effect."""

    function: str
    arguments: tuple[Expression, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Cast:
    """CAST, or TRY_CAST when `safe`."""

    operand: Expression
    type: ValueType
    safe: bool
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Case:
    """The value of the first branch whose condition holds, else `otherwise`; simple CASE is bound to =."""

    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression
    span: Span = NOWHERE


BinaryOperator = Choice["+", "-", "*", "/", "%", "&", "|", "^", "=", "<>", "<", "<=", ">", ">=", "AND", "OR"]


@dataclass(frozen=True, slots=True)
class Binary:
    """`left` operator `right`."""

    operator: BinaryOperator
    left: Expression
    right: Expression
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Unary:
    """NOT, minus or bitwise complement."""

    operator: Choice["NOT", "-", "~"]
    operand: Expression
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class IsNull:
    """`operand` IS NULL."""

    operand: Expression
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class In:
    """`operand` IN (`items`)."""

    operand: Expression
    items: tuple[Expression, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Like:
    """`operand` LIKE `pattern`."""

    operand: Expression
    pattern: Expression
    span: Span = NOWHERE


Expression = (
    Literal
    | ColumnRef
    | FieldRef
    | SystemTimestamp
    | WholeRow
    | Call
    | UserCall
    | Cast
    | Case
    | Binary
    | Unary
    | IsNull
    | In
    | Like
)
