"""AND and OR: chains of any length as trees of little depth, and back."""

from __future__ import annotations

from collections.abc import Sequence
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
