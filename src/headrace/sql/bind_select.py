"""Binding SELECT and UNION: a query's relation and the columns that it surely has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.bind_list import ListBinder
from headrace.sql.bind_windows import check_group
from headrace.sql.plan import (
    Expression,
    Filter,
    Item,
    Project,
    Relation,
    Scan,
    StepRef,
    SystemTimestamp,
    Union,
    UserCall,
    children,
)
from headrace.sql.scope import Columns, Names, Scope
from headrace.sql.syntax import place


@dataclass(frozen=True, slots=True)
class Query:
    """A bound SELECT or UNION."""

    relation: Relation
    columns: Columns


def into_of(node: exp.Expr) -> exp.Into | None:
    """Return the INTO of a SELECT, or of the first SELECT of a UNION."""
    while isinstance(node, exp.Union):
        node = node.expressions[0]
    into: exp.Into | None = node.args.get("into")
    return into


class QueryBinder:
    """Binds the queries of a script, one after the other.

    `steps` are the WITH steps that a query can read, folded name to name and columns; `later` are the folded
    names of all of the script's steps.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self.steps: dict[str, tuple[str, Columns]] = {}
        self.later: set[str] = set()
        self._scans: dict[str, Scan] = {}

    def query(self, node: exp.Expr) -> Query:
        """Return a bound SELECT or UNION; its INTO is the caller's."""
        return self._union(node) if isinstance(node, exp.Union) else self._select(node)

    # --- UNION --------------------------------------------------------------------------------------------

    def _union(self, node: exp.Union) -> Query:
        for other in node.expressions[1:]:
            if into := into_of(other):
                advice = "The rows of a UNION go to one output."
                raise self._names.error("INTO stands in the first SELECT of a UNION", into, advice)
        first, *others = map(self.query, node.expressions)
        relations = [first.relation]
        for query, written in zip(others, node.expressions[1:], strict=True):
            relations.append(self._aligned(first.columns, query, written))
        columns = first.columns if all(query.columns is not None for query in others) else None
        return Query(Union(tuple(relations), place(node)), columns)

    def _aligned(self, columns: Columns, query: Query, written: exp.Expr) -> Relation:
        """Return `query` with its columns spelled as those of the first SELECT; they must be the same."""
        if columns is None or query.columns is None:
            return query.relation
        advice = "The SELECTs of a UNION have the same columns; give NULL AS name for one that is not there."
        for fold, name in columns.items():
            if fold not in query.columns:
                raise self._names.error(f"this SELECT of a UNION has no column '{name}'", written, advice)
        for fold, name in query.columns.items():
            if fold not in columns:
                raise self._names.error(
                    f"the first SELECT of this UNION has no column '{name}'", written, advice
                )
        return _renamed(query.relation, columns)

    # --- SELECT -------------------------------------------------------------------------------------------

    def _select(self, node: exp.Expr) -> Query:
        source, scope = self._source(node.args["source"])
        for join in node.args["joins"]:
            self._refuse_join(join)
        if group := node.args.get("group"):
            raise check_group(self._names, group)
        items: list[exp.Expr] = node.expressions
        aliases = frozenset(item.alias.casefold() for item in items if isinstance(item, exp.Alias))
        binder = ExpressionBinder(self._names, replace(scope, aliases=aliases))
        # Without GROUP BY, HAVING is WHERE (reference, A2).
        for clause in (node.args.get("where"), node.args.get("having")):
            if clause is not None:
                source = Filter(source, binder.condition(clause.this), place(clause))
        bound, columns = ListBinder(self._names, scope, binder).items(items)
        return Query(Project(source, bound, place(node)), columns)

    def _refuse_join(self, node: exp.Expr) -> None:
        if isinstance(node, exp.Lateral):
            kind = "OUTER APPLY" if node.args["outer"] else "CROSS APPLY"
        else:
            kind = "LEFT JOIN" if node.args["side"] == "LEFT" else "JOIN"
        raise self._names.error(f"{kind} is not available yet", node)

    def _source(self, table: exp.Expr) -> tuple[Relation, Scope]:
        identifier: exp.Identifier = table.this
        name = identifier.name
        alias: exp.Identifier | None = table.args.get("alias")
        called = self._names.checked(alias) if alias else name
        for clause in ("over", "partition"):
            if span := table.args.get(clause):
                kind = "TIMESTAMP BY ... OVER" if clause == "over" else "PARTITION BY"
                raise self._names.error(f"{kind} is not available yet", span)
        timestamp: exp.Expr | None = table.args.get("timestamp")
        step = self.steps.get(name.casefold())
        if step is not None:
            if timestamp is not None:
                advice = "A step keeps the time of its events; write TIMESTAMP BY where the input is read."
                raise self._names.error("TIMESTAMP BY stands only after an input", timestamp, advice)
            return StepRef(step[0], span=place(table)), Scope(called, step[1])
        if name.casefold() in self.later:
            advice = "A step reads the steps above it; move that one up."
            raise self._names.error(f"the step '{name}' is not there yet", identifier, advice)
        known = self._names.find_input(identifier, [step for step, _ in self.steps.values()])
        scope = Scope(called, None)
        scan = Scan(known, self._timestamp(timestamp, scope), span=place(table))
        if self._scans.setdefault(known, scan) != scan:
            advice = "An input has one time: read it in a WITH step, and read that step twice."
            raise self._names.error("this input is read with another TIMESTAMP BY above", table, advice)
        return scan, scope

    def _timestamp(self, node: exp.Expr | None, scope: Scope) -> Expression | None:
        if node is None:
            return None
        bound = ExpressionBinder(self._names, scope).value(node)
        _refuse_in_timestamp(self._names, bound)
        return bound


def _refuse_in_timestamp(names: Names, expression: Expression) -> None:
    if isinstance(expression, SystemTimestamp):
        advice = (
            "TIMESTAMP BY sets it: name a column of the event, or leave TIMESTAMP BY out for the arrival."
        )
        raise names.error("System.Timestamp() cannot be used in TIMESTAMP BY", expression.span, advice)
    if isinstance(expression, UserCall):
        problem = "TIMESTAMP BY cannot call a function of yours: the time must be known before anything runs"
        raise names.error(problem, expression.span, "Compute it from the event's columns.")
    for child in children(expression):
        if isinstance(child, Expression):
            _refuse_in_timestamp(names, child)


def _renamed(relation: Relation, names: Mapping[str, str]) -> Relation:
    """Return a query's relation with the columns of its SELECT lists spelled as in `names`."""
    if isinstance(relation, Union):
        return replace(relation, sources=tuple(_renamed(source, names) for source in relation.sources))
    if not isinstance(relation, Project):
        return relation
    items = tuple(
        replace(item, name=names.get(item.name.casefold(), item.name)) if isinstance(item, Item) else item
        for item in relation.items
    )
    return replace(relation, items=items)
