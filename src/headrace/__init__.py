"""Headrace: stream analytics you can run anywhere.

A job is one SQL query, with Python models inside it::

    import headrace as hr

    out = hr.query("SELECT title, classify(doc).best AS class FROM papers",
                   inputs={"papers": rows}, functions={"classify": hr.load_model("papers")})
    out["output"]            # a list of dicts

What is named here is loaded when it is first used, so that importing Headrace costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import DataError, Fatal, HeadraceError, QueryError, Transient, UserError

if TYPE_CHECKING:
    from headrace.engine.query import query
    from headrace.events.watermark import Policy
    from headrace.models.storage import load_model
    from headrace.project import Project
    from headrace.project.sending import send
    from headrace.project.series import open_series, read_series
    from headrace.project.tables import read_table

__all__ = [
    "DataError",
    "Fatal",
    "HeadraceError",
    "Policy",
    "Project",
    "QueryError",
    "Transient",
    "UserError",
    "load_model",
    "open_series",
    "query",
    "read_series",
    "read_table",
    "send",
]

_HOMES: Final = {
    "Policy": "headrace.events.watermark",
    "Project": "headrace.project",
    "load_model": "headrace.models.storage",
    "open_series": "headrace.project.series",
    "query": "headrace.engine.query",
    "read_series": "headrace.project.series",
    "read_table": "headrace.project.tables",
    "send": "headrace.project.sending",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
