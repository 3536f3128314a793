"""Which parser reads a worker's files, and what sorts its points: compiled code where it is there."""

from __future__ import annotations

from collections.abc import Callable

from headrace.errors import UserError
from headrace.series import group_compiled, parse_compiled
from headrace.series.grouping import by_tag_and_time
from headrace.series.lines import Parser
from headrace.series.points import Points


def new_parser(*, compiled: bool = parse_compiled.COMPILED) -> Parser:
    """Return a parser for one thread: the compiled one where there is one, unless told otherwise.

    Raises `UserError` where what is needed is not installed.
    """
    if compiled:
        return parse_compiled.CompiledParser()
    try:
        from headrace.series.parse_arrow import ArrowParser  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"reading sensor files needs {error.name}: install it with pip install 'headrace[tags]'"
        ) from None
    return ArrowParser()


def new_sorter() -> Callable[[Points], Points]:
    """Return what sorts points as `by_tag_and_time` does, for one thread; see `CompiledSorter`."""
    return group_compiled.CompiledSorter() if group_compiled.COMPILED else by_tag_and_time
