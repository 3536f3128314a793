"""Ranges of tags and times that fit in memory, cut out of many segments by what their row groups hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.series.catalogue import EVER_US, Segment
from headrace.series.points import Points

#: Points that are in memory at once, at some 80 bytes each while they are sorted.
POINTS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Range:
    """Tags from `low` to before `high`, and times from `start_us` to before `end_us`."""

    low: int
    high: int
    start_us: int = EVER_US[0]
    end_us: int = EVER_US[1]

    def blocks(self, segment: Segment) -> list[int]:
        """Return the row groups of a segment that may hold points of the range."""
        found = segment.blocks
        within = (found["first_code"] < self.high) & (found["last_code"] >= self.low)
        within &= (found["first_us"] < self.end_us) & (found["last_us"] >= self.start_us)
        return np.flatnonzero(within).tolist()

    def of(self, points: Points) -> Points:
        """Return those of some points that are in the range."""
        kept = (points.codes >= self.low) & (points.codes < self.high)
        if self.start_us != EVER_US[0] or self.end_us != EVER_US[1]:
            kept &= (points.times_us >= self.start_us) & (points.times_us < self.end_us)
        if kept.all():
            return points
        return Points(points.codes[kept], points.times_us[kept], points.values[kept])


def ranges(segments: Sequence[Segment], most: int) -> Iterator[Range]:
    """Cut tags, and times of a tag with very many points, into ranges of about `most` points at most."""
    blocks = np.concatenate([segment.blocks for segment in segments])
    first, behind = blocks["first_code"].astype(np.int64), blocks["last_code"].astype(np.int64) + 1
    edges = np.unique(np.concatenate([first, behind]))
    # The points of a block are taken to be spread evenly over its tags.
    density = np.zeros(len(edges))
    a_tag_of_block = blocks["points"].astype(np.float64) / (behind - first)
    np.add.at(density, np.searchsorted(edges, first), a_tag_of_block)
    np.add.at(density, np.searchsorted(edges, behind), -a_tag_of_block)
    a_tag = np.cumsum(density)
    low, held = int(edges[0]), 0.0
    for begin, end, points in zip(edges[:-1].tolist(), edges[1:].tolist(), a_tag.tolist(), strict=False):
        at = begin
        while at < end:
            room = max(1, int((most - held) // points)) if points > 0 else end - at
            taken = min(room, end - at)
            if held and held + taken * points > most:
                yield from _by_time(Range(low, at), segments, held, most)
                low, held = at, 0.0
                continue
            at += taken
            held += taken * points
    yield from _by_time(Range(low, int(edges[-1])), segments, held, most)


def _by_time(part: Range, segments: Sequence[Segment], points: float, most: int) -> Iterator[Range]:
    """Yield a range, in pieces of time if it is one tag with more points than fit."""
    pieces = int(points // most) + 1 if part.high - part.low == 1 else 1
    begins = np.sort(
        np.concatenate([segment.blocks[part.blocks(segment)]["first_us"] for segment in segments])
    )
    cuts = sorted({int(begins[len(begins) * piece // pieces]) for piece in range(1, pieces)})
    bounds = [EVER_US[0], *cuts, EVER_US[1]]
    for start_us, end_us in itertools.pairwise(bounds):
        yield Range(part.low, part.high, start_us, end_us)
