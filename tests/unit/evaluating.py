"""The value of one SQL expression over one event, through binder, kernels and rows."""

from __future__ import annotations

from typing import Any

from headrace.engine.operators.project import project
from headrace.events.formats.json import from_rows, rows
from headrace.sql.bind import bind
from headrace.sql.plan import Project


def value(expression: str, **fields: Any) -> Any:
    """Return the value of an expression over an event with these fields."""
    script = bind(f"SELECT {expression} AS x FROM src")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    return rows(project(from_rows([fields]), relation.items, script.text))[0]["x"]


def same(found: Any, expected: Any) -> bool:
    """Tell whether two values are equal and of one type."""
    return type(found) is type(expected) and found == expected
