"""Reading into records and arrays: ``a.b``, GetRecordPropertyValue, GetArrayElement, GetArrayLength.

What is found has the type that it has in the JSON, so these are read from the data before the expressions
around them are compiled. Names are found ignoring case, an exact match first. A property that is missing or
null, an index outside the array, and a dot behind what is no record give NULL; the functions refuse what is
no record or array. A number in the JSON that no type holds makes the row fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
import polars as pl

from headrace.engine.casts import ARRAY, BIGINT
from headrace.engine.functions.kernels import plain
from headrace.engine.rows import aligned, per_unique
from headrace.engine.values import Kernel, Value, first_present
from headrace.events.batch import ORIGIN, Batch, Column, ValueType
from headrace.events.formats.json import JsonDecoder
from headrace.events.formats.json_exact import Cell, Cells, typed
from headrace.events.formats.json_lines import BadEvent
from headrace.sql.plan import Expression

_ELEMENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ELEMENT: Final = "element"


@dataclass(frozen=True, slots=True)
class Found:
    """Values read from JSON: full-length planes, and why a row cannot be read (None when all can)."""

    planes: dict[ValueType, pl.Series]
    reasons: pl.Series | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of records, one row a record, all NULL where there is none; `reasons` as in `Found`."""

    batch: Batch
    reasons: pl.Series | None = None

    def named(self, name: str) -> Found:
        """Return the field called `name`."""
        value = column_value(self.batch.named(name))
        if value.sources is not None:
            return Found(
                {type_: self.batch.frame.get_column(at) for type_, at in value.sources.items()}, self.reasons
            )
        selected = self.batch.frame.select(plane.alias(type_.name) for type_, plane in value.planes.items())
        return Found({type_: selected.get_column(type_.name) for type_ in value.planes}, self.reasons)


def column_value(columns: Sequence[Column]) -> Value:
    """Return what columns with spellings of one name hold: in each row the first that is not NULL."""
    values = [] if columns else [Value({}, sources={})]
    for column in columns:
        sources = {type_: column.physical(type_) for type_ in column.planes}
        planes = {type_: pl.col(physical) for type_, physical in sources.items()}
        values.append(Value(planes, sources=sources))
    return values[0] if len(values) == 1 else first_present(values)


def read_fields(texts: pl.Series, record: Expression) -> Fields:
    """Return the fields of the records with these JSON `texts`, which are the values of `record`."""
    rows = texts.is_not_null().arg_true()
    decoded = _decoder(record).decode([text.encode() for text in texts.drop_nulls().to_list()])
    kept = decoded.batch.frame.get_column(ORIGIN)
    frame = decoded.batch.frame.drop(ORIGIN)
    if frame.width and len(kept) < len(texts):
        places = pl.DataFrame({"row": rows.gather(kept), "place": pl.int_range(len(kept), eager=True)})
        wanted = pl.select(row=pl.int_range(len(texts), dtype=pl.UInt32))
        frame = frame[wanted.join(places, on="row", how="left", maintain_order="left").get_column("place")]
    reasons = None
    if decoded.rejects:
        reasons = pl.Series([None], dtype=pl.String()).new_from_index(0, len(texts))
        for reject in decoded.rejects:
            reasons[rows.item(reject.origin)] = reject.reason
    return Fields(Batch(frame, decoded.batch.columns), reasons)


@lru_cache(maxsize=64)
def _decoder(_record: Expression) -> JsonDecoder:
    """Return a decoder that has learned the fields of earlier records; its results never depend on them."""
    return JsonDecoder()


def read_property(fields: Fields, names: pl.Series) -> Found:
    """Return the property of each record that `names` tells."""
    parts = []
    rows = names.alias("name").to_frame().with_row_index().drop_nulls()
    for same in rows.partition_by("name"):
        found = fields.named(same.item(0, "name"))
        planes = {type_.name: values.gather(same["index"]) for type_, values in found.planes.items()}
        parts.append(pl.DataFrame({"index": same["index"], **planes}))
    if not parts:
        return Found({})
    every = names.to_frame().with_row_index().select("index")
    read = every.join(pl.concat(parts, how="diagonal"), on="index", how="left", maintain_order="left")
    return Found({ValueType[name]: read.get_column(name) for name in read.columns[1:]}, fields.reasons)


def read_element(texts: pl.Series, indexes: pl.Series) -> Found:
    """Return the element of each array that `indexes` tells, from 0."""
    cells = Cells()
    reasons: dict[int, str] = {}
    for row, (text, index) in enumerate(aligned([texts, indexes]).iter_rows()):
        cell = Cell(None, None)
        if text is not None and index is not None:
            try:
                cell = _element(text, index)
            except BadEvent as error:
                reasons[row] = str(error)
        cells.add(row, {_ELEMENT: cell})
    frame = cells.frame()
    name = Column(_ELEMENT, ())
    planes = {
        type_: frame.get_column(name.physical(type_))
        for type_ in ValueType
        if name.physical(type_) in frame.columns
    }
    if not reasons:
        return Found(planes)
    return Found(planes, pl.Series([reasons.get(row) for row in range(frame.height)], dtype=pl.String()))


def _element(text: str, index: int) -> Cell:
    elements = _ELEMENTS.decode(text)
    if not 0 <= index < len(elements):
        return Cell(None, None)
    return typed(_ELEMENT, bytes(elements[index]))


def _length(array: pl.Expr) -> pl.Expr:
    return per_unique([array], lambda text: len(_ELEMENTS.decode(text)), pl.Int64())


KERNELS: Final[dict[str, Kernel]] = {"GETARRAYLENGTH": plain([ARRAY], BIGINT, _length)}
