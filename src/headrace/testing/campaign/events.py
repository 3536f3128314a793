"""The events of the campaign: each follows from its number alone, and so does everything made of it.

Hub `readings` has event 0, 1, 2 ... of sensors that take turns, silent ones between: sessions come and go.
Hub `labels` has one for every eighth reading, up to three seconds after it in event time.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from headrace.testing.numbered import NumberedEvent

READINGS: Final = "readings"
LABELS: Final = "labels"

#: Sensors, and readings in a row that the same ones share among them.
SENSORS: Final = 24
BURST: Final = 40

#: Event time between two readings, and how much later than that one may be: never as much as the next.
STEP_MS: Final = 500
_UNEVEN_MS: Final = 250

#: Readings that have a label.
LABELLED_EVERY: Final = 8
#: Labels come within so many seconds of their reading, fewer than lie between two of them.
_LABEL_DELAYS_S: Final = 4

#: Readings that there may be, so that the last is long before the sentinel.
MAX_READINGS: Final = 1_500_000
#: All that went before is over when this time has come; it is still in the past.
SENTINEL_MS: Final = 12 * 86_400_000

#: What one publish call holds, cut at the same places every time.
BLOCK_EVENTS: Final = 20


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where event time begins, in milliseconds since 1970."""

    begin_ms: int

    @classmethod
    def before(cls, now_us: int) -> Timeline:
        """Return one whose events are all in the past, and none older than the longest lateness."""
        day = datetime.fromtimestamp(now_us / 1e6, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(int((day - timedelta(days=15)).timestamp() * 1000))

    def text(self, at_ms: int) -> str:
        """Return a time since the beginning as events have it."""
        at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self.begin_ms + at_ms)
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}0Z"


@dataclass(frozen=True, slots=True)
class Reading:
    """Reading `n`; times are in milliseconds since the beginning."""

    n: int

    @property
    def id(self) -> str:
        """The name of the reading, which no other has."""
        return f"r-{self.n:07}"

    @property
    def sensor(self) -> str:
        """The sensor, whose events share a partition."""
        sensors = _awake(self.n // BURST)
        return f"s{sensors[self.n % len(sensors)]:02}"

    @property
    def at_ms(self) -> int:
        """The event time; never that of another reading."""
        return self.n * STEP_MS + self.n * 7919 % _UNEVEN_MS

    @property
    def content(self) -> NumberedEvent:
        """What else the reading holds: texts that are easily broken, and numbers that no float holds."""
        return NumberedEvent("r", self.n)

    @property
    def labelled(self) -> bool:
        """Whether there is a label for it."""
        return self.n % LABELLED_EVERY == 0

    @property
    def label_delay_s(self) -> int:
        """How much later its label is."""
        return zlib.crc32(self.id.encode()) % _LABEL_DELAYS_S

    def body(self, timeline: Timeline) -> bytes:
        """Return the bytes that are published."""
        content = self.content
        fields = {
            "id": self.id,
            "n": self.n,
            "sensor": self.sensor,
            "t": timeline.text(self.at_ms),
            "big": content.big,
            "doc": content.doc,
            "checksum": content.checksum,
        }
        return json.dumps(fields, ensure_ascii=False).encode()

    def label(self, timeline: Timeline) -> bytes:
        """Return the bytes of its label."""
        at = timeline.text(self.at_ms + 1000 * self.label_delay_s)
        fields = {"id": self.id, "sensor": self.sensor, "t": at, "label": f"label of {self.content.doc}"}
        return json.dumps(fields, ensure_ascii=False).encode()


@cache
def _awake(burst: int) -> tuple[int, ...]:
    """Return the sensors that share a burst: about a third."""
    awake = tuple(s for s in range(SENSORS) if zlib.crc32(f"{burst}/{s}".encode()) % 3 == 0)
    return awake or (burst % SENSORS,)


def blocks(hub: str, timeline: Timeline, first: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the blocks of a hub from number `first` on: how many readings must be due, and the bodies."""
    per_block = BLOCK_EVENTS * (LABELLED_EVERY if hub == LABELS else 1)
    for start in range(first * per_block, MAX_READINGS, per_block):
        readings = [Reading(n) for n in range(start, start + per_block)]
        if hub == LABELS:
            yield start + per_block, [r.label(timeline) for r in readings if r.labelled]
        else:
            yield start + per_block, [r.body(timeline) for r in readings]


def sentinel(hub: str, timeline: Timeline) -> bytes:
    """Return the event behind all others: when each partition has one, everything before it is over."""
    fields = {"id": f"end of {hub}", "n": -1, "sensor": "end", "t": timeline.text(SENTINEL_MS)}
    return json.dumps(fields | {"big": 0, "doc": "", "checksum": 0, "label": ""}).encode()
