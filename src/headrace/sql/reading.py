"""Which columns of events a script reads behind their time and place: what else they hold changes no row."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.events.batch import HIDDEN
from headrace.sql.plan import (
    Aggregate,
    AllColumns,
    ColumnRef,
    Expression,
    Match,
    Output,
    Project,
    Relation,
    Scan,
    Script,
    Step,
    StepRef,
    WholeRow,
    children,
    scans,
)


def columns_read(script: Script) -> frozenset[str] | None:
    """Return the folded names of all columns that `script` reads of its inputs; None if it may read any.

    What TIMESTAMP BY and PARTITION BY read is left out, as events have their time and are where they belong.
    Names of columns that it makes itself are among them, too.
    """
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    nodes = [node for part in parts for node in _nodes(part.relation)]
    if any(isinstance(node, WholeRow) for node in nodes):
        return None
    stars = (node for node in nodes if isinstance(node, Project) and _has_star(node))
    if any(_shows_events(script, star.source) for star in stars):
        return None
    return frozenset(own_name(node.name) for node in nodes if isinstance(node, ColumnRef))


def columns_used(script: Script) -> frozenset[str] | None:
    """Return what `columns_read` does, and what TIMESTAMP BY and PARTITION BY read."""
    read = columns_read(script)
    if read is None:
        return None
    placing = (node for scan in scans(script) for child in children(scan) for node in _nodes(child))
    return read | {own_name(node.name) for node in placing if isinstance(node, ColumnRef)}


def own_name(column: str) -> str:
    """Return the folded name of a column as its source has it, without what qualifies or hides it."""
    return column.rpartition(HIDDEN)[2].casefold()


def _nodes(node: Expression | Relation) -> Iterator[Expression | Relation]:
    yield node
    for child in children(node) if not isinstance(node, Scan) else ():
        yield from _nodes(child)


def _has_star(relation: Project) -> bool:
    return any(isinstance(item, AllColumns) and item.record is None for item in relation.items)


def _shows_events(script: Script, relation: Relation) -> bool:
    """Tell whether ``*`` over the rows of `relation` has columns that only the data name."""
    match relation:
        case Scan():
            return True
        case StepRef():
            fold = relation.step.casefold()
            step = next(step for step in script.steps if step.name.casefold() == fold)
            return _shows_events(script, step.relation)
        case Aggregate() | Match():
            return False
        case Project() if not _has_star(relation):
            return False
    below = (child for child in children(relation) if isinstance(child, Relation))
    return any(_shows_events(script, child) for child in below)
