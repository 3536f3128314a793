"""Values as JSON texts: what COLLECT and CollectTop put into arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Final

import polars as pl

from headrace.engine.timestamps import written
from headrace.events.batch import Batch, Column, ValueType
from headrace.events.formats.json import encode_rows

_NAME: Final = "v"
_BEFORE: Final = '{"v":'

#: What needs no escapes.
_PLAIN: Final[Mapping[ValueType, Callable[[pl.Expr], pl.Expr]]] = {
    ValueType.BIT: lambda plane: plane.cast(pl.String),
    ValueType.BIGINT: lambda plane: plane.cast(pl.String),
    ValueType.DATETIME: lambda plane: pl.concat_str(pl.lit('"'), written(plane), pl.lit('"')),
}


def json_texts(planes: Mapping[ValueType, pl.Series], height: int) -> pl.Series:
    """Return the JSON text of each of `height` values, NULL for NULL, as an output writes it."""
    if not planes:
        return pl.repeat(None, height, dtype=pl.String, eager=True)
    if len(planes) == 1:
        ((type_, plane),) = planes.items()
        if type_ in _PLAIN:
            return plane.alias(_NAME).to_frame().select(_PLAIN[type_](pl.col(_NAME))).to_series()
    column = Column(_NAME, tuple(planes))
    frame = pl.DataFrame([plane.alias(column.physical(type_)) for type_, plane in planes.items()])
    texts = encode_rows(Batch(frame, (column,))).str.strip_prefix(_BEFORE).str.strip_suffix("}")
    present = reduce(or_, (plane.is_not_null() for plane in planes.values()))
    return texts if present.all() else texts.zip_with(present, texts.clear(len(texts)))
