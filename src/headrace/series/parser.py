"""Which parser reads a worker's files, and what sorts its points: compiled where Numba is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from headrace.errors import UserError
from headrace.series.grouping import by_tag_and_time
from headrace.series.lines import Parser
from headrace.series.points import Points


def _is_compiled() -> bool:
    return importlib.util.find_spec("numba") is not None


def new_parser(*, compiled: bool | None = None) -> Parser:
    """Return a parser for one thread: the compiled one where Numba is installed, unless told otherwise.

    Raises `UserError` where what is needed is not installed.
    """
    if compiled is None:
        compiled = _is_compiled()
    try:
        if compiled:
            from headrace.series.parse_compiled import CompiledParser  # noqa: PLC0415

            return CompiledParser()
        from headrace.series.parse_arrow import ArrowParser  # noqa: PLC0415
    except ImportError as error:
        extra = "compiled" if compiled else "tags"
        raise UserError(
            f"reading sensor files needs {error.name}: install it with pip install 'headrace[{extra}]'"
        ) from None
    return ArrowParser()


def new_sorter() -> Callable[[Points], Points]:
    """Return what sorts points as `by_tag_and_time` does, for one thread; see `CompiledSorter`."""
    if _is_compiled():
        from headrace.series.group_compiled import CompiledSorter  # noqa: PLC0415

        return CompiledSorter()
    return by_tag_and_time
