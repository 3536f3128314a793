"""Binding SELECT and UNION: a query's relation and the columns that it surely has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from headrace.errors import QueryError, Span
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.bind_group import GroupRewriter
from headrace.sql.bind_list import ListBinder
from headrace.sql.bind_sources import From, SourceBinder, spelled
from headrace.sql.bind_windows import WindowBinder
from headrace.sql.made_columns import WINDOW_COLUMN, MadeColumns, key_column
from headrace.sql.plan import (
    Aggregate,
    Expression,
    Filter,
    GroupKey,
    Item,
    Project,
    Relation,
    Union,
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
    """Binds the queries of a script, one after the other, over what `sources` can read."""

    def __init__(self, names: Names, sources: SourceBinder) -> None:
        self._names, self._sources = names, sources

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
        made = MadeColumns()
        source = self._sources.bound(node, made)
        items: list[exp.Expr] = node.expressions
        aliases = frozenset(item.alias.casefold() for item in items if isinstance(item, exp.Alias))
        scope = replace(source.scope, aliases=aliases)
        rows = ExpressionBinder(self._names, scope, made, "where")
        clauses = [node.args.get("where")]
        group = node.args.get("group")
        if group is None:
            clauses.append(node.args.get("having"))  # without GROUP BY, HAVING is WHERE (reference, A2)
        filters = [(rows.condition(clause.this), place(clause)) for clause in clauses if clause is not None]
        if group is not None:
            return _Grouped(self._names, source, scope, made).query(node, filters)
        binder = ExpressionBinder(self._names, scope, made, "row")
        bound, columns = ListBinder(self._names, scope, binder).items(items)
        return Query(Project(_filtered(source.relation(made.analytic), filters), bound, place(node)), columns)


class _Grouped:
    """Binds a SELECT with GROUP BY: its keys, aggregates, HAVING and list."""

    def __init__(self, names: Names, source: From, scope: Scope, made: MadeColumns) -> None:
        self._names, self._source, self._scope, self._made = names, source, scope, made

    def query(self, node: exp.Expr, filters: Sequence[tuple[Expression, Span]]) -> Query:
        """Return the bound SELECT; `filters` are its WHERE."""
        group = node.args["group"]
        key_binder = ExpressionBinder(self._names, self._scope, self._made, "key")
        parts = WindowBinder(self._names, key_binder.value).group(group)
        keys = tuple(
            GroupKey(key_column(number), key_binder.value(key)) for number, key in enumerate(parts.keys)
        )
        rewriter = GroupRewriter(self._names.text, keys)
        self._check_substreams(rewriter, group)
        binder = ExpressionBinder(self._names, self._scope, self._made, "group")
        self._refuse_stars(node.expressions)
        written, columns = ListBinder(self._names, self._scope, binder).items(node.expressions)
        items = tuple(
            replace(item, expression=self._over_groups(rewriter, item))
            for item in written
            if isinstance(item, Item)
        )
        clause: exp.Expr | None = node.args.get("having")
        aliases = {item.name.casefold(): item.expression for item in items}
        having = None if clause is None else rewriter.rewritten(binder.condition(clause.this), aliases)
        relation: Relation = Aggregate(
            _filtered(self._source.relation(self._made.analytic), filters),
            parts.windows,
            keys,
            tuple(self._made.aggregates),
            WINDOW_COLUMN if self._made.window_asked else None,
            place(group),
        )
        if clause is not None and having is not None:
            relation = Filter(relation, having, place(clause))
        return Query(Project(relation, items, place(node)), columns)

    def _over_groups(self, rewriter: GroupRewriter, item: Item) -> Expression:
        """Return the expression of `item` over groups; say so where GROUP BY names it by its alias."""
        try:
            return rewriter.rewritten(item.expression)
        except QueryError:
            key = rewriter.key_called(item.name)
            if key is None:
                raise
            problem = f"GROUP BY cannot name '{item.name}': it does not see the aliases of the SELECT list"
            raise self._names.error(problem, key.span, "Write the expression itself in GROUP BY.") from None

    def _refuse_stars(self, items: Sequence[exp.Expr]) -> None:
        for item in items:
            star = item.expression if isinstance(item, exp.Dot) else item
            if isinstance(star, exp.Star):
                problem = (
                    "* cannot stand with GROUP BY: only aggregates and what GROUP BY names can be selected"
                )
                raise self._names.error(problem, item, "Name them; COLLECT() gives all events as an array.")

    def _check_substreams(self, rewriter: GroupRewriter, group: exp.Expr) -> None:
        """Refuse a GROUP BY without the keys of TIMESTAMP BY ... OVER: each of them has a time of its own.

        Joined streams are equal in them, so those of one are enough.
        """
        over = [
            [spelled(key, source, self._scope) for key in source.scan.over]
            for source in self._scope.sources
            if source.scan is not None
        ]
        for same in zip(*over, strict=False):
            if not any(map(rewriter.is_key, same)):
                text = self._names.text[same[0].span.start : same[0].span.end]
                problem = f"GROUP BY must hold '{text}', which TIMESTAMP BY ... OVER names"
                raise self._names.error(problem, group, f"Add {text} to GROUP BY.")


def _filtered(source: Relation, filters: Sequence[tuple[Expression, Span]]) -> Relation:
    for predicate, span in filters:
        source = Filter(source, predicate, span)
    return source


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
