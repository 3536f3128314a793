"""The contract of files that hold rows with their types, and can be read from any of them."""

from __future__ import annotations

from typing import Protocol

from headrace.events.formats.decoded import Decoded


class RowsFile(Protocol):
    """An open Avro or Parquet file.

    Whatever reads raises UserError when the file is damaged or ends too early, saying what and where.
    """

    rows: int

    def read(self, first: int, count: int) -> Decoded:
        """Return the rows from `first` on, at most `count`, with 0, 1, ... in ORIGIN.

        A row with a value that no type of the language holds is a Reject.
        """
        ...

    def body(self, row: int) -> bytes:
        """Return a row as JSON, to be read by people or sent again; `read` may have rejected it."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...
