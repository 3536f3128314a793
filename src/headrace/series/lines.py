"""What a line of a sensor file says: ``GUID,time,value``, by one set of rules that every parser agrees with.

A time is a date of the Gregorian calendar and a time of day in ISO 8601, in UTC unless it has an offset;
digits behind the microsecond are cut. A value is a decimal number, perhaps with an exponent, whose nearest
double is stored. White space around a value is allowed, nothing else: no quotes, no further columns.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from headrace.series.points import Points, guid_of

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_VALUE: Final = re.compile(r"[ \t]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[ \t]*", re.ASCII)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: Times that a calendar has: an offset must not lead out of it.
_FIRST_US: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_US: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

#: Of a bad line so much is shown and kept.
SHOWN_BYTES: Final = 200

#: Of one text so many bad lines are kept, or rubbish would take far more memory than its bytes.
MOST_BAD: Final = 1_000


class BadLine(ValueError):
    """A line that is no point; the message says why."""


class Reading(NamedTuple):
    """One line: the tag's 16 bytes, the time in microseconds since 1970 UTC, and the value."""

    guid: bytes
    time_us: int
    value: float


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that is no point: its number in the file from 1, its first bytes, and why."""

    line: int
    text: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What lines say: the points of the good ones, in order, and the bad ones; blank lines are neither.

    Of the bad ones the first `MOST_BAD` are kept; `bad_lines` is how many there are.
    """

    points: Points
    bad: list[Bad]
    lines: int  # also blank ones
    bad_lines: int


class BadLines:
    """The bad lines of one text: the first ones, and how many there are."""

    def __init__(self) -> None:
        self.first: list[Bad] = []
        self.count = 0

    def add(self, line: int, text: bytes, reason: str) -> None:
        """Put down a line by its number."""
        self.count += 1
        if len(self.first) < MOST_BAD:
            self.first.append(Bad(line, text[:SHOWN_BYTES], reason))


class Parser(Protocol):
    """Reads lines; it numbers the tags it meets."""

    def parse(self, text: bytes | memoryview, first_line: int = 1) -> Parsed:
        """Return what whole lines say, of which the first is number `first_line`; the last may lack its end.

        The arrays are views that the next call may write to.
        """
        ...

    def guids(self, first: int = 0) -> list[bytes]:
        """Return the 16 bytes of the tags from number `first` on, as codes number them."""
        ...


def read_line(line: bytes) -> Reading:
    """Return what one line says, without its end; raises `BadLine`."""
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        raise BadLine("it holds bytes that are no ASCII text") from None
    fields = text.removesuffix("\r").split(",")
    if len(fields) != 3:
        raise BadLine(f"it has {len(fields)} columns where a tag, a time and a value are expected")
    try:
        guid = guid_of(fields[0])
    except ValueError as error:
        raise BadLine(str(error)) from None
    return Reading(guid, _time_us(fields[1]), _value(fields[2]))


def _time_us(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise BadLine(f"{text[:60]!r} is no time such as 2013-05-05T05:58:17.599Z")
    year, month, day, hour, minute, second, fraction, zone = found.groups(default="0")
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError as error:
        raise BadLine(f"{text[:60]!r} is no time: {error}") from None
    time_us = (
        (moment - _EPOCH) // _MICROSECOND
        + int(fraction[:6].ljust(6, "0"))
        - _offset_minutes(zone) * 60_000_000
    )
    if not _FIRST_US <= time_us <= _LAST_US:
        raise BadLine(f"{text[:60]!r} is not within the years 1 to 9999 in UTC")
    return time_us


def _offset_minutes(zone: str) -> int:
    if zone[0] not in "+-":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].removeprefix(":") or 0)
    if hours > 23 or minutes > 59:
        raise BadLine(f"{zone!r} is no offset from UTC")
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def _value(text: str) -> float:
    found = _VALUE.fullmatch(text)
    if found is None:
        raise BadLine(f"{text[:60]!r} is no number")
    value = float(found[1])
    if not math.isfinite(value):
        raise BadLine(f"{text[:60]!r} is too large for a double")
    return value
