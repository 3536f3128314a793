"""Rows with types of one Avro or Parquet file; positions in it are the numbers of rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from headrace.connect.file_bytes import PlainBytes, Unfinished
from headrace.connect.file_lines import Piece
from headrace.errors import UserError
from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.decoders import Format
from headrace.events.formats.rows_file import RowsFile
from headrace.events.texts import Texts

#: How long a row is taken to be before any was read.
_FIRST_ROW_BYTES: Final = 512


class RowFile:
    """A file that is open for reading, and whole. Raises `FileNotFoundError`, `Unfinished` if it is not."""

    grows = False
    of_rows = True
    format: Format = "json"  # of the bodies
    delimiter = ","

    def __init__(self, path: Path, name: str, opened: Callable[[Path], RowsFile]) -> None:
        self.name, self._path, self._opened = name, path, opened
        self._file = PlainBytes(path, name)
        self._size_bytes = self._file.size_bytes()
        # A thread may be reading ahead.
        self._turn = threading.Lock()
        self._row_bytes = float(_FIRST_ROW_BYTES)
        self._rows: RowsFile | None = None
        try:
            self._rows = self._opened(self._path)
        except UserError as error:
            self._file.close()
            raise Unfinished(str(error)) from None
        self._count = self._rows.rows

    def size(self) -> int:
        """Return how many rows there are."""
        return self._count

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the file, by which it is known again."""
        return self._file.head(size_bytes)

    def is_in_place(self) -> bool:
        """Tell whether the name still means this file, as it was opened, or nothing."""
        return self._file.is_in_place() and self._file.size_bytes() == self._size_bytes

    def read(self, at: int, until: int, *, whole: bool, max_events: int, max_bytes: int) -> Piece:
        """Return rows between two positions, at least one if there is one."""
        wanted = max(1, min(max_events, int(max_bytes / self._row_bytes)))
        count = min(until, self._count, at + wanted) - at
        if count <= 0:
            return Piece.empty(at)
        with self._turn:
            decoded = self._now().read(at, count)
        self._row_bytes = max(1.0, decoded.batch.frame.estimated_size() / count)
        starts: Positions = np.arange(at, at + count, dtype=np.int64)
        return Piece(
            b"",
            starts,
            starts,
            at + count,
            decoded=decoded,
            rows=Texts(count, lambda row: self.body(at + row)),
        )

    def rest_of_line(self, at: int, until: int, *, whole: bool) -> Piece:
        """Return nothing: every position is that of a row."""
        return Piece.empty(at)

    def begins_line(self, at: int) -> bool:
        """Tell that a row begins at a position."""
        return True

    def behind_text(self, until: int) -> int:
        """Return the position behind the last row."""
        return min(until, self._count)

    def body(self, row: int) -> bytes:
        """Return a row as JSON, also when the file has been left meanwhile."""
        with self._turn:
            if self._rows is None:  # a poll outlives the file that it is of
                rows = self._opened(self._path)
                try:
                    return rows.body(row)
                finally:
                    rows.close()
            return self._rows.body(row)

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            if self._rows is not None:
                self._rows.close()
                self._rows = None
                self._file.close()

    def _now(self) -> RowsFile:
        assert self._rows is not None
        return self._rows
