"""What a running job cannot do, though `headrace.query` can: refused at its place, never silently wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from headrace.errors import QueryError, Span
from headrace.sql.plan import (
    Aggregate,
    Analytic,
    Expression,
    Join,
    Match,
    Output,
    Relation,
    Scan,
    Script,
    Step,
    children,
)


def check_runnable(script: Script, queues: Collection[str]) -> None:
    """Raise QueryError, at its place, for what needs an order in time if an input of `script` has none.

    `queues` are these inputs.
    """
    queue = next((name for name in script.inputs if name in queues), None)
    if queue is None:
        return
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    for node in (node for part in parts for node in _all(part.relation)):
        if found := _state(node):
            what, span = found
            problem = f"{what} no messages of a queue, and input '{queue}' is one: they have no order in time"
            advice = "Publish them to a hub, and let this job read that one."
            raise QueryError(problem, script.text, span, advice=advice)


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
