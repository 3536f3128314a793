"""One field of many structs, as msgspec decoded them, to the planes of a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.events.batch import DTYPES, Column, ValueType
from headrace.events.formats.byte_positions import Positions
from headrace.events.formats.json_exact import typed
from headrace.events.formats.json_lines import BadEvent, Lines
from headrace.events.formats.json_values import PLAIN_TYPES

_NESTED: Final = {ValueType.RECORD: b"{"[0], ValueType.ARRAY: b"["[0]}
_NULL: Final = b"n"[0]


@dataclass(frozen=True, slots=True)
class Field:
    """The planes of one field, the rows that have it (be it null), and what its texts were.

    `nested` is the rows whose value is a record or array, and their texts; `refused` is the rows whose value
    the exact reader must judge.
    """

    planes: list[pl.Series]
    present: NDArray[np.bool_]
    nested: tuple[Positions, Lines] | None = None
    refused: Sequence[int] = ()


def read_field(name: str, values: list[Any]) -> Field:
    """Return the field whose values are UNSET where missing, None where null, all Raw if any is nested."""
    types = set(map(type, values))
    present = np.ones(len(values), np.bool_)
    if msgspec.UnsetType in types:
        present = np.fromiter((value is not msgspec.UNSET for value in values), np.bool_, len(values))
    if msgspec.Raw in types:
        return _read_texts(name, values, present)
    found = types & PLAIN_TYPES.keys()
    if len(found) == 1 and msgspec.UnsetType not in types:
        return Field([_series(name, PLAIN_TYPES[found.pop()], values)], present)
    planes = [
        _series(name, PLAIN_TYPES[type_], [value if type(value) is type_ else None for value in values])
        for type_ in PLAIN_TYPES
        if type_ in found
    ]
    return Field(planes, present)


def _series(name: str, plane: ValueType, values: list[Any]) -> pl.Series:
    return pl.Series(Column(name, ()).physical(plane), values, DTYPES[plane])


def _read_texts(name: str, values: list[Any], present: NDArray[np.bool_]) -> Field:
    """Return a field in which records or arrays occur, perhaps among scalars."""
    rows = np.flatnonzero(present)
    raws = values if present.all() else [values[row] for row in rows]
    lines = Lines.of(raws)
    first = lines.buffer[lines.starts]
    texts = lines.joined.decode().split("\n")
    planes: list[pl.Series] = []
    are_nested = np.zeros(len(rows), np.bool_)
    for plane, byte in _NESTED.items():
        are = first == byte
        if are.any():
            planes.append(_series(name, plane, _spread(texts, are, rows, len(values))))
            are_nested |= are
    if are_nested.all():
        return Field(planes, present, (rows, lines))
    scalars = np.flatnonzero(~are_nested & (first != _NULL))
    more, refused = _read_scalars(name, [(int(rows[at]), bytes(raws[at])) for at in scalars], len(values))
    nested = Lines.of([raws[at] for at in np.flatnonzero(are_nested)])
    return Field(planes + more, present, (rows[are_nested], nested) if are_nested.any() else None, refused)


def _spread(texts: list[str], chosen: NDArray[np.bool_], rows: Positions, height: int) -> list[str | None]:
    """Return a column of `height` with the `chosen` texts at their rows."""
    if len(texts) == height and chosen.all():
        return [*texts]
    column: list[str | None] = [None] * height
    for at in np.flatnonzero(chosen).tolist():
        column[rows[at]] = texts[at]
    return column


def _read_scalars(
    name: str, texts: Sequence[tuple[int, bytes]], height: int
) -> tuple[list[pl.Series], list[int]]:
    """Return the planes of the scalars in `texts`, given by row, and the rows of those out of range."""
    planes: dict[ValueType, list[Any]] = {}
    refused = []
    for row, text in texts:
        try:
            cell = typed(name, text)
        except BadEvent:
            refused.append(row)
            continue
        if cell.type is not None:
            planes.setdefault(cell.type, [None] * height)[row] = cell.value
    return [_series(name, plane, values) for plane, values in planes.items()], refused
