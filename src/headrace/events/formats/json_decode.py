"""JSON bodies to batches: fast readers by a learned schema, the exact reader for what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headrace.errors import DataError
from headrace.events.batch import ORIGIN, Batch
from headrace.events.formats.json_bodies import WHITESPACE, Objects, unpack
from headrace.events.formats.json_exact import LINE, key_order, read_exact
from headrace.events.formats.json_lines import Lines, Positions
from headrace.events.formats.json_readers import read_structs, read_typed
from headrace.events.formats.json_schema import Schema
from headrace.events.formats.json_table import assemble, columns_in_order

#: Below so many lines the exact reader is done before structs are.
_STRUCT_LINES: Final = 16

#: Below so many lines the threads of Polars cost more than they save.
_TYPED_LINES: Final = 1_500

#: Lines read exactly to learn a first schema.
_SAMPLE_LINES: Final = 32


@dataclass(frozen=True, slots=True)
class Reject:
    """A body that is no event: its index among the bodies, and why."""

    origin: int
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of the good bodies, with the index of its body in ORIGIN, and the bad bodies in order."""

    batch: Batch
    rejects: tuple[Reject, ...]


class JsonDecoder:
    """Decodes bodies; it keeps a schema between calls to be fast, and results never depend on it."""

    def __init__(self) -> None:
        self._schema = Schema()

    def decode(self, bodies: Sequence[bytes], joined: bytes | None = None) -> Decoded:
        """Return the events of `bodies`, in order.

        A body is one JSON object, an array of objects, or several objects each on lines of its own; a body
        with a bad event is a Reject as a whole. `joined`, when given, is the bodies separated by single
        newlines with none inside them. Columns are those with a value, by where they first have one. Raises
        DataError when the rows have so many different keys that a batch could not hold them.
        """
        objects = unpack(bodies, joined)
        frames, left = self._read_fast(objects)
        cells, reasons = read_exact((number, objects.texts[number]) for number in left)
        rejects = dict(objects.rejects)
        for number, reason in reasons.items():
            rejects.setdefault(int(objects.owners[number]), reason)
        frame = assemble([*frames, cells.frame()], without=objects.beside(rejects))
        columns = columns_in_order(frame, lambda number: key_order(objects.texts[number]))
        if len(bodies) >= _STRUCT_LINES:
            self._schema = self._schema.learn(frame, columns, cells.nulls)
        origin = pl.Series(ORIGIN, objects.owners[frame[LINE].to_numpy()])
        planes = [frame[physical] for column in columns for physical in column.physicals]
        batch = Batch(pl.DataFrame([origin, *planes]), columns)
        return Decoded(batch, tuple(Reject(*item) for item in sorted(rejects.items())))

    def _read_fast(self, objects: Objects) -> tuple[list[pl.DataFrame], list[int]]:
        """Return the rows that the fast readers answer for, and the numbers of the objects left."""
        lines, numbers = objects.lines, objects.numbers
        frames: list[pl.DataFrame] = []
        if lines.count >= _STRUCT_LINES and not self._schema.counts:
            self._learn_from_sample(lines)
        schema = self._schema
        readers = ((read_typed, _TYPED_LINES, schema.typed), (read_structs, _STRUCT_LINES, schema.names))
        for read, least, ready in readers:
            if lines.count < least or not ready:
                continue
            reading = read(lines, schema)
            if reading is None:
                continue
            frames.append(_numbered(reading.frame, numbers))
            lines, numbers = lines.only(reading.left), numbers[reading.left]
        return frames, sorted([*numbers.tolist(), *objects.loose])

    def _learn_from_sample(self, lines: Lines) -> None:
        sample = np.linspace(0, lines.count - 1, _SAMPLE_LINES).astype(int)
        cells, _ = read_exact((line, lines.text(line)) for line in np.unique(sample).tolist())
        frame = assemble([cells.frame()])
        self._schema = self._schema.learn(
            frame, columns_in_order(frame, lambda line: key_order(lines.text(line))), cells.nulls
        )


def _numbered(frame: pl.DataFrame, numbers: Positions) -> pl.DataFrame:
    """Return `frame` with the number of each object in LINE, its first column, instead of its line."""
    line, *planes = frame.get_columns()
    return pl.DataFrame([pl.Series(LINE, numbers[line.to_numpy()]), *planes])


def decode_objects(texts: pl.Series, decoder: JsonDecoder | None = None) -> Batch:
    """Return the fields of record `texts` as columns, one row a text, all NULL for a NULL text.

    A `decoder` that is kept from call to call saves learning the fields anew. Raises DataError for a text
    that is no object, or holds what no type can: a number out of range, or a key given twice.
    """
    rows = texts.is_not_null().arg_true()
    bodies = [text.encode() for text in texts.drop_nulls().to_list()]
    if any(not body.lstrip(WHITESPACE).startswith(b"{") for body in bodies):
        raise DataError("a record's text must be one JSON object")
    decoded = (decoder or JsonDecoder()).decode(bodies)
    for reject in decoded.rejects:
        raise DataError(f"the record {bodies[reject.origin][:200]!r} cannot be read: {reject.reason}")
    frame = decoded.batch.frame.drop(ORIGIN)
    if frame.height < texts.len():
        row_of = pl.Series([None], dtype=pl.UInt32).new_from_index(0, texts.len())
        frame = frame[row_of.scatter(rows, pl.int_range(len(rows), dtype=pl.UInt32, eager=True))]
    return Batch(frame, decoded.batch.columns)
