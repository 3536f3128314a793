"""An index of a tenant's segments in memory: which row group of which segment may hold what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headrace.series.catalogue import BLOCK, EVER_US, Segment


class Index:
    """The row groups of all segments, column by column; `segments` are those, oldest first."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        counts = [len(segment.blocks) for segment in segments]
        blocks = np.concatenate([np.empty(0, BLOCK), *(segment.blocks for segment in segments)])
        starts = np.cumsum([0, *counts[:-1]]) if counts else np.empty(0, np.int64)
        #: The segment of each row group, by its place among `segments`, and its number there.
        self.owners: NDArray[np.int64] = np.repeat(np.arange(len(segments)), counts)
        self.numbers: NDArray[np.int64] = np.arange(len(blocks)) - np.repeat(starts, counts)
        self.points = blocks["points"].copy()
        # Columns of their own: comparing one of them touches no other.
        self.first_code, self.last_code = blocks["first_code"].copy(), blocks["last_code"].copy()
        self.first_us, self.last_us = blocks["first_us"].copy(), blocks["last_us"].copy()

    def is_of(self, segments: Sequence[Segment]) -> bool:
        """Tell whether the index is of these segments."""
        return [segment.id for segment in segments] == [segment.id for segment in self.segments]

    def blocks_of(
        self, code: int, start_us: int = EVER_US[0], end_us: int = EVER_US[1]
    ) -> Iterator[tuple[Segment, list[int], bool]]:
        """Yield each segment that may hold points of a tag and a time, its row groups, and if all are its.

        Bounds are as everywhere: at or after `start_us`, before `end_us`.
        """
        within = (self.first_code <= code) & (self.last_code >= code)
        if start_us > EVER_US[0]:
            within &= self.last_us >= start_us
        if end_us < EVER_US[1]:
            within &= self.first_us < end_us
        found = np.flatnonzero(within)
        alone = self.first_code[found] == self.last_code[found]
        rows = zip(self.owners[found].tolist(), self.numbers[found].tolist(), alone.tolist(), strict=True)
        for owner, group in itertools.groupby(rows, lambda row: row[0]):
            mine = list(group)
            yield self.segments[owner], [number for _, number, _ in mine], all(one for *_, one in mine)
