"""Aggregates over the rows of one group (reference, A4). All but COUNT(*) skip NULL."""

from __future__ import annotations

import math
from typing import Any

from tests.property.oracle.stream import Row, same_key


class Overflow(Exception):
    """A sum of bigints that no bigint holds: the job stops."""


def values(rows: list[Row], name: str) -> list[Any]:
    """Return the values of a column that are not NULL."""
    return [row[name] for row in rows if row.get(name) is not None]


def count_distinct(found: list[Any]) -> int:
    """Count values that differ as keys do."""
    return len({same_key(value) for value in found})


def total(found: list[Any]) -> Any:
    """Add numbers: bigints to a bigint, never wrapping; nothing gives NULL."""
    if not found:
        return None
    added = math.fsum(found) if any(isinstance(value, float) for value in found) else sum(found)
    if isinstance(added, int) and not -(2**63) <= added < 2**63:
        raise Overflow
    return added


def average(found: list[Any]) -> float | None:
    """Return the mean as a float; nothing gives NULL."""
    return math.fsum(found) / len(found) if found else None


def variance(found: list[Any], sample: bool) -> float | None:
    """Return the variance of a sample (NULL below two values), or of a population (NULL below one)."""
    divisor = len(found) - 1 if sample else len(found)
    if divisor < 1:
        return None
    mean = math.fsum(found) / len(found)
    return math.fsum((value - mean) ** 2 for value in found) / divisor


def deviation(found: list[Any], sample: bool) -> float | None:
    """Return the root of the variance."""
    squared = variance(found, sample)
    return None if squared is None else math.sqrt(squared)


def percentile(found: list[Any], share: float, continuous: bool, descending: bool = False) -> Any:
    """Return the percentile: interpolated at 1 + share (n - 1), or the first with that cumulative share."""
    if not found:
        return None
    ranked = sorted(found, reverse=descending)
    if continuous:
        place = share * (len(ranked) - 1)
        below, above = ranked[math.floor(place)], ranked[math.ceil(place)]
        return below + (above - below) * (place - math.floor(place))
    at_most = (
        (lambda value: sum(other >= value for other in ranked))
        if descending
        else (lambda value: sum(other <= value for other in ranked))
    )
    return next(value for value in ranked if at_most(value) / len(ranked) >= share)


def ranked(rows: list[Row], order: list[tuple[str, bool]]) -> list[Row]:
    """Sort rows by columns, `(name, descending)`; NULL is the least value."""
    result = list(rows)
    for name, descending in reversed(order):
        result.sort(
            key=lambda row, name=name: (row.get(name) is not None, row.get(name) or 0), reverse=descending
        )
    return result


def top(rows: list[Row], order: list[tuple[str, bool]], wanted: int, name: str) -> list[dict[str, Any]]:
    """Return CollectTop's array: rank and value of the first rows."""
    first = ranked(rows, order)[:wanted]
    return [{"rank": rank, "value": row.get(name)} for rank, row in enumerate(first, start=1)]
