"""The bound plan: what a script means, ready to run. Values only; nothing here knows how it is computed.

Expressions and relations are frozen values. `span` says where in the script a node stands; spans are all
equal, so that the same call written twice is seen to be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal as Choice

from headrace.errors import Span
from headrace.events.batch import ValueType

NOWHERE = Span(0, 0)


# --- expressions -----------------------------------------------------------------------------------------


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


# --- relations -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scan:
    """The events of an input; with `timestamp`, TIMESTAMP BY that expression."""

    input: str
    timestamp: Expression | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class StepRef:
    """The rows of a WITH step."""

    step: str
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Filter:
    """The rows for which `predicate` is true."""

    source: Relation
    predicate: Expression
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Item:
    """A column of a SELECT list: an expression under a name."""

    name: str
    expression: Expression
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class AllColumns:
    """``*``, or ``record.*`` with `record`; columns whose names already stand to its left are left out."""

    record: Expression | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Project:
    """A SELECT list."""

    source: Relation
    items: tuple[Item | AllColumns, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Union:
    """The rows of all `sources`, duplicates kept."""

    sources: tuple[Relation, ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class EffectCall:
    """One call of a model or Python function per row for which `when` is true (always, when None).

    The result becomes the hidden column `column`; it is NULL in the other rows.
    """

    column: str
    function: str
    arguments: tuple[Expression, ...]
    when: Expression | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Effect:
    """The rows of `source` with the results of `calls`; rows that a call fails on leave as dead letters."""

    source: Relation
    calls: tuple[EffectCall, ...]
    span: Span = NOWHERE


Relation = Scan | StepRef | Filter | Project | Union | Effect


# --- scripts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One WITH step."""

    name: str
    relation: Relation
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Output:
    """One SELECT ... INTO; `name` is the output's, ``output`` where INTO is missing."""

    name: str
    relation: Relation
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Script:
    """A whole bound script: its WITH steps in order, its outputs in order, and the names that it uses."""

    text: str
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]
    inputs: tuple[str, ...]
    functions: tuple[str, ...]


def children(node: Expression | Relation) -> Iterator[Expression | Relation]:
    """Yield the nodes directly below `node`, expressions and relations, in the order they are written."""
    for part in fields(node):
        yield from _nodes(getattr(node, part.name))


def _nodes(value: object) -> Iterator[Expression | Relation]:
    if isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, Item | EffectCall | AllColumns):
        for part in fields(value):
            yield from _nodes(getattr(value, part.name))
    elif isinstance(value, Expression | Relation):
        yield value


def scans(script: Script) -> Iterator[Scan]:
    """Yield every place where a script reads an input."""
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    for part in parts:
        yield from _scans(part.relation)


def _scans(relation: Relation) -> Iterator[Scan]:
    if isinstance(relation, Scan):
        yield relation
    for child in children(relation):
        if isinstance(child, Relation):
            yield from _scans(child)


def timestamps(script: Script) -> dict[str, Expression]:
    """Return the TIMESTAMP BY expression of each input that has one; the binder sees to it that it is one."""
    return {scan.input: scan.timestamp for scan in scans(script) if scan.timestamp is not None}
