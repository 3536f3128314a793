"""The two fast readers: typed columns by Polars for long flat batches, structs by msgspec for all else.

Each reads lines by a learned schema and returns the rows that it can answer for; the other lines go on to the
next reader, and in the end to the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from operator import attrgetter

import msgspec
import numpy as np
import polars as pl

from headrace.events.batch import Column, ValueType
from headrace.events.formats import json_proof
from headrace.events.formats.json_bits import Mask
from headrace.events.formats.json_exact import LINE
from headrace.events.formats.json_fields import read_field
from headrace.events.formats.json_lines import Lines, Positions
from headrace.events.formats.json_schema import Schema


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows in physical columns with the line of each in LINE, and the lines left to another reader."""

    frame: pl.DataFrame
    left: Positions


def read_typed(lines: Lines, schema: Schema) -> Reading | None:
    """Read lines of scalars with Polars, and prove that nothing was lost; None when it refuses the batch."""
    try:
        # In one piece, since all that is done with it later is done piece by piece.
        frame = pl.read_ndjson(lines.joined, schema=schema.dtypes).rechunk()
    except pl.exceptions.PolarsError:
        return None
    if frame.height != lines.count:
        return None
    verdict = json_proof.judge(lines, frame, schema.typed)
    planes = [pl.int_range(frame.height, dtype=pl.Int64, eager=True).alias(LINE)]
    for name, plane in schema.typed.items():
        if plane is ValueType.FLOAT and verdict.integers.any():
            planes += _floats_and_integers(name, frame[name], verdict.integers)
        elif plane is not None:
            planes.append(frame[name].alias(Column(name, ()).physical(plane)))
    frame = pl.DataFrame(planes)
    return Reading(frame.filter(~verdict.bad) if verdict.bad.any() else frame, np.flatnonzero(verdict.bad))


def _floats_and_integers(name: str, values: pl.Series, integers: Mask) -> list[pl.Series]:
    """Return a float column without the whole numbers of the lines in `integers`, and those as bigints."""
    whole = pl.Series(integers) & (values == values.floor())
    column = Column(name, ())
    planes = [
        pl.when(~whole).then(values).alias(column.physical(ValueType.FLOAT)),
        pl.when(whole).then(values).cast(pl.Int64).alias(column.physical(ValueType.BIGINT)),
    ]
    return pl.select(planes).get_columns()


def read_structs(lines: Lines, schema: Schema) -> Reading | None:
    """Read lines into structs with msgspec, which is strict but for keys given twice; None if not UTF-8."""
    if not (lines.joined.isascii() or _is_utf8(lines.joined)):
        return None
    structs, left = _decode_all(lines, schema.structs)
    if not structs:
        return None
    read = np.delete(np.arange(lines.count), left)
    lines = lines.only(read)
    fields = [
        read_field(name, list(map(attrgetter(f"f{index}"), structs)))
        for index, name in enumerate(schema.names)
    ]
    frame = pl.DataFrame([pl.Series(LINE, read), *chain.from_iterable(field.planes for field in fields)])
    bad = json_proof.repeating(lines, fields)
    for field in fields:
        bad[list(field.refused)] = True
    return Reading(frame.filter(~bad) if bad.any() else frame, np.sort(np.append(left, read[bad])))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decode_all(
    lines: Lines, decoder: msgspec.json.Decoder[msgspec.Struct]
) -> tuple[list[msgspec.Struct], Positions]:
    """Return the structs of the lines that decode, and the other lines."""
    try:
        structs = decoder.decode_lines(lines.joined)
    except msgspec.DecodeError:
        structs = []
    if len(structs) == lines.count:
        return structs, np.empty(0, np.int64)
    structs, left = [], []
    for line, text in enumerate(lines.texts()):
        try:
            structs.append(decoder.decode(text))
        except msgspec.DecodeError:
            left.append(line)
    return structs, np.array(left, np.int64)
