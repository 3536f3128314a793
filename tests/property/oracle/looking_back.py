"""LAG, LAST, ISFIRST and aggregates OVER (... LIMIT DURATION ...) (reference, B6).

Each looks at the rows of its relation in their order, before any WHERE. A row exactly as old as the limit is
out: (time - limit, time].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.property.oracle.stream import Row, Timed, keys_of

Condition = Callable[[Row], bool]


@dataclass(frozen=True)
class Over:
    """PARTITION BY `keys`, LIMIT DURATION `limit` in microseconds, WHEN `when`."""

    limit: int
    keys: tuple[str, ...] = ()
    when: Condition = lambda row: True

    def seen(self, rows: list[Timed], at: int, itself: bool) -> list[Row]:
        """Return the rows that count for the row at `at`: those before it, and itself if so asked."""
        time, row = rows[at]
        before = rows[: at + 1] if itself else rows[:at]
        return [
            other
            for then, other in before
            if then > time - self.limit
            and keys_of(other, self.keys) == keys_of(row, self.keys)
            and self.when(other)
        ]


def lag(rows: list[Timed], at: int, over: Over, name: str, offset: int = 1, default: Any = None) -> Any:
    """Return the value `offset` rows ago, a NULL if it is one; `default` where there is no such row."""
    before = over.seen(rows, at, itself=False)
    return before[-offset].get(name) if len(before) >= offset else default


def last(rows: list[Timed], at: int, over: Over, name: str, default: Any = None) -> Any:
    """Return the latest value, the row itself included where WHEN is true of it."""
    upto = over.seen(rows, at, itself=True)
    return upto[-1].get(name) if upto else default


def is_first(rows: list[Timed], at: int, interval: int, keys: tuple[str, ...], when: Condition) -> int:
    """Return 1 for the first row in its aligned interval (start, end] of which WHEN is true, else 0."""
    time, row = rows[at]
    if not when(row):
        return 0
    end = -(-time // interval) * interval
    return int(
        not any(
            then > end - interval and keys_of(other, keys) == keys_of(row, keys) and when(other)
            for then, other in rows[:at]
        )
    )
