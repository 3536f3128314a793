"""What a file holds, by its name or by what its settings say, and opening it accordingly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Protocol

from headrace.connect.file_bytes import FileBytes, PlainBytes
from headrace.connect.file_csv import CsvFile
from headrace.connect.file_lines import LineFile, Piece
from headrace.connect.file_packed import PackedBytes
from headrace.connect.file_rows import RowFile
from headrace.errors import UserError
from headrace.events.formats.avro import AvroRows
from headrace.events.formats.compression import SUFFIXES, Compression
from headrace.events.formats.decoders import Format
from headrace.events.formats.parquet import ParquetRows
from headrace.events.formats.rows_file import RowsFile

#: Formats by what names end in; whatever else there is has lines of JSON.
_FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".avro": "avro",
    ".parquet": "parquet",
}

#: Formats whose files hold rows with types, and compress what is in them.
_CONTAINERS: Final[dict[str, Callable[[Path], RowsFile]]] = {"avro": AvroRows, "parquet": ParquetRows}

#: What undoes a compression.
_TOOLS: Final = {"gzip": "gunzip", "zstd": "unzstd"}


class OpenFile(Protocol):
    """An open file whose positions are bytes, or rows; one that `grows` may have more of them later."""

    name: str
    grows: bool
    of_rows: bool
    format: Format
    delimiter: str

    def size(self) -> int:
        """Return the position behind all there is now."""
        ...

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the file itself, by which it is known again."""
        ...

    def is_in_place(self) -> bool:
        """Tell whether the name still means this file, or nothing."""
        ...

    def read(self, at: int, until: int, *, whole: bool, max_events: int, max_bytes: int) -> Piece:
        """Return lines or rows between two positions, at least one if there is one.

        What stands before `until` and is not ended is a line if it is `whole`.
        """
        ...

    def rest_of_line(self, at: int, until: int, *, whole: bool) -> Piece:
        """Return nothing, from behind the line that a position is in; from there while its end is missing."""
        ...

    def begins_line(self, at: int) -> bool:
        """Tell whether a position is the first of a line or row."""
        ...

    def behind_text(self, until: int) -> int:
        """Return the position behind the last line or row before `until`, 0 if there is none."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(frozen=True, slots=True)
class Opener:
    """What the settings of an input say of its files; None where the name of each says it."""

    format: Format | None = None
    compression: Compression | None = None
    delimiter: str | None = None

    def grows(self, name: str) -> bool:
        """Tell whether a file may become longer, or must be whole."""
        form, compression, _ = self._kind(name)
        return form not in _CONTAINERS and compression == "none"

    def of_rows(self, name: str) -> bool:
        """Tell whether positions in a file are rows, not bytes."""
        return self._kind(name)[0] in _CONTAINERS

    def open(self, path: Path, name: str, known_size: int | None = None) -> OpenFile:
        """Open a file, called `name` in messages; what it unpacks to may be known already.

        Raises `FileNotFoundError`, `Unfinished` for one that must be whole and is not, and `UserError`.
        """
        form, compression, delimiter = self._kind(str(path))
        if form in _CONTAINERS:
            if compression != "none":
                raise UserError(
                    f"{name} is {form}, which compresses what is in it, and compressed as a whole, too: "
                    f"unpack it with {_TOOLS[compression]}"
                )
            return RowFile(path, name, _CONTAINERS[form])
        text: FileBytes
        if compression == "none":
            text = PlainBytes(path, name)
        else:
            text = PackedBytes(path, name, compression, known_size)
        return CsvFile(text, delimiter) if form == "csv" else LineFile(text)

    def _kind(self, name: str) -> tuple[Format, Compression, str]:
        suffixes = [suffix.lower() for suffix in PurePath(name).suffixes[-2:]]
        by_name = SUFFIXES.get(suffixes[-1], "none") if suffixes else "none"
        if by_name != "none":
            suffixes.pop()
        suffix = suffixes[-1] if suffixes else ""
        form = self.format or _FORMATS.get(suffix, "json")
        delimiter = self.delimiter or ("\t" if suffix == ".tsv" else ",")
        return form, self.compression or by_name, delimiter
