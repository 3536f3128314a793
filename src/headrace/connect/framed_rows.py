"""Rows as bytes that can be put one behind the other, with their types: what waits to become a file.

A frame is two lengths, a msgpack note (a word of the writer's own and the columns), and an Arrow IPC stream.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec
import polars as pl

from headrace.errors import Fatal
from headrace.events.batch import HIDDEN, POLARS_FAULTS, Batch, Column, ValueType

_LENGTHS: Final = struct.Struct(">IQ")


class _Note(msgspec.Struct, frozen=True, array_like=True):
    word: str
    columns: tuple[tuple[str, tuple[ValueType, ...], bool], ...]
    rows: int


_encode_note = msgspec.msgpack.Encoder().encode
_decode_note = msgspec.msgpack.Decoder(_Note).decode


def frame(batch: Batch, word: str = "") -> bytes:
    """Return the rows of a batch, without hidden columns, TIME and ORIGIN, as a frame."""
    columns = [column for column in batch.columns if not column.name.startswith(HIDDEN)]
    note = _encode_note(
        _Note(word, tuple((column.name, column.planes, column.open) for column in columns), batch.height)
    )
    rows = io.BytesIO()
    batch.frame.select([name for column in columns for name in column.physicals]).write_ipc_stream(rows)
    return b"".join([_LENGTHS.pack(len(note), rows.tell()), note, rows.getvalue()])


def frames(source: BinaryIO, size_bytes: int) -> Iterator[tuple[str, Batch]]:
    """Yield the word and the rows of each frame in the first `size_bytes`. Raises Fatal for damaged ones."""
    at = 0
    while at < size_bytes:
        lengths = source.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            raise Fatal("rows that wait for their file are damaged: they end inside a frame")
        note_bytes, rows_bytes = _LENGTHS.unpack(lengths)
        at += _LENGTHS.size + note_bytes + rows_bytes
        if at > size_bytes:
            raise Fatal("rows that wait for their file are damaged: a frame is longer than what counts")
        try:
            note = _decode_note(source.read(note_bytes))
            rows = pl.read_ipc_stream(io.BytesIO(source.read(rows_bytes)))
        except (msgspec.DecodeError, ValueError, *POLARS_FAULTS) as error:
            raise Fatal(f"rows that wait for their file are damaged: {error}") from None
        if not rows.width:  # rows without columns have no height in a frame
            rows = pl.DataFrame(height=note.rows)
        yield note.word, Batch(rows, tuple(Column(*column) for column in note.columns))
