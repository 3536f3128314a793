"""Fewer points of a tag: one value per stretch of time, or the points that keep the shape of its curve."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from headrace.errors import UserError
from headrace.limits import CALENDAR_DAYS
from headrace.series.points import Times, Values

How = Literal["raw", "last", "min", "max", "mean", "minmax", "lttb"]

HOWS: Final[tuple[How, ...]] = ("raw", "last", "min", "max", "mean", "minmax", "lttb")

Sampled = tuple[Times, Values]

#: Twice as long still fits 64 bits.
_MOST_EVERY_US: Final = CALENDAR_DAYS * 86_400_000_000

_MOST_INT64: Final = np.iinfo(np.int64).max


def checked_how(how: str, every_us: int | None, points: int | None) -> None:
    """Raise `UserError` where a way of reading and its `every` or `points` do not go together."""
    if how not in HOWS:
        raise UserError(f"how = {how!r:.40}: expected one of {', '.join(HOWS)}")
    given = (every_us is not None) + (points is not None)
    if how in {"raw", "last"} and given:
        raise UserError(f"how = '{how}' takes neither `every` nor `points`: choose min, max, mean or another")
    if how not in {"raw", "last"} and given != 1:
        raise UserError(f"how = '{how}' needs either `every`, a length of time, or `points`, a number")
    if how == "lttb" and points is None:
        raise UserError("how = 'lttb' needs `points`, the number of points that are kept")
    if every_us is not None and not 1 <= every_us <= _MOST_EVERY_US:
        raise UserError(
            f"`every` is at least a microsecond and at most {CALENDAR_DAYS:,} days, the years 1 to 9999"
        )
    if points is not None and not _is_whole(points):
        raise UserError(f"points = {points!r:.40}: expected a whole number")
    if points is not None and points < (3 if how == "lttb" else 2 if how == "minmax" else 1):
        raise UserError(f"how = '{how}' needs more `points` than {points}")


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral)


def sampled(times_us: Times, values: Values, how: How, every_us: int | None, points: int | None) -> Sampled:
    """Return what `how` makes of the points of one tag, sorted by time.

    `min`, `max` and `mean` give a value for each stretch of time that has points, at its beginning, `minmax`
    the points with the least and the greatest value of each, the earliest of equal ones. Stretches are
    `every_us` long and counted from 1970, or the time from the first point to the last is cut into as many
    equal ones as give at most `points`.
    """
    if how == "raw" or not len(times_us):
        return times_us, values
    if how == "last":
        return times_us[-1:], values[-1:]
    if how == "lttb":
        assert points is not None
        kept = lttb(times_us, values, points)
        return times_us[kept], values[kept]
    begins_us, starts = _stretches(times_us, every_us, points if how != "minmax" else (points or 2) // 2)
    if how == "minmax":
        kept = _extremes(values, starts)
        return times_us[kept], values[kept]
    if how == "mean":
        counts = np.diff(starts, append=len(values))
        # The sum of large values may be infinite where their mean is not.
        shares = np.add.reduceat(values / np.repeat(counts, counts), starts)
        with np.errstate(over="ignore"):
            sums = np.add.reduceat(values, starts)
        return begins_us, np.where(np.isfinite(sums), sums / counts, shares)
    reduce: Callable[..., Values] = np.minimum.reduceat if how == "min" else np.maximum.reduceat
    return begins_us, reduce(values, starts)


def lttb(times_us: Times, values: Values, points: int) -> NDArray[np.int64]:
    """Return which points largest-triangle-three-buckets keeps, in order; all if there are no more.

    The first and the last are kept; the others are cut into buckets of equal number, of each of which that
    point is kept which spans the largest triangle with the one kept before and the mean of the next bucket
    (S. Steinarsson, Downsampling Time Series for Visual Representation, University of Iceland, 2013).
    """
    count = len(times_us)
    if count <= points:
        return np.arange(count)
    x = (times_us - times_us[0]).astype(np.float64)
    # The largest triangle is the same whatever the scale, and areas of small numbers do not overflow.
    y = values / max(float(np.abs(values).max()), 1e-300)
    bounds = 1 + (np.arange(points - 1) * (count - 2)) // (points - 2)
    starts = bounds[:-1]
    sizes = np.diff(bounds)
    mean_x = np.append(np.add.reduceat(x[:-1], starts) / sizes, x[-1])
    mean_y = np.append(np.add.reduceat(y[:-1], starts) / sizes, y[-1])
    kept = np.empty(points, np.int64)
    kept[0], kept[-1] = 0, count - 1
    at = 0
    for bucket in range(points - 2):
        mine = slice(bounds[bucket], bounds[bucket + 1])
        next_x, next_y = mean_x[bucket + 1], mean_y[bucket + 1]
        areas = np.abs((x[at] - next_x) * (y[mine] - y[at]) - (x[at] - x[mine]) * (next_y - y[at]))
        at = int(bounds[bucket]) + int(areas.argmax())
        kept[bucket + 1] = at
    return kept


def _stretches(times_us: Times, every_us: int | None, points: int | None) -> tuple[Times, NDArray[np.int64]]:
    """Return when each stretch with points begins, and where its points do."""
    if every_us is not None:
        numbers = times_us // every_us
        starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
        return numbers[starts] * every_us, starts
    assert points is not None
    first, span = int(times_us[0]), int(times_us[-1]) - int(times_us[0]) + 1
    pieces = min(int(points), span)  # of a microsecond each are all that there can be
    # Exact in whole numbers: stretch k begins at the first microsecond from span * k / pieces on.
    since = times_us - first
    exact = since if span * pieces <= _MOST_INT64 else since.astype(object)
    numbers = (exact * pieces // span).astype(np.int64)
    starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
    begins = [first + -(-span * number // pieces) for number in numbers[starts].tolist()]
    return np.array(begins, np.int64), starts


def _extremes(values: Values, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.diff(starts, append=len(values))
    found = []
    for reduce in (np.minimum.reduceat, np.maximum.reduceat):
        hits = np.flatnonzero(values == np.repeat(reduce(values, starts), counts))
        found.append(hits[np.searchsorted(hits, starts)])
    return np.unique(np.concatenate(found))
