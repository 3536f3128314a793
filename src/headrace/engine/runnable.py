"""What a running job cannot do, though `headrace.query` can: refused by name, never silently wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from headrace.errors import QueryError, Span
from headrace.sql.plan import (
    Aggregate,
    Analytic,
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

_FINITE: Final = "headrace.query runs this query on finite data."


def check_runnable(script: Script, queues: Collection[str]) -> None:
    """Raise QueryError, at its place, for the first thing in `script` that a running job cannot do.

    `queues` are the inputs whose messages have no order that windows and joins could go by.
    """
    for node in _nodes(script):
        if isinstance(node, ReferenceJoin):
            problem = "JOIN with reference data is not available yet in a running job"
            raise QueryError(problem, script.text, node.span, advice=_FINITE)
    queue = next((name for name in script.inputs if name in queues), None)
    if queue is None:
        return
    for node in _nodes(script):
        if found := _state(node):
            what, span = found
            problem = f"{what} no messages of a queue, and input '{queue}' is one: they have no order in time"
            advice = "Publish them to a hub, and let this job read that one."
            raise QueryError(problem, script.text, span, advice=advice)


def _nodes(script: Script) -> Iterator[Expression | Relation]:
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    for part in parts:
        yield from _all(part.relation)


def _all(node: Expression | Relation) -> Iterator[Expression | Relation]:
    yield node
    for child in children(node):
        yield from _all(child)


def _state(node: Expression | Relation) -> tuple[str, Span] | None:
    match node:
        case Aggregate():
            return "time windows take", node.span
        case Analytic():
            return "functions with OVER take", node.span
        case Join():
            return "JOIN takes", node.span
        case Match():
            return "MATCH_RECOGNIZE takes", node.span
        case Scan() if node.over:
            return "TIMESTAMP BY ... OVER takes", node.span
    return None
