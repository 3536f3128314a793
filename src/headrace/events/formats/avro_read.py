"""Avro rows to batches: each value as a type of the language, or a reason why not."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import polars as pl

from headrace.errors import DataError, UserError
from headrace.events.batch import ORIGIN, Batch
from headrace.events.formats.avro_blocks import Blocks
from headrace.events.formats.avro_encode import NAME_PROPERTY
from headrace.events.formats.decoded import Decoded, Reject
from headrace.events.formats.json_encode import encode_rows
from headrace.events.formats.json_rows import from_rows
from headrace.events.formats.json_values import NoCounterpartError, typed_value
from headrace.events.formats.rows_file import decode_files, open_file
from headrace.events.formats.typed_frame import float_of, row_text

#: Logical types whose Python values the language has no type for as they are.
_CONVERTED: Final = ('"decimal"', '"uuid"')


class AvroRows:
    """The rows of an Avro object container file (see RowsFile); the last block read is kept unpacked.

    Counting them reads the headers of the blocks alone. Needs the extra `avro`.
    """

    def __init__(self, source: Path | str | BytesIO, name: str = "") -> None:
        self._file = source if isinstance(source, BytesIO) else open_file(Path(source))
        self._name = name or str(source)
        try:
            self._blocks = Blocks(self._file, self._name)
            self._names = _original_names(self._blocks.schema, self._name)
        except BaseException:
            self._file.close()
            raise
        self._converted = any(mark in json.dumps(self._blocks.schema) for mark in _CONVERTED)
        self._held: tuple[int, list[Any]] = (-1, [])
        self._firsts = [block.first for block in self._blocks.blocks]
        self.rows = sum(block.rows for block in self._blocks.blocks)

    def read(self, first: int, count: int) -> Decoded:
        """Return the rows from `first` on, at most `count`; raises UserError when the file is damaged."""
        return decode_rows(self._taken(first, count))

    def body(self, row: int) -> bytes:
        """Return a row as JSON."""
        (values,) = self._taken(row, 1)
        decoded = decode_rows([values])
        return row_text(values) if decoded.rejects else str(encode_rows(decoded.batch)[0]).encode()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _taken(self, first: int, count: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        end = min(first + count, self.rows)
        while first < end:
            index = bisect_right(self._firsts, first) - 1
            block = self._blocks.blocks[index]
            if self._held[0] != index:
                self._held = (index, self._plain(self._blocks.rows_of(block)))
            some = self._held[1][first - block.first : end - block.first]
            rows += some
            first += len(some)
        return rows

    def _plain(self, rows: list[Any]) -> list[Any]:
        if self._names:
            rows = [{self._names.get(name, name): value for name, value in row.items()} for row in rows]
        return [_converted(row) for row in rows] if self._converted else rows


class AvroDecoder:
    """Decodes bodies that are each a whole Avro file; one with a row that has no place is a Reject."""

    def decode(self, bodies: Sequence[bytes], joined: bytes | None = None) -> Decoded:
        """Return the rows of `bodies`, in order."""
        return decode_files(bodies, lambda body: AvroRows(BytesIO(body), "the body"))


def decode_rows(rows: Sequence[dict[str, Any]]) -> Decoded:
    """Return Python rows with 0, 1, ... in ORIGIN; those with a value that no type holds are Rejects."""
    try:
        return Decoded(from_rows(rows), ())
    except DataError:
        reasons = {index: why for index, row in enumerate(rows) if (why := _reason(row))}
    good = [index for index in range(len(rows)) if index not in reasons]
    batch = from_rows([rows[index] for index in good])
    frame = batch.frame.with_columns(pl.Series(ORIGIN, good, pl.Int64))
    return Decoded(Batch(frame, batch.columns), tuple(Reject(*item) for item in reasons.items()))


def _reason(row: Mapping[str, Any]) -> str:
    """Return why a row has no place, an empty text if it has one."""
    for name, value in row.items():
        try:
            if value is not None:
                typed_value(value)
        except NoCounterpartError as error:
            return f"in '{name}': {error}"
    return ""


def _converted(value: Any) -> Any:
    """Return a value with its decimals as floats where they are one, and its UUIDs as text, however deep."""
    if isinstance(value, Decimal):
        try:
            return float_of(value)
        except NoCounterpartError:
            return _Inexact(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: _converted(item) for key, item in value.items()}
    return [_converted(item) for item in value] if isinstance(value, list) else value


class _Inexact:
    """A decimal that no float gives back: a value without a counterpart."""

    def __init__(self, value: Decimal) -> None:
        self._value = value

    def __str__(self) -> str:
        return str(self._value)


def _original_names(schema: Any, name: str) -> dict[str, str]:
    """Return the names of columns that Avro has none for, by those it has; raises UserError for no record."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UserError(f"{name} holds Avro values that are no records: a row is a record, with named fields")
    return {field["name"]: field[NAME_PROPERTY] for field in schema["fields"] if NAME_PROPERTY in field}
