"""Texts joined by newlines, looked at as bytes, all at once: what the readers of JSON read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
import numpy as np

from headrace.events.formats.byte_positions import Bytes, Positions, positions
from headrace.events.texts import Texts
from headrace.limits import MAX_EVENT_BYTES, MAX_JSON_DEPTH

_NEWLINE, _QUOTE, _BACKSLASH, _OPEN, _CLOSE = b'\n"\\{}'

#: `[` and `{` differ in one bit, and so do `]` and `}`: with it set, both read as the brace.
_BRACE_BIT: Final = 0x20

#: Backslashes before a quote that are counted one by one; longer runs are rare or hostile.
_SHORT_RUN: Final = 6


class BadEvent(ValueError):
    """A body that is not what it should be; `str(error)` is the reason of its Reject."""


@dataclass(frozen=True)
class Lines:
    """`count` texts joined by newlines; what costs a pass over them is found when it is first asked for.

    `lengths` is that of each text where a newline may stand within one, None where each ends a text.
    """

    joined: bytes
    count: int
    lengths: Positions | None = None

    @classmethod
    def of(cls, texts: Sequence[bytes | msgspec.Raw], joined: bytes | None = None) -> Lines:
        """Return `texts` as lines; `joined` is what they make, separated by newlines, if that is at hand."""
        if joined is not None:
            lines = cls(joined, len(texts))
            if len(lines.ends) == len(texts):  # then no text is touched, which would cost as much as that
                return lines
        return cls(b"\n".join(texts), len(texts), np.fromiter(map(len, texts), np.int64, len(texts)))

    def only(self, chosen: Positions) -> Lines:
        """Return the `chosen` lines, ascending."""
        if len(chosen) == self.count:
            return self
        if not len(chosen):
            return Lines(b"", 0)
        starts, ends = self.starts[chosen].tolist(), self.ends[chosen].tolist()
        return Lines.of([self.joined[start:end] for start, end in zip(starts, ends, strict=True)])

    @cached_property
    def buffer(self) -> Bytes:
        """The bytes as numbers."""
        return np.frombuffer(self.joined, np.uint8)

    @cached_property
    def ends(self) -> Positions:
        """The position after each line."""
        if self.lengths is None:
            return np.append(positions(self.buffer, _NEWLINE), len(self.joined))
        ends: Positions = np.cumsum(self.lengths + 1) - 1
        return ends

    @property
    def starts(self) -> Positions:
        """The position of the first byte of each line."""
        return np.append(0, self.ends[:-1] + 1)[: self.count]

    def text(self, line: int | np.int64) -> bytes:
        """Return one line."""
        if line == 0 and "ends" not in vars(self):  # the one that is asked for where all is well
            end = self.joined.find(b"\n") if self.lengths is None else int(self.lengths[0])
            return self.joined[:end] if end >= 0 else self.joined
        return self.joined[self.ends[line - 1] + 1 if line else 0 : self.ends[line]]

    def each(self) -> Texts:
        """Return every line, each cut out when it is asked for."""
        return Texts(self.count, self.text)

    def texts(self) -> list[bytes]:
        """Return every line."""
        return self.joined.split(b"\n") if self.count else []

    def per_line(self, positions: Positions) -> Positions:
        """Return how many of `positions` (ascending) lie in each line."""
        counts: Positions = np.diff(np.searchsorted(positions, self.ends), prepend=0)
        return counts

    def look_like_objects(self) -> bool:
        """Whether every line is from `{` to `}`, no longer than an event may be, with no newline inside.

        A reader that fails on bad lines and makes at least one row of each line that is not blank has then
        made exactly one of each if it made as many rows as there are lines.
        """
        if not self.count or len(self.joined) != self.ends[-1]:
            return False
        if self.lengths is not None and np.count_nonzero(self.buffer == _NEWLINE) != self.count - 1:
            return False
        starts = self.starts
        lengths = self.ends - starts
        return bool(
            lengths.min() >= 2
            and lengths.max() <= MAX_EVENT_BYTES
            and (self.buffer[self.ends[:-1]] == _NEWLINE).all()
            and (self.buffer[starts] == _OPEN).all()
            and (self.buffer[self.ends - 1] == _CLOSE).all()
        )

    def none_longer_than(self, size_bytes: int) -> bool:
        """Whether no line is longer, found without looking for where each ends."""
        start = 0
        while len(self.joined) - start > size_bytes:
            start = self.joined.rfind(b"\n", start, start + size_bytes + 1) + 1
            if start == 0:
                return False
        return True

    def too_deep(self) -> list[int]:
        """Return the lines that nest deeper than MAX_JSON_DEPTH."""
        lengths = self.ends - self.starts
        if lengths.max(initial=0) < 2 * MAX_JSON_DEPTH:  # too short to open and close so many
            return []
        opening = positions(self.buffer, _OPEN, fold=_BRACE_BIT)
        if len(opening) < self.count + MAX_JSON_DEPTH:  # each line opens at least once
            return []
        suspects = np.flatnonzero(self.per_line(opening) > MAX_JSON_DEPTH)
        return [int(line) for line in suspects if nesting(self.text(line)) > MAX_JSON_DEPTH]


def escaped_quotes(buffer: Bytes) -> Positions:
    """Return the positions of quotes that a backslash escapes, itself not escaped."""
    quotes = positions(buffer, _QUOTE)
    quotes = quotes[buffer.take(quotes - 1, mode="clip") == _BACKSLASH]
    odd = np.ones(len(quotes), np.bool_)
    todo, at = np.arange(len(quotes)), quotes - 1
    for _ in range(_SHORT_RUN):
        at = at - 1
        more = buffer[at] == _BACKSLASH
        todo, at = todo[more], at[more]
        odd[todo] = ~odd[todo]
    if not len(todo):
        few: Positions = quotes[odd]
        return few
    # Some run is long, perhaps by malice: count all runs at once, however long.
    slashes = positions(buffer, _BACKSLASH)
    begins_run = np.diff(slashes, prepend=-2) != 1
    index = np.arange(len(slashes))
    place_in_run = index - np.maximum.accumulate(np.where(begins_run, index, 0))
    return np.intersect1d(slashes[place_in_run % 2 == 0] + 1, quotes, assume_unique=True)


def nesting(text: bytes) -> int:
    """Return how deep brackets nest, as a parser would see it until its first error, without recursion."""
    levels = bracket_levels(text)[1]
    return int(levels.max(initial=0))


def bracket_levels(text: bytes) -> tuple[Positions, Positions]:
    """Return the positions of the brackets outside strings, and the depth after each."""
    buffer = np.frombuffer(text, np.uint8)
    quotes = buffer == _QUOTE
    quotes[escaped_quotes(buffer)] = False
    in_string = np.logical_xor.accumulate(quotes)
    folded = buffer | _BRACE_BIT
    brackets = np.flatnonzero(((folded == _OPEN) | (folded == _CLOSE)) & ~in_string)
    return brackets, np.cumsum(np.where(folded[brackets] == _OPEN, 1, -1))
