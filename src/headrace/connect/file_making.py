"""How rows become a file: what waits in a part file, and the whole file made of that.

Lines of JSON and CSV wait as they will be. For formats that need all rows at once rows wait with their types.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

import msgspec
import polars as pl
import zstandard

from headrace.connect.framed_rows import frame, frames
from headrace.errors import Fatal
from headrace.events.batch import DTYPES, HIDDEN, Batch, Column, ValueType, concat
from headrace.events.formats.avro_encode import AvroCodec, encode_avro
from headrace.events.formats.csv import encode_csv
from headrace.events.formats.json import encode_lines
from headrace.events.formats.parquet import ParquetCompression, encode_parquet

Format = Literal["json", "csv", "avro", "parquet"]
Compression = Literal["none", "gzip", "zstd"]

#: Formats that need all rows at once.
WHOLE: Final = frozenset({"avro", "parquet"})

_AVRO_CODECS: Final[dict[Compression, AvroCodec]] = {"none": "null", "gzip": "deflate"}
_PARQUET_CODECS: Final[dict[Compression, ParquetCompression]] = {
    "none": "uncompressed",
    "gzip": "gzip",
    "zstd": "zstd",
}

_COPIED_BYTES: Final = 1024 * 1024


class Making(msgspec.Struct, frozen=True, omit_defaults=True):
    """How rows become a file; kept with the rows, so that whoever makes the file makes the same.

    `columns` are those that the query names, of a CSV file those of its header, None while nothing says
    which. `path` is where all such files go.
    """

    format: Format = "json"
    compression: Compression = "none"
    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    path: str = ""

    @classmethod
    def read(cls, text: str) -> Making:
        """Return what `text` says."""
        return msgspec.json.decode(text, type=cls)

    def text(self) -> str:
        """Return what `read` takes."""
        return msgspec.json.encode(self).decode()

    def with_columns(self, columns: tuple[str, ...] | None) -> Making:
        """Return the same with the columns of a CSV file."""
        return msgspec.structs.replace(self, columns=columns)

    def waiting(self, batch: Batch, *, first: bool) -> bytes:
        """Return rows as they wait for their file; `first` says that none wait before them."""
        if self.format in WHOLE:
            return frame(batch)
        return (self.header() if first else b"") + self.lines(batch)

    def header(self) -> bytes:
        """Return what a file begins with: in CSV the names of the columns."""
        if self.format != "csv":
            return b""
        return self._csv(Batch(pl.DataFrame(), ()), header=True)

    def lines(self, batch: Batch) -> bytes:
        """Return rows as lines."""
        return encode_lines(batch, ended=True) if self.format == "json" else self._csv(batch, header=False)

    def _csv(self, batch: Batch, *, header: bool) -> bytes:
        assert self.columns is not None, "the first rows say which they are"
        return encode_csv(batch, self.columns, header=header, delimiter=self.delimiter)

    def failures(self, batch: Batch) -> dict[int, str]:
        """Return the rows, by index, that a file of this format cannot hold, and why."""
        return _unknown_columns(batch, self.columns or ()) if self.format == "csv" else {}

    def make(self, part: Path, size_bytes: int, target: BinaryIO) -> None:
        """Write the file that the first `size_bytes` of a part file come to."""
        with part.open("rb") as source:
            if self.format in WHOLE:
                target.write(self._whole(concat([batch for _, batch in frames(source, size_bytes)])))
                return
            match self.compression:
                case "gzip":  # no name and no time in it: the same rows are the same file
                    with gzip.GzipFile("", "wb", 6, target, mtime=0) as packed:
                        _copy(source, size_bytes, packed)
                case "zstd":
                    with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as packed:
                        _copy(source, size_bytes, packed)
                case "none":
                    _copy(source, size_bytes, target)

    def _whole(self, rows: Batch) -> bytes:
        columns = shown_columns(rows) if self.columns is None else self.columns
        if self.format == "avro":
            return encode_avro(rows, columns, _AVRO_CODECS[self.compression])
        encoded, failures = encode_parquet(rows, columns, _PARQUET_CODECS[self.compression])
        # Rows that were taken stay: numbers that have no type in common are text.
        return (
            encode_parquet(_numbers_as_text(rows), columns, _PARQUET_CODECS[self.compression])[0]
            if failures
            else encoded
        )


class _Target(Protocol):
    def write(self, data: bytes, /) -> object: ...


def _copy(source: BinaryIO, size_bytes: int, target: _Target) -> None:
    left = size_bytes
    while left:
        chunk = source.read(min(left, _COPIED_BYTES))
        if not chunk:
            raise Fatal("rows that wait for their file are damaged: there are fewer than were committed")
        target.write(chunk)
        left -= len(chunk)


def shown_columns(batch: Batch) -> tuple[str, ...]:
    """Return the names of the columns of rows that an output shows; once where only case differs."""
    names: dict[str, str] = {}
    for column in batch.columns:
        if not column.name.startswith(HIDDEN):
            names.setdefault(column.name.casefold(), column.name)
    return tuple(names.values())


def _unknown_columns(batch: Batch, columns: Sequence[str]) -> dict[int, str]:
    """Return the rows that have a value in a column that is none of `columns`."""
    known = {name.casefold() for name in columns}
    failures: dict[int, str] = {}
    for column in batch.columns:
        if column.name.casefold() in known or column.name.startswith(HIDDEN):
            continue
        why = f"column '{column.name}' is none of those that the file began with: {', '.join(columns)}"
        for name in column.physicals:
            for row in batch.frame[name].is_not_null().arg_true():
                failures.setdefault(row, why)
    return failures


def _numbers_as_text(rows: Batch) -> Batch:
    """Return rows whose columns of bigints and floats are text."""
    mixed = [
        column.physical(ValueType.FLOAT)
        for column in rows.columns
        if {ValueType.BIGINT, ValueType.FLOAT} <= set(column.planes)
    ]
    columns = tuple(
        Column(column.name, (*column.planes, ValueType.TEXT), column.open)
        if column.physical(ValueType.FLOAT) in mixed and ValueType.TEXT not in column.planes
        else column
        for column in rows.columns
    )
    texts = []
    for column in columns:
        if column.physical(ValueType.FLOAT) not in mixed:
            continue
        numbers = [
            pl.col(column.physical(plane)).cast(pl.String) for plane in (ValueType.BIGINT, ValueType.FLOAT)
        ]
        text = column.physical(ValueType.TEXT)
        known = [pl.col(text)] if text in rows.frame.columns else []
        texts += [pl.coalesce(*known, *numbers).alias(text)]
        texts += [
            pl.lit(None, DTYPES[plane]).alias(column.physical(plane))
            for plane in (ValueType.BIGINT, ValueType.FLOAT)
        ]
    return Batch(rows.frame.with_columns(texts), columns)
