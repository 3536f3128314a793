"""Points by tag and time: arithmetic on small integers, since a tag is one."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.series.points import Points

#: So many different tags fit the integers that NumPy sorts by counting.
_COUNTED: Final = 1 << 16


def by_tag_and_time(points: Points) -> Points:
    """Return points sorted by tag, then time; of those with the same tag and time only the last stays."""
    order = _by_code(points.codes)
    codes, times_us = points.codes[order], points.times_us[order]
    if _backwards(codes, times_us):
        order = order[np.lexsort((times_us, codes))]
        del codes, times_us  # before there are others: compaction sorts what just fits in memory
        codes, times_us = points.codes[order], points.times_us[order]
    found = Points(codes, times_us, points.values[order])
    return without_repeated(found)


def by_time(points: Points) -> Points:
    """Return points of one tag sorted by time; of those with the same time only the last stays."""
    if (points.times_us[1:] > points.times_us[:-1]).all():
        return points
    order = np.argsort(points.times_us, kind="stable")
    return without_repeated(Points(points.codes, points.times_us[order], points.values[order]))


def without_repeated(points: Points) -> Points:
    """Return sorted points with only the last of those that have the same tag and time."""
    same = (points.times_us[1:] == points.times_us[:-1]) & (points.codes[1:] == points.codes[:-1])
    if not same.any():
        return points
    kept = np.append(~same, True)
    return Points(points.codes[kept], points.times_us[kept], points.values[kept])


def tag_starts(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return where each tag's points begin among sorted points."""
    if not len(codes):
        return np.empty(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])


def _by_code(codes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the order that sorts by code and leaves equal ones as they are."""
    if len(codes) and int(codes.max()) >= _COUNTED:
        present = np.flatnonzero(np.bincount(codes))
        if len(present) > _COUNTED:
            return np.argsort(codes, kind="stable")
        ranks = np.zeros(int(present[-1]) + 1, np.uint16)
        ranks[present] = np.arange(len(present), dtype=np.uint16)
        return np.argsort(ranks[codes], kind="stable")
    return np.argsort(codes.astype(np.uint16), kind="stable")


def _backwards(codes: NDArray[np.uint32], times_us: NDArray[np.int64]) -> bool:
    """Tell whether time goes back anywhere within a tag."""
    return bool(((times_us[1:] < times_us[:-1]) & (codes[1:] == codes[:-1])).any())
