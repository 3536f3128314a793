"""The campaign's files: what stands in them is known in advance, so that what must be stored is, too."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

#: Tenants, and the year that their points are of: those of `former` are too old to be kept.
TENANTS: Final = {"acme": 2024, "zinc": 2024, "quiet": 2024, "former": 2001}
TOO_OLD: Final = "former"

_TAGS: Final = 5
_LINES: Final = 200
_BAD_LINE: Final = "this is no line of a sensor file\n"

#: A point: its tag, its time in microseconds since 1970, and its value.
Point = tuple[str, int, float]


@dataclass(slots=True)
class Files:
    """Files below `folder`; each has points of its own, and every third one bad line."""

    folder: Path
    count: int = 0
    bad: int = 0
    points: dict[str, Counter[Point]] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)

    def add(self, tenant: str) -> None:
        """Make the next file of a tenant; it appears whole."""
        number = self._names.get(tenant, 0)
        self._names[tenant] = number + 1
        points = list(_points(tenant, number))
        lines = [f"{tag},{_text(time_us)},{value}\n" for tag, time_us, value in points]
        if number % 3 == 0:
            lines.insert(_LINES // 2, _BAD_LINE)
            self.bad += 1
        target = self.folder / tenant / f"{number:06}.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        temporary.write_text("".join(lines), "ascii")
        temporary.rename(target)
        self.points.setdefault(tenant, Counter()).update(points)
        self.count += 1


def _points(tenant: str, number: int) -> list[Point]:
    start = datetime(TENANTS[tenant], 1, 1, tzinfo=UTC) + timedelta(seconds=number * _LINES)
    first_us = int(start.timestamp()) * 1_000_000
    tags = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant}/{tag}")) for tag in range(_TAGS)]
    return [
        (tags[line % _TAGS], first_us + line * 1_000_000, (number * _LINES + line) / 100)
        for line in range(_LINES)
    ]


def _text(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
