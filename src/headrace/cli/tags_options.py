"""Options of the verbs that read histories of tags, and the store that they open."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from headrace.cli.numbers import at_least
from headrace.cli.options import add_project
from headrace.project.series import open_series

if TYPE_CHECKING:
    from headrace.series.read import SeriesReader

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}

#: The ways of reading, as `headrace.series.downsample` has them; loading that would slow `--help` down.
_HOWS: Final = ("raw", "last", "min", "max", "mean", "minmax", "lttb")

TAGS_HELP: Final = "a GUID, how GUIDs begin, or a pattern such as '302f*'"


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add ``--project``, ``--store`` and ``--tenant``."""
    add_project(parser)
    parser.add_argument("--store", metavar="NAME", help="the series output (default: the only one)")
    parser.add_argument("--tenant", metavar="NAME", help="whose tags (default: the only tenant's)")


def add_times(parser: argparse.ArgumentParser) -> None:
    """Add ``--from`` and ``--to``."""
    parser.add_argument(
        "--from", dest="start", metavar="TIME", help="points at or after it, such as 2026-05-01T12:00Z"
    )
    parser.add_argument("--to", dest="end", metavar="TIME", help="points before it")


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add ``--how``, ``--every`` and ``--points``."""
    parser.add_argument("--how", choices=_HOWS, default="raw", help="all points, or fewer (default: raw)")
    parser.add_argument("--every", type=length, metavar="LENGTH", help="a value for each 10s, 5m, 1h, 1d")
    parser.add_argument("--points", type=at_least(1), metavar="N", help="at most so many points of a tag")


def length(text: str) -> timedelta:
    """Read a length of time: a number of seconds, or one with a unit such as ``5m``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", text)
    try:
        if found is not None:
            return float(found[1]) * _UNITS[found[2] or "s"]
    except OverflowError:
        pass
    raise argparse.ArgumentTypeError(
        f"expected a length of time such as 10s, 5m, 1h or 1d, found {text[:40]!r}"
    )


@contextlib.contextmanager
def opened(arguments: argparse.Namespace, *, looking: bool = True) -> Iterator[SeriesReader]:
    """Open the store that was named."""
    with open_series(arguments.store, project=arguments.project, looking=looking) as reader:
        yield reader


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what was asked for as `SeriesReader.frames` takes it."""
    names = ("tags", "start", "end", "tenant", "how", "every", "points")
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
