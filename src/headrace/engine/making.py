"""From the relations of a plan to what computes them: one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from headrace.engine.joins.reference import Reference
from headrace.engine.operator import Operator
from headrace.engine.operators.aggregate import aggregate_operator
from headrace.engine.operators.analytic import AnalyticFunctions
from headrace.engine.operators.apply import apply_elements
from headrace.engine.operators.filter import filter_rows
from headrace.engine.operators.join import StreamJoin
from headrace.engine.operators.match import PatternMatch
from headrace.engine.operators.project import project
from headrace.engine.operators.qualify import qualify
from headrace.engine.operators.reference_join import ReferenceLookup
from headrace.events.batch import Batch
from headrace.models.aggregate import UserAggregate
from headrace.models.scorer import Scorer
from headrace.sql.plan import (
    Aggregate,
    Analytic,
    Apply,
    Filter,
    Join,
    Match,
    Output,
    Project,
    Qualified,
    ReferenceJoin,
    Relation,
    Script,
    Step,
    children,
)

#: What gives rows for a batch whatever came before it.
Transformation = Filter | Project | Qualified | Apply | ReferenceJoin

#: What keeps something of the rows before.
Stateful = Aggregate | Analytic | Join | Match


@dataclass(frozen=True, slots=True)
class Parts:
    """What relations are made with: the text that spans are of, and all that a script names."""

    script: str
    functions: Mapping[str, Scorer]
    aggregates: Mapping[str, UserAggregate]
    references: Mapping[str, Reference]


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


def transformation_for(relation: Transformation, parts: Parts) -> Callable[[Batch], Batch]:
    """Return what makes the rows of a relation of those of its source; it raises RowError."""
    script = parts.script
    match relation:
        case Filter():
            return lambda batch: filter_rows(batch, relation.predicate, script)
        case Project():
            return lambda batch: project(batch, relation.items, script)
        case Qualified():
            return lambda batch: qualify(batch, relation.name)
        case Apply():
            return lambda batch: apply_elements(batch, relation, script)
        case ReferenceJoin():
            name = relation.reference
            return ReferenceLookup(relation, lambda: parts.references[name], script).joined


def operator_for(relation: Stateful, parts: Parts) -> Operator:
    """Return the operator of a relation with state."""
    match relation:
        case Aggregate():
            return aggregate_operator(relation, parts.script, parts.aggregates)
        case Analytic():
            return AnalyticFunctions(relation, parts.script, parts.aggregates)
        case Join():
            return StreamJoin(relation, parts.script)
        case Match():
            return PatternMatch(relation, parts.script)
