"""JSON bodies to batches: fast readers by a learned schema, the exact reader for what they leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import polars as pl

from headrace.events.formats.decoded import Decoded, Reject
from headrace.events.formats.json_bodies import Objects, lines_of, unpack
from headrace.events.formats.json_exact import LINE, key_order, read_exact
from headrace.events.formats.json_lines import Lines, LineTexts, Positions
from headrace.events.formats.json_readers import read_structs, read_typed
from headrace.events.formats.json_schema import Schema
from headrace.events.formats.json_table import assemble, batch_of

#: Below so many lines the exact reader is done before structs are.
_STRUCT_LINES: Final = 24

#: Below so many lines the threads of Polars cost more than they save.
_TYPED_LINES: Final = 1_000

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
        objects, frames, refused = self._read_at_once(bodies, joined)
        left = self._read_fast(objects, frames, refused)
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
    ) -> tuple[Objects, list[pl.DataFrame], bool]:
        """Return the objects in bodies, the rows of those read, and whether the typed reader refused them.

        It sees bodies of which little is known: those of most sources are an object on a line each. It
        refuses what is no object, and makes no row of a blank line: as many rows as lines prove that.
        """
        lines = None
        if self._one_a_line and self._schema.typed and len(bodies) >= _TYPED_LINES:
            lines = lines_of(bodies, joined)
        reading = read_typed(lines, self._schema) if lines else None
        if lines and reading:
            return Objects.on_lines(lines, reading.left), [reading.frame], False
        objects = unpack(bodies, joined)
        self._one_a_line = isinstance(objects.texts, LineTexts)
        return objects, [], lines is not None and self._one_a_line

    def _read_fast(self, objects: Objects, frames: list[pl.DataFrame], refused: bool) -> list[int]:
        """Add the rows that the fast readers answer for; return the numbers of the objects left."""
        lines, numbers = objects.lines, objects.numbers
        for again in (False, True):  # with what earlier batches taught, then with what the lines left teach
            if lines.count < _STRUCT_LINES:
                break
            if again:
                self._learn_from_sample(lines)
            schema = self._schema
            readers = (
                (read_typed, _TYPED_LINES, bool(schema.typed) and (again or not refused)),
                (read_structs, _STRUCT_LINES, bool(schema.names)),
            )
            for read, least, ready in readers:
                reading = read(lines, schema) if ready and lines.count >= least else None
                if reading is not None:
                    frames.append(_numbered(reading.frame, numbers))
                    lines, numbers = lines.only(reading.left), numbers[reading.left]
        return sorted([*numbers.tolist(), *objects.loose])

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
