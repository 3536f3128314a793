"""The reader where there is no compiled one: structs by msgspec, by a learned schema.

It is strict but for equal keys, of which it keeps the last. So what looks like a key is counted in the bytes,
and a line that may have more keys than it has fields is left to the exact reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.json_exact import LINE, keys_at_most
from headrace.events.formats.json_fields import Field, read_field
from headrace.events.formats.json_lines import Lines
from headrace.events.formats.json_reading import Reading
from headrace.events.formats.json_schema import Schema


def read_structs(lines: Lines, schema: Schema) -> Reading | None:
    """Return the rows of lines whose keys and types are in `schema`; None if they are not UTF-8."""
    if not (lines.joined.isascii() or _is_utf8(lines.joined)):
        return None
    structs, left = _decode_all(lines, schema.structs)
    read = np.delete(np.arange(lines.count), left)
    lines = lines.only(read)
    fields = [
        read_field(name, list(map(attrgetter(f"f{index}"), structs)))
        for index, name in enumerate(schema.names)
    ]
    frame = pl.DataFrame([pl.Series(LINE, read), *chain.from_iterable(field.planes for field in fields)])
    bad = _repeating(lines, fields)
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


def _repeating(lines: Lines, fields: Sequence[Field]) -> NDArray[np.bool_]:
    """Return which lines may give a key twice: what looks like a key is more than the fields they have."""
    nested = [field.nested for field in fields if field.nested]
    keys = keys_at_most(lines.joined) - sum(keys_at_most(texts.joined) for _, texts in nested)
    if keys == sum(np.count_nonzero(field.present) for field in fields):
        return np.zeros(lines.count, np.bool_)
    counts = np.fromiter(map(keys_at_most, lines.texts()), np.int64, lines.count)
    for rows, texts in nested:
        counts[rows] -= np.fromiter(map(keys_at_most, texts.texts()), np.int64, texts.count)
    repeats: NDArray[np.bool_] = counts != np.sum([field.present for field in fields], axis=0)
    return repeats
