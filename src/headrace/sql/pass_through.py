"""Outputs that take an input as it is: its columns, perhaps in another order, and nothing else."""

from __future__ import annotations

from collections.abc import Collection

from headrace.sql.plan import AllColumns, ColumnRef, Item, Output, Project, Relation, Scan, Script


def passes_through(script: Script, output: Output, columns: Collection[str]) -> bool:
    """Tell whether an output has the rows of an input with just these `columns`, each under its own name.

    Names count in any case. TIMESTAMP BY changes nothing about such rows, but for one that fails: it may name
    a column. An input with CREATE TABLE checks its rows, so they are not passed.
    """
    relation = output.relation
    if script.tables or not isinstance(relation, Project) or not isinstance(relation.source, Scan):
        return False
    folds = {name.casefold() for name in columns}
    if not _is_plain(relation.source, folds):
        return False
    written: list[str] = []
    for item in relation.items:
        names = _names(item, relation.source, folds)
        if names is None:
            return False
        written += [name for name in names if isinstance(item, Item) or name not in written]
    return sorted(written) == sorted(folds)


def _is_plain(scan: Scan, folds: Collection[str]) -> bool:
    if scan.over:
        return False
    return scan.timestamp is None or _column(scan.timestamp) in folds


def _names(item: Item | AllColumns, source: Relation, folds: Collection[str]) -> Collection[str] | None:
    """Return the columns of an item of a SELECT list; None if it is more than columns."""
    if isinstance(item, AllColumns):
        return folds if item.record is None and not item.sources else None
    name = item.name.casefold()
    return [name] if _column(item.expression) == name else None


def _column(expression: object) -> str | None:
    return expression.name.casefold() if isinstance(expression, ColumnRef) else None
