"""The bound plan: what a script means, ready to run. Values only; nothing here knows how it is computed.

Expressions (see `expression`) and relations are frozen values. Columns whose names begin with HIDDEN are made
by one relation for those above it: `*` does not show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from headrace.errors import Span
from headrace.events.batch import HIDDEN, ValueType
from headrace.sql.expression import (
    NOWHERE,
    Binary,
    BinaryOperator,
    Call,
    Case,
    Cast,
    ColumnRef,
    Expression,
    FieldRef,
    In,
    IsNull,
    Like,
    Literal,
    SystemTimestamp,
    Unary,
    UserCall,
    WholeRow,
)
from headrace.sql.pattern import Either, Pattern, Repeat, Sequence, Variable
from headrace.sql.windows import (
    AggregateCall,
    AnalyticCall,
    GroupKey,
    Hopping,
    Order,
    Session,
    Sliding,
    Snapshot,
    Window,
)

__all__ = [
    "METADATA",
    "NOWHERE",
    "SOURCE_TIME",
    "Aggregate",
    "AggregateCall",
    "AllColumns",
    "Analytic",
    "AnalyticCall",
    "Apply",
    "Binary",
    "BinaryOperator",
    "Call",
    "Case",
    "Cast",
    "ColumnRef",
    "Definition",
    "Effect",
    "EffectCall",
    "Either",
    "Expression",
    "FieldRef",
    "Filter",
    "GroupKey",
    "Hopping",
    "In",
    "IsNull",
    "Item",
    "Join",
    "Like",
    "Literal",
    "Match",
    "MatchAggregate",
    "Order",
    "Output",
    "Partition",
    "Pattern",
    "Project",
    "Qualified",
    "ReferenceJoin",
    "Relation",
    "Repeat",
    "Scan",
    "Script",
    "Sequence",
    "Session",
    "Sliding",
    "Snapshot",
    "Step",
    "StepRef",
    "SystemTimestamp",
    "Table",
    "TimeBound",
    "Unary",
    "Union",
    "UserCall",
    "Variable",
    "WholeRow",
    "Window",
    "children",
    "qualified",
    "scans",
    "timestamps",
]


# --- relations -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Partition:
    """PARTITION BY `keys` INTO `count`: how a source may be spread; it changes no result."""

    keys: tuple[Expression, ...]
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """The events of an input; with `timestamp`, TIMESTAMP BY that expression OVER the keys `over`."""

    input: str
    timestamp: Expression | None = None
    over: tuple[Expression, ...] = ()
    partition: Partition | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class StepRef:
    """The rows of a WITH step."""

    step: str
    partition: Partition | None = None
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
    """``*``, or ``record.*`` with `record`; columns whose names already stand to its left are left out.

    Over a join `sources` names the sources whose columns are meant, in order.
    """

    record: Expression | None = None
    sources: tuple[str, ...] = ()
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


# --- windows and analytic functions ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A row per window and combination of `keys`, with the hidden columns of keys and calls; its time is the
    window's end. `window_column` is the hidden column for the window's id, where that is asked for.
    """

    source: Relation
    windows: tuple[Window, ...]
    keys: tuple[GroupKey, ...]
    calls: tuple[AggregateCall, ...]
    window_column: str | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Analytic:
    """The rows of `source`, each with the hidden columns of `calls`."""

    source: Relation
    calls: tuple[AnalyticCall, ...]
    span: Span = NOWHERE


# --- joins -----------------------------------------------------------------------------------------------


def qualified(source: str, column: str) -> str:
    """Return the name of a column of the source called `source` where there are several sources."""
    return f"{HIDDEN}{source.casefold()}{HIDDEN}{column}"


#: A hidden column beside those of a qualified source, ``qualified(source, SOURCE_TIME)``: its time.
SOURCE_TIME = f"{HIDDEN}time"

#: A hidden record column of an input's rows: what GetMetadataPropertyValue reads.
METADATA = f"{HIDDEN}metadata"


@dataclass(frozen=True, slots=True)
class Qualified:
    """The rows of `source` with every column renamed as of the source `name`, and SOURCE_TIME."""

    source: Relation
    name: str
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class TimeBound:
    """``floor(right / unit) - floor(left / unit)`` lies in `low` .. `high`, ends included.

    `left` is the SOURCE_TIME of a source on the left; the right is that of the source joined.
    """

    left: Expression
    unit_us: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Join:
    """The pairs of rows within all of `bounds`, equal in all pairs of `equal`, for which `condition` is true.

    A pair has the later of both times. With `outer` a left row without a pair comes alone, at its time plus
    the upper bound.
    """

    left: Relation
    right: Relation
    outer: bool
    bounds: tuple[TimeBound, ...]
    equal: tuple[tuple[Expression, Expression], ...] = ()
    condition: Expression | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class ReferenceJoin:
    """Each row of `left` with every row of the reference data `reference`, qualified by `name`, that matches.

    With `outer` a left row without a match comes alone.
    """

    left: Relation
    reference: str
    name: str
    outer: bool
    equal: tuple[tuple[Expression, Expression], ...] = ()
    condition: Expression | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Apply:
    """Each row of `source` with every element that `function` finds in `operand`.

    It is GETARRAYELEMENTS or GETRECORDPROPERTIES. The elements' columns are qualified by `name`; with `outer`
    a row without elements comes alone.
    """

    source: Relation
    function: str
    operand: Expression
    name: str
    outer: bool
    span: Span = NOWHERE


# --- patterns --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Definition:
    """DEFINE `variable` AS `condition`, over the columns of the event and those of aggregates."""

    variable: str
    condition: Expression


@dataclass(frozen=True, slots=True)
class MatchAggregate:
    """An aggregate over the events of a match that took `variable`, or over all of them where it is None.

    It is the hidden column `column` of conditions and measures. `argument` is computed for each event; COUNT
    of events and CLASSIFIER have none. In a condition the event that it is tried for belongs to the match.
    """

    column: str
    function: str
    variable: str | None
    argument: Expression | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Match:
    """A row per match of `pattern` among the events equal in `partition`, within `limit_us` (reference, B7).

    Its columns are `keys`, taken from the last event, and `measures`, over the columns of `aggregates`.
    """

    source: Relation
    limit_us: int
    partition: tuple[Item, ...]
    pattern: Pattern
    definitions: tuple[Definition, ...]
    aggregates: tuple[MatchAggregate, ...]
    measures: tuple[Item, ...]
    span: Span = NOWHERE

    @property
    def keys(self) -> tuple[Item, ...]:
        """The items of `partition` that become columns: where a measure has the name there is only that."""
        taken = {item.name.casefold() for item in self.measures}
        return tuple(item for item in self.partition if item.name.casefold() not in taken)


Relation = (
    Scan
    | StepRef
    | Filter
    | Project
    | Union
    | Effect
    | Aggregate
    | Analytic
    | Qualified
    | Join
    | ReferenceJoin
    | Apply
    | Match
)


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
    partition: Partition | None = None
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Table:
    """CREATE TABLE: the columns that every event of an input must have, with their types."""

    input: str
    columns: tuple[tuple[str, ValueType], ...]
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class Script:
    """A whole bound script: its WITH steps in order, its outputs in order, and the names that it uses.

    `inputs` are the streams, `references` the reference data, `functions` also hold the user aggregates.
    """

    text: str
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]
    inputs: tuple[str, ...]
    functions: tuple[str, ...]
    references: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def children(node: Expression | Relation | AnalyticCall) -> Iterator[Expression | Relation]:
    """Yield the nodes directly below `node`, expressions and relations, in the order they are written."""
    for part in fields(node):
        yield from _nodes(getattr(node, part.name))


def _nodes(value: object) -> Iterator[Expression | Relation]:
    if isinstance(value, Expression | Relation):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)
    elif is_dataclass(value):
        for part in fields(value):
            yield from _nodes(getattr(value, part.name))


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
