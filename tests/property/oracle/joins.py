"""Joins of streams bounded by DATEDIFF, and of a stream with reference data (reference, B8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.property.oracle.stream import Row, Timed

Condition = Callable[[Row, Row], bool]


def date_diff(unit: int, start: int, end: int) -> int:
    """Count the boundaries of a unit between two instants."""
    return end // unit - start // unit


@dataclass(frozen=True)
class Bound:
    """DATEDIFF(unit, left, right) BETWEEN low AND high."""

    unit: int
    low: int
    high: int

    def holds(self, left: int, right: int) -> bool:
        return self.low <= date_diff(self.unit, left, right) <= self.high


def join(
    left: list[Timed], right: list[Timed], bound: Bound, condition: Condition, outer: bool
) -> list[tuple[int, Row, Row | None]]:
    """Return the pairs at the later of both times, in order of time, left row, right row.

    With `outer` a left row without a match stands alone, at its time plus the upper bound.
    """
    pairs: list[tuple[int, int, Row, Row | None]] = []
    for place, (time, row) in enumerate(left):
        matches = [
            (max(time, then), place, row, other)
            for then, other in right
            if bound.holds(time, then) and condition(row, other)
        ]
        if not matches and outer:
            matches = [(time + max(bound.high, 0) * bound.unit, place, row, None)]
        pairs += matches
    pairs.sort(key=lambda pair: pair[:2])
    return [(time, row, other) for time, _, row, other in pairs]


def look_up(
    rows: list[Timed], table: list[Row], condition: Condition, outer: bool
) -> list[tuple[int, Row, Row | None]]:
    """Return each row with each row of reference data that fits, at its own time."""
    found: list[tuple[int, Row, Row | None]] = []
    for time, row in rows:
        matches: list[Row | None] = [other for other in table if condition(row, other)]
        found += [(time, row, other) for other in (matches or ([None] if outer else []))]
    return found
