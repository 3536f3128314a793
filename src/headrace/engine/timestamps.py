"""Datetimes as text: ISO 8601 read and written, a column at a time.

Read are ``YYYY-MM-DD``, ``YYYY-MM-DDThh:mm``, ``YYYY-MM-DDThh:mm:ss`` and ``YYYY-MM-DDThh:mm:ss.f`` with
one to nine digits of fraction, ``T`` or a blank between date and time, and behind a time nothing, ``Z``,
``+hh``, ``+hhmm`` or ``+hh:mm`` (or minus). Without a zone a text is UTC. What is finer than a microsecond
is cut. Anything else (no such day, a 24th hour, a 60th second, a year before 1 or after 9999, other orders
of the parts) is not a datetime.

Written is the form with seven digits and ``Z``: ``2026-03-02T08:00:00.0000000Z``.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Whole numbers: expressions, or arrays.
Whole = TypeVar("Whole", pl.Expr, "NDArray[np.int32]")

#: Microseconds since 1970 of the first and the last datetime: the years 1 to 9999.
FIRST_US: Final = -62_135_596_800_000_000
LAST_US: Final = 253_402_300_799_999_999

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US

_DATE_BYTES: Final = 10
_SECOND_BYTES: Final = len("2026-03-02T08:00:00")
#: Where words of eight bytes begin that have all letters to the second between them.
_WORDS_OF_SECOND: Final = (0, 8, _SECOND_BYTES - 8)
_LONGEST_BYTES: Final = len("2026-03-02T08:00:00.123456789+00:00")
_MOST_OFFSET_MINUTES: Final = 14 * 60
_DAYS_IN_MONTH: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def days_since_1970(year: Whole, month: Whole, day: Whole) -> Whole:
    """Return the days from 1970-01-01 to a date of the proleptic Gregorian calendar.

    Years are counted from March, so that the leap day is the last of its year and the months before it have
    the lengths that (153 m + 2) // 5 adds up.
    """
    from_march = (month + 9) % 12
    march_year = year - from_march // 10
    day_of_year = (from_march * 153 + 2) // 5 + day - 1
    days: Whole = (
        march_year * 365 + march_year // 4 - march_year // 100 + march_year // 400 + day_of_year - 719_468
    )
    return days


def read(texts: pl.Series) -> pl.Series:
    """Return the datetimes that `texts` spell, as Datetime("us"); NULL where a text spells none."""
    counted = texts.str.len_bytes()
    sizes = (counted.fill_null(0) if texts.null_count() else counted).to_numpy()
    different = _different(sizes)
    if len(different) == 1 and _DATE_BYTES <= different[0] <= _LONGEST_BYTES:
        micros, valid = _read_same_size(texts, different[0])
    else:
        micros = np.zeros(len(texts), dtype=np.int64)
        valid = np.zeros(len(texts), dtype=np.bool_)
        for size in different:
            if _DATE_BYTES <= size <= _LONGEST_BYTES:
                rows = sizes == size
                micros[rows], valid[rows] = _read_same_size(texts.filter(pl.Series(rows)), size)
    datetimes = pl.Series(texts.name, micros).cast(pl.Datetime("us"))
    return datetimes if valid.all() else datetimes.set(pl.Series(~valid), None)


def written(datetimes: pl.Expr) -> pl.Expr:
    """Return datetimes as text with seven digits and Z."""
    return datetimes.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f0Z")


def _read_same_size(texts: pl.Series, size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return microseconds and validity of texts that all have `size` bytes."""
    letters = texts.cast(pl.Binary).bin.reinterpret(dtype=pl.Array(pl.UInt8, size)).to_numpy()
    found = _read_by_second(letters, size)
    if found is not None:
        return found
    places = np.ascontiguousarray(letters.T)
    if size == _DATE_BYTES:
        return _read_same_shape(places, size, 0)
    zones = _zone_bytes(places)
    different = _different(zones)
    if len(different) == 1:
        return _read_same_shape(places, size - different[0], different[0])
    micros = np.zeros(len(texts), dtype=np.int64)
    valid = np.zeros(len(texts), dtype=np.bool_)
    for zone in different:
        here = zones == zone
        micros[here], valid[here] = _read_same_shape(places[:, here], size - zone, zone)
    return micros, valid


def _read_by_second(
    letters: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Return what texts with a fraction, and with Z or no zone, spell; None if not all of them spell a time.

    Events come in order of time, more or less: all to the second is read once for each run of equal seconds.
    """
    zone = int((letters[0, -1] | 0x20) == ord("z"))
    end = size - zone
    if not 20 < end <= 29:
        return None
    begins = np.flatnonzero(_seconds_differ(letters)) + 1
    if len(begins) > len(letters) // 4:
        return None
    begins = np.append(0, begins)
    lengths = np.diff(begins, append=len(letters))
    seconds, whole = _read_same_shape(
        np.ascontiguousarray(letters[begins, :_SECOND_BYTES].T), _SECOND_BYTES, 0
    )
    places = np.ascontiguousarray(letters[:, _SECOND_BYTES:].T)
    digits = places[1 : end - _SECOND_BYTES] - np.uint8(ord("0"))
    valid = np.repeat(whole, lengths) & (places[0] == ord(".")) & np.all(digits <= 9, axis=0)
    if zone:
        valid &= (places[-1] | 0x20) == ord("z")
    if not valid.all():
        return None
    micros = np.repeat(seconds, lengths)
    for place, digit in enumerate(digits[:6]):
        micros += digit.astype(np.int32) * np.int32(10 ** (5 - place))
    return micros, valid


def _seconds_differ(letters: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell of each text but the first whether it differs to the second from the one before."""
    rows, size = letters.shape
    differ = np.zeros(rows - 1, np.bool_)
    for place in _WORDS_OF_SECOND:
        words = np.ndarray((rows,), np.uint64, np.ascontiguousarray(letters).data, place, (size,))
        differ |= words[1:] != words[:-1]
    return differ


def _different(numbers: NDArray[np.generic]) -> list[int]:
    """Return the numbers that occur; most often it is one."""
    if len(numbers) == 0 or (numbers == numbers[0]).all():
        return [int(number) for number in numbers[:1]]
    return [int(number) for number in np.unique(numbers)]


def _zone_bytes(places: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many bytes the zone takes: none, ``Z``, ``+hh``, ``+hhmm`` or ``+hh:mm``."""

    def signed(place: int) -> NDArray[np.bool_]:
        signs: NDArray[np.bool_] = (places[place] == ord("+")) | (places[place] == ord("-"))
        return signs

    zulu = (places[-1] | 0x20) == ord("z")
    kinds: NDArray[np.int64] = np.select(
        [zulu, signed(-6) & (places[-3] == ord(":")), signed(-5), signed(-3)], [1, 6, 5, 3], 0
    )
    return kinds


def _read_same_shape(
    places: NDArray[np.uint8], end: int, zone: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return microseconds and validity of texts with `end` bytes of date and time, then `zone` of zone.

    `places` holds the first letter of every text, then the second of every text, and so on.
    """
    marks = {4: "--", 7: "--", 10: "T ", 13: "::", 16: "::", 19: ".."}
    if end not in ({10} if zone == 0 else set()) | {16, 19} and not 20 < end <= 29:
        return np.zeros(places.shape[1], dtype=np.int64), np.zeros(places.shape[1], dtype=np.bool_)
    signs = [end, *([end + 3] if zone == 6 else [])] if zone else []
    digit_places = [
        place for place in range(end + zone) if place not in signs and not (place < end and place in marks)
    ]
    digits = places[digit_places] - np.uint8(ord("0"))
    valid: NDArray[np.bool_] = np.all(digits <= 9, axis=0)
    for place, choices in marks.items():
        if place < end:
            letter = places[place] if place != 10 else np.where(places[10] == ord("t"), ord("T"), places[10])
            valid &= (letter == ord(choices[0])) | (letter == ord(choices[1]))
    return _total(digits.astype(np.int32), places, valid, end, zone)


def _total(
    digits: NDArray[np.int32], places: NDArray[np.uint8], valid: NDArray[np.bool_], end: int, zone: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    def number(first: int, count: int = 2) -> NDArray[np.int32]:
        total: NDArray[np.int32] = digits[first]
        for place in range(first + 1, first + count):
            total = total * 10 + digits[place]
        return total

    year, month, day = number(0, 4), number(4), number(6)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    valid &= (year > 0) & (month > 0) & (month <= 12) & (day > 0)
    valid &= day <= _DAYS_IN_MONTH[np.where(valid, month, 0)] + ((month == 2) & leap)
    total = days_since_1970(year, month, day).astype(np.int64) * DAY_US
    if end >= 16:
        hour, minute = number(8), number(10)
        second = number(12) if end >= 19 else 0
        valid &= (hour < 24) & (minute < 60) & (second < 60)
        total += (hour * 3_600 + minute * 60 + second) * np.int64(SECOND_US)
    if end > 20:
        finest = min(end - 20, 6)
        total += number(14, finest) * 10 ** (6 - finest)
    if zone >= 3:
        offset = number(len(digits) - (2 if zone == 3 else 4)) * 60
        if zone > 3:
            offset = offset + number(len(digits) - 2)
        valid &= offset <= _MOST_OFFSET_MINUTES
        total -= np.where(places[end] == ord("-"), -1, 1) * offset * 60 * SECOND_US
    valid &= (total >= FIRST_US) & (total <= LAST_US)
    return total, valid
