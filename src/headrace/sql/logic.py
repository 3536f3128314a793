"""Trees of expressions: AND and OR as chains of any length, and changing what is below a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any
from typing import Literal as Choice

from headrace.errors import Span
from headrace.sql.plan import Binary, Expression

Connective = Choice["AND", "OR"]


def joined(operator: Connective, parts: Sequence[Expression]) -> Expression:
    """Return `parts`, at least one, joined by AND or OR; ten thousand parts are fourteen levels deep."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    left, right = joined(operator, parts[:middle]), joined(operator, parts[middle:])
    return Binary(operator, left, right, Span(left.span.start, right.span.end))


def operands(node: Expression, operator: Connective) -> list[Expression]:
    """Return what a tree of ANDs, or of ORs, joins, from left to right."""
    if isinstance(node, Binary) and node.operator == operator:
        return [*operands(node.left, operator), *operands(node.right, operator)]
    return [node]


def mapped(node: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """Return `node` with `change` applied to the expressions right below it."""
    changes = {
        part.name: _changed(getattr(node, part.name), change)
        for part in fields(node)
        if isinstance(getattr(node, part.name), Expression | tuple)
    }
    return replace(node, **changes) if changes else node


def _changed(item: Any, change: Callable[[Expression], Expression]) -> Any:
    """Return an expression, or a tuple that holds some at any depth, changed; anything else as it is."""
    if isinstance(item, tuple):
        return tuple(_changed(part, change) for part in item)
    return change(item) if isinstance(item, Expression) else item
