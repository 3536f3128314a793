"""Reading a store: points of one tag, of many or of a pattern, as they are or downsampled, as data frames."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.errors import UserError, did_you_mean
from headrace.series.catalogue import EVER_US, Catalogue, Segment, Totals
from headrace.series.downsample import How, checked_how, sampled
from headrace.series.grouping import by_tag_and_time, tag_starts
from headrace.series.last import last_points
from headrace.series.points import Codes, Points, concat
from headrace.series.ranges import POINTS_AT_ONCE, Range, ranges
from headrace.series.store import Store
from headrace.series.tags import chosen_tags

Moment = datetime | str | int | None

#: So few tags are read one after the other, as each is found by the index; of more whole row groups are read.
_FEW_TAGS: Final = 16

_TIME: Final = pl.Datetime("us", "UTC")

#: How many tenants a message names.
_TENANTS_NAMED: Final = 5


class SeriesReader:
    """Reads one store; it keeps files open between readings, and sees what was committed meanwhile.

    One thread uses it at a time. `closing` is called when it is closed.
    """

    def __init__(self, store: Store, closing: Callable[[], None] = lambda: None) -> None:
        self.store = store
        self._closing = closing

    def read(
        self,
        tags: str | Iterable[str],
        start: Moment = None,
        end: Moment = None,
        *,
        tenant: str | None = None,
        how: How = "raw",
        every: timedelta | float | None = None,
        points: int | None = None,
    ) -> pl.DataFrame:
        """Return points at or after `start` and before `end`: columns tag, time (UTC) and value.

        `tags` is a GUID, how GUIDs begin, a pattern such as ``302f*``, or several of these; rows are sorted
        by tag, in the order in which tags were first stored, and time. Bounds are datetimes or their ISO 8601
        texts, UTC where they name no zone, or microseconds since 1970. Of points of one tag and time the one
        that was stored last is read. `how` is told by `sampled`. Raises `UserError` for a tag or tenant that
        is not there.
        """
        frames = self.frames(tags, start, end, tenant=tenant, how=how, every=every, points=points)
        return pl.concat([_frame(concat([]), {}), *frames])

    def frames(
        self,
        tags: str | Iterable[str],
        start: Moment = None,
        end: Moment = None,
        *,
        tenant: str | None = None,
        how: How = "raw",
        every: timedelta | float | None = None,
        points: int | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Yield what `read` returns frame by frame, of some two million points at most.

        Downsampling holds all points of one tag at a time.
        """
        every_us = _length_us(every)
        checked_how(how, every_us, points)
        bounds = moment_us(start, EVER_US[0], "start"), moment_us(end, EVER_US[1], "end")
        name = self.tenant(tenant)
        chosen = chosen_tags(self.store.catalogue, self.store.catalogue.known_tenant(name), tags)
        if how == "last" and bounds == EVER_US:
            codes = np.fromiter(chosen, np.uint32)
            yield _frame(last_points(self.store, name, codes), chosen)
            return
        parts = self._parts(name, np.fromiter(chosen, np.uint32), *bounds)
        if how == "raw":
            for part in _gathered(parts):
                yield _frame(part, chosen)
            return
        made = (
            Points(np.full(len(times_us), code, np.uint32), times_us, values)
            for code, own in _by_tag(parts)
            for times_us, values in [sampled(own.times_us, own.values, how, every_us, points)]
        )
        for some in _gathered(made):
            yield _frame(some, chosen)

    def tags(self, tags: str | Iterable[str] = "*", *, tenant: str | None = None) -> list[str]:
        """Return the GUIDs of the tags that are meant, in the order in which they were first stored."""
        number = self.store.catalogue.known_tenant(self.tenant(tenant))
        return list(chosen_tags(self.store.catalogue, number, tags).values())

    def tenant(self, name: str | None = None) -> str:
        """Return a tenant's name, that of the only one if none is given; raises `UserError` if unknown."""
        return known_tenant(self.store.catalogue, name)

    def totals(self, tenant: str | None = None) -> Totals:
        """Return how much a tenant has stored."""
        return self.store.catalogue.totals(self.store.catalogue.known_tenant(self.tenant(tenant)))

    def close(self) -> None:
        """Close what is open."""
        self.store.close()
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _parts(self, tenant: str, codes: Codes, start_us: int, end_us: int) -> Iterator[Points]:
        """Yield the points of tags, those of each sorted by time, whole tags unless one is very large."""
        if len(codes) <= _FEW_TAGS:
            for code in codes.tolist():
                yield self.store.read(tenant, code, start_us, end_us)
            return
        wanted = np.zeros(int(codes[-1]) + 2, np.int64)
        wanted[codes + 1] = 1
        before = np.cumsum(wanted)  # how many are wanted of the tags before each
        segments = [
            segment
            for segment in self.store.index(tenant).segments
            if segment.last_us >= start_us and segment.first_us < end_us
        ]
        for part in ranges(segments, POINTS_AT_ONCE) if segments else ():
            low, high = min(part.low, len(before) - 1), min(part.high, len(before) - 1)
            if before[high] > before[low]:
                within = Range(part.low, part.high, max(part.start_us, start_us), min(part.end_us, end_us))
                yield self.store.looking(lambda within=within: self._within(tenant, within, before))  # type: ignore[misc]

    def _within(self, tenant: str, within: Range, before: NDArray[np.int64]) -> Points:
        def wanted_blocks(segment: Segment) -> list[int]:
            blocks = np.array(within.blocks(segment), np.int64)
            first = np.minimum(segment.blocks["first_code"][blocks], len(before) - 1)
            behind = np.minimum(segment.blocks["last_code"][blocks].astype(np.int64) + 1, len(before) - 1)
            return blocks[before[behind] > before[first]].tolist()  # type: ignore[no-any-return]

        pieces = []
        for _, points in self.store.blocks(tenant, self.store.index(tenant).segments, wanted_blocks):
            own = within.of(points)
            own = _taken(own, own.codes < len(before) - 1)
            pieces.append(_taken(own, before[own.codes + 1] > before[own.codes]))
        return by_tag_and_time(concat(pieces))


def known_tenant(catalogue: Catalogue, tenant: str | None) -> str:
    """Return a tenant's name, that of the only one if none is given; raises `UserError` for none there is."""
    known = catalogue.tenants()
    if tenant is not None:
        if tenant not in known:
            hint = did_you_mean(tenant, known) or "`headrace tags stats` names those there are"
            raise UserError(f"series '{catalogue.store}' has no tenant {tenant[:60]!r}. {hint}")
        return tenant
    if not known:
        raise UserError(f"series '{catalogue.store}' is empty: run its job first")
    if len(known) > 1:
        some = ", ".join(known[:_TENANTS_NAMED]) + (", ..." if len(known) > _TENANTS_NAMED else "")
        raise UserError(
            f"series '{catalogue.store}' has several tenants: say --tenant NAME, or tenant= in Python: {some}"
        )
    return known[0]


def moment_us(moment: Moment, unbounded: int, what: str) -> int:
    """Return a bound in microseconds since 1970 UTC; raises `UserError` for what is no time."""
    if moment is None:
        return unbounded
    if isinstance(moment, int):
        return moment
    try:
        found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        found = None
    if not isinstance(found, datetime):
        raise UserError(
            f"{what} = {moment!r:.60}: expected a time such as 2026-05-01T12:00:00Z, or a datetime"
        )
    moment = found
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _length_us(every: timedelta | float | None) -> int | None:
    if every is None:
        return None
    try:
        length = every if isinstance(every, timedelta) else timedelta(seconds=every)
    except (OverflowError, TypeError, ValueError):
        raise UserError(f"every = {every!r:.40}: expected a length of time in seconds") from None
    return length // timedelta(microseconds=1)


def _taken(points: Points, kept: NDArray[np.bool_]) -> Points:
    if kept.all():
        return points
    return Points(points.codes[kept], points.times_us[kept], points.values[kept])


def _by_tag(parts: Iterable[Points]) -> Iterator[tuple[int, Points]]:
    """Yield the points of each tag in one piece."""
    held: list[Points] = []
    for part in parts:
        bounds = [*tag_starts(part.codes).tolist(), len(part)]
        for begin, end in itertools.pairwise(bounds):
            own = Points(part.codes[begin:end], part.times_us[begin:end], part.values[begin:end])
            if held and held[0].codes[0] != own.codes[0]:
                yield int(held[0].codes[0]), concat(held)
                held = []
            held.append(own)
    if held:
        yield int(held[0].codes[0]), concat(held)


def _gathered(pieces: Iterable[Points]) -> Iterator[Points]:
    """Yield small pieces together."""
    held: list[Points] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= POINTS_AT_ONCE:
            yield concat(held)
            held, count = [], 0
    if held:
        yield concat(held)


def _frame(points: Points, guids: Mapping[int, str]) -> pl.DataFrame:
    starts = tag_starts(points.codes)
    names = pl.Series("tag", [guids[code] for code in points.codes[starts].tolist()], pl.String)
    counts = np.diff(starts, append=len(points))
    tags = (
        names.new_from_index(0, len(points))
        if len(starts) == 1
        else names.gather(np.repeat(np.arange(len(starts)), counts))
    )
    times = pl.Series("time", points.times_us, pl.Int64).cast(_TIME)
    return pl.DataFrame([tags, times, pl.Series("value", points.values, pl.Float64)])
