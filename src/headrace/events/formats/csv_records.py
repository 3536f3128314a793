"""CSV as bytes: where records end, whether they are well formed, and the fields of one."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headrace.errors import DataError, UserError
from headrace.events.formats.byte_positions import Positions, positions
from headrace.events.formats.json_lines import BadEvent, Lines

#: What may stand between the fields of a record.
Delimiter = Literal[",", ";", "\t", "|", " "]
DELIMITERS: Final = get_args(Delimiter)

BOM: Final = b"\xef\xbb\xbf"

_NEWLINE, _RETURN, _QUOTE = b'\n\r"'
_BREAK: Final = np.array([_NEWLINE], np.uint8)

#: A quoted field: doubled quotes stand for one.
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)


def check_delimiter(delimiter: str) -> None:
    """Raise UserError for a delimiter that is none of DELIMITERS."""
    if delimiter not in DELIMITERS:
        known = ", ".join(map(repr, DELIMITERS))
        raise UserError(f"delimiter {delimiter!r} is not known: the delimiter of a CSV is one of {known}")


def record_ends(text: bytes) -> Positions:
    """Return the position behind each newline of `text` that ends a record: one outside quotes.

    `text` begins where a record does. What stands behind the last position is no whole record yet. A quote
    that nobody closes makes all that follows one record: whoever reads a file takes the first line for a
    record of its own when none ends within what an event may have, and goes on behind it.
    """
    buffer = np.frombuffer(text, np.uint8)
    ends = positions(buffer, _NEWLINE)
    if b'"' in text:
        quotes_before = np.searchsorted(positions(buffer, _QUOTE), ends)
        ends = ends[quotes_before % 2 == 0]
    return ends + 1


def header_names(header: bytes, delimiter: str) -> list[str]:
    """Return the names in the first record of a CSV; raises DataError for names that are no columns."""
    check_breaks(header)
    try:
        fields = fields_of(header.removeprefix(BOM).removesuffix(b"\n"), delimiter)
    except BadEvent as error:
        raise DataError(f"the header of the CSV cannot be read: {error}") from None
    seen: set[str] = set()
    for number, name in enumerate(fields, 1):
        if not name:
            raise DataError(f"column {number} of the CSV has no name in its header; give it one")
        if name in seen:
            raise DataError(f"the header of the CSV names column {name!r} twice; rename one")
        seen.add(name)
    return [name or "" for name in fields]


def check_breaks(header: bytes) -> None:
    """Raise DataError for a header whose line ends with a return alone: all of the CSV is one line then."""
    if b'"' not in header and b"\r" in header.rstrip(b"\r\n"):
        raise DataError(
            "the lines of the CSV end with a return and no newline: write them with one, as "
            "`tr '\\r' '\\n'` does"
        )


def fields_of(record: bytes, delimiter: str) -> list[str | None]:
    """Return the fields of one record, None for an empty one without quotes; raises BadEvent.

    The newline that ends a record is not part of it; a return before that may be.
    """
    try:
        text = record.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise BadEvent(f"not UTF-8: byte 0x{byte:02x} at byte {error.start}") from None
    if '"' not in text:
        if "\n" in text:
            raise BadEvent("a line break outside quotes")
        return [field or None for field in text.split(delimiter)]
    fields: list[str | None] = []
    at = 0
    while True:
        field, at = _field_at(text, at, delimiter, len(fields) + 1)
        fields.append(field)
        if at == len(text):
            return fields
        at += 1  # the delimiter


def _field_at(text: str, start: int, delimiter: str, number: int) -> tuple[str | None, int]:
    """Return the field that begins at `start`, and where it ends."""
    if not text.startswith('"', start):
        end = text.find(delimiter, start)
        end = len(text) if end < 0 else end
        field = text[start:end]
        if '"' in field:
            raise BadEvent(f"a quote inside field {number}, which does not begin with one")
        if "\n" in field:
            raise BadEvent("a line break outside quotes")
        return field or None, end
    quoted = _QUOTED.match(text, start)
    if quoted is None:
        raise BadEvent(f"the quote that opens field {number} is not closed")
    end = quoted.end()
    if end < len(text) and text[end] != delimiter:
        raise BadEvent(f"{text[end]!r} behind the quote that closes field {number}")
    return quoted[1].replace('""', '"'), end


def without_break(record: bytes) -> bytes:
    """Return a record without the line break that ends it."""
    return record.removesuffix(b"\n").removesuffix(b"\r")


def well_formed(lines: Lines, delimiter: str, columns: int) -> NDArray[np.bool_]:
    """Tell for each record whether its quotes stand where they may and it has so many fields.

    A quote opens at the beginning of a field, or doubles the one before; it closes at the end of a field, or
    is doubled by the one behind. Records may hold line breaks within quotes.
    """
    buffer = lines.buffer
    good = np.ones(lines.count, np.bool_)
    cuts, breaks = positions(buffer, ord(delimiter)), positions(buffer, _NEWLINE)
    if b'"' in lines.joined:
        quotes = positions(buffer, _QUOTE)
        counts = lines.per_line(quotes)
        good = counts % 2 == 0
        before = None if good.all() else np.cumsum(counts) - counts
        inside = _quotes_before(lines, before, np.arange(len(quotes)), quotes) % 2 == 1
        good[_records_of(lines, quotes[~_in_place(buffer, quotes, inside, delimiter)])] = False
        cuts = cuts[_quotes_before(lines, before, np.searchsorted(quotes, cuts), cuts) % 2 == 0]
        if len(breaks) >= lines.count:
            breaks = breaks[_quotes_before(lines, before, np.searchsorted(quotes, breaks), breaks) % 2 == 0]
    good &= lines.per_line(cuts) == columns - 1
    if len(breaks) >= lines.count:
        good[_records_of(lines, np.setdiff1d(breaks, lines.ends, assume_unique=True))] = False
    return good


def _quotes_before(
    lines: Lines, of_records: Positions | None, of_all: Positions, places: Positions
) -> Positions:
    """Return how many quotes stand before each of `places` in its record, of the many before it in all.

    `of_records` is how many stand before each record; None if these are even, as only that matters.
    """
    return of_all if of_records is None else of_all - of_records[_records_of(lines, places)]


def _in_place(
    buffer: NDArray[np.uint8], quotes: Positions, closing: NDArray[np.bool_], delimiter: str
) -> NDArray[np.bool_]:
    """Tell for each quote whether it stands where it may, if all before it in its record do."""
    padded = np.concatenate((_BREAK, buffer, _BREAK, _BREAK))
    before, behind, second = padded[quotes], padded[quotes + 2], padded[quotes + 3]
    at_begin, at_end = (
        (beside == _NEWLINE) | (beside == ord(delimiter)) | (beside == _QUOTE) for beside in (before, behind)
    )
    at_end |= (behind == _RETURN) & (second == _NEWLINE)
    placed: NDArray[np.bool_] = np.where(closing, at_end, at_begin)
    return placed


def _records_of(lines: Lines, places: Positions) -> Positions:
    return np.searchsorted(lines.ends, places)
