"""Points by tag and time in compiled passes (group_points.c), into memory used again; see `grouping`."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

import numpy as np

from headrace.native import library
from headrace.series.grouping import by_tag_and_time, without_repeated
from headrace.series.points import Points, concat

#: Counting takes a number for each tag there is: with far more tags than points it does not pay.
_TAGS_A_POINT: Final = 4

_ORDERED, _REPEATED = 0, 1

_LIBRARY: Final = library(Path(__file__).with_name("group_points.c"))

#: Whether this sorter is there.
COMPILED: Final = _LIBRARY is not None

_COLUMNS: Final = (ctypes.c_void_p,) * 3

if _LIBRARY is not None:
    _LIBRARY.group_points.restype = ctypes.c_int32
    _LIBRARY.group_points.argtypes = (
        *(*_COLUMNS, ctypes.c_int64),
        *(ctypes.c_void_p, ctypes.c_int64),
        *_COLUMNS,
    )


class CompiledSorter:
    """Sorts points; what it returns is valid until it is called again, and one thread uses it."""

    def __init__(self) -> None:
        self._memory = concat([])

    def __call__(self, points: Points) -> Points:
        """Return points as `grouping.by_tag_and_time` does."""
        assert _LIBRARY is not None
        count = len(points)
        tags = int(points.codes.max()) + 1 if count else 0
        if tags > _TAGS_A_POINT * count:
            return by_tag_and_time(points)
        if count > len(self._memory):
            self._memory = Points(
                np.empty(count, np.uint32), np.empty(count, np.int64), np.empty(count, np.float64)
            )
        memory = self._memory
        found = Points(memory.codes[:count], memory.times_us[:count], memory.values[:count])
        whole = Points(
            np.ascontiguousarray(points.codes),
            np.ascontiguousarray(points.times_us),
            np.ascontiguousarray(points.values),
        )
        ends = np.zeros(tags, np.int64)
        order = _LIBRARY.group_points(
            *(*_addresses(whole), count), *(ends.ctypes.data, tags), *_addresses(found)
        )
        if order == _ORDERED:
            return found
        return without_repeated(found) if order == _REPEATED else by_tag_and_time(found)


def _addresses(points: Points) -> tuple[int, int, int]:
    return points.codes.ctypes.data, points.times_us.ctypes.data, points.values.ctypes.data
