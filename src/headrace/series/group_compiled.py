"""Points by tag and time in two compiled passes, into memory that is used again; see `grouping`."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headrace.series.grouping import by_tag_and_time, without_repeated
from headrace.series.points import Codes, Points, Times, Values, concat

#: Counting takes a number for each tag there is: with far more tags than points it does not pay.
_TAGS_A_POINT: Final = 4

_ORDERED, _REPEATED, _BACKWARDS = range(3)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scatter(
    given: tuple[Codes, Times, Values], ends: NDArray[np.int64], found: tuple[Codes, Times, Values]
) -> int:
    """Put points in the order of their tags, and tell how times follow each other within a tag.

    `ends` has a zero for each tag and one more; it ends as the place behind the points of each.
    """
    codes, times, values = given
    to_codes, to_times, to_values = found
    for point in range(codes.size):
        ends[codes[point] + 1] += 1
    for tag in range(1, ends.size):
        ends[tag] += ends[tag - 1]
    starts = ends.copy()
    order = _ORDERED
    for point in range(codes.size):
        code, time = codes[point], times[point]
        place = ends[code]
        ends[code] = place + 1
        to_codes[place], to_times[place], to_values[place] = code, time, values[point]
        if place > starts[code] and time <= to_times[place - 1]:
            order = max(order, _REPEATED if time == to_times[place - 1] else _BACKWARDS)
    return order


class CompiledSorter:
    """Sorts points; what it returns is valid until it is called again, and one thread uses it."""

    def __init__(self) -> None:
        self._memory = concat([])
        # Compiled, or loaded as it was compiled before, now and not with the first points.
        self(self._memory)

    def __call__(self, points: Points) -> Points:
        """Return points as `grouping.by_tag_and_time` does."""
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
        order = _scatter(_columns(points), np.zeros(tags + 1, np.int64), _columns(found))
        if order == _ORDERED:
            return found
        return without_repeated(found) if order == _REPEATED else by_tag_and_time(found)


def _columns(points: Points) -> tuple[Codes, Times, Values]:
    return points.codes, points.times_us, points.values
