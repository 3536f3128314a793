"""Points: readings of tags, column by column, and the tags themselves as small numbers.

A point is a tag, a time and a value. Tags are GUIDs; a worker numbers them in the order in which it first
meets them, so that grouping and storing are arithmetic on small integers, and a GUID is looked at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Times = NDArray[np.int64]
Values = NDArray[np.float64]

GUID_BYTES: Final = 16

#: How a file writes a GUID: 32 hexadecimal digits in five groups.
GUID_CHARS: Final = 36


@dataclass(frozen=True, slots=True)
class Points:
    """Points in the order in which they were read.

    `codes` number the tags of the table that they were read with, `times_us` are microseconds since 1970 UTC,
    and `values` are finite. The arrays may be views of memory that the next reading uses again.
    """

    codes: Codes
    times_us: Times
    values: Values

    def __len__(self) -> int:
        return len(self.codes)


class TagTable:
    """The tags that a worker has met, numbered from 0; one thread uses it at a time."""

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}
        self._guids = bytearray()

    def __len__(self) -> int:
        return len(self._codes)

    def code(self, guid: bytes) -> int:
        """Return the number of a tag, given as its 16 bytes, a new one if it was never met."""
        found = self._codes.get(guid)
        if found is None:
            found = self._codes[guid] = len(self._codes)
            self._guids += guid
        return found

    def codes(self, guids: Iterable[bytes]) -> Codes:
        """Return the numbers of tags."""
        return np.fromiter(map(self.code, guids), np.uint32)

    def guids(self, first: int = 0) -> list[bytes]:
        """Return the 16 bytes of the tags from number `first` on."""
        held = bytes(self._guids[first * GUID_BYTES :])
        return [held[at : at + GUID_BYTES] for at in range(0, len(held), GUID_BYTES)]


def guid_text(guid: bytes) -> str:
    """Return a GUID as it is written: lower case, in five groups."""
    return str(uuid.UUID(bytes=guid))


def guid_of(text: str) -> bytes:
    """Return the 16 bytes of a GUID in five groups, in either case; raises ValueError for any other text."""
    if len(text) != GUID_CHARS or [at for at, char in enumerate(text) if char == "-"] != [8, 13, 18, 23]:
        raise ValueError(f"{text[:60]!r} is no GUID such as 302fbaac-0107-438a-84d9-252ea87ec34f")
    try:
        found = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        found = b""
    if len(found) != GUID_BYTES:  # white space between digits is passed over
        raise ValueError(f"{text[:60]!r} is no GUID: its digits are 0-9 and a-f")
    return found


def concat(parts: Sequence[Points]) -> Points:
    """Return points of several readings, one after the other, in memory of their own."""
    if not parts:
        return Points(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.float64))
    return Points(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.times_us for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
