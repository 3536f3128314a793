"""Lines of one file, read from any byte on: whole ones only, many at once, without touching each.

Nothing is kept of what was read but how far the end of an unfinished line was looked for, so that waiting for
it costs what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.connect.file_bytes import FileBytes
from headrace.events.formats.byte_positions import Positions, positions
from headrace.events.formats.decoded import Decoded
from headrace.events.formats.decoders import Format
from headrace.events.texts import Texts
from headrace.limits import MAX_EVENT_BYTES

_NEWLINE: Final = b"\n"
_CARRIAGE_RETURN: Final = 0x0D
_SPACE: Final = 0x20
_WHITESPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"

#: Bytes read at a time while the end of a line is looked for.
_SEARCH_BYTES: Final = 64 * 1024
_LONG_SEARCH_BYTES: Final = 1024 * 1024

#: What is kept of a line that is too long for an event: one byte more than fits, for its reader to refuse.
_KEPT_BYTES: Final = MAX_EVENT_BYTES + 1

_NONE: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that hold something: their text, separated by newlines, and the end of each in it.

    `starts` is where each begins in the file, and `behind` where to read on there. `ended` is false when the
    last line was taken though no newline ends it. What stands once before the lines of the file is `header`.

    Rows with types have none of the text: they are `decoded`, positions are their numbers, and `rows` makes
    the JSON of one when it is asked for.
    """

    text: bytes
    ends: Positions
    starts: Positions
    behind: int
    ended: bool = True
    header: bytes = b""
    decoded: Decoded | None = None
    rows: Sequence[bytes] = ()

    @property
    def bodies(self) -> Sequence[bytes]:
        """The lines, or the rows as JSON."""
        return Texts(len(self.ends), self._line) if self.decoded is None else self.rows

    def _line(self, number: int) -> bytes:
        return self.text[self.ends[number - 1] + 1 if number else 0 : self.ends[number]]

    @property
    def events(self) -> int:
        """The number of lines."""
        return len(self.starts)

    @classmethod
    def empty(cls, behind: int) -> Piece:
        """Return a piece without lines."""
        return cls(b"", _NONE, _NONE, behind)


class LineFile:
    """Lines of an open file."""

    of_rows = False
    format: Format = "json"
    delimiter = ","

    def __init__(self, text: FileBytes) -> None:
        self._text, self.name, self.grows = text, text.name, text.grows
        self._searched = (-1, -1)
        self._behind_mark: int | None = None

    def size(self) -> int:
        """Return the position behind the last byte there is now."""
        return self._text.size_bytes()

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the file, by which it is known again."""
        return self._text.head(size_bytes)

    def is_in_place(self) -> bool:
        """Tell whether the name still means this file, or nothing."""
        return self._text.is_in_place()

    def read(self, at: int, until: int, *, whole: bool, max_events: int, max_bytes: int) -> Piece:
        """Return lines between two positions, at least one if there is one; blank lines are passed over.

        What stands before `until` without a newline is a line if it is `whole`. Of a line that is longer than
        an event may be the beginning is returned, with one byte too many.
        """
        if at == 0:
            at = self._first()
        if until <= at:
            return Piece.empty(at)
        self._text.keep_from(at)
        end = min(until, at + max_bytes)
        if end < until or not whole:
            end = self._behind_last_newline(at, end)
        if end == at:
            end = self._behind_line(at, until, whole=whole)
        if end == at:
            return Piece.empty(at)
        ended = self._is_newline(end - 1)
        size_bytes = end - at - ended
        if size_bytes > max_bytes:  # a single line
            size_bytes = min(size_bytes, _KEPT_BYTES + 1)
        text = self._text.bytes_at(at, size_bytes)
        text, ends, starts = lines_of(text, self._newlines(text, last=whole and end == until))
        if len(starts) > max_events:
            end, ended = at + int(starts[max_events]), True
            text, ends, starts = text[: ends[max_events - 1]], ends[:max_events], starts[:max_events]
        return Piece(text, ends, starts + at, end, ended)

    def rest_of_line(self, at: int, until: int, *, whole: bool) -> Piece:
        """Return nothing, from behind the line that a position is in; from there while its end is missing."""
        end = self._behind_line(at, until, whole=whole)
        return Piece(b"", _NONE, _NONE, end, ended=end == at or self._is_newline(end - 1))

    def begins_line(self, at: int) -> bool:
        """Tell whether a position is the first of a line."""
        return at in {0, self._first()} or self._is_newline(at - 1)

    def behind_text(self, until: int) -> int:
        """Return the position behind the last byte before `until` that is no white space, or else 0."""
        end = until
        while end > 0:
            begin = max(0, end - _SEARCH_BYTES)
            chunk = self._text.bytes_at(begin, end - begin)
            text = chunk.rstrip(_WHITESPACE)
            if text:
                return 0 if begin == 0 and text == _BOM else begin + len(text)
            end = begin
        return 0

    def close(self) -> None:
        """Close the file."""
        self._text.close()

    def _first(self) -> int:
        """Return where the first line begins: behind the mark of the byte order, if there is one."""
        if self._behind_mark is None and self.size() >= len(_BOM):
            self._behind_mark = len(_BOM) if self._text.bytes_at(0, len(_BOM)) == _BOM else 0
        return self._behind_mark or 0

    def _newlines(self, text: bytes, *, last: bool) -> Positions:
        """Return the positions of the newlines in a text that end a line; nothing follows the `last` text."""
        return positions(np.frombuffer(text, np.uint8), _NEWLINE[0])

    def _is_newline(self, position: int) -> bool:
        return self._text.bytes_at(position, 1) == _NEWLINE

    def _behind_last_newline(self, at: int, end: int) -> int:
        """Return the position behind the last newline between two positions, or else the first one."""
        searched = self._searched_from(at)
        while end > searched:
            begin = max(searched, end - _SEARCH_BYTES)
            found = self._text.bytes_at(begin, end - begin).rfind(_NEWLINE)
            if found >= 0:
                return begin + found + 1
            end = begin
        return at

    def _behind_line(self, at: int, until: int, *, whole: bool) -> int:
        """Return the position behind the line that begins at `at`; that itself while its end is not there."""
        begin = self._searched_from(at)
        while begin < until:
            chunk = self._text.bytes_at(begin, min(_LONG_SEARCH_BYTES, until - begin))
            found = chunk.find(_NEWLINE)
            if found >= 0:
                return begin + found + 1
            begin += len(chunk)
        self._searched = (at, begin)
        return until if whole else at

    def _searched_from(self, at: int) -> int:
        """Return the position before which the line that begins at `at` is known not to end."""
        searched_at, behind = self._searched
        return behind if searched_at == at else at


def lines_of(text: bytes, newlines: Positions) -> tuple[bytes, Positions, Positions]:
    """Return `text` without blank lines and carriage returns, and of each line its end and where it began.

    Lines are parted by `newlines`. A line that is too long for an event is cut. Where nothing is to be left
    out `text` itself is returned.
    """
    if not text:
        return text, _NONE, _NONE
    buffer = np.frombuffer(text, np.uint8)
    ends = np.append(newlines, len(text))
    starts = begins = np.append(0, ends[:-1] + 1)
    returned = (buffer.take(ends - 1, mode="clip") == _CARRIAGE_RETURN) & (ends > starts)
    if returned.any():
        keep = np.ones(len(text), np.bool_)
        keep[ends[returned] - 1] = False
        text = buffer[keep].tobytes()
        gone = np.cumsum(returned)
        ends, begins = ends - gone, starts - (gone - returned)
        buffer = np.frombuffer(text, np.uint8)
    lengths = ends - begins
    blank, long = lengths == 0, lengths > _KEPT_BYTES
    spaced = (buffer.take(begins, mode="clip") <= _SPACE) & ~blank if text else _NONE
    for line in np.flatnonzero(spaced):
        blank[line] = not text[begins[line] : ends[line]].strip(_WHITESPACE)
    if not (blank.any() or long.any()):
        return text, ends, starts
    keep = np.ones(len(text) + 1, np.bool_)  # with the newline that would end the last line
    keep[ends[blank]] = False
    for line in np.flatnonzero(long | (blank & (lengths > 0))):
        keep[begins[line] + (0 if blank[line] else _KEPT_BYTES) : ends[line]] = False
    text = np.frombuffer(text + _NEWLINE, np.uint8)[keep][:-1].tobytes()
    lengths = np.minimum(lengths, _KEPT_BYTES)[~blank]
    return text, np.cumsum(lengths + 1) - 1, starts[~blank]
