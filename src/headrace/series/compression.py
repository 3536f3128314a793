"""Lossy compression, for tags that ask for it: points are left out that those kept tell closely enough.

``deadband`` keeps a point that differs from the one kept before by more than the error: between points the
earlier value holds. ``swinging-door`` keeps a point where no line from the one kept before to a later one
would pass all points between them within the error (after E. H. Bristol, Swinging door trending, ISA 1990;
kept is only what a line was proven for). The first and the last point of a tag in a batch are always kept,
so the bound holds for every point of it; a late point, of a later batch, between two kept ones is not looked
at together with those. Each point that came is compared with what is left, and where rounding would break
the bound the points are all kept.

Tags are treated side by side, one point of each at a time, so that a loop of Python costs little per point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.local.namespace import Transaction
from headrace.series.compression_settings import CompressSettings
from headrace.series.grouping import tag_starts
from headrace.series.pattern import matcher
from headrace.series.points import Codes, Points, Times, Values, guid_text

_Flags = NDArray[np.bool_]
_Places = NDArray[np.int64]

#: Longer runs of one tag are cut, each treated as a tag by itself: few tags then keep many side by side.
_RUN_POINTS: Final = 1_024

_UPSERT: Final = """
INSERT INTO series_compression (tenant_id, code, method, bound, largest, points, kept)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, code, method, bound) DO UPDATE SET
    largest = max(largest, excluded.largest), points = points + excluded.points, kept = kept + excluded.kept
"""


@dataclass(frozen=True, slots=True)
class Compressed:
    """What came of the points of one tag: how they were compressed, the largest error, how many stayed."""

    code: int
    method: str
    bound: float
    largest: float
    points: int
    kept: int


class Rules:
    """The rules of an output for one tenant's tags; the first that is like a tag counts.

    `guid_of` returns the GUID of the tag of a number.
    """

    def __init__(self, settings: Sequence[CompressSettings], guid_of: Callable[[int], bytes]) -> None:
        self.settings = settings
        self._guid_of = guid_of
        self._like = [matcher(rule.tags) for rule in settings]
        self._known: dict[int, int] = {}

    def of(self, codes: Codes) -> _Places:
        """Return which rule each tag has, -1 for none."""
        return np.fromiter(map(self._rule, codes.tolist()), np.int64, len(codes))

    def _rule(self, code: int) -> int:
        found = self._known.get(code)
        if found is None:
            text = guid_text(self._guid_of(code))
            likes = (number for number, like in enumerate(self._like) if like.fullmatch(text))
            found = self._known[code] = next(likes, -1)
        return found


def compressed(points: Points, rules: Rules) -> tuple[Points, list[Compressed]]:
    """Return the points that stay of some sorted by tag and time, and what came of each tag with a rule."""
    starts = tag_starts(points.codes)
    if not rules.settings or not len(starts):
        return points, []
    chosen = rules.of(points.codes[starts])
    counts = np.diff(starts, append=len(points))
    kept = np.ones(len(points), np.bool_)
    records = []
    for number, rule in enumerate(rules.settings):
        tags = np.flatnonzero(chosen == number)
        if not len(tags):
            continue
        mine = np.flatnonzero(np.repeat(chosen == number, counts))
        times_us, values = points.times_us[mine], points.values[mine]
        stay, errors = _stay(times_us, values, counts[tags], rule)
        kept[mine] = stay
        begins = np.cumsum(counts[tags]) - counts[tags]
        rows = zip(
            points.codes[starts[tags]].tolist(),
            np.maximum.reduceat(errors, begins).tolist(),
            counts[tags].tolist(),
            np.add.reduceat(stay.astype(np.int64), begins).tolist(),
            strict=True,
        )
        records += [Compressed(code, rule.method, rule.bound, *row) for code, *row in rows]
    if kept.all():
        return points, records
    return Points(points.codes[kept], points.times_us[kept], points.values[kept]), records


def record(tx: Transaction, tenant: int, records: Sequence[Compressed]) -> None:
    """Put on record, in the commit of the points, what was left out of tags."""
    rows = ((tenant, r.code, r.method, r.bound, r.largest, r.points, r.kept) for r in records)
    tx.connection.executemany(_UPSERT, rows)


def _stay(times_us: Times, values: Values, counts: _Places, rule: CompressSettings) -> tuple[_Flags, Values]:
    """Return which points stay of tags that have `counts` points each, and the error of every point."""
    starts, sizes = _runs(counts)
    order = np.argsort(-sizes, kind="stable")
    gap_us = np.inf if rule.max_gap_seconds is None else rule.max_gap_seconds * 1e6
    choose = _deadband if rule.method == "deadband" else _swinging_door
    with np.errstate(all="ignore"):  # what overflows is no error that is small enough, and stays
        kept = choose(times_us, values, (starts[order], sizes[order]), rule.bound, gap_us)
        kept[starts] = kept[starts + sizes - 1] = True
        errors = _errors(times_us, values, kept, held=rule.method == "deadband")
        within = np.logical_and.reduceat(errors <= rule.bound, starts)
    if not within.all():
        whole = np.repeat(~within, sizes)
        kept |= whole
        errors = np.where(whole, 0.0, errors)
    return kept, errors


def _runs(counts: _Places) -> tuple[_Places, _Places]:
    """Return where runs begin, none of them longer than `_RUN_POINTS`, and how long each is."""
    pieces = -(-counts // _RUN_POINTS)
    begins = np.repeat(np.cumsum(counts) - counts, pieces)
    places = np.arange(len(begins)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = begins + places * _RUN_POINTS
    return starts, np.diff(starts, append=counts.sum())


def _deadband(
    times_us: Times, values: Values, runs: tuple[_Places, _Places], bound: float, gap_us: float
) -> _Flags:
    starts, sizes = runs
    kept = np.zeros(len(values), np.bool_)
    held, held_us = values[starts], times_us[starts]
    for step, count in _steps(sizes):
        at = starts[:count] + step
        following_us = times_us[np.minimum(at + 1, len(values) - 1)]
        hit = (np.abs(values[at] - held[:count]) > bound) | (following_us - held_us[:count] > gap_us)
        kept[at[hit]] = True
        np.copyto(held[:count], values[at], where=hit)
        np.copyto(held_us[:count], times_us[at], where=hit)
    return kept


def _swinging_door(
    times_us: Times, values: Values, runs: tuple[_Places, _Places], bound: float, gap_us: float
) -> _Flags:
    starts, sizes = runs
    kept = np.zeros(len(values), np.bool_)
    from_value, from_us = values[starts], times_us[starts]
    # The slopes of all lines from the point kept last that pass the points behind it closely enough.
    least, most = np.full(len(starts), -np.inf), np.full(len(starts), np.inf)
    for step, count in _steps(sizes):
        at = starts[:count] + step
        value, us = values[at], times_us[at]
        slope = (value - from_value[:count]) / (us - from_us[:count])
        shut = ~((slope >= least[:count]) & (slope <= most[:count]))
        kept[at[shut] - 1] = True
        _begin(shut, at - 1, (times_us, values), (from_us, from_value), (least, most))
        rise, run_us = value - from_value[:count], us - from_us[:count]
        np.maximum(least[:count], (rise - bound) / run_us, out=least[:count])
        np.minimum(most[:count], (rise + bound) / run_us, out=most[:count])
        following_us = times_us[np.minimum(at + 1, len(values) - 1)]
        far = (following_us - from_us[:count] > gap_us) & (sizes[:count] > step + 1)
        kept[at[far]] = True
        _begin(far, at, (times_us, values), (from_us, from_value), (least, most))
    return kept


def _begin(
    where: _Flags,
    at: _Places,
    points: tuple[Times, Values],
    origin: tuple[Times, Values],
    slopes: tuple[Values, Values],
) -> None:
    """Let lines begin anew at some points, for the runs `where` they do."""
    count = len(where)
    for column, own in zip(points, origin, strict=True):
        np.copyto(own[:count], column[at], where=where)
    np.copyto(slopes[0][:count], -np.inf, where=where)
    np.copyto(slopes[1][:count], np.inf, where=where)


def _steps(sizes: _Places) -> list[tuple[int, int]]:
    """Return each place behind the first of runs, and how many of them, longest first, are so long."""
    longest = int(sizes[0])
    counts = len(sizes) - np.searchsorted(sizes[::-1], np.arange(1, longest), "right")
    return list(enumerate(counts.tolist(), 1))


def _errors(times_us: Times, values: Values, kept: _Flags, *, held: bool) -> Values:
    """Return how far every point is from what the kept ones tell of its time."""
    places = np.arange(len(values))
    before = np.maximum.accumulate(np.where(kept, places, 0))
    if held:
        return np.abs(values - values[before])
    behind = np.minimum.accumulate(np.where(kept, places, len(values) - 1)[::-1])[::-1]
    span_us = np.maximum(times_us[behind] - times_us[before], 1)
    share = (times_us - times_us[before]) / span_us
    told = values[before] + share * (values[behind] - values[before])
    return np.where(kept, 0.0, np.abs(values - told))
