"""Draw tags over time: in the terminal, or as a picture to a file ending in `.png` or `.svg`.

Of longer histories the least and the greatest value of each stretch of time are drawn, so no spike is lost.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from headrace.cli.braille import drawn
from headrace.cli.options import plain
from headrace.cli.show import print_lines
from headrace.cli.tags_options import TAGS_HELP, add_store, add_times, opened
from headrace.errors import UserError
from headrace.local.files import replacing

#: More curves in one picture cannot be told apart.
_MOST_TAGS: Final = 10

#: Points of a curve in a picture: two in each column of its pixels.
_PICTURE_POINTS: Final = 2_400

_SUFFIXES: Final = (".png", ".svg")


def add(actions: Any) -> None:
    """Describe the action."""
    parser = actions.add_parser("plot", help="draw tags over time", description=plain(__doc__))
    parser.add_argument("tags", metavar="TAG", nargs="+", help=TAGS_HELP)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="a picture (default: draw in the terminal)"
    )
    add_times(parser)
    add_store(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read as many points as can be seen, and draw them."""
    output: Path | None = arguments.output
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{output}: expected a file ending in {' or '.join(_SUFFIXES)}")
    columns, lines = shutil.get_terminal_size((100, 30)) if sys.stdout.isatty() else (100, 30)
    with opened(arguments) as reader:
        tags = list(dict.fromkeys(reader.tags(arguments.tags, tenant=arguments.tenant)))
        if len(tags) > _MOST_TAGS:
            raise UserError(f"{len(tags):,} tags are too many for one picture: name at most {_MOST_TAGS}")
        wanted = _PICTURE_POINTS if output is not None else 4 * columns
        times = (arguments.start, arguments.end)
        frame = reader.read(tags, *times, tenant=arguments.tenant, how="minmax", points=wanted)
    curves = {str(tag): points for (tag,), points in frame.group_by(["tag"], maintain_order=True)}
    if not curves:
        raise UserError("there are no points in this time: `headrace tags stats` tells from when to when")
    if output is None:
        height = max(4, min(12, (lines - 2) // len(curves) - 3))
        for tag, points in curves.items():
            print_lines(drawn(tag, points["time"], points["value"], columns, height))
    else:
        picture(curves, output)
        print_lines([str(output)])
    return 0


def picture(curves: Mapping[str, pl.DataFrame], output: Path) -> None:
    """Draw points (columns time and value) by the names of their curves into a PNG or SVG file.

    Raises `UserError` where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional

        mpl.use("Agg")
        from matplotlib import dates, pyplot  # noqa: PLC0415 - optional
    except ImportError:
        raise UserError("pictures need matplotlib: pip install 'headrace[plot]'") from None
    figure, axes = pyplot.subplots(figsize=(11, 4.5), layout="constrained")
    for tag, points in curves.items():
        axes.plot(points["time"].to_numpy(), points["value"].to_numpy(), label=tag, linewidth=1.1)
    locator: Any = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_whole_times(dates, locator))
    axes.set(xlabel="time, UTC", ylabel="value")
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) == 1:
        axes.set_title(next(iter(curves)), fontsize=11, loc="left")
    else:
        figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    try:
        with np.errstate(over="ignore"), replacing(output) as file:
            figure.savefig(file, format=output.suffix[1:].lower(), dpi=110)
    except ValueError:  # of dates with their margins beyond the years 1 and 9999, of spans beyond doubles
        raise UserError(
            "times or values reach too far for a picture: draw less with --from and --to, or in the terminal"
        ) from None
    finally:
        pyplot.close(figure)


def _whole_times(dates: Any, locator: Any) -> Any:
    """Return what writes a second at the axis as a time of the day, and only the day beside it.

    By itself it would write 30 for half past a minute, and beside it the minute of the last tick.
    """
    formatter = dates.ConciseDateFormatter(locator)
    formatter.formats[-1], formatter.offset_formats[-1] = "%H:%M:%S.%f", "%Y-%b-%d"
    return formatter
