"""The compiled parser: one pass over the bytes of a file, by Numba; what it does not know it leaves.

A line in the layout that files have (a GUID in five groups, ``yyyy-mm-ddThh:mm:ss.fff`` with a Z, a decimal
number of at most 15 digits) is read here, exactly as `lines.read_line` would: the number's digits are a whole
number below 2**53, which is divided once by a power of ten. All else goes there.

A GUID is five words of its text. They are hashed and compared as they stand, once letters are lower case; its
digits are looked at when it is met for the first time.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from headrace.series.lines import BadLine, BadLines, Parsed, read_line
from headrace.series.points import Codes, Points, Times, Values, guid_text

_WORDS: Final = 5
_WORD_AT: Final = (0, 8, 16, 24, 28)
_DASH_AT: Final = (8, 13, 18, 23)

#: So many bytes are looked at in any line: a GUID, a time with nine fractional digits, two commas, a sign.
_LEAST_BYTES: Final = 36 + 1 + 30 + 1 + 1

#: Each byte of a word.
_CASE: Final = np.uint64(0x2020202020202020)

_ONE: Final = np.uint64(1)

_COMMA, _NEWLINE, _RETURN, _ZERO, _NINE, _POINT, _MINUS, _T, _Z, _COLON = b",\n\r09.-TZ:"

_MOST_DIGITS: Final = 15
_POWERS: Final = 10.0 ** np.arange(_MOST_DIGITS + 1)

#: What is no minute.
_NO_MINUTE: Final = -(1 << 62)

#: The words of each tag, and the hash table of their numbers.
Table = tuple[NDArray[np.uint64], NDArray[np.int32]]

#: Slots of the hash table are at least so many times the tags.
_SLOTS_A_TAG: Final = 3
_FIRST_TAGS: Final = 4_096

#: Lines that the pass leaves before it stops for them.
_LEFT_LINES: Final = 4_096

#: A line is mostly longer; there is room for more points than this says, and the pass stops when it is used.
_SHORT_LINE_BYTES: Final = 48


@intrinsic  # type: ignore[untyped-decorator]
def _byte(typing: Any, address: Any, at: Any) -> Any:
    """Load the byte that stands `at` bytes behind an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(builder.add(*arguments), ir.IntType(8).as_pointer())
        return builder.zext(builder.load(place), ir.IntType(64))

    return types.int64(types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _word(typing: Any, address: Any, at: Any) -> Any:
    """Load the eight bytes that begin `at` bytes behind an address, however they are aligned."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        place = builder.inttoptr(builder.add(*arguments), word.as_pointer())
        loaded = builder.load(place)
        loaded.align = 1
        return loaded

    return types.uint64(types.intp, types.intp), generate


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _digit(text: int, at: int) -> int:
    """Return a digit, or something above 9."""
    digit: int = _byte(text, at) - _ZERO
    return digit if digit >= 0 else 10


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pair(text: int, at: int) -> int:
    """Return the number that two digits make, or something above 99."""
    tens, ones = _digit(text, at), _digit(text, at + 1)
    return tens * 10 + ones if tens <= 9 and ones <= 9 else 1_000


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _minute(text: int, at: int) -> int:
    """Return the minutes since 1970 that ``yyyy-mm-ddThh:mm`` is, `_NO_MINUTE` if it is none."""
    century, year, month, day = _pair(text, at), _pair(text, at + 2), _pair(text, at + 5), _pair(text, at + 8)
    hour, minute = _pair(text, at + 11), _pair(text, at + 14)
    if century > 99 or year > 99 or not 1 <= month <= 12 or day < 1 or hour > 23 or minute > 59:
        return _NO_MINUTE
    if (
        _byte(text, at + 4) != _MINUS
        or _byte(text, at + 7) != _MINUS
        or _byte(text, at + 13) != _COLON
        or _byte(text, at + 10) != _T
    ):
        return _NO_MINUTE
    year += century * 100
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 31
    if month == 2:
        longest = 29 if leap else 28
    elif month in (4, 6, 9, 11):
        longest = 30
    if day > longest or year == 0:
        return _NO_MINUTE
    # Days from a civil date: years begin in March, so that a leap day is the last of its year.
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    minutes: int = (days * 24 + hour) * 60 + minute
    return minutes


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mixed(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, e: np.uint64) -> np.uint64:
    hashed = (a ^ (b * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed ^= hashed >> np.uint64(29)
    hashed = (hashed ^ c ^ (d * np.uint64(0x94D049BB133111EB))) * np.uint64(0x9E3779B97F4A7C15)
    hashed ^= hashed >> np.uint64(32)
    hashed = (hashed ^ e) * np.uint64(0xBF58476D1CE4E5B9)
    return np.uint64(hashed ^ (hashed >> np.uint64(31)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _is_guid(text: int, at: int) -> bool:
    for place in range(36):
        byte = _byte(text, at + place)
        if place in (8, 13, 18, 23):
            if byte != _MINUS:
                return False
        elif not (_ZERO <= byte <= _NINE or 97 <= (byte | 0x20) <= 102):
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _within_minute(text: int, at: int) -> tuple[int, int]:
    """Return the microseconds of ``:ss.fffZ,`` and the byte behind, 0 if it is something else."""
    second = _pair(text, at + 1)
    if _byte(text, at) != _COLON or second > 59:
        return 0, 0
    at += 3
    micros, digits = second * 1_000_000, 0
    if _byte(text, at) == _POINT:
        scale = 100_000
        while digits < 9:
            digit = _digit(text, at + 1 + digits)
            if digit > 9:
                break
            micros += digit * scale
            scale //= 10
            digits += 1
        at += 1 + digits
        if digits == 0:
            return 0, 0
    return (micros, at + 2) if _byte(text, at) == _Z and _byte(text, at + 1) == _COMMA else (0, 0)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _number(text: int, at: int, size: int) -> tuple[float, int]:
    """Return the decimal number that ends its line and the byte behind that, 0 if it is something else."""
    negative = _byte(text, at) == _MINUS
    at += negative
    mantissa = 0
    digits, behind, pointed = 0, 0, False
    while digits <= _MOST_DIGITS and at < size:
        digit = _digit(text, at)
        if digit <= 9:
            mantissa = mantissa * 10 + digit
            digits += 1
            behind += pointed
        elif _byte(text, at) == _POINT and not pointed:
            pointed = True
        else:
            break
        at += 1
    if at < size and _byte(text, at) == _RETURN:
        at += 1
    if not 0 < digits <= _MOST_DIGITS or at >= size or _byte(text, at) != _NEWLINE:
        return 0.0, 0
    value = mantissa / _POWERS[behind]
    return -value if negative else value, at + 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _tag(text: int, at: int, table: Table, tags: int) -> int:
    """Return the number of the tag whose GUID begins at a byte, `tags` if it is new, -1 if it is none."""
    keys, slots = table
    a, b, c = _word(text, at), _word(text, at + 8), _word(text, at + 16)
    d, e = _word(text, at + 24), _word(text, at + 28)
    # Every byte has a bit that text has: else a control byte would pass for a digit.
    every = (a | (a >> _ONE)) & (b | (b >> _ONE)) & (c | (c >> _ONE)) & (d | (d >> _ONE)) & (e | (e >> _ONE))
    if every & _CASE != _CASE:
        return -1
    a, b, c, d, e = a | _CASE, b | _CASE, c | _CASE, d | _CASE, e | _CASE
    mask = np.uint64(slots.size - 1)
    slot = _mixed(a, b, c, d, e) & mask
    code = slots[slot]
    while code >= 0:
        same = keys[code, 0] == a and keys[code, 1] == b and keys[code, 2] == c
        if same and keys[code, 3] == d and keys[code, 4] == e:
            return int(code)
        slot = (slot + _ONE) & mask
        code = slots[slot]
    if not _is_guid(text, at):
        return -1
    keys[tags, 0], keys[tags, 1], keys[tags, 2], keys[tags, 3], keys[tags, 4] = a, b, c, d, e
    slots[slot] = tags
    return tags


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pass(
    text: NDArray[np.uint8],
    start: tuple[int, int],
    table: Table,
    tags: int,
    room: tuple[Codes, Times, Values],
    left: NDArray[np.int64],
) -> tuple[int, int, int, int, int]:
    """Read lines from a byte and line number on; return those it came to, and tags, points and left lines.

    It stops where tags, points or left lines have no more room. A line that is left has its place among the
    points on record, the byte where it begins, the one behind it, and its number.
    """
    at, line = start
    codes, times, values = room
    address, size = text.ctypes.data, text.size
    points = lefts = 0
    prefix, suffix, minute = np.uint64(0), np.uint64(0), _NO_MINUTE
    while at < size and points < codes.size and lefts < left.shape[0] and tags < table[0].shape[0]:
        code, behind, micros, value = -1, 0, 0, 0.0
        if size - at >= _LEAST_BYTES and text[at + 36] == _COMMA:
            before, after = _word(address, at + 37), _word(address, at + 45)
            if before != prefix or after != suffix:
                prefix, suffix, minute = before, after, _minute(address, at + 37)
            micros, behind = _within_minute(address, at + 53)
            if behind and minute != _NO_MINUTE:
                value, behind = _number(address, behind, size)
                if behind:
                    code = _tag(address, at, table, tags)
        if code >= 0:
            tags += code == tags
            codes[points], times[points], values[points] = code, minute * 60_000_000 + micros, value
        else:
            behind = at
            while behind < size and text[behind] != _NEWLINE:
                behind += 1
            left[lefts, 0], left[lefts, 1], left[lefts, 2], left[lefts, 3] = points, at, behind, line
            lefts += 1
            behind += behind < size
        at = behind
        points += 1
        line += 1
    return at, line, tags, points, lefts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _index(keys: NDArray[np.uint64], tags: int, slots: NDArray[np.int32]) -> None:
    """Put tags into an empty hash table."""
    mask = np.uint64(slots.size - 1)
    for code in range(tags):
        slot = _mixed(keys[code, 0], keys[code, 1], keys[code, 2], keys[code, 3], keys[code, 4]) & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = code


class CompiledParser:
    """Parses in one compiled pass; see `lines.Parser`. One thread uses it at a time."""

    def __init__(self) -> None:
        self._tags = 0
        self._keys: NDArray[np.uint64] = np.zeros((0, _WORDS), np.uint64)
        self._grow(_FIRST_TAGS)
        self._codes: Codes = np.empty(0, np.uint32)
        self._times: Times = np.empty(0, np.int64)
        self._values: Values = np.empty(0, np.float64)
        self._left = np.empty((_LEFT_LINES, 4), np.int64)
        # Compiled, or loaded as it was compiled before, now and not with the first file.
        room = (self._codes, self._times, self._values)
        _pass(np.empty(0, np.uint8), (0, 1), (self._keys, self._slots), 0, room, self._left)

    def parse(self, text: bytes | memoryview, first_line: int = 1) -> Parsed:
        """Return what whole lines say; see `lines.Parser`."""
        buffer = np.frombuffer(text, np.uint8)
        self._points(buffer.size // _SHORT_LINE_BYTES + 1)
        at, line, filled = 0, first_line, 0
        bad = BadLines()
        dropped = array("q")
        while at < buffer.size:
            if self._tags == len(self._keys):
                self._grow(self._tags * 2)
            if filled == len(self._codes):
                self._more_points()
            codes, times, values = self._codes[filled:], self._times[filled:], self._values[filled:]
            at, line, self._tags, points, lefts = _pass(
                buffer, (at, line), (self._keys, self._slots), self._tags, (codes, times, values), self._left
            )
            for slot, begin, end, number in self._left[:lefts].tolist():
                found = self._exact(bytes(text[begin:end]), number, bad)
                if found is None:
                    dropped.append(filled + slot)
                else:
                    codes[slot], times[slot], values[slot] = found
            filled += points
        return Parsed(self._kept(filled, dropped), bad.first, line - first_line, bad.count)

    def guids(self, first: int = 0) -> list[bytes]:
        """Return the 16 bytes of the tags from number `first` on."""
        words = np.ascontiguousarray(self._keys[first : self._tags])
        text = words.view(np.uint8).reshape(-1, _WORDS * 8)
        digits = [at for at in range(36) if at not in _DASH_AT]
        # The last word begins at byte 28 and overlaps the one before it.
        columns = [at if at < 32 else at + 4 for at in digits]
        held = bytes.fromhex(text[:, columns].tobytes().decode("ascii"))
        return [held[at : at + 16] for at in range(0, len(held), 16)]

    def _exact(self, line: bytes, number: int, bad: BadLines) -> tuple[int, int, float] | None:
        if not line.strip():
            return None
        try:
            reading = read_line(line)
        except BadLine as error:
            bad.add(number, line, str(error))
            return None
        return self._code(reading.guid), reading.time_us, reading.value

    def _code(self, guid: bytes) -> int:
        """Return the number of a tag that the pass has left."""
        text = guid_text(guid).encode()
        key = np.array([np.frombuffer(text, "<u8", 1, at)[0] for at in _WORD_AT], np.uint64)
        slot, mask = int(_mixed(*key)) & (len(self._slots) - 1), len(self._slots) - 1
        while (code := int(self._slots[slot])) >= 0:
            if (self._keys[code] == key).all():
                return code
            slot = (slot + 1) & mask
        if self._tags == len(self._keys):
            self._grow(self._tags * 2)
            return self._code(guid)
        self._keys[self._tags] = key
        self._slots[slot] = self._tags
        self._tags += 1
        return self._tags - 1

    def _kept(self, filled: int, dropped: array[int]) -> Points:
        codes, times, values = self._codes[:filled], self._times[:filled], self._values[:filled]
        if dropped:
            kept = np.ones(filled, np.bool_)
            kept[dropped] = False
            codes, times, values = codes[kept], times[kept], values[kept]
        return Points(codes, times, values)

    def _points(self, room: int) -> None:
        """Have memory for so many points; what was there is used again, as fresh memory is slow."""
        if len(self._codes) < room:
            self._codes = np.empty(room, np.uint32)
            self._times = np.empty(room, np.int64)
            self._values = np.empty(room, np.float64)

    def _more_points(self) -> None:
        self._codes = np.concatenate([self._codes, np.empty_like(self._codes)])
        self._times = np.concatenate([self._times, np.empty_like(self._times)])
        self._values = np.concatenate([self._values, np.empty_like(self._values)])

    def _grow(self, tags: int) -> None:
        """Have room for so many tags."""
        keys = np.zeros((tags, _WORDS), np.uint64)
        keys[: self._tags] = self._keys[: self._tags]
        self._keys = keys
        self._slots = np.full(1 << (tags * _SLOTS_A_TAG - 1).bit_length(), -1, np.int32)
        _index(self._keys, self._tags, self._slots)
