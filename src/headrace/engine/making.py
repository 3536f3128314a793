"""From the relations of a plan to what computes them: one table."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.engine.operator import Operator
from headrace.engine.operators.filter import filter_rows
from headrace.engine.operators.project import project
from headrace.events.batch import Batch
from headrace.sql.plan import (
    Aggregate,
    Analytic,
    Filter,
    Join,
    Match,
    Output,
    Project,
    Relation,
    Script,
    Step,
    children,
)

#: What keeps something of the rows before.
Stateful = Aggregate | Analytic | Join | Match


def sources(relation: Relation) -> tuple[Relation, ...]:
    """Return the relations that `relation` reads, in order."""
    return tuple(child for child in children(relation) if isinstance(child, Relation))


def is_stateless(script: Script) -> bool:
    """Tell whether a script gives rows for a batch whatever came before it."""
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    return not any(isinstance(relation, Stateful) for part in parts for relation in _all(part.relation))


def _all(relation: Relation) -> Iterator[Relation]:
    yield relation
    for source in sources(relation):
        yield from _all(source)


def transformed(relation: Relation, batch: Batch, script: str) -> Batch:
    """Return the rows that a relation without state makes of `batch`; raises RowError."""
    match relation:
        case Filter():
            return filter_rows(batch, relation.predicate, script)
        case Project():
            return project(batch, relation.items, script)
    raise NotImplementedError(type(relation).__name__)


def operator_for(relation: Stateful, script: str) -> Operator:
    """Return the operator of a relation with state."""
    raise NotImplementedError(type(relation).__name__)
