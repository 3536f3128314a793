"""Helpers for tests, public: conformance cases, checkers and crash runs.

What is named here is loaded when it is first used: the processes of a crash run need none of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.testing.cases import check_case, differences, run_case

__all__ = ["check_case", "differences", "run_case"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'headrace.testing' has no attribute {name!r}")
    return getattr(importlib.import_module("headrace.testing.cases"), name)
