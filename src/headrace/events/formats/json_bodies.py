"""Bodies to objects: what holds one JSON object, what holds several, and what must not reach a parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.json_exact import not_json, not_utf8
from headrace.events.formats.json_lines import BadEvent, Lines, bracket_levels, nesting
from headrace.limits import MAX_EVENT_BYTES, MAX_JSON_DEPTH

_WHITESPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"

#: A queue body that .NET serialised ends in one closing byte; anything longer is not that.
_MAX_WRAPPER_TAIL_BYTES: Final = 4

_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Objects:
    """The texts of single objects, numbered in order, and where they come from.

    `owners` is the body of each; `lines` holds those that fast readers may see, `numbers` which ones these
    are, and `loose` the others. `rejects` is the bodies that hold no objects.
    """

    texts: Sequence[bytes]
    owners: Positions
    lines: Lines
    numbers: Positions
    loose: list[int]
    rejects: dict[int, str]

    @classmethod
    def on_lines(cls, lines: Lines, left: Positions) -> Objects:
        """Return the objects of `lines`, each one, of which `left` are to be read."""
        objects = cls(lines.each(), np.arange(lines.count), lines.only(left), left, [], {})
        return _without_deep_lines(objects)

    def beside(self, rejects: Mapping[int, str]) -> Positions:
        """Return the numbers of all objects in bodies that are rejected, good ones too."""
        if not rejects or len(self.texts) == len(set(self.owners.tolist())):
            return np.empty(0, np.int64)
        return np.flatnonzero(np.isin(self.owners, list(rejects)))


def lines_of(bodies: Sequence[bytes], joined: bytes | None) -> Lines | None:
    """Return bodies as lines, unseen; None when they are not a line each, or one is too long."""
    lines = Lines(b"\n".join(bodies) if joined is None else joined, len(bodies))
    if joined is None and len(lines.ends) != lines.count:
        return None
    return lines if lines.none_longer_than(MAX_EVENT_BYTES) else None


def unpack(bodies: Sequence[bytes], joined: bytes | None) -> Objects:
    """Find the objects in `bodies`: at once when each body is plainly one, else body by body."""
    lines = Lines.of(bodies, joined)
    if lines.look_like_objects():
        return Objects.on_lines(lines, np.arange(lines.count))
    texts: list[bytes] = []
    owners: list[int] = []
    rejects: dict[int, str] = {}
    for index, body in enumerate(bodies):
        try:
            found = objects_of(body)
        except BadEvent as error:
            rejects[index] = str(error)
            continue
        texts += found
        owners += [index] * len(found)
    plain = [text[:1] == b"{" and text[-1:] == b"}" and b"\n" not in text for text in texts]
    numbers = np.flatnonzero(np.array(plain, np.bool_))
    lines = Lines.of([texts[number] for number in numbers])
    loose = [number for number, fit in enumerate(plain) if not fit]
    return _without_deep_lines(Objects(texts, np.array(owners, np.int64), lines, numbers, loose, rejects))


def _without_deep_lines(objects: Objects) -> Objects:
    """Leave the lines that nest too deep to the exact reader, which says so before it parses."""
    deep = objects.lines.too_deep()
    if not deep:
        return objects
    shallow = np.delete(np.arange(objects.lines.count), deep)
    loose = [*objects.loose, *objects.numbers[deep].tolist()]
    return replace(objects, lines=objects.lines.only(shallow), numbers=objects.numbers[shallow], loose=loose)


def objects_of(body: bytes) -> list[bytes]:
    """Return the texts of the objects in a body: one, an array of them, or several on lines of their own.

    A text may span lines. It looks like an object but may still be malformed: its reader decides.
    Raises BadEvent when the body can be none of these.
    """
    if len(body) > MAX_EVENT_BYTES:
        raise BadEvent(f"larger than {MAX_EVENT_BYTES} bytes")
    text = body.removeprefix(_BOM).strip(_WHITESPACE)
    if not text:
        raise BadEvent("empty: no bytes but white space" if body else "empty body")
    if text.startswith(b"{"):
        return _objects_on_lines(text)
    if text.startswith(b"["):
        return _elements(text)
    return [_unwrapped(text)]


def _objects_on_lines(text: bytes) -> list[bytes]:
    """Return the objects of `text` if each stands on lines of its own, else `text` as it is."""
    if b"\n" not in text:
        return [text]
    brackets, levels = bracket_levels(text)
    ends = brackets[levels == 0] + 1
    pieces = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=False)]
    first, *others = [piece for piece in pieces if piece]
    if any(b"\n" not in piece[: len(piece) - len(piece.lstrip(_WHITESPACE))] for piece in others):
        return [text]
    return [first, *(piece.strip(_WHITESPACE) for piece in others)]


def _elements(text: bytes) -> list[bytes]:
    """Return the elements of a JSON array of objects."""
    if nesting(text) > MAX_JSON_DEPTH + 1:
        raise BadEvent(f"nested deeper than {MAX_JSON_DEPTH}")
    try:
        elements = [bytes(element) for element in _ELEMENTS.decode(text)]
    except msgspec.DecodeError as error:
        raise BadEvent(not_json(error)) from None
    for index, element in enumerate(elements):
        if not element.startswith(b"{"):
            raise BadEvent(f"element {index} of the array is not an object")
    return elements


def _unwrapped(text: bytes) -> bytes:
    """Return the object inside a string that .NET serialised: a header, the object, a closing byte.

    Such bodies come from queues that Stream Analytics writes to. The byte before the object is a length and
    can be a brace itself.
    """
    start, end = text.find(b"{"), text.rfind(b"}") + 1
    if start > 0 and 1 <= len(text) - end <= _MAX_WRAPPER_TAIL_BYTES and not text.startswith(b'"'):
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
