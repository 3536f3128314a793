"""JSON bodies to batches: fast readers by a learned schema, the exact reader for what they leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headrace.events.batch import Batch
from headrace.events.formats.json_bodies import Objects, unpack
from headrace.events.formats.json_exact import LINE, key_order, read_exact
from headrace.events.formats.json_lines import Lines, Positions
from headrace.events.formats.json_readers import read_structs, read_typed
from headrace.events.formats.json_schema import Schema
from headrace.events.formats.json_table import assemble, batch_of

#: Below so many lines the exact reader is done before structs are.
_STRUCT_LINES: Final = 24

#: Below so many lines the threads of Polars cost more than they save.
_TYPED_LINES: Final = 1_000

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
        self._learn(frame, cells.nulls)
        origins = objects.owners[frame[LINE].to_numpy()]
        batch = batch_of(frame, origins, lambda number: key_order(objects.texts[number]))
        return Decoded(batch, tuple(Reject(*item) for item in sorted(rejects.items())))

    def _read_fast(self, objects: Objects) -> tuple[list[pl.DataFrame], list[int]]:
        """Return the rows that the fast readers answer for, and the numbers of the objects left."""
        lines, numbers = objects.lines, objects.numbers
        frames: list[pl.DataFrame] = []
        for _ in range(2):  # with what earlier batches taught, then with what the lines left teach
            schema = self._schema
            readers = ((read_typed, _TYPED_LINES, schema.typed), (read_structs, _STRUCT_LINES, schema.names))
            for read, least, ready in readers:
                reading = read(lines, schema) if ready and lines.count >= least else None
                if reading is not None:
                    frames.append(_numbered(reading.frame, numbers))
                    lines, numbers = lines.only(reading.left), numbers[reading.left]
            if lines.count < _STRUCT_LINES:
                break
            self._learn_from_sample(lines)
        return frames, sorted([*numbers.tolist(), *objects.loose])

    def _learn_from_sample(self, lines: Lines) -> None:
        sample = np.unique(np.linspace(0, lines.count - 1, _SAMPLE_LINES).astype(int)).tolist()
        cells, _ = read_exact((line, lines.text(line)) for line in sample)
        self._learn(assemble([cells.frame()]), cells.nulls)

    def _learn(self, frame: pl.DataFrame, nulls: Iterable[str]) -> None:
        if frame.height >= _STRUCT_LINES:  # smaller batches do not need a schema
            self._schema = self._schema.learn(frame, nulls)


def _numbered(frame: pl.DataFrame, numbers: Positions) -> pl.DataFrame:
    """Return `frame` with the number of each object in LINE, its first column, instead of its line."""
    line, *planes = frame.get_columns()
    return pl.DataFrame([pl.Series(LINE, numbers[line.to_numpy()]), *planes])
