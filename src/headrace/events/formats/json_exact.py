"""The exact reader: one object at a time, each value by its first byte; the fast readers agree with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import polars as pl

from headrace.errors import DataError
from headrace.events.batch import DTYPES, Column, ValueType
from headrace.events.formats.json_lines import BadEvent, nesting
from headrace.limits import MAX_BATCH_CELLS, MAX_EVENT_KEYS, MAX_JSON_DEPTH

MIN_BIGINT: Final = -(2**63)
MAX_BIGINT: Final = 2**63 - 1

#: The types whose values are JSON text.
NESTED: Final = frozenset({ValueType.RECORD, ValueType.ARRAY})

#: The line of each row of a frame that a reader made.
LINE: Final = "@line"

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING: Final = msgspec.json.Decoder(str)

#: Finds each key at least once (and what looks like one inside a string).
_KEY_END: Final = re.compile(rb'"[ \t\r\n]*:')

#: Group 1 is half a surrogate pair; other escapes and whole pairs are stepped over.
_LONE_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89abcdefABCDEF]..)|\\.", re.DOTALL
)

#: What a column costs however few rows it has, in cells.
_CELLS_OF_A_COLUMN: Final = 1_000

#: Longer than -9223372036854775808; the text of a JSON integer has no leading zeros.
_MAX_BIGINT_CHARS: Final = 20

_LITERAL_BY_BYTE: Final = {
    b"t"[0]: (ValueType.BIT, True),
    b"f"[0]: (ValueType.BIT, False),
    b"n"[0]: (None, None),
}
_NESTED_BY_BYTE: Final = {b"{"[0]: ValueType.RECORD, b"["[0]: ValueType.ARRAY}
_QUOTE: Final = b'"'[0]


def name_and_plane(physical: str) -> tuple[str, ValueType]:
    """Return the name and type of a physical column."""
    type_, _, name = physical.partition(":")
    return name, ValueType[type_.upper()]


class Cell(NamedTuple):
    """A value and its type, None for NULL; a record or array is its text."""

    type: ValueType | None
    value: Any


class Cells:
    """Cells by column and type, on their way to a frame."""

    def __init__(self) -> None:
        self._planes: dict[tuple[str, ValueType], tuple[list[int], list[Any]]] = {}
        self._lines: list[int] = []
        self.nulls: dict[str, None] = {}

    def add(self, line: int, fields: dict[str, Cell]) -> None:
        """Add the object of `line` as the next row."""
        row = len(self._lines)
        self._lines.append(line)
        for name, (type_, value) in fields.items():
            if type_ is None:
                self.nulls[name] = None
                continue
            rows, values = self._planes.setdefault((name, type_), ([], []))
            rows.append(row)
            values.append(value)

    def frame(self) -> pl.DataFrame:
        """Return the rows, with the line of each in LINE; raises DataError over MAX_BATCH_CELLS."""
        height = len(self._lines)
        check_size(height, len(self._planes))
        columns = [pl.Series(LINE, self._lines, pl.Int64)]
        for (name, type_), (rows, values) in self._planes.items():
            dense = values
            if len(rows) < height:
                dense = [None] * height
                for row, value in zip(rows, values, strict=True):
                    dense[row] = value
            columns.append(pl.Series(Column(name, ()).physical(type_), dense, DTYPES[type_]))
        return pl.DataFrame(columns)


def check_size(rows: int, columns: int) -> None:
    """Raise DataError when events that each bring other keys would fill the memory."""
    if max(rows, _CELLS_OF_A_COLUMN) * columns > MAX_BATCH_CELLS:
        raise DataError(
            f"{rows} events with {columns} different keys are more than {MAX_BATCH_CELLS} cells of a batch; "
            "take fewer events at a time, or make the changing keys the values of one column"
        )


def read_object(text: bytes) -> dict[str, Cell]:
    """Return the fields of one object in order; raises BadEvent."""
    if text.count(b"[") + text.count(b"{") > MAX_JSON_DEPTH and nesting(text) > MAX_JSON_DEPTH:
        raise BadEvent(f"nested deeper than {MAX_JSON_DEPTH}")
    raws = _decode(text)
    if len(raws) > MAX_EVENT_KEYS:
        raise BadEvent(f"more than {MAX_EVENT_KEYS} keys")
    cells = {name: typed(name, bytes(raw)) for name, raw in raws.items()}
    keys = keys_at_most(text)
    if keys > len(cells):
        keys -= sum(keys_at_most(raws[name]) for name, cell in cells.items() if cell.type in NESTED)
    if keys > len(cells):
        _refuse_repeated_key(text)
    return cells


def keys_at_most(text: bytes | msgspec.Raw) -> int:
    """Return how many keys JSON has, and what looks like one inside a string."""
    return len(_KEY_END.findall(text))


def key_order(text: bytes) -> list[str]:
    """Return the keys of an object that is known to be good, in order."""
    return list(_OBJECT.decode(text))


def typed(name: str, raw: bytes) -> Cell:
    """Return the value whose JSON text is `raw`; raises BadEvent for a number that no type holds."""
    first = raw[0]
    if first == _QUOTE:
        return Cell(ValueType.TEXT, _STRING.decode(raw))
    if first in _LITERAL_BY_BYTE:
        return Cell(*_LITERAL_BY_BYTE[first])
    if first in _NESTED_BY_BYTE:
        return Cell(_NESTED_BY_BYTE[first], raw.decode())
    if raw.isdigit() or raw[1:].isdigit():
        if len(raw) <= _MAX_BIGINT_CHARS and MIN_BIGINT <= (integer := int(raw)) <= MAX_BIGINT:
            return Cell(ValueType.BIGINT, integer)
        raise BadEvent(f"number out of bigint range in '{name}'")
    number = float(raw)
    if number in (float("inf"), float("-inf")):
        raise BadEvent(f"number out of float range in '{name}'")
    return Cell(ValueType.FLOAT, number)


def _decode(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        if not text.isascii():
            text.decode()
        return _OBJECT.decode(text)
    except UnicodeDecodeError as error:
        raise BadEvent(not_utf8(error)) from None
    except msgspec.DecodeError as error:
        for escape in _LONE_SURROGATE.finditer(text):
            if escape[1]:
                reason = (
                    f"half a surrogate pair, {escape[1].decode(errors='replace')} at byte {escape.start()}"
                )
                raise BadEvent(reason) from None
        raise BadEvent(not_json(error)) from None


def _refuse_repeated_key(text: bytes) -> None:
    """Raise BadEvent if a key stands twice in the object itself, not in one inside it."""
    outermost: list[str] = []

    def keep_keys(pairs: Sequence[tuple[str, object]]) -> None:
        outermost[:] = [key for key, _ in pairs]

    json.loads(text, object_pairs_hook=keep_keys, parse_int=str, parse_float=str)
    seen: set[str] = set()
    for key in outermost:
        if key in seen:
            raise BadEvent(f"duplicate key '{key}'")
        seen.add(key)


def read_exact(texts: Iterable[tuple[int, bytes]]) -> tuple[Cells, dict[int, str]]:
    """Return the rows of the good ones among numbered `texts`, and the reason for each other."""
    cells, reasons = Cells(), {}
    for line, text in texts:
        try:
            cells.add(line, read_object(text))
        except BadEvent as error:
            reasons[line] = str(error)
    return cells, reasons


def not_utf8(error: UnicodeDecodeError) -> str:
    """Return the reason for bytes that are not UTF-8."""
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at byte {error.start}"


def not_json(error: msgspec.DecodeError) -> str:
    """Return the reason for text that msgspec refuses, in our words."""
    message = str(error)
    if "truncated" in message:
        return "not JSON: it ends inside a value"
    problem, _, place = message.removeprefix("JSON is malformed: ").removesuffix(")").partition(" (byte ")
    if problem == "trailing characters":  # the one place that msgspec counts from 1
        place = str(int(place) - 1)
    return f"not JSON: {problem} at byte {place}"
