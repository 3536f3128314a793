"""The last point of each tag, found from the row groups that reach furthest, so that few are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.series.catalogue import EVER_US
from headrace.series.grouping import tag_starts
from headrace.series.points import Codes, Points, Values
from headrace.series.store import Store


def last_points(store: Store, tenant: str, codes: Codes) -> Points:
    """Return the last point of each of these tags that has any, in the order of their numbers.

    Of several of the same time it is the one that was stored last.
    """
    return store.looking(lambda: _last(store, tenant, codes))


def _last(store: Store, tenant: str, codes: Codes) -> Points:
    index = store.index(tenant)
    size = int(codes.max(initial=0)) + 1
    # Tags that nobody asked for are known to the end of time, so that nothing is read for their sake.
    known_us: NDArray[np.int64] = np.full(size, EVER_US[1])
    known_us[codes] = EVER_US[0]
    values: Values = np.zeros(size)
    wanted = np.zeros(size, np.bool_)
    wanted[codes] = True
    # Backwards in time, and of those that end at the same time the newest first.
    order = np.lexsort((-index.owners, -index.last_us))
    stored_by = np.full(size, -1)
    for block in order[index.first_code[order] < size].tolist():
        low, high = int(index.first_code[block]), min(int(index.last_code[block]) + 1, size)
        last_us, owner = index.last_us[block], int(index.owners[block])
        if last_us < known_us[low:high].min(initial=EVER_US[1]):
            continue
        points = store.read_blocks(tenant, index.segments[owner], [int(index.numbers[block])])
        ends = np.append(tag_starts(points.codes)[1:], len(points)) - 1
        ends = ends[points.codes[ends] < size]
        ends = ends[wanted[points.codes[ends]]]
        own, times_us = points.codes[ends], points.times_us[ends]
        later = (times_us > known_us[own]) | ((times_us == known_us[own]) & (owner > stored_by[own]))
        own, ends = own[later], ends[later]
        known_us[own], values[own], stored_by[own] = points.times_us[ends], points.values[ends], owner
    found = np.sort(codes[stored_by[codes] >= 0])
    return Points(found, known_us[found], values[found])
