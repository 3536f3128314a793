"""Compaction: many segments become few, in which each tag stands in one piece.

Segments are merged when enough of a size have gathered, those of neighbouring age together, so that what is
newer stays newer. They are read in ranges of tags (and, where one tag has very many points, of times) that
fit in memory; each range is a segment. One transaction then lets the new ones count instead of the old ones,
and the files of those are removed. A process that dies before it leaves files that nobody speaks of; one that
dies behind it leaves files that are on record as gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headrace.faults import crash_point
from headrace.local.ownership import Ownership
from headrace.series.catalogue import EVER_US, Segment
from headrace.series.grouping import by_tag_and_time, tag_starts
from headrace.series.points import Points, concat
from headrace.series.ranges import POINTS_AT_ONCE, Range, ranges
from headrace.series.segments import line_prefix, write_segment
from headrace.series.store import Store

#: So many segments of a level make one of the next.
FAN_IN: Final = 16

#: Row groups of whole tags have at least so many points, unless the next tag is large itself, ...
_LEAST_POINTS: Final = 8_192

#: ... and a tag with more than so many is split by time.
_MOST_POINTS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compaction came to: segments read and written, the points of both, and their bytes."""

    read: int = 0
    written: int = 0
    points_before: int = 0
    points: int = 0
    bytes_before: int = 0
    size_bytes: int = 0


def compact(
    store: Store,
    tenant: str,
    *,
    everything: bool = False,
    keep_from_us: int = EVER_US[0],
    points_at_once: int = POINTS_AT_ONCE,
    wanted: Callable[[], bool] = lambda: True,
) -> Compacted:
    """Merge the segments of a tenant that are due, or all of them, until none are or `wanted` says no.

    Points before `keep_from_us` are left out. Raises `Owned` where another process does it, and `Fatal` where
    segments are not there.
    """
    number = store.catalogue.known_tenant(tenant)
    line = f"compaction {store.name} {tenant}"
    ownership = Ownership.take(store.namespace, f"series {store.name}", f"compaction {tenant}", "compaction")
    total = Compacted()
    try:
        store.sweep(tenant, line)
        store.remove_gone(tenant)
        while wanted():
            segments = store.catalogue.segments(number)
            due = segments if everything else _due(segments)
            if not due or (everything and _is_compact(due, keep_from_us)):
                break
            total = _added(
                total, _merge(store, tenant, number, due, (line, keep_from_us, points_at_once), ownership)
            )
            if everything:
                break
    except FileNotFoundError:  # nobody else removes any while this one owns the tenant's
        raise store.missing() from None
    finally:
        ownership.release()
    return total


def _is_compact(segments: Sequence[Segment], keep_from_us: int) -> bool:
    """Tell whether segments are what compaction of everything makes, without a point that is too old."""
    if min(segment.first_us for segment in segments) < keep_from_us:
        return False
    return all(segment.level for segment in segments) and len({segment.newest for segment in segments}) == 1


def _due(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments of lowest level that have gathered, oldest first; none if too few have.

    Segments that came of one compaction are one: they hold different tags. Of those between two that are
    merged none may stay, or it would change places with a newer one.
    """
    ages = sorted({segment.newest for segment in segments})
    levels = {segment.newest: segment.level for segment in segments}
    for level in sorted(set(levels.values())):
        run: list[int] = []
        for age in ages:
            if levels[age] <= level:
                run.append(age)
            elif len(run) >= FAN_IN:
                break
            else:
                run = []
        if len(run) >= FAN_IN:
            chosen = set(run)
            return [segment for segment in segments if segment.newest in chosen]
    return []


def _points_of(
    store: Store, tenant: str, segments: Sequence[Segment], part: Range, keep_from_us: int
) -> Points:
    """Return the points of a range, sorted; none is held twice for longer than it takes."""
    points = by_tag_and_time(
        concat([part.of(points) for _, points in store.blocks(tenant, segments, part.blocks)])
    )
    pa.default_memory_pool().release_unused()  # what was read is copied, and the pool would keep its memory
    return points if keep_from_us == EVER_US[0] else Range(0, 1 << 32, keep_from_us).of(points)


def _merge(
    store: Store,
    tenant: str,
    number: int,
    segments: Sequence[Segment],
    how: tuple[str, int, int],
    ownership: Ownership,
) -> Compacted:
    line, keep_from_us, points_at_once = how
    folder = store.folder(tenant)
    level = max(segment.level for segment in segments) + 1
    newest = max(segment.newest for segment in segments)
    names = "\n".join(segment.name for segment in segments)
    written = []
    for place, part in enumerate(ranges(segments, points_at_once)):
        points = _points_of(store, tenant, segments, part, keep_from_us)
        if len(points):
            digest = hashlib.sha256(f"{place}\n{names}".encode()).hexdigest()[:32]
            name = f"{line_prefix(line)}{digest}.parquet"
            written.append(write_segment(folder, name, points, level=level, cuts=_cuts(points)))
            crash_point("series.compaction.written")
        del points  # before the next range takes as much memory
    with store.namespace.transaction() as tx:
        ownership.check(tx)
        store.catalogue.remove(tx, number, segments)
        for segment in written:
            store.catalogue.add(tx, number, segment, newest)
        crash_point("series.compaction.before_commit")
    crash_point("series.compaction.committed")
    store.remove_gone(tenant)
    return Compacted(
        len(segments),
        len(written),
        sum(segment.points for segment in segments),
        sum(segment.points for segment in written),
        sum(segment.size_bytes for segment in segments),
        sum(segment.size_bytes for segment in written),
    )


def _cuts(points: Points) -> NDArray[np.int64]:
    """Return where row groups begin: whole tags together until there is enough, large ones in pieces."""
    cuts: list[int] = []
    filled = _LEAST_POINTS
    starts = tag_starts(points.codes)
    for begin, count in zip(starts.tolist(), np.diff(starts, append=len(points)).tolist(), strict=True):
        if filled + count > _LEAST_POINTS:
            cuts += range(begin, begin + count, _MOST_POINTS)
            filled = 0
        filled += count
    return np.array(cuts, np.int64)


def _added(one: Compacted, other: Compacted) -> Compacted:
    return Compacted(
        one.read + other.read,
        one.written + other.written,
        one.points_before + other.points_before,
        one.points + other.points,
        one.bytes_before + other.bytes_before,
        one.size_bytes + other.size_bytes,
    )
