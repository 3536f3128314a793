"""Rows as lines of JSON that keep which values are datetimes, for targets whose columns have types.

A line is the row as every output writes it. Where a row has datetimes, which JSON writes as texts, a last
member named `DATETIMES` lists their columns; its name begins as those of the engine's own columns do, so that
a line which is read as an event does not show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import polars as pl

from headrace.connect.sink import Prepared, Rows, too_large
from headrace.events.batch import HIDDEN, Batch, ValueType
from headrace.events.formats.json import encode_rows
from headrace.events.formats.json_rows import parsed

DATETIMES: Final = HIDDEN + "datetimes"

_MARK: Final = msgspec.json.encode(DATETIMES).decode()
_DECODER: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_NAMES: Final = msgspec.json.Decoder(list[str])
_SCALARS: Final = msgspec.json.Decoder()
_NULL: Final = b"null"


class Line(NamedTuple):
    """A row: its text, and the text of each value by name; `datetimes` names those that are datetimes."""

    text: str
    values: Mapping[str, bytes]
    datetimes: Sequence[str]


def prepare_lines(rows: Rows) -> Prepared[bytes]:
    """Encode rows as lines of JSON; one that is too large for an event fails."""
    texts = _with_datetimes(rows.batch, encode_rows(rows.batch))
    return Prepared(str(texts.str.join("\n").item()).encode(), rows.batch.height, too_large(texts))


def _with_datetimes(batch: Batch, texts: pl.Series) -> pl.Series:
    """Return the rows' texts with the names of their datetimes behind them."""
    names = [
        pl.when(pl.col(column.physical(ValueType.DATETIME)).is_not_null()).then(
            pl.lit(msgspec.json.encode(column.name).decode())
        )
        for column in batch.columns
        if ValueType.DATETIME in column.planes and not column.name.startswith(HIDDEN)
    ]
    if not names:
        return texts
    listed = pl.concat_str(names, separator=",", ignore_nulls=True)
    marked = pl.concat_str(texts.str.strip_suffix("}"), pl.lit(f",{_MARK}:["), listed, pl.lit("]}"))
    return batch.frame.select(pl.when(listed == "").then(texts).otherwise(marked)).to_series()


def lines_of(block: bytes) -> list[Line]:
    """Return the rows of a block that `prepare_lines` made."""
    texts = block.decode().split("\n")
    found = []
    for text, members in zip(texts, _DECODER.decode(f"[{','.join(texts)}]"), strict=True):
        datetimes = members.pop(DATETIMES, None)
        values = {name: bytes(value) for name, value in members.items()}
        found.append(Line(text, values, _NAMES.decode(datetimes) if datetimes is not None else ()))
    return found


def shown(text: str) -> str:
    """Return the text of a line as people see it, without the names of its datetimes."""
    row, mark, _ = text.rpartition(f",{_MARK}:[")
    return f"{row}}}" if mark else text


def is_null(value: bytes) -> bool:
    """Tell whether the text of a value is NULL's."""
    return value == _NULL


def type_of(value: bytes, *, is_datetime: bool) -> ValueType:
    """Return the type of a value that is not NULL, by its text."""
    match value[:1]:
        case b'"':
            return ValueType.DATETIME if is_datetime else ValueType.TEXT
        case b"t" | b"f":
            return ValueType.BIT
        case b"{":
            return ValueType.RECORD
        case b"[":
            return ValueType.ARRAY
    return ValueType.FLOAT if any(mark in value for mark in (b".", b"e", b"E")) else ValueType.BIGINT


def scalar(value: bytes) -> Any:
    """Return a value as a number, a text, a bool or None; records and arrays as their text."""
    return value.decode() if value[:1] in b"{[" else _SCALARS.decode(value)


def python_rows(block: bytes) -> list[dict[str, Any]]:
    """Return the rows as Python holds them: datetimes aware and in UTC, records as dicts."""
    rows = []
    for text, values, datetimes in lines_of(block):
        row = parsed(text)
        row.pop(DATETIMES, None)
        for name in datetimes:
            # Planes hold microseconds: the seventh digit is 0.
            row[name] = datetime.fromisoformat(row[name][:26]).replace(tzinfo=UTC)
        assert len(row) == len(values)
        rows.append(row)
    return rows
