"""Which conditions may be tried before a call that stands to their left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.sql.plan import (
    Binary,
    Cast,
    ColumnRef,
    Expression,
    FieldRef,
    In,
    IsNull,
    Like,
    Literal,
    SystemTimestamp,
    Unary,
    UserCall,
    children,
)


def below(node: Expression) -> Iterator[Expression]:
    """Yield the expressions right below `node`."""
    return (child for child in children(node) if isinstance(child, Expression))


def holds_call(node: Expression) -> bool:
    """Return whether `node` calls a model or function, at any depth."""
    return isinstance(node, UserCall) or any(map(holds_call, below(node)))


def size(node: Expression) -> int:
    """Return how many nodes `node` has when it is written out."""
    return 1 + sum(map(size, below(node)))


def columns(node: Expression) -> Iterator[str]:
    """Yield the names of the columns that `node` reads."""
    if isinstance(node, ColumnRef):
        yield node.name
    for child in below(node):
        yield from columns(child)


def guards_first(operands: Sequence[Expression]) -> list[Expression]:
    """Return the operands of an AND or OR with those up front that may be tried before any call is made.

    An operand without a call may pass those to its left if it cannot fail on any row, or if it only compares
    columns and reads none that they read: so ``is_number(x) = 1 AND x > 5`` keeps its order, and
    ``classify(doc).best = 'a' AND year > 2020`` looks at the year first.
    """
    first: list[Expression] = []
    rest: list[Expression] = []
    read: set[str] = set()
    for operand in operands:
        if not holds_call(operand) and (not rest or _passes(operand, read)):
            first.append(operand)
        else:
            rest.append(operand)
            read |= {name.casefold() for name in columns(operand)}
    return [*first, *rest]


def _passes(operand: Expression, read: set[str]) -> bool:
    if not _is_plain(operand):
        return False
    return _cannot_fail(operand) or read.isdisjoint(name.casefold() for name in columns(operand))


def _is_plain(node: Expression) -> bool:
    """Return whether `node` only compares columns, properties and constants."""
    match node:
        case Literal() | ColumnRef() | FieldRef() | SystemTimestamp() | IsNull() | In() | Like():
            pass
        case Unary(operator="NOT") | Cast(safe=True):
            pass
        case Binary(operator="=" | "<>" | "<" | "<=" | ">" | ">=" | "AND" | "OR"):
            pass
        case _:
            return False
    return all(_is_plain(child) for child in below(node))


def _cannot_fail(node: Expression) -> bool:
    """Return whether a plain `node` has a result on every row: only comparisons of odd types have none."""
    if isinstance(node, In | Like) or (isinstance(node, Binary) and node.operator not in ("AND", "OR")):
        return False
    return all(map(_cannot_fail, below(node)))
