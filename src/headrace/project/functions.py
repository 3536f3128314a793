"""Loading what queries call: models, and Python functions of the project's own files."""

from __future__ import annotations

import ast
import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.errors import UserError, did_you_mean
from headrace.models.aggregate import PythonAggregate, is_aggregate
from headrace.models.python import PythonFunction
from headrace.models.scorer import Scorer
from headrace.models.storage import load_model
from headrace.project.settings import FunctionSettings


def defines_aggregate(folder: Path, settings: FunctionSettings) -> bool:
    """Tell whether a function of the settings is a class that aggregates, as far as its file says, unrun.

    A query is checked against it, and to check one must not run the project's Python files.
    """
    file_name, _, attribute = (settings.python or "").partition(":")
    try:
        tree = ast.parse((folder / file_name).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    return any(
        isinstance(node, ast.ClassDef)
        and node.name == attribute
        and any(isinstance(part, ast.FunctionDef) and part.name == "accumulate" for part in node.body)
        for node in tree.body
    )


def load_function(folder: Path, name: str, settings: FunctionSettings) -> Scorer | type:
    """Load a function or model that a query calls, or the class of an aggregate.

    Paths are relative to `folder`. Raises UserError for what cannot be loaded or called.
    """
    if (settings.model is None) == (settings.python is None):
        raise UserError(f'functions.{name}: give either model = "..." or python = "file.py:function"')
    if settings.model is not None:
        in_project = folder / settings.model
        return load_model(in_project if in_project.is_file() else settings.model)
    assert settings.python is not None
    function = python_function(folder, f"functions.{name}.python", settings.python)
    if isinstance(function, type) and is_aggregate(function):
        if not defines_aggregate(folder, settings):
            raise UserError(
                f"functions.{name}.python: the aggregate {settings.python} must be a class of that file, "
                "with its accumulate: queries are checked without running it"
            )
        PythonAggregate(name, function)
        return function
    return PythonFunction(name, function, batch=settings.batch)


def python_function(folder: Path, setting: str, reference: str) -> Callable[..., Any]:
    """Import ``file.py:function`` from the project's folder; messages name the `setting` that says so."""
    file_name, _, attribute = reference.partition(":")
    file = folder / file_name
    if not attribute:
        raise UserError(f'{setting}: expected "file.py:function", found {reference!r}')
    if not file.is_file():
        raise UserError(f"{setting}: there is no file {file}")
    spec = importlib.util.spec_from_file_location("headrace_project_" + setting.replace(".", "_"), file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = next(
            (f", line {frame.lineno}" for frame in reversed(frames) if frame.filename == str(file)), ""
        )
        raise UserError(f"{setting}: {file}{line} fails to load: {type(error).__name__}: {error}") from None
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, item in vars(module).items() if callable(item)]
        raise UserError(
            f"{setting}: {file_name} has no function {attribute!r}. {did_you_mean(attribute, known)}".rstrip()
        )
    return function  # type: ignore[no-any-return]
