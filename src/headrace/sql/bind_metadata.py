"""GetMetadataPropertyValue(input, 'path'): a property of the record that comes beside an event."""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from headrace.sql.durations import text_of
from headrace.sql.plan import METADATA, ColumnRef, Expression, FieldRef
from headrace.sql.scope import Names, Scope
from headrace.sql.syntax import place

_USAGE: Final = "Write GetMetadataPropertyValue(input, '[EventHub].[Offset]') or 'EventId'."

#: One step of a path: a name in brackets, or a word up to the next dot.
_STEP: Final = re.compile(r"\s*(?:\[([^\]]+)\]|([^.\[\]]+))\s*(?:\.|\Z)")


def bind_metadata(names: Names, scope: Scope, node: exp.Anonymous) -> Expression:
    """Return what the call reads: properties of the hidden record of metadata."""
    if len(node.expressions) != 2:
        count = len(node.expressions)
        problem = f"GetMetadataPropertyValue cannot take {count} argument{'s' if count != 1 else ''}"
        raise names.error(problem, node, _USAGE)
    called, path = node.expressions
    source = scope.source(called.name) if isinstance(called, exp.Column) else None
    if source is None or source.scan is None:
        problem = "the first argument of GetMetadataPropertyValue is an input in FROM"
        advice = "A step has no metadata: read it in the step, where the input is." if source else _USAGE
        raise names.error(problem, called, advice)
    text = text_of(names, path)
    if text is None:
        raise names.error("the path of GetMetadataPropertyValue is a text", path, _USAGE)
    bound: Expression = ColumnRef(scope.spelled(source, METADATA), place(node))
    for step in _steps(names, path, text):
        bound = FieldRef(bound, step, place(node))
    return bound


def _steps(names: Names, path: exp.Expr, text: str) -> list[str]:
    end = 0
    steps: list[str] = []
    while end < len(text) or not steps:
        found = _STEP.match(text, end)
        if found is None:
            raise names.error("this is no path to a property", path, _USAGE)
        steps.append(found[1] or found[2].strip())
        end = found.end()
    return steps
