"""Batches to Avro object container files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC
from io import BytesIO
from typing import Any, Final, Literal

import polars as pl

from headrace.events.batch import Batch, ValueType
from headrace.events.formats.avro_blocks import avro_library
from headrace.events.formats.json_encode import DATETIME_TEXT
from headrace.events.formats.json_exact import NESTED

AvroCodec = Literal["null", "deflate"]

#: The property of a field that keeps the column's own name where Avro allows no such name.
NAME_PROPERTY: Final = "headrace.name"

_NOT_IN_NAMES: Final = re.compile("[^A-Za-z0-9_]")

_TYPES: Final[dict[ValueType, Any]] = {
    ValueType.BIT: "boolean",
    ValueType.BIGINT: "long",
    ValueType.FLOAT: "double",
    ValueType.TEXT: "string",
    ValueType.DATETIME: {"type": "long", "logicalType": "timestamp-micros"},
    ValueType.RECORD: "string",
    ValueType.ARRAY: "string",
}


def encode_avro(batch: Batch, columns: Sequence[str], codec: AvroCodec = "deflate") -> bytes:
    """Return the rows as a whole Avro file, each with `columns` in the order given.

    Every field is nullable; one of several types is a union of them. Records and arrays are text that holds
    their JSON. Datetimes are timestamp-micros, but in a union with bigint, which Avro does not tell apart
    from them, ISO 8601 text. Where Avro has no such name as a column's, other letters become ``_`` and the
    field keeps the name as its property `headrace.name`. The same rows are the same bytes.
    Raises UserError without the extra `avro`.
    """
    library = avro_library()
    fields: list[dict[str, Any]] = []
    held: dict[str, list[Any]] = {}
    for name in columns:
        field = _field_name(name, held)
        types, held[field] = _values(batch, name)
        extra = {} if field == name else {NAME_PROPERTY: name}
        fields.append({"name": field, "type": ["null", *types], **extra})
    schema = library.parse_schema({"type": "record", "name": "Row", "fields": fields})
    names = list(held)
    rows = (dict(zip(names, row, strict=True)) for row in zip(*held.values(), strict=True))
    written = BytesIO()
    # Between blocks stands a marker; not one by chance, so that the same rows are the same file.
    marker = hashlib.sha256(repr((fields, batch.height)).encode()).digest()[:16]
    rows = rows if held else ({} for _ in range(batch.height))
    library.writer(written, schema, rows, codec=codec, sync_marker=marker)
    return written.getvalue()


def _field_name(name: str, taken: dict[str, list[Any]]) -> str:
    """Return a name that Avro allows and no other field has."""
    field = _NOT_IN_NAMES.sub("_", name) or "_"
    if field[0].isdigit():
        field = "_" + field
    while field in taken:
        field += "_"
    return field


def _values(batch: Batch, name: str) -> tuple[list[Any], list[Any]]:
    """Return the types of a field and its values, each with its type where several could be meant."""
    planes = [
        (plane, values)
        for column in batch.named(name)
        for plane in column.planes
        if (values := batch.frame[column.physical(plane)]).null_count() < batch.height
    ]
    kinds = {plane for plane, _ in planes}
    as_text = {ValueType.DATETIME, ValueType.BIGINT} <= kinds
    types: list[Any] = []
    merged: list[Any] = [None] * batch.height
    for plane, values in planes:
        kind = "string" if as_text and plane is ValueType.DATETIME else _TYPES[plane]
        if kind not in types:
            types.append(kind)
        found = _plain(plane, values, as_text=as_text)
        branch = "long" if isinstance(kind, dict) else kind
        for row, value in enumerate(found):
            if value is not None:
                merged[row] = value if len(kinds) == 1 else (branch, value)
    return types, merged


def _plain(plane: ValueType, values: pl.Series, *, as_text: bool) -> list[Any]:
    if plane is ValueType.DATETIME:
        if as_text:
            return values.dt.to_string(DATETIME_TEXT).to_list()
        return [None if value is None else value.replace(tzinfo=UTC) for value in values.to_list()]
    return values.str.replace_all("\n", " ", literal=True).to_list() if plane in NESTED else values.to_list()
