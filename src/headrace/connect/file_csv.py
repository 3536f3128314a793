"""Records of one CSV file: lines, but for newlines in quotes, behind a header.

A quote that nobody closes would make all that follows one record: where none ends within what an event may
have, or before the file does, its first line is a record of its own, and the next begins behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from headrace.connect.file_bytes import FileBytes
from headrace.connect.file_lines import LineFile, Piece
from headrace.errors import DataError, UserError
from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.csv_records import check_breaks, header_names, record_ends
from headrace.events.formats.decoders import Format
from headrace.limits import MAX_CSV_HEADER_BYTES, MAX_EVENT_BYTES

_QUOTE: Final = b'"'
_NEWLINE: Final = b"\n"
_SEARCH_BYTES: Final = 1024 * 1024


class CsvFile(LineFile):
    """Records of an open file; each piece has the header of the file."""

    format: Format = "csv"

    def __init__(self, text: FileBytes, delimiter: str = ",") -> None:
        super().__init__(text)
        self.delimiter = delimiter
        self._header: bytes | None = None
        self._behind_header = 0
        #: Where the end of a record was looked for: from, up to, and whether that is in quotes.
        self._looked = (-1, -1, False)

    def read(self, at: int, until: int, *, whole: bool, max_events: int, max_bytes: int) -> Piece:
        """Return records between two positions, as of lines."""
        if not self._has_header(until, whole=whole):
            return Piece.empty(at)
        first = max(at, self._behind_header)
        piece = super().read(first, until, whole=whole, max_events=max_events, max_bytes=max_bytes)
        return replace(piece, header=self._header or b"")

    def rest_of_line(self, at: int, until: int, *, whole: bool) -> Piece:
        """Return nothing, from behind the record that a position is in, or from there if it has no end."""
        if self._has_header(until, whole=whole) and self._looked[0] != at:
            self._looked = (at, at, self._in_quotes(at))
        return super().rest_of_line(at, until, whole=whole)

    def behind_text(self, until: int) -> int:
        """Return the position behind the last text before `until`, 0 if there is none behind the header."""
        behind = super().behind_text(until)
        return behind if self._has_header(until, whole=True) and behind > self._behind_header else 0

    def _first(self) -> int:
        return self._behind_header or super()._first()

    def _has_header(self, until: int, *, whole: bool) -> bool:
        """Tell whether the first record that holds something is there, and keep it. Raises `UserError`."""
        begin = super()._first()
        while self._header is None and begin < until:
            end = self._behind_line(begin, until, whole=whole)
            if end == begin or not self._is_newline(end - 1):  # it may go on
                if whole:
                    self._check(check_breaks, begin, end)
                return False
            if end - begin > MAX_CSV_HEADER_BYTES:
                raise UserError(
                    f"{self.name} begins with a record of {end - begin:,} bytes, which is no header: "
                    "expected the names of columns. Is it CSV?"
                )
            text = self._text.bytes_at(begin, end - begin).strip(b"\r\n")
            if text.strip():
                self._check(partial(header_names, delimiter=self.delimiter), begin, end)
                self._header, self._behind_header = text, end
            begin = end
        return self._header is not None

    def _check(self, check: Callable[[bytes], object], begin: int, end: int) -> None:
        """Check what may be the header; raises DataError with the name of the file."""
        text = self._text.bytes_at(begin, min(end - begin, MAX_CSV_HEADER_BYTES))
        try:
            check(text.strip(b"\r\n"))
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from None

    def _newlines(self, text: bytes, *, last: bool) -> Positions:
        found: list[Positions] = []
        begin = 0
        while True:
            rest = text[begin:] if begin else text
            ends = record_ends(rest)
            starts = np.append(0, ends)
            sizes = np.append(ends, len(rest)) - starts
            long = sizes > MAX_EVENT_BYTES + 1
            long[-1] |= last and rest.count(_QUOTE, int(starts[-1])) % 2 == 1
            if not long.any():
                break
            first = int(np.argmax(long))
            line = rest.find(_NEWLINE, int(starts[first]))
            if line < 0:
                break
            found += [ends[:first] + begin - 1, np.array([line + begin])]
            begin += line + 1
        return np.concatenate([*found, ends + begin - 1])

    def _behind_last_newline(self, at: int, end: int) -> int:
        if self._looked[0] == at and self._looked[1] >= end:
            return at
        newlines = self._newlines(self._text.bytes_at(at, end - at), last=False)
        return at + int(newlines[-1]) + 1 if len(newlines) else at

    def _behind_line(self, at: int, until: int, *, whole: bool) -> int:
        looked_at, begin, quoted = self._looked if self._looked[0] == at else (at, at, False)
        while begin < until and begin - at <= MAX_EVENT_BYTES:
            chunk = self._text.bytes_at(begin, min(_SEARCH_BYTES, until - begin))
            # Within quotes the text reads as if one stood before it.
            ends = record_ends(_QUOTE + chunk) - 1 if quoted else record_ends(chunk)
            if len(ends) and begin + int(ends[0]) - at <= MAX_EVENT_BYTES + 1:
                return begin + int(ends[0])
            quoted ^= chunk.count(_QUOTE) % 2 == 1
            begin += len(chunk)
        if begin - at > MAX_EVENT_BYTES or (whole and quoted):
            return super()._behind_line(at, until, whole=whole)
        self._looked = (looked_at, begin, quoted)
        return until if whole else at

    def _in_quotes(self, at: int) -> bool:
        """Tell whether a position is within quotes, by all of them before it."""
        quotes, begin = 0, self._behind_header
        while begin < at:
            chunk = self._text.bytes_at(begin, min(_SEARCH_BYTES, at - begin))
            quotes += chunk.count(_QUOTE)
            begin += len(chunk)
        return quotes % 2 == 1
