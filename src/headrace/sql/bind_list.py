"""Binding SELECT lists: expressions, the names they get, and stars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot import exp

from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.plan import AllColumns, Item
from headrace.sql.scope import Columns, Names, Scope
from headrace.sql.syntax import place


class ListBinder:
    """Binds a SELECT list: expressions, their names, and stars.

    Without an alias a column or property keeps its name, System.Timestamp() is called `timestamp`, a call has
    its function's name in lower case, and anything else is `expr` with its position from 1. Where a name made
    so is taken it gets its position, too; a name that is written twice is an error.
    """

    def __init__(self, names: Names, scope: Scope, binder: ExpressionBinder) -> None:
        self._names, self._scope, self._binder = names, scope, binder
        self._taken: set[str] = set()

    def items(self, nodes: Sequence[exp.Expr]) -> tuple[tuple[Item | AllColumns, ...], Columns]:
        """Return the bound list and its columns."""
        written = [self._written_name(node) for node in nodes]
        for identifier in written:
            self._take(identifier)
        bound = tuple(
            self._item(node, name, position)
            for position, (node, name) in enumerate(zip(nodes, written, strict=True), start=1)
        )
        return bound, self._columns(bound)

    def _item(self, node: exp.Expr, name: exp.Identifier | None, position: int) -> Item | AllColumns:
        if isinstance(node, exp.Star):
            return self._star(node)
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Star):
            return self._qualified_star(node)
        value = node.this if isinstance(node, exp.Alias) else node
        label = self._made_name(value, position) if name is None else self._names.checked(name)
        return Item(label, self._binder.value(value), place(node))

    def _qualified_star(self, node: exp.Dot) -> AllColumns:
        record = node.this
        source = self._scope.source(record.name) if isinstance(record, exp.Column) else None
        if source is not None:
            return AllColumns(sources=() if self._scope.single else (source.name,), span=place(node))
        return AllColumns(self._binder.value(record), span=place(node))

    def _star(self, node: exp.Expr) -> AllColumns:
        """Return what ``*`` means; over a join of streams it would mix their columns, and is refused."""
        if self._scope.single:
            return AllColumns(span=place(node))
        streams = [source.name for source in self._scope.sources if source.kind == "stream"]
        if len(streams) > 1:
            advice = f"Write {', '.join(f'{name}.*' for name in streams)}, or name the columns."
            raise self._names.error("* cannot stand over a join of streams", node, advice)
        return AllColumns(sources=tuple(source.name for source in self._scope.sources), span=place(node))

    def _columns(self, items: Sequence[Item | AllColumns]) -> Columns:
        columns: dict[str, str] = {}
        for item in items:
            if isinstance(item, Item):
                columns.setdefault(item.name.casefold(), item.name)
                continue
            below = None if item.record is not None else self._shown(item)
            if below is None:
                return None
            columns = {**below, **columns}
        return columns

    def _shown(self, item: AllColumns) -> Columns:
        """Return the columns of ``*`` or ``source.*``."""
        if not item.sources:
            return self._scope.all_columns()
        sources = [self._scope.source(name) for name in item.sources]
        return Scope(tuple(source for source in sources if source is not None)).all_columns()

    # --- names --------------------------------------------------------------------------------------------

    def _written_name(self, node: exp.Expr) -> exp.Identifier | None:
        """Return the name that the query itself gives an item: an alias, a column or a property."""
        if isinstance(node, exp.Alias):
            alias: exp.Identifier = node.args["alias"]
            return alias
        if isinstance(node, exp.Column):
            column: exp.Identifier = node.this
            return column
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier) and not _is_system(node):
            return node.expression
        return None

    def _take(self, identifier: exp.Identifier | None) -> None:
        if identifier is None:
            return
        fold = identifier.name.casefold()
        if fold in self._taken:
            problem = f"the name '{identifier.name}' is there twice in this SELECT list"
            raise self._names.error(problem, identifier, "Give one of the two another name with AS.")
        self._taken.add(fold)

    def _made_name(self, node: exp.Expr, position: int) -> str:
        name = _function_name(node) or f"expr{position}"
        while name.casefold() in self._taken:
            name = f"{name}_{position}"
        self._taken.add(name.casefold())
        return name


def _is_system(node: exp.Expr) -> bool:
    """Return whether `node` is System.Timestamp, or would be with a known name after the dot."""
    base = node.this
    return isinstance(node, exp.Dot) and isinstance(base, exp.Column) and base.name.upper() == "SYSTEM"


_CASTS: Final[dict[type[exp.Expr], str]] = {exp.Cast: "cast", exp.TryCast: "try_cast"}


def _function_name(node: exp.Expr) -> str:
    """Return the lower-case name of the function that `node` calls, empty when it is no call."""
    if isinstance(node, exp.Window):
        node = node.this
    if isinstance(node, exp.Anonymous):
        return str(node.this.name).lower()
    if isinstance(node, exp.Dot):
        return str(node.expression.name).lower()
    return _CASTS.get(type(node), "")
