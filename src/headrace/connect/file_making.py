"""How rows become a file: what waits in a part file, and the whole file made of that.

Lines of JSON and CSV wait as they will be. For formats that need all rows at once rows wait with their types.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec
import polars as pl
import zstandard

from headrace.connect.framed_rows import frame, frames
from headrace.errors import Fatal
from headrace.events.batch import HIDDEN, Batch, concat
from headrace.events.formats.csv import encode_csv
from headrace.events.formats.json import encode_lines

Format = Literal["json", "csv", "avro", "parquet"]
Compression = Literal["none", "gzip", "zstd"]

#: Formats that need all rows at once.
WHOLE: Final = frozenset({"avro", "parquet"})

_COPIED_BYTES: Final = 1024 * 1024


class Making(msgspec.Struct, frozen=True, omit_defaults=True):
    """How rows become a file; kept with the rows, so that whoever makes the file makes the same.

    `columns` are those of a CSV file, None while nothing says which; `path` is where all such files go.
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
        match self.format:
            case "csv":
                return _unknown_columns(batch, self.columns or ())
        return {}

    def make(self, part: Path, size_bytes: int, target: BinaryIO) -> None:
        """Write the file that the first `size_bytes` of a part file come to."""
        with part.open("rb") as source:
            if self.format in WHOLE:
                target.write(self._whole([batch for _, batch in frames(source, size_bytes)]))
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

    def _whole(self, batches: Sequence[Batch]) -> bytes:
        rows = concat(batches)
        raise NotImplementedError


def _copy(source: BinaryIO, size_bytes: int, target: BinaryIO) -> None:
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
