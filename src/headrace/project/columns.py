"""The columns that a query writes, where the query alone says so."""

from __future__ import annotations

from headrace.sql.plan import (
    AllColumns,
    Effect,
    Filter,
    Item,
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
        case Scan():
            return None
        case StepRef():
            fold = relation.step.casefold()
            return next(_columns(script, s.relation) for s in script.steps if s.name.casefold() == fold)
        case Filter() | Effect():
            return _columns(script, relation.source)
        case Union():
            return _joined([_columns(script, source) for source in relation.sources])
        case Project():
            return _joined([_item_columns(script, relation, item) for item in relation.items])


def _item_columns(script: Script, relation: Project, item: Item | AllColumns) -> list[str] | None:
    if isinstance(item, Item):
        return [item.name]
    return _columns(script, relation.source) if item.record is None else None


def _joined(parts: list[list[str] | None]) -> list[str] | None:
    names: list[str] = []
    for part in parts:
        if part is None:
            return None
        names += part
    return names
