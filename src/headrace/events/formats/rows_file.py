"""The contract of files that hold rows with their types, and can be read from any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import polars as pl

from headrace.errors import HeadraceError, disk_error
from headrace.events.batch import ORIGIN, Batch, concat
from headrace.events.formats.decoded import Decoded, Reject
from headrace.events.formats.json_lines import BadEvent
from headrace.limits import MAX_BATCH_ROWS, MAX_EVENT_BYTES

_NO_ROWS: Final = Batch(pl.DataFrame([pl.Series(ORIGIN, [], pl.Int64)]), ())


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


def open_file(path: Path) -> BinaryIO:
    """Open a file to read it; raises UserError if that cannot be."""
    try:
        return path.open("rb")
    except OSError as error:
        raise disk_error(error.errno or 0, path, "read") from None


def decode_files(bodies: Sequence[bytes], opened: Callable[[bytes], RowsFile]) -> Decoded:
    """Return the rows of bodies that are each a whole file; one with a bad row is a Reject."""
    batches, rejects = [], []
    for index, body in enumerate(bodies):
        try:
            batch = _rows_of(body, opened)
        except (BadEvent, HeadraceError) as error:
            rejects.append(Reject(index, str(error)))
            continue
        origins = pl.repeat(index, batch.height, dtype=pl.Int64, eager=True).alias(ORIGIN)
        batches.append(Batch(batch.frame.with_columns(origins), batch.columns))
    return Decoded(concat(batches) if batches else _NO_ROWS, tuple(rejects))


def _rows_of(body: bytes, opened: Callable[[bytes], RowsFile]) -> Batch:
    if len(body) > MAX_EVENT_BYTES:
        raise BadEvent(f"larger than {MAX_EVENT_BYTES} bytes")
    file = opened(body)
    if file.rows > MAX_BATCH_ROWS:
        raise BadEvent(f"{file.rows:,} rows, more than the {MAX_BATCH_ROWS:,} of one body")
    decoded = file.read(0, file.rows)
    if decoded.rejects:
        first = decoded.rejects[0]
        raise BadEvent(f"row {first.origin}: {first.reason}")
    return decoded.batch
