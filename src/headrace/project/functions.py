"""Loading what queries call: models, and Python functions of the project's own files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.errors import UserError, did_you_mean
from headrace.models.python import PythonFunction
from headrace.models.scorer import Scorer
from headrace.models.storage import load_model
from headrace.project.settings import FunctionSettings


def load_function(folder: Path, name: str, settings: FunctionSettings) -> Scorer:
    """Load a function or model that a query calls; paths are relative to `folder`."""
    if (settings.model is None) == (settings.python is None):
        raise UserError(f'functions.{name}: give either model = "..." or python = "file.py:function"')
    if settings.model is not None:
        in_project = folder / settings.model
        return load_model(in_project if in_project.is_file() else settings.model)
    assert settings.python is not None
    return PythonFunction(name, _python_function(folder, name, settings.python), batch=settings.batch)


def _python_function(folder: Path, name: str, reference: str) -> Callable[..., Any]:
    """Import ``file.py:function`` from the project's folder."""
    file_name, _, attribute = reference.partition(":")
    file = folder / file_name
    if not attribute or not file.is_file():
        raise UserError(
            f'functions.{name}.python: expected "file.py:function" with a file in {folder}, '
            f"found {reference!r}"
        )
    spec = importlib.util.spec_from_file_location(f"headrace_project_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"functions.{name}.python: {file} fails to load: {type(error).__name__}: {error}"
        ) from None
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, item in vars(module).items() if callable(item)]
        raise UserError(
            f"functions.{name}.python: {file_name} has no function {attribute!r}. "
            f"{did_you_mean(attribute, known)}".rstrip()
        )
    return function  # type: ignore[no-any-return]
