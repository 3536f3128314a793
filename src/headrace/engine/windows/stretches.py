"""Stretches of a list as few blocks each, so that what is computed for a block serves all stretches over it.

A block of level k holds 2^k places in a row and begins at a multiple of that; a stretch is at most two blocks
of each level. So n stretches of w places cost n log w steps, whatever is computed, and nothing is ever taken
back out of a result: a sum of floats keeps no trace of what has left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.engine.analytic.lookback import Numbers

#: Places that all stretches may have together, for each place and stretch there is, for single places to be
#: faster than blocks, which have to be computed first.
_SHORT: Final = 4


@dataclass(frozen=True, slots=True)
class Cover:
    """The blocks of each stretch, in order of their places, and the stretch that each is of.

    Blocks are numbered level after level, `levels` being as many as are needed.
    """

    blocks: Numbers
    stretches: Numbers
    levels: int


def cover(begins: Numbers, ends: Numbers, places: int) -> Cover:
    """Return the blocks of the stretches from `begins` to before `ends` of a list of `places`."""
    sizes = ends - begins
    if sizes.sum() <= _SHORT * (places + len(begins)):
        return _single_places(begins, sizes)
    # From the least blocks up: a block at an odd place ends a pair at the left edge, or begins one at the
    # right edge, of which the other half lies outside; what is left between them are whole pairs.
    lefts = _Edge(len(begins))
    rights = _Edge(len(begins))
    rows = np.flatnonzero(begins < ends)
    first, behind = begins[rows], ends[rows]
    offset, blocks, levels = 0, places, 0
    while rows.size:
        at_left, at_right = first & 1 == 1, behind & 1 == 1
        lefts.take(rows[at_left], offset + first[at_left])
        rights.take(rows[at_right], offset + behind[at_right] - 1)
        first, behind = (first + 1) >> 1, behind >> 1
        open_ = first < behind
        rows, first, behind = rows[open_], first[open_], behind[open_]
        offset, blocks, levels = offset + blocks, (blocks + 1) >> 1, levels + 1
    sizes = lefts.counts + rights.counts
    begun = np.cumsum(sizes) - sizes
    found = np.empty(int(sizes.sum()), dtype=np.int64)
    for stretches, numbers, ranks in lefts.taken:
        found[begun[stretches] + ranks] = numbers
    for stretches, numbers, ranks in rights.taken:
        found[begun[stretches] + sizes[stretches] - 1 - ranks] = numbers
    return Cover(found, np.repeat(np.arange(len(begins)), sizes), levels)


def _single_places(begins: Numbers, sizes: Numbers) -> Cover:
    stretches = np.repeat(np.arange(len(begins)), sizes)
    before = np.cumsum(sizes) - sizes
    blocks = np.arange(len(stretches)) + np.repeat(begins - before, sizes)
    return Cover(blocks, stretches, 1 if blocks.size else 0)


class _Edge:
    """The blocks taken at one edge of each stretch, from outside to inside."""

    def __init__(self, stretches: int) -> None:
        self.counts = np.zeros(stretches, dtype=np.int64)
        self.taken: list[tuple[Numbers, Numbers, Numbers]] = []

    def take(self, stretches: Numbers, blocks: Numbers) -> None:
        """Add a block to each of `stretches`."""
        self.taken.append((stretches, blocks, self.counts[stretches]))
        self.counts[stretches] += 1
