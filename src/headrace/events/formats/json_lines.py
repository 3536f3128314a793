"""Bodies to objects: what holds one JSON object, what holds several, and what must not reach a parser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace.limits import MAX_EVENT_BYTES, MAX_JSON_DEPTH

Positions = NDArray[np.int64]
Bytes = NDArray[np.uint8]

WHITESPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_NEWLINE, _QUOTE, _BACKSLASH, _OPEN, _CLOSE = b'\n"\\{}'

#: `[` and `{` differ in one bit, and so do `]` and `}`: with it set, both read as the brace.
_BRACE_BIT: Final = 0x20

#: Bytes looked at in one go: their masks stay in the processor's cache.
CHUNK_BYTES: Final = 256 * 1024

#: Backslashes before a quote that are counted one by one; longer runs are rare or hostile.
_SHORT_RUN: Final = 6

#: A queue body that .NET serialised ends in one closing byte; anything longer is not that.
_MAX_WRAPPER_TAIL_BYTES: Final = 4

_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BadEvent(ValueError):
    """A body that is not what it should be; `str(error)` is the reason of its Reject."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Texts joined by newlines, with no newline inside any; `ends` is the position after each text."""

    joined: bytes
    buffer: Bytes
    ends: Positions

    @classmethod
    def of(cls, joined: bytes) -> Lines:
        """Return the lines of `joined`: none if it is empty; a last newline begins an empty line."""
        buffer = np.frombuffer(joined, np.uint8)
        if not joined:
            return cls(joined, buffer, np.empty(0, np.int64))
        return cls(joined, buffer, np.append(positions(buffer, _NEWLINE), buffer.size))

    def only(self, chosen: Positions) -> Lines:
        """Return the `chosen` lines, ascending."""
        if len(chosen) == self.count:
            return self
        return Lines.of(b"\n".join([self.text(line) for line in chosen]))

    @property
    def count(self) -> int:
        """The number of lines; no bytes are no line."""
        return len(self.ends)

    @property
    def starts(self) -> Positions:
        """The position of the first byte of each line."""
        return np.append(0, self.ends[:-1] + 1)[: self.count]

    def text(self, line: int | np.int64) -> bytes:
        """Return one line."""
        return self.joined[self.ends[line - 1] + 1 if line else 0 : self.ends[line]]

    def texts(self) -> list[bytes]:
        """Return every line."""
        return self.joined.split(b"\n") if self.count else []

    def per_line(self, positions: Positions) -> Positions:
        """Return how many of `positions` (ascending) lie in each line."""
        counts: Positions = np.diff(np.searchsorted(positions, self.ends), prepend=0)
        return counts

    def look_like_objects(self) -> bool:
        """Whether every line is from `{` to `}` and no longer than an event may be.

        A reader that fails on bad lines and makes at least one row of each line that is not blank has then
        made exactly one of each if it made as many rows as there are lines.
        """
        if not self.joined.endswith(b"}"):
            return False
        starts = self.starts
        return bool(
            (self.buffer[starts] == _OPEN).all()
            and (self.buffer[self.ends - 1] == _CLOSE).all()
            and (self.ends - starts).max() <= MAX_EVENT_BYTES
        )

    def too_deep(self) -> list[int]:
        """Return the lines that nest deeper than MAX_JSON_DEPTH."""
        lengths = self.ends - self.starts
        if lengths.max(initial=0) < 2 * MAX_JSON_DEPTH:  # too short to open and close so many
            return []
        opening = np.sort(
            np.append(positions(self.buffer, _OPEN), positions(self.buffer, _OPEN & ~_BRACE_BIT))
        )
        if len(opening) < self.count + MAX_JSON_DEPTH:  # each line opens at least once
            return []
        suspects = np.flatnonzero(self.per_line(opening) > MAX_JSON_DEPTH)
        return [int(line) for line in suspects if nesting(self.text(line)) > MAX_JSON_DEPTH]


def positions(buffer: Bytes, byte: int) -> Positions:
    """Return where a byte occurs."""
    found = [
        np.flatnonzero(buffer[begin : begin + CHUNK_BYTES] == byte) + begin
        for begin in range(0, buffer.size, CHUNK_BYTES)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def escaped_quotes(buffer: Bytes, slashes: Positions) -> Positions:
    """Return the positions of quotes that a backslash escapes, itself not escaped."""
    before = slashes[buffer.take(slashes + 1, mode="clip") == _QUOTE]
    odd = np.ones(len(before), np.bool_)
    todo, at = np.arange(len(before)), before
    for _ in range(_SHORT_RUN):
        at = at - 1
        more = buffer[at] == _BACKSLASH
        todo, at = todo[more], at[more]
        odd[todo] = ~odd[todo]
    if not len(todo):
        return before[odd] + 1
    # Some run is long, perhaps by malice: count all runs at once, however long.
    index = np.arange(len(slashes))
    begins_run = np.diff(slashes, prepend=-2) != 1
    place_in_run = index - np.maximum.accumulate(np.where(begins_run, index, 0))
    escaped = slashes[place_in_run % 2 == 0] + 1
    return np.intersect1d(escaped, before + 1, assume_unique=True)


def nesting(text: bytes) -> int:
    """Return how deep brackets nest, as a parser would see it until its first error, without recursion."""
    depths = _depths(text)[1]
    return int(depths.max(initial=0))


def _depths(text: bytes) -> tuple[Positions, Positions]:
    """Return the positions of the brackets outside strings, and the depth after each."""
    buffer = np.frombuffer(text, np.uint8)
    quotes = buffer == _QUOTE
    quotes[escaped_quotes(buffer, positions(buffer, _BACKSLASH))] = False
    in_string = np.logical_xor.accumulate(quotes)
    folded = buffer | _BRACE_BIT
    brackets = np.flatnonzero(((folded == _OPEN) | (folded == _CLOSE)) & ~in_string)
    return brackets, np.cumsum(np.where(folded[brackets] == _OPEN, 1, -1))


def objects_of(body: bytes) -> list[bytes]:
    """Return the texts of the objects in a body: one, an array of them, or several on lines of their own.

    A text may span lines. It looks like an object but may still be malformed: its reader decides.
    Raises BadEvent when the body can be none of these.
    """
    if len(body) > MAX_EVENT_BYTES:
        raise BadEvent(f"larger than {MAX_EVENT_BYTES} bytes")
    text = body.removeprefix(_BOM).strip(WHITESPACE)
    if not text:
        raise BadEvent("empty: no bytes but white space" if body else "empty body")
    if text[0] == _OPEN:
        return _objects_on_lines(text)
    if text.startswith(b"["):
        return _elements(text)
    return [_unwrapped(text)]


def _objects_on_lines(text: bytes) -> list[bytes]:
    """Return the objects of `text` if each stands on lines of its own, else `text` as it is."""
    if b"\n" not in text:
        return [text]
    brackets, depths = _depths(text)
    ends = brackets[depths == 0] + 1
    pieces = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=False)]
    first, *others = [piece for piece in pieces if piece]
    if any(b"\n" not in piece[: len(piece) - len(piece.lstrip(WHITESPACE))] for piece in others):
        return [text]
    return [first, *(piece.strip(WHITESPACE) for piece in others)]


def _elements(text: bytes) -> list[bytes]:
    """Return the elements of a JSON array of objects."""
    if nesting(text) > MAX_JSON_DEPTH + 1:
        raise BadEvent(f"nested deeper than {MAX_JSON_DEPTH}")
    try:
        elements = [bytes(element) for element in _ELEMENTS.decode(text)]
    except msgspec.DecodeError as error:
        raise BadEvent(not_json(error)) from None
    for index, element in enumerate(elements):
        if element[0] != _OPEN:
            raise BadEvent(f"element {index} of the array is not an object")
    return elements


def _unwrapped(text: bytes) -> bytes:
    """Return the object inside a string that .NET serialised: a header, the object, a closing byte.

    Such bodies come from queues that Stream Analytics writes to. The byte before the object is a length and
    can be a brace itself.
    """
    start, end = text.find(b"{"), text.rfind(b"}") + 1
    if start > 0 and len(text) - end <= _MAX_WRAPPER_TAIL_BYTES and not text.startswith(b'"'):
        for inner in (text[start:end], text[start + 1 : end]):
            if inner.startswith(b"{") and _decodes(inner):
                return inner
    raise BadEvent(_no_object(text))


def _decodes(text: bytes) -> bool:
    if nesting(text) > MAX_JSON_DEPTH:
        return False
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _no_object(text: bytes) -> str:
    """Return why `text`, which begins with neither bracket, is no event."""
    try:
        text.decode()
        msgspec.json.decode(text, type=msgspec.Raw)
    except UnicodeDecodeError as error:
        return not_utf8(error)
    except msgspec.DecodeError as error:
        return not_json(error)
    return "not an event: an event is a JSON object, or an array of objects"


def not_utf8(error: UnicodeDecodeError) -> str:
    """Return the reason for bytes that are not UTF-8."""
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte {error.start}"


def not_json(error: msgspec.DecodeError) -> str:
    """Return the reason for text that msgspec refuses, in our words."""
    message = str(error)
    if "truncated" in message:
        return "not JSON: it ends inside a value"
    problem = message.removeprefix("JSON is malformed: ")
    return "not JSON: " + problem.replace(" (byte ", " at byte ").removesuffix(")")
