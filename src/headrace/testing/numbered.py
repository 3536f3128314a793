"""Numbered events, and what must become of each: the oracle of the crash tests.

An event follows from its source and number alone, and so do the rows that the project in `crash_project`
makes of it. This is worked out here in plain Python, beside the engine, never through it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

#: One column of a row: bigint, float, text, NULL, or the text of a record as bytes.
Value = int | float | str | bytes | None
Row = dict[str, Value]

#: Text that has come out wrong somewhere in other systems: quotes, escapes, LaTeX, signs of 1 to 4 bytes.
_WORDS: Final = (
    "stream",
    'say "so"',
    "back\\slash",
    "$\\alpha_{i}^2$",
    "über",
    "naïve",
    "数据",
    "🙂",
    "a\tb",
    "line\nbreak",
    "it's",
    "</td>",
    "e\u0301",
    "null",
    "1e5",
    "{}",
)

#: Most blocks are small, so that there are many epochs to die in; some are far above the first batch of an
#: instance, so that it has a backlog.
_SMALL_BLOCK: Final = 25
_LARGE_BLOCK: Final = 500
_LARGE_EVERY: Final = 16


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """Event `n` of a source."""

    source: str
    n: int

    @property
    def id(self) -> str:
        """The name of the event, which no other has."""
        return f"{self.source}-{self.n:07}"

    @property
    def doc(self) -> str:
        """The text of the event: some words that follow from its name."""
        chance = zlib.crc32(self.id.encode())
        words = [_WORDS[(chance >> shift) & 15] for shift in range(0, 28, 4)]
        return " ".join(words[: 1 + chance % 7])

    @property
    def checksum(self) -> int:
        """The checksum of the text's bytes."""
        return zlib.crc32(self.doc.encode())

    @property
    def big(self) -> int:
        """An odd number above 2^53, which no float holds."""
        return 2**53 + 2 * self.n + 1

    @property
    def weight(self) -> float:
        """A number that a float holds exactly."""
        return (self.n % 1000) / 8

    @property
    def note(self) -> str | None:
        """A field that every fifth event has as null and every other fifth does not have at all."""
        return None if self.n % 5 < 2 else f"note {self.n}"

    @property
    def detail(self) -> str:
        """The text of a record, spaced as no encoder would."""
        return f'{{"of": [{self.n},2.50, null],  "name":"d\\u00e9tail {self.n % 10}"}}'

    @property
    def body(self) -> bytes:
        """The bytes that are published."""
        fields = {
            "id": self.id,
            "source": self.source,
            "n": self.n,
            "big": self.big,
            "weight": self.weight,
            "doc": self.doc,
            "checksum": self.checksum,
        }
        if self.n % 5 != 1:
            fields["note"] = self.note
        text = json.dumps(fields, ensure_ascii=False)
        return f'{text[:-1]}, "detail": {self.detail}}}'.encode()

    # --- what the queries make of it ------------------------------------------------------------------

    @property
    def kept(self) -> bool:
        """Whether the event passes the filter."""
        return self.n % 7 != 0

    @property
    def echoed(self) -> bool:
        """Whether the event goes to the second hub."""
        return self.kept and self.n % 2 == 0

    @property
    def kind(self) -> str:
        """What CASE makes of it."""
        if self.n % 3 == 0:
            return "third"
        return "heavy" if self.weight > 60 else "other"

    def arrival(self) -> Row:
        """Return the row of table `arrivals`, without its key, which is the event's position."""
        return {"id": self.id, "source": self.source, "n": self.n, "checksum": self.checksum}

    def echo(self) -> Row:
        """Return the event of hub `echo`."""
        return {
            "id": self.id,
            "source": self.source,
            "n": self.n,
            "kind": self.kind,
            "checksum": self.checksum,
        }

    def result(self) -> Row:
        """Return the row of table `results`, without its key, which is the event's id."""
        return {
            "source": self.source,
            "n": self.n,
            "kind": self.kind,
            "big": self.big,
            "weight": self.weight,
            "note": self.note,
            "doc": self.doc,
            "detail": self.detail.encode(),
            "checksum": self.checksum,
            "found": self.checksum,
            "words": len(self.doc.split(" ")),
        }


@dataclass(frozen=True, slots=True)
class NumberedStream:
    """The events 0 to `count` - 1 of one source."""

    source: str
    count: int

    def events(self) -> Iterator[NumberedEvent]:
        """Yield the events in order."""
        return (NumberedEvent(self.source, n) for n in range(self.count))

    def blocks(self) -> Sequence[range]:
        """Return the numbers of the events in each block: sizes vary, and are the same every time."""
        blocks: list[range] = []
        start = 0
        while start < self.count:
            largest = _SMALL_BLOCK if len(blocks) % _LARGE_EVERY else _LARGE_BLOCK
            size = 1 + zlib.crc32(f"{self.source}/{len(blocks)}".encode()) % largest
            blocks.append(range(start, min(start + size, self.count)))
            start = blocks[-1].stop
        return blocks
