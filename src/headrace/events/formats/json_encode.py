"""Batches to JSON text: one object a row, exactly what was read or computed, in the order of the columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import groupby
from typing import Final

import msgspec
import numpy as np
import polars as pl

from headrace.events.batch import HIDDEN, Batch, Column, ValueType
from headrace.events.formats.json_exact import NESTED
from headrace.events.formats.json_lines import Lines
from headrace.limits import MAX_EVENT_BYTES

#: ISO 8601 with the seven fractional digits of the language; planes hold six, hence the zero.
DATETIME_TEXT: Final = "%Y-%m-%dT%H:%M:%S%.6f0Z"


def encode_rows(batch: Batch, columns: Sequence[Column] | None = None) -> pl.Series:
    """Return the JSON object of each row, as text without line breaks.

    A column that the query named is written as null where it is NULL; an open one is left out there. A float
    has a fraction or an exponent, so that it is a float again when read. `columns` chooses what is written,
    by default all but hidden ones.
    """
    members = list(_members(batch.frame, _shown(batch.columns if columns is None else columns)))
    if not members:
        return pl.repeat("{}", batch.height, eager=True).alias("json")
    if len(members) == 1 and isinstance(members[0], _Record):
        whole = members[0].text
    else:
        texts = [member.inside if isinstance(member, _Record) else member for member in members]
        fields = pl.concat_str(texts, separator=",", ignore_nulls=True)
        whole = pl.concat_str(pl.lit("{"), fields, pl.lit("}"))
    rows = batch.frame.select(whole.alias("json")).to_series()
    # Where every column is NULL in all rows, Polars makes one text for them all.
    return rows if len(rows) == batch.height else rows.new_from_index(0, batch.height)


def encode_lines(batch: Batch, *, ended: bool = False) -> bytes:
    """Return the JSON object of each row, separated by newlines; with `ended` one is behind the last, too."""
    columns = _shown(batch.columns)
    if not batch.height:
        return b""
    if not columns or not all(_is_plain(batch.frame, column) for column in columns):
        text = bytes(encode_rows(batch).str.join("\n").cast(pl.Binary).item())
        return text + b"\n" if ended else text
    lines = BytesIO()
    batch.frame.select(_scalar(column, column.planes[0]) for column in columns).write_ndjson(lines)
    if not ended:
        lines.truncate(lines.tell() - 1)
    return lines.getvalue()


def encode_block(batch: Batch) -> tuple[bytes, dict[int, str]]:
    """Return what `encode_lines` does, and the rows that are too large for an event, by index, with why."""
    block = encode_lines(batch)
    lines = Lines(block, batch.height)
    if lines.none_longer_than(MAX_EVENT_BYTES):
        return block, {}
    sizes = lines.ends - lines.starts
    return block, {
        int(row): f"the row has {sizes[row]:,} bytes, more than the {MAX_EVENT_BYTES:,} of one event"
        for row in np.flatnonzero(sizes > MAX_EVENT_BYTES)
    }


def _shown(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if not column.name.startswith(HIDDEN)]


@dataclass(frozen=True, slots=True)
class _Record:
    """The members of plain columns, which Polars writes as one object."""

    scalars: Sequence[pl.Expr]

    @property
    def text(self) -> pl.Expr:
        """The object."""
        return pl.struct(self.scalars).struct.json_encode()

    @property
    def inside(self) -> pl.Expr:
        """The object without its braces."""
        return self.text.str.strip_prefix("{").str.strip_suffix("}")


def _members(frame: pl.DataFrame, columns: Sequence[Column]) -> Iterator[_Record | pl.Expr]:
    """Yield records of neighbouring plain columns, and texts ``"name":value``, NULL where to leave out."""
    for plain, run in groupby(columns, key=partial(_is_plain, frame)):
        if plain:
            yield _Record([_scalar(column, column.planes[0]) for column in run])
        else:
            yield from map(_member, run)


def _is_plain(frame: pl.DataFrame, column: Column) -> bool:
    """Whether each row has the column, with a scalar of one type or null: then Polars writes it right."""
    if len(column.planes) != 1 or column.planes[0] in NESTED:
        return False
    return not column.open or frame[column.physicals[0]].null_count() == 0


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
    return pl.when(values.is_not_null()).then(_Record([_scalar(column, plane)]).inside)


def _scalar(column: Column, plane: ValueType) -> pl.Expr:
    """Return a plane as Polars writes it right, under the column's name."""
    values = pl.col(column.physical(plane))
    if plane is ValueType.DATETIME:
        values = values.dt.to_string(DATETIME_TEXT)
    return values.alias(column.name)
