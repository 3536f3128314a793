r"""Where the keys and nulls of many lines stand, and how many there are, seen in the bytes alone.

A colon outside strings follows a key, and each key has one. Strings end at the first quote that no backslash
escapes, so in lines that are JSON a byte is inside a string if an odd number of such quotes come before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headrace.events.formats.json_bits import Bits, Mask, count, places_of
from headrace.events.formats.json_lines import Bytes, Lines, Positions

_QUOTE, _BACKSLASH, _COLON, _SPACE, _MINUS, _NULL = b'"\\: -n'
_ZERO, _NINE, _POINT = b"09."

#: Steps taken over white space beside a colon; more of it than that is nobody's layout.
_LONGEST_GAP: Final = 8

#: Bytes compared in one go by Polars, whose masks are bits: they stay in the processor's cache.
_CHUNK_BYTES: Final = 1024 * 1024

_WORD_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Marks:
    """Numbers of bytes: unescaped quotes, and colons behind an unescaped quote or what may be white space.

    No key is missing among these `colons`, but in text there can be others.
    """

    quotes: int
    colons: int


def marks(lines: Lines) -> Marks:
    """Count the marks of `lines`, in one pass over masks of bits."""
    buffer = lines.buffer
    quotes = colons = 0
    for begin in range(0, buffer.size, _CHUNK_BYTES):
        here = pl.Series(buffer[begin : begin + _CHUNK_BYTES])
        following = pl.Series(buffer[begin + 1 : begin + 1 + _CHUNK_BYTES])
        quotes += int((here == _QUOTE).sum())
        # Up to the quote: that is white space and "!", and what else there is no JSON has outside strings.
        colons += int(((here.head(len(following)) <= _QUOTE) & (following == _COLON)).sum())
    escaped = lines.escaped
    colons -= int(np.count_nonzero(buffer.take(escaped + 1, mode="clip") == _COLON))
    return Marks(quotes - len(escaped), colons)


def count_keys(lines: Lines) -> int:
    """Return the number of keys in lines that are JSON."""
    return sum(count(bits) for _, bits in lines.outside_strings(_COLON))


def count_points(lines: Lines) -> int:
    """Return how many numbers are written with a point in lines that are JSON."""
    return sum(count(bits) for _, bits in lines.outside_strings(_POINT))


def nulls(lines: Lines) -> Positions:
    """Return where nulls begin in lines that are JSON: no number and no bit has that letter."""
    return _outside_strings(lines, _NULL)


def _outside_strings(lines: Lines, byte: int) -> Positions:
    found = [begin + places_of(bits) for begin, bits in lines.outside_strings(byte)]
    return np.concatenate(found) if found else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of lines that are JSON: where the value of each begins, and with which byte.

    After more white space than anybody writes that is a space.
    """

    lines: Lines
    values: Positions
    first: Bytes

    @classmethod
    def of(cls, lines: Lines) -> Keys:
        """Find every key of `lines`."""
        values = _past_whitespace(lines.buffer, _outside_strings(lines, _COLON) + 1, 1)
        return cls(lines, values, lines.buffer[values])

    @property
    def strings(self) -> Mask:
        """Which keys have strings as values."""
        mask: Mask = self.first == _QUOTE
        return mask

    @property
    def nulls(self) -> Mask:
        """Which keys have null."""
        mask: Mask = self.first == _NULL
        return mask

    @property
    def numbers(self) -> Mask:
        """Which keys have numbers."""
        mask: Mask = (self.first == _MINUS) | ((self.first >= _ZERO) & (self.first <= _NINE))
        return mask

    @property
    def unclear(self) -> Mask:
        """Which keys have values of which nothing is known."""
        mask: Mask = self.first <= _SPACE
        return mask

    def per_line(self, chosen: Mask | None = None) -> Positions:
        """Return how many keys each line has, or how many of those `chosen`."""
        return self.lines.per_line(self.values if chosen is None else self.values[chosen])


@dataclass(frozen=True, slots=True)
class NullKeys:
    """Keys of nulls: where these begin, where the keys end, and the eight bytes up to their closing quotes.

    An end is 0 where no colon stands before a null. The last byte is the uppermost of the eight.
    """

    lines: Lines
    nulls: Positions
    ends: Positions
    tails: Bits

    @classmethod
    def of(cls, lines: Lines, nulls: Positions) -> NullKeys:
        """Find the keys of the nulls that begin at `nulls`."""
        colons = _past_whitespace(lines.buffer, nulls - 1, -1)
        ends = _past_whitespace(lines.buffer, colons - 1, -1)
        ends[lines.buffer[colons] != _COLON] = 0
        tails = _words(lines)[np.maximum(ends - _WORD_BYTES + 1, 0)]
        for early in np.flatnonzero(ends < _WORD_BYTES - 1).tolist():
            tails[early] = int.from_bytes(lines.joined[: ends[early] + 1].rjust(_WORD_BYTES, b"\0"), "little")
        return cls(lines, nulls, ends, tails)

    def of_name(self, name: str) -> Positions:
        """Return which of the keys are `name`, written without escapes."""
        text = b'"' + name.encode() + b'"'
        tail = text[-_WORD_BYTES:]
        unused_bits = np.uint64(8 * (_WORD_BYTES - len(tail)))
        found = np.flatnonzero(self.tails >> unused_bits == int.from_bytes(tail, "little"))
        begins = self.ends[found] + 1 - len(text)
        same = (begins > 0) & (self.lines.buffer[begins - 1] != _BACKSLASH)
        for offset in range(0, len(text) - _WORD_BYTES, _WORD_BYTES):
            part = int.from_bytes(text[offset : offset + _WORD_BYTES], "little")
            same &= _words(self.lines)[begins + offset] == part
        named: Positions = found[same]
        return named


def _words(lines: Lines) -> Bits:
    """Return the eight bytes from each position on."""
    return np.ndarray(max(len(lines.joined) - _WORD_BYTES + 1, 0), "<u8", lines.joined, 0, (1,))


def _past_whitespace(buffer: Bytes, at: Positions, step: int) -> Positions:
    """Return positions moved over white space by `step`, a short way."""
    todo = np.flatnonzero(buffer[at] <= _SPACE)
    for _ in range(_LONGEST_GAP):
        if not len(todo):
            break
        at[todo] += step
        todo = todo[buffer[at[todo]] <= _SPACE]
    return at
