"""Rows of a table as a file: JSON, JSON lines, CSV or Parquet, in the order given, whole or not at all.

JSON keeps each row's properties exactly as they were stored. CSV and Parquet give every property a column, in
the order in which the properties are first met; the rows are spooled beside the target meanwhile, so that
memory stays bounded and both passes see the same rows.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import msgspec
import polars as pl
from polars.io.plugins import register_io_source

from headrace.errors import DataError, UserError
from headrace.limits import MAX_EXPORT_COLUMNS, MAX_PAGE_ROWS
from headrace.local.files import replacing
from headrace.local.namespace import within_bytes

#: Partition key, row key, and the text of a JSON object.
Row = tuple[str, str, str]

_KEYS: Final = ("partition_key", "row_key")

#: A spreadsheet runs a cell that begins so as a formula (OWASP, CSV injection).
_FORMULA_START: Final = ("=", "+", "-", "@", "\t", "\r")

_INT64: Final = range(-(2**63), 2**63)
_INT64_CHARS: Final = len(str(_INT64.start))

#: Whole numbers that a 64-bit float holds exactly.
_EXACT_IN_FLOAT: Final = range(-(2**53), 2**53 + 1)

#: The type of a Parquet column by the kinds of value met in it; any other mix becomes JSON text.
_TYPES: Final[dict[frozenset[str], type[pl.DataType]]] = {
    frozenset(): pl.String,
    frozenset({"text"}): pl.String,
    frozenset({"boolean"}): pl.Boolean,
    frozenset({"integer"}): pl.Int64,
    frozenset({"large integer"}): pl.Int64,
    frozenset({"integer", "large integer"}): pl.Int64,
    frozenset({"float"}): pl.Float64,
    frozenset({"integer", "float"}): pl.Float64,
}

#: A row with its keys and properties side by side, each value as its JSON text.
_Record = dict[str, msgspec.Raw]

_decode_record = msgspec.json.Decoder(_Record).decode
_decode_value = msgspec.json.Decoder().decode
_encode = msgspec.json.encode


def export_rows(rows: Iterable[Row], path: Path, file_format: str | None = None) -> int:
    """Write `rows` to `path` and return how many there were; the format is the suffix unless given.

    CSV cells hold text as it is and every other value as JSON; text that a spreadsheet would run as a formula
    gets an apostrophe in front. A Parquet column has the type of its values, or JSON text where they mix.
    """
    wanted = file_format or path.suffix.lstrip(".").lower()
    if wanted not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise UserError(
            f"cannot export to {path.name!r}: {wanted!r} is not one of {known}. Change the suffix"
        )
    with replacing(path) as file:
        return _WRITERS[wanted](rows, file, path.parent)


def _write_json_lines(rows: Iterable[Row], file: BinaryIO, _folder: Path) -> int:
    count = 0
    for row in rows:
        file.write(_json_object(row) + b"\n")
        count += 1
    return count


def _write_json(rows: Iterable[Row], file: BinaryIO, _folder: Path) -> int:
    count = 0
    file.write(b"[")
    for row in rows:
        file.write((b",\n" if count else b"\n") + _json_object(row))
        count += 1
    file.write(b"\n]\n")
    return count


def _json_object(row: Row) -> bytes:
    partition_key, row_key, properties = row
    # A line break between the tokens of stored properties would end the line here.
    on_one_line = properties.replace("\n", " ").replace("\r", " ").encode()
    return b'{"partition_key":%b,"row_key":%b,"properties":%b}' % (
        _encode(partition_key),
        _encode(row_key),
        on_one_line,
    )


def _write_csv(rows: Iterable[Row], file: BinaryIO, folder: Path) -> int:
    with _Spool(rows, folder) as spool:
        columns: _Columns = dict.fromkeys(spool.kinds, (pl.String, _csv_cell))
        pl.DataFrame({name: [_unformula(name)] for name in columns}).write_csv(file, include_header=False)
        for records in spool.pages():
            _frame(records, columns).write_csv(file, include_header=False)
        return spool.count


def _csv_cell(text: bytes) -> str:
    return _unformula(_decode_value(text)) if text.startswith(b'"') else text.decode()


def _unformula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_START) else text


def _write_parquet(rows: Iterable[Row], file: BinaryIO, folder: Path) -> int:
    with _Spool(rows, folder) as spool:
        columns = {name: _typed_column(frozenset(kinds)) for name, kinds in spool.kinds.items()}

        def frames(*_pushed_down: object) -> Iterator[pl.DataFrame]:
            for records in spool.pages():
                yield _frame(records, columns)

        schema = {name: type_ for name, (type_, _) in columns.items()}
        register_io_source(frames, schema=schema).sink_parquet(file, maintain_order=True)
        return spool.count


def _typed_column(kinds: frozenset[str]) -> tuple[type[pl.DataType], Callable[[bytes], Any]]:
    return (_TYPES[kinds], _decode_value) if kinds in _TYPES else (pl.String, bytes.decode)


#: The type of each column, and what turns the JSON text of a value into its cell.
_Columns = dict[str, tuple[type[pl.DataType], Callable[[bytes], Any]]]


def _frame(records: list[_Record], columns: _Columns) -> pl.DataFrame:
    cells = [
        [cell(bytes(record[name])) if name in record else None for record in records]
        for name, (_, cell) in columns.items()
    ]
    return pl.DataFrame(cells, schema={name: type_ for name, (type_, _) in columns.items()}, orient="col")


class _Spool:
    """The rows as records without NULLs in a temporary file, and the kinds of value under each name."""

    def __init__(self, rows: Iterable[Row], folder: Path) -> None:
        self.count = 0
        self.kinds: dict[str, set[str]] = {name: set() for name in _KEYS}
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        try:
            for row in rows:
                self._add(_record(row))
        except BaseException:
            self._file.close()
            raise

    def _add(self, record: _Record) -> None:
        present = {}
        for name, raw in record.items():
            kinds = self.kinds.setdefault(name, set())
            if (kind := _kind(bytes(raw))) is not None:
                kinds.add(kind)
                present[name] = raw
        if len(self.kinds) > MAX_EXPORT_COLUMNS:
            raise UserError(
                f"the rows have more than {MAX_EXPORT_COLUMNS} different properties, too many for columns. "
                "Export to .jsonl instead"
            )
        self._file.write(_encode(present) + b"\n")
        self.count += 1

    def pages(self) -> Iterator[list[_Record]]:
        """Read the records again, a page at a time."""
        self._file.seek(0)
        while lines := within_bytes(islice(self._file, MAX_PAGE_ROWS), len):
            yield [_decode_record(line) for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _record(row: Row) -> _Record:
    partition_key, row_key, properties = row
    try:
        values = _decode_record(properties)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(
            f"row {row_key!r} of partition {partition_key!r} cannot be split into columns: {error}. "
            "Export to .jsonl, which keeps them as they are"
        ) from None
    keys = {
        name: msgspec.Raw(_encode(key)) for name, key in zip(_KEYS, (partition_key, row_key), strict=True)
    }
    return keys | {_column_name(name): raw for name, raw in values.items()}


def _column_name(name: str) -> str:
    """Return the column of a property: its name, moved out of the way of the key columns."""
    return f"properties.{name}" if re.fullmatch(r"(properties\.)*(partition_key|row_key)", name) else name


def _kind(text: bytes) -> str | None:
    """Return the kind of a JSON value by its text, None for null."""
    match text[:1]:
        case b"n":
            return None
        case b'"':
            return "text"
        case b"t" | b"f":
            return "boolean"
        case b"[" | b"{":
            return "nested"
    if not text.lstrip(b"-").isdigit():
        return "float" if math.isfinite(float(text)) else "nested"
    if len(text) > _INT64_CHARS or (number := int(text)) not in _INT64:
        return "nested"
    return "integer" if number in _EXACT_IN_FLOAT else "large integer"


_WRITERS: Final[dict[str, Callable[[Iterable[Row], BinaryIO, Path], int]]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_json_lines,
    "parquet": _write_parquet,
}
