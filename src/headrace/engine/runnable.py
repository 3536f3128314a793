"""What a running job cannot do yet, though `headrace.query` can: refused by name, never silently wrong."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.errors import QueryError, Span
from headrace.sql.plan import (
    METADATA,
    Aggregate,
    Analytic,
    ColumnRef,
    Expression,
    Join,
    Match,
    Output,
    ReferenceJoin,
    Relation,
    Scan,
    Script,
    Step,
    children,
)


def check_runnable(script: Script) -> None:
    """Raise QueryError, at its place, for the first thing in `script` that a running job cannot do yet."""
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    for part in parts:
        for what, span in _not_yet(part.relation):
            advice = "headrace.query runs this query on finite data."
            raise QueryError(f"{what} not available yet in a running job", script.text, span, advice=advice)


def _not_yet(node: Expression | Relation) -> Iterator[tuple[str, Span]]:
    match node:
        case Aggregate():
            yield "time windows are", node.span
        case Analytic():
            yield "functions with OVER are", node.span
        case Join():
            yield "JOIN is", node.span
        case ReferenceJoin():
            yield "JOIN with reference data is", node.span
        case Match():
            yield "MATCH_RECOGNIZE is", node.span
        case Scan() if node.over:
            yield "TIMESTAMP BY ... OVER is", node.span
        case ColumnRef() if node.name.endswith(METADATA):
            yield "GetMetadataPropertyValue is", node.span
    for child in children(node):
        yield from _not_yet(child)
