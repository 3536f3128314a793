"""Batches to JSON text: one object a row, exactly what was read or computed, in the order of the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec
import polars as pl

from headrace.events.batch import HIDDEN, Batch, Column, ValueType
from headrace.events.formats.json_exact import NESTED

#: ISO 8601 with the seven fractional digits of the language; planes hold six, hence the zero.
_DATETIME: Final = "%Y-%m-%dT%H:%M:%S%.6f0Z"


def encode_rows(batch: Batch, columns: Sequence[Column] | None = None) -> pl.Series:
    """Return the JSON object of each row, as text without line breaks.

    A column that the query named is written as null where it is NULL; an open one is left out there. A float
    has a fraction or an exponent, so that it is a float again when read. `columns` chooses what is written,
    by default all but hidden ones.
    """
    chosen = batch.columns if columns is None else columns
    members = list(_members([column for column in chosen if not column.name.startswith(HIDDEN)]))
    if not members:
        return pl.repeat("{}", batch.height, eager=True).alias("json")
    fields = pl.concat_str(members, separator=",", ignore_nulls=True)
    texts = batch.frame.select(pl.concat_str(pl.lit("{"), fields, pl.lit("}")).alias("json")).to_series()
    # Where every column is NULL in all rows, Polars makes one text for them all.
    return texts if len(texts) == batch.height else texts.new_from_index(0, batch.height)


def encode_lines(batch: Batch) -> bytes:
    """Return the JSON object of each row, separated by newlines."""
    return str(encode_rows(batch).str.join("\n").item()).encode() if batch.height else b""


def _members(columns: Sequence[Column]) -> Iterator[pl.Expr]:
    """Yield texts ``"name":value``, NULL where to leave out; neighbours that need no care make one text."""
    for plain, run in groupby(columns, key=_is_plain):
        if plain:
            yield _inside(pl.struct(_scalar(column, column.planes[0]) for column in run))
        else:
            yield from map(_member, run)


def _is_plain(column: Column) -> bool:
    return not column.open and len(column.planes) == 1 and column.planes[0] not in NESTED


def _member(column: Column) -> pl.Expr:
    key = msgspec.json.encode(column.name).decode() + ":"
    null = pl.lit(None, pl.String) if column.open else pl.lit(key + "null")
    return pl.coalesce(*(_member_of(column, plane, key) for plane in column.planes), null)


def _member_of(column: Column, plane: ValueType, key: str) -> pl.Expr:
    """Return the text of one plane, NULL where that is."""
    values = pl.col(column.physical(plane))
    if plane in NESTED:
        # A line break in valid JSON is white space; in a line of JSON it would end the line.
        return pl.concat_str(pl.lit(key), values.str.replace_all("\n", " ", literal=True))
    return pl.when(values.is_not_null()).then(_inside(pl.struct(_scalar(column, plane))))


def _inside(record: pl.Expr) -> pl.Expr:
    """Return the members of a struct of scalars as text, without the braces."""
    return record.struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")


def _scalar(column: Column, plane: ValueType) -> pl.Expr:
    """Return a plane as Polars writes it right, under the column's name."""
    values = pl.col(column.physical(plane))
    if plane is ValueType.DATETIME:
        values = values.dt.to_string(_DATETIME)
    return values.alias(column.name)
