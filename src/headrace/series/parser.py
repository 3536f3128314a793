"""Which parser reads a worker's files."""

from __future__ import annotations

import importlib.util

from headrace.errors import UserError
from headrace.series.lines import Parser


def new_parser(*, compiled: bool | None = None) -> Parser:
    """Return a parser for one thread: the compiled one where Numba is installed, unless told otherwise.

    Raises `UserError` where what is needed is not installed.
    """
    if compiled is None:
        compiled = importlib.util.find_spec("numba") is not None
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
