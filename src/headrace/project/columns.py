"""The columns that a query writes, where the query alone says so."""

from __future__ import annotations

from headrace.sql.plan import (
    AllColumns,
    Analytic,
    Effect,
    Filter,
    Item,
    Match,
    Project,
    Relation,
    Scan,
    Script,
    StepRef,
    Union,
)


def columns_of(script: Script, relation: Relation) -> list[str] | None:
    """Return the names of the columns of `relation` in order, None if the data name some of them."""
    names = _columns(script, relation)
    return names and list(dict.fromkeys(names))


def _columns(script: Script, relation: Relation) -> list[str] | None:
    match relation:
        case StepRef():
            fold = relation.step.casefold()
            return next(_columns(script, s.relation) for s in script.steps if s.name.casefold() == fold)
        case Filter() | Effect() | Analytic():
            return _columns(script, relation.source)
        case Union():
            return _joined([_columns(script, source) for source in relation.sources])
        case Project():
            return _joined([_item_columns(script, relation, item) for item in relation.items])
        case Match():
            return [item.name for item in (*relation.keys, *relation.measures)]
        case Scan():
            tables = (table for table in script.tables if table.input == relation.input)
            return next(([name for name, _ in table.columns] for table in tables), None)
    return None  # rows of a join, whose columns belong to its sources


def _item_columns(script: Script, relation: Project, item: Item | AllColumns) -> list[str] | None:
    if isinstance(item, Item):
        return [item.name]
    plain = item.record is None and not item.sources
    return _columns(script, relation.source) if plain else None


def _joined(parts: list[list[str] | None]) -> list[str] | None:
    names: list[str] = []
    for part in parts:
        if part is None:
            return None
        names += part
    return names
