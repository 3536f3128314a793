"""The events that the examples of the catalogue are about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from headrace.sql.catalogue.entry import Row


def at(minute: int, second: int = 0) -> datetime:
    """Return a time in the hour of the examples."""
    return datetime(2026, 3, 2, 10, minute, second, tzinfo=UTC)


#: Three readings in one minute, and one in the next.
READINGS: Final[tuple[Row, ...]] = (
    {"t": "2026-03-02T10:00:10Z", "device": "a", "v": 4},
    {"t": "2026-03-02T10:00:20Z", "device": "b", "v": 8},
    {"t": "2026-03-02T10:00:30Z", "device": "a", "v": 6},
    {"t": "2026-03-02T10:01:10Z", "device": "a", "v": 5},
)

#: Events that hold an array and a record.
ITEMS: Final[tuple[Row, ...]] = (
    {"t": "2026-03-02T10:00:10Z", "id": 1, "tags": ["red", "big"], "size": {"w": 3, "h": 2.5}},
    {"t": "2026-03-02T10:00:20Z", "id": 2, "tags": [], "size": {}},
)
