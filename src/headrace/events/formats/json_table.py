"""Rows from several readers to one frame, and its columns in the order in which the data name them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.events.batch import ORIGIN, Batch, Column, ValueType
from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.json_exact import LINE, check_size, name_and_plane

_PLANE_ORDER: Final = list(ValueType)
_NONE: Final = np.empty(0, np.int64)


def assemble(frames: Sequence[pl.DataFrame], without: Positions = _NONE) -> pl.DataFrame:
    """Return the rows of `frames` by LINE but for those `without`, and the columns with a value in some row.

    Raises DataError over MAX_BATCH_CELLS.
    """
    frames = [frame for frame in frames if frame.height] or list(frames[:1])
    height = sum(frame.height for frame in frames)
    check_size(height, len({name for frame in frames for name in frame.columns}))
    frame = frames[0]
    if len(frames) > 1:
        frame = pl.concat(frames, how="diagonal").sort(LINE)
    if len(without):
        frame = frame.filter(~pl.Series(np.isin(frame[LINE].to_numpy(), without)))
    used = [
        series for series in frame.get_columns() if series.null_count() < frame.height or series.name == LINE
    ]
    return pl.DataFrame(used) if len(used) < frame.width else frame


def batch_of(
    frame: pl.DataFrame, origins: NDArray[np.int64], keys_of: Callable[[int], Sequence[str]]
) -> Batch:
    """Return the rows of `frame` with their `origins`, and the columns in the order of the data.

    `frame` is made of physical columns, with a value in each, and LINE; `keys_of` returns the keys of a LINE.
    """
    columns = _columns_in_order(frame, keys_of)
    held = {values.name: values for values in frame.get_columns()}
    planes = [held[physical] for column in columns for physical in column.physicals]
    return Batch(pl.DataFrame([pl.Series(ORIGIN, origins, pl.Int64), *planes]), columns)


def _columns_in_order(frame: pl.DataFrame, keys_of: Callable[[int], Sequence[str]]) -> tuple[Column, ...]:
    """Return the columns by the first row that has a value in them, and in a row by the order of its keys.

    That is the order of the data alone, so that cutting the same events into other batches changes nothing.
    """
    planes: dict[str, list[ValueType]] = {}
    first: dict[str, int] = {}
    for values in frame.get_columns():
        if values.name != LINE:
            name, plane = name_and_plane(values.name)
            planes.setdefault(name, []).append(plane)
            first[name] = min(_first_row(values), first.get(name, frame.height))
    names = sorted(planes, key=first.__getitem__)
    ordered: list[str] = []
    for row, group in groupby(names, key=first.__getitem__):
        of_row = set(group)
        ordered += of_row if len(of_row) == 1 else filter(of_row.__contains__, keys_of(frame[LINE][row]))
    return tuple(Column(name, tuple(sorted(planes[name], key=_PLANE_ORDER.index))) for name in ordered)


def _first_row(values: pl.Series) -> int:
    """Return the first row with a value; there is one."""
    if values.null_count() == 0:
        return 0
    end = 1
    while values.head(end).null_count() == end:
        end *= 2
    return bisect_left(range(end), 1, key=lambda row: row + 1 - values.head(row + 1).null_count())
