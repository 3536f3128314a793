"""FROM: inputs, steps and reference data, joins of them, and APPLY."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlglot import exp

from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.bind_group import folded
from headrace.sql.bind_join import Condition, JoinBinder
from headrace.sql.bind_match import bind_match
from headrace.sql.durations import whole_number
from headrace.sql.guards import below
from headrace.sql.logic import mapped
from headrace.sql.made_columns import MadeColumns
from headrace.sql.plan import (
    Analytic,
    AnalyticCall,
    Apply,
    ColumnRef,
    Expression,
    Filter,
    Join,
    Partition,
    Qualified,
    ReferenceJoin,
    Relation,
    Scan,
    StepRef,
    SystemTimestamp,
    UserCall,
    WholeRow,
    children,
    qualified,
)
from headrace.sql.scope import Columns, Names, Scope, Source
from headrace.sql.syntax import place

_ELEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "GETARRAYELEMENTS": ("ArrayIndex", "ArrayValue"),
    "GETRECORDPROPERTIES": ("PropertyName", "PropertyValue"),
}

#: The most parts that PARTITION BY ... INTO can ask for.
_MAX_PARTS: Final = 1_024


@dataclass(slots=True)
class _Part:
    """One source of a FROM: its rows, and how they come to those before it."""

    source: Source
    node: exp.Expr
    relation: Relation | None = None
    partition: Partition | None = None
    outer: bool = False
    condition: Condition | None = None
    reference: str = ""
    function: str = ""
    operand: Expression | None = None
    analytic: list[AnalyticCall] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class From:
    """A bound FROM; `relation` makes its rows, once it is known what OVER looks at."""

    scope: Scope
    parts: tuple[_Part, ...]

    @property
    def partitions(self) -> list[Partition]:
        """The PARTITION BY of the sources that have one."""
        return [part.partition for part in self.parts if part.partition is not None]

    def relation(self, calls: Sequence[AnalyticCall]) -> Relation:
        """Return the rows of all sources joined, with the columns of analytic functions.

        A call that reads one stream looks at its events before they are joined, any other at joined rows.
        """
        above: list[AnalyticCall] = []
        for call in calls:
            sources = self.scope.sources_of(_columns(call)) if self.scope.joined else []
            part = next((p for p in self.parts if [p.source] == sources and p.relation is not None), None)
            (above if part is None else part.analytic).append(call)
        relation = self._rows(self.parts[0])
        for part in self.parts[1:]:
            relation = self._joined(relation, part)
        return Analytic(relation, tuple(above), above[0].call.span) if above else relation

    def _rows(self, part: _Part) -> Relation:
        assert part.relation is not None
        relation = part.relation
        if self.scope.joined:
            relation = Qualified(relation, part.source.name, place(part.node))
        if part.analytic:
            relation = Analytic(relation, tuple(part.analytic), part.analytic[0].call.span)
        return relation

    def _joined(self, left: Relation, part: _Part) -> Relation:
        span = place(part.node)
        if part.function:
            assert part.operand is not None
            return Apply(left, part.function, part.operand, part.source.name, part.outer, span)
        assert part.condition is not None
        equal, rest, after = part.condition.equal, part.condition.rest, part.condition.after
        joined: Relation
        if part.reference:
            joined = ReferenceJoin(left, part.reference, part.source.name, part.outer, equal, rest, span)
        else:
            joined = Join(left, self._rows(part), part.outer, part.condition.bounds, equal, rest, span)
        return joined if after is None else Filter(joined, after, after.span)


class SourceBinder:
    """Binds the FROM of the queries of a script.

    `steps` are the WITH steps that a query can read, folded name to name and columns; `later` are the folded
    names of all of the script's steps; `tables` are the columns of inputs that CREATE TABLE declares.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self.steps: dict[str, tuple[str, Columns]] = {}
        self.later: set[str] = set()
        self.tables: dict[str, Columns] = {}
        self._scans: dict[str, Scan] = {}

    def bound(self, node: exp.Expr, made: MadeColumns) -> From:
        """Return the FROM of a SELECT; `made` takes the analytic functions in it."""
        joins: Sequence[exp.Expr] = node.args["joins"]
        parts = [self._rows(node.args["source"])]
        if parts[0].reference:
            advice = "Name the stream first: FROM stream JOIN reference ON ..."
            raise self._names.error("reference data stands on the right of a JOIN", parts[0].node, advice)
        for join in joins:
            part = self._elements(join) if isinstance(join, exp.Lateral) else self._rows(join.this)
            if any(part.source.called(other.source.name) for other in parts):
                problem = f"there are two sources called '{part.source.name}'"
                raise self._names.error(problem, part.node, "Give one of them another name with AS.")
            before = Scope(tuple(other.source for other in parts), joined=True)
            parts.append(part)
            scope = Scope(tuple(other.source for other in parts), joined=True)
            if isinstance(join, exp.Lateral):
                binder = ExpressionBinder(self._names, before, made, "on")
                part.operand, part.outer = binder.value(join.this.expressions[0]), bool(join.args["outer"])
            else:
                part.outer = join.args["side"] == "LEFT"
                self._on(join, part, parts, JoinBinder(self._names, scope, self._in_on(scope, made)))
        return From(Scope(tuple(part.source for part in parts), joined=bool(joins)), tuple(parts))

    def _in_on(self, scope: Scope, made: MadeColumns) -> ExpressionBinder:
        return ExpressionBinder(self._names, scope, made, "on")

    def _on(self, join: exp.Expr, part: _Part, parts: Sequence[_Part], binder: JoinBinder) -> None:
        on = join.args["on"]
        part.condition = (binder.reference if part.reference else binder.streams)(on, outer=part.outer)
        left = [_spelled_partition(other) for other in parts[:-1] if other.partition is not None]
        binder.check_partitions(
            left, _spelled_partition(part) if part.partition else None, part.condition, on
        )
        if not part.reference:
            over = [_spelled_over(other) for other in parts]
            binder.check_substreams(over[:-1], over[-1], part.condition, on)

    def _elements(self, node: exp.Lateral) -> _Part:
        """Return the elements that APPLY takes from a column."""
        call = node.this
        name = str(call.this.name).upper() if isinstance(call, exp.Anonymous) else ""
        if name not in _ELEMENTS or call.args["prefix"]:
            advice = "Write CROSS APPLY GetArrayElements(column) AS element."
            raise self._names.error("APPLY takes GetArrayElements or GetRecordProperties", call, advice)
        if len(call.expressions) != 1:
            raise self._names.error(f"{call.this.name} takes one column", call)
        columns = {column.casefold(): column for column in _ELEMENTS[name]}
        alias = self._names.checked(node.args["alias"])
        return _Part(Source(alias, columns, "elements"), node, function=name)

    # --- one source ---------------------------------------------------------------------------------------

    def _rows(self, table: exp.Expr) -> _Part:
        """Return a source, or the matches of a pattern in it."""
        part = self._table(table)
        match: exp.Expr | None = table.args.get("match")
        if match is None:
            return part
        if part.relation is None:
            raise self._names.error("reference data takes no MATCH_RECOGNIZE", match)
        relation, columns = bind_match(self._names, table, part.source, part.relation)
        alias: exp.Identifier | None = table.args.get("match_alias")
        called = self._names.checked(alias) if alias else part.source.name
        return _Part(Source(called, columns), table, relation, part.partition)

    def _table(self, table: exp.Expr) -> _Part:
        identifier: exp.Identifier = table.this
        name = self._names.checked(identifier)
        alias: exp.Identifier | None = table.args.get("alias")
        called = self._names.checked(alias) if alias else name
        step = self.steps.get(name.casefold())
        if step is not None:
            return self._step(table, called, step)
        if name.casefold() in self.later:
            advice = "A step reads the steps above it; move that one up."
            raise self._names.error(f"the step '{name}' is not there yet", identifier, advice)
        if self._names.references.holds(name):
            return self._reference(table, called)
        known = self._names.find_input(identifier, [step for step, _ in self.steps.values()])
        source = Source(called, self.tables.get(known.casefold()), behind=name)
        binder = ExpressionBinder(self._names, Scope((source,)), clause="timestamp")
        keys = tuple(map(binder.value, table.args.get("keys") or ()))
        timestamp: exp.Expr | None = table.args.get("timestamp")
        by = None if timestamp is None else binder.value(timestamp)
        for expression in (*keys, *([] if by is None else [by])):
            _refuse_in_timestamp(self._names, expression)
        scan = Scan(known, by, keys, span=place(table))
        first = self._scans.setdefault(known, scan)
        if (_folded(first.timestamp), *map(_folded, first.over)) != (_folded(by), *map(_folded, keys)):
            advice = "An input has one time: read it in a WITH step, and read that step twice."
            raise self._names.error("this input is read with another TIMESTAMP BY above", table, advice)
        scan = replace(first, span=place(table))
        partition = self._partition(table, source)
        return _Part(replace(source, scan=scan), table, replace(scan, partition=partition), partition)

    def _step(self, table: exp.Expr, called: str, step: tuple[str, Columns]) -> _Part:
        if timestamp := table.args.get("timestamp"):
            advice = "A step keeps the time of its events; write TIMESTAMP BY where the input is read."
            raise self._names.error("TIMESTAMP BY stands only after an input", timestamp, advice)
        source = Source(called, step[1], behind=table.this.name)
        partition = self._partition(table, source)
        return _Part(source, table, StepRef(step[0], partition, place(table)), partition)

    def _reference(self, table: exp.Expr, called: str) -> _Part:
        for clause in ("timestamp", "partition"):
            if table.args.get(clause):
                kind = "TIMESTAMP BY" if clause == "timestamp" else "PARTITION BY"
                raise self._names.error(f"reference data takes no {kind}", table)
        declared = self._names.references.find(table.this.name) or ""
        self._names.used_references[declared] = None
        columns = self.tables.get(declared.casefold())
        at_hand = self._names.reference_columns.get(declared)
        seen = None if at_hand is None else frozenset(map(str.casefold, at_hand))
        source = Source(called, columns, "reference", behind=table.this.name, seen=seen)
        return _Part(source, table, reference=declared)

    def _partition(self, table: exp.Expr, source: Source) -> Partition | None:
        written = table.args.get("partition_keys")
        if not written:
            return None
        binder = ExpressionBinder(self._names, Scope((source,)), clause="timestamp")
        return bound_partition(self._names, binder, written, table.args.get("shards"))


def bound_partition(
    names: Names, binder: ExpressionBinder, keys: Sequence[exp.Expr], into: exp.Expr | None
) -> Partition:
    """Return PARTITION BY keys [INTO n]."""
    count = None if into is None else whole_number(names, into)
    if into is not None and count is not None and not 2 <= count <= _MAX_PARTS:
        raise names.error(f"PARTITION BY ... INTO takes 2 to {_MAX_PARTS} parts", into)
    return Partition(tuple(map(binder.value, keys)), count)


def spelled(expression: Expression, source: Source, scope: Scope) -> Expression:
    """Return an expression over the columns of one source with names as the rows of the SELECT have them."""
    if isinstance(expression, ColumnRef):
        return replace(expression, name=scope.spelled(source, expression.name))
    return mapped(expression, lambda child: spelled(child, source, scope))


def _spelled_partition(part: _Part) -> Partition:
    assert part.partition is not None
    scope = Scope((part.source,), joined=True)
    return replace(
        part.partition, keys=tuple(spelled(key, part.source, scope) for key in part.partition.keys)
    )


def _spelled_over(part: _Part) -> tuple[Expression, ...]:
    scope = Scope((part.source,), joined=True)
    keys = part.source.scan.over if part.source.scan else ()
    return tuple(spelled(key, part.source, scope) for key in keys)


def _columns(call: AnalyticCall) -> Iterator[str]:
    """Yield the columns that an analytic call reads."""
    for node in children(call):
        yield from _columns_of(node)


def _columns_of(node: Expression | Relation) -> Iterator[str]:
    if isinstance(node, ColumnRef):
        yield node.name
    if isinstance(node, WholeRow) and node.source is not None:
        yield qualified(node.source, "")
    for child in children(node):
        yield from _columns_of(child)


def _folded(expression: Expression | None) -> Expression | None:
    return None if expression is None else folded(expression)


def _refuse_in_timestamp(names: Names, expression: Expression) -> None:
    if isinstance(expression, SystemTimestamp):
        advice = (
            "TIMESTAMP BY sets it: name a column of the event, or leave TIMESTAMP BY out for the arrival."
        )
        raise names.error("System.Timestamp() cannot be used in TIMESTAMP BY", expression.span, advice)
    if isinstance(expression, UserCall):
        problem = "TIMESTAMP BY cannot call a function of yours: the time must be known before anything runs"
        raise names.error(problem, expression.span, "Compute it from the event's columns.")
    for child in below(expression):
        _refuse_in_timestamp(names, child)
