"""JSON bodies to batches: a fast reader by a learned schema, the exact reader for what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import polars as pl

from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.decoded import Decoded, Reject
from headrace.events.formats.json_bodies import Objects, lines_of, unpack
from headrace.events.formats.json_compiled import COMPILED, read_compiled
from headrace.events.formats.json_exact import LINE, key_order, read_exact
from headrace.events.formats.json_lines import Lines
from headrace.events.formats.json_reading import Reading
from headrace.events.formats.json_schema import Schema
from headrace.events.formats.json_structs import read_structs
from headrace.events.formats.json_table import assemble, batch_of
from headrace.events.texts import Texts

#: The fast reader: results are those of the exact one.
_read_fast: Final[Callable[[Lines, Schema], Reading | None]] = read_compiled if COMPILED else read_structs

#: Below so many lines the exact reader is done before it.
_FAST_LINES: Final = 24

#: Lines read exactly to learn a first schema.
_SAMPLE_LINES: Final = 32


class JsonDecoder:
    """Decodes bodies; it keeps a schema between calls to be fast, and results never depend on it."""

    def __init__(self) -> None:
        self._schema = Schema()
        self._one_a_line = True

    def decode(self, bodies: Sequence[bytes], joined: bytes | None = None) -> Decoded:
        """Return the events of `bodies`, in order.

        A body is one JSON object, an array of objects, or several objects each on lines of its own; a body
        with a bad event is a Reject as a whole. `joined`, when given, is the bodies separated by single
        newlines with none inside them. Columns are those with a value, by where they first have one. Raises
        DataError when the rows have so many different keys that a batch could not hold them.
        """
        objects, frames = self._read_at_once(bodies, joined)
        left = self._read_learning(objects, frames)
        cells, reasons = read_exact((number, objects.texts[number]) for number in left)
        rejects = dict(objects.rejects)
        for number, reason in reasons.items():
            rejects.setdefault(int(objects.owners[number]), reason)
        frame = assemble([*frames, cells.frame()], without=objects.beside(rejects))
        self._learn(frame, cells.nulls)
        origins = objects.owners[frame[LINE].to_numpy()]
        batch = batch_of(frame, origins, lambda number: key_order(objects.texts[number]))
        return Decoded(batch, tuple(Reject(*item) for item in sorted(rejects.items())))

    def _read_at_once(
        self, bodies: Sequence[bytes], joined: bytes | None
    ) -> tuple[Objects, list[pl.DataFrame]]:
        """Return the objects in bodies, and the rows of those read.

        Those of most sources are an object on a line each, and then nothing looks at them before they are
        read; the few lines left must look like objects too.
        """
        if self._one_a_line and self._schema.names and len(bodies) >= _FAST_LINES:
            lines = lines_of(bodies, joined)
            reading = _read_fast(lines, self._schema) if lines else None
            if lines and reading and (not len(reading.left) or lines.only(reading.left).look_like_objects()):
                return Objects.on_lines(lines, reading.left), [reading.frame]
        objects = unpack(bodies, joined)
        self._one_a_line = isinstance(objects.texts, Texts)
        return objects, []

    def _read_learning(self, objects: Objects, frames: list[pl.DataFrame]) -> list[int]:
        """Add the rows that the fast reader answers for; return the numbers of the objects left.

        It is asked with what earlier batches taught, unless it was, then with what the lines left teach.
        """
        lines, numbers = objects.lines, objects.numbers
        for again in (True,) if frames else (False, True):
            if lines.count < _FAST_LINES:
                break
            if again:
                self._learn_from_sample(lines)
            reading = _read_fast(lines, self._schema) if self._schema.names else None
            if reading is not None:
                frames.append(_numbered(reading.frame, numbers))
                lines, numbers = lines.only(reading.left), numbers[reading.left]
        return sorted([*numbers.tolist(), *objects.loose])

    def _learn_from_sample(self, lines: Lines) -> None:
        sample = np.unique(np.linspace(0, lines.count - 1, _SAMPLE_LINES).astype(int)).tolist()
        cells, _ = read_exact((line, lines.text(line)) for line in sample)
        self._learn(assemble([cells.frame()]), cells.nulls)

    def _learn(self, frame: pl.DataFrame, nulls: Iterable[str]) -> None:
        if frame.height >= _FAST_LINES:  # smaller batches do not need a schema
            self._schema = self._schema.learn(frame, nulls)


def _numbered(frame: pl.DataFrame, numbers: Positions) -> pl.DataFrame:
    """Return `frame` with the number of each object in LINE, its first column, instead of its line."""
    line, *planes = frame.get_columns()
    return pl.DataFrame([pl.Series(LINE, numbers[line.to_numpy()]), *planes])
