"""CREATE TABLE: the events of an input that have its columns, and why the others have not.

A declaration says what to expect; it converts nothing (reference, A2). A row fits when each declared column
has a value of the declared type. Only what JSON has no other spelling for is taken too: a bigint for a
float, and an ISO 8601 text (see `timestamps`) for a datetime. Columns that are not declared are not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine import timestamps
from headrace.engine.expressions import Planes, evaluate
from headrace.events.batch import DTYPES, HIDDEN, ORIGIN, TIME, Batch, Column, ValueType
from headrace.events.formats.decoded import Decoded, Reject
from headrace.sql.plan import ColumnRef, Table

_REASON: Final = "reason"


def conform(batch: Batch, table: Table) -> Decoded:
    """Return the rows of `batch` that fit `table`, with its columns, and the others as rejects, in order.

    Columns are found ignoring case and then spelled as declared; TIME, ORIGIN and hidden columns stay. The
    origin of a reject is its ORIGIN, or its row where there is none. Rows that share an ORIGIN are one event:
    if one of them does not fit, none does.
    """
    names = [name for name, _ in table.columns]
    found = evaluate([ColumnRef(name) for name in names], batch, "")
    reasons = pl.Series(_REASON, [None], pl.String()).new_from_index(0, batch.height)
    fitting: list[pl.Series] = []
    for (name, type_), planes in zip(table.columns, found, strict=True):
        values = _of_type(planes, type_, batch.height)
        fitting.append(values.alias(Column(name, ()).physical(type_)))
        if values.null_count():
            wrong = _why_not(name, type_, planes, batch.height)
            reasons = reasons.zip_with(reasons.is_not_null() | values.is_not_null(), wrong)
    columns = tuple(Column(name, (type_,)) for name, type_ in table.columns)
    frame = pl.DataFrame([*_own(batch), *fitting])
    return _without(Batch(frame, (*_hidden(batch), *columns)), reasons)


def _of_type(planes: Planes, type_: ValueType, height: int) -> pl.Series:
    """Return the values that a column of `type_` takes, NULL in the other rows."""
    fitting = [planes[type_]] if type_ in planes else []
    if type_ is ValueType.FLOAT and ValueType.BIGINT in planes:
        fitting.append(planes[ValueType.BIGINT].cast(pl.Float64))
    if type_ is ValueType.DATETIME and ValueType.TEXT in planes:
        fitting.append(timestamps.read(planes[ValueType.TEXT].str.strip_chars()))
    if not fitting:
        return pl.Series([None], dtype=DTYPES[type_]).new_from_index(0, height)
    first, *others = fitting
    for other in others:
        first = first.zip_with(first.is_not_null(), other)
    return first


def _why_not(name: str, type_: ValueType, planes: Planes, height: int) -> pl.Series:
    """Return for each row why its value is none of `type_`; it may be one all the same."""
    declared = f"CREATE TABLE declares it as {type_}"
    reasons = pl.Series([f"column '{name}' is missing or NULL; {declared}"]).new_from_index(0, height)
    for other, values in planes.items():
        spells_none = type_ is ValueType.DATETIME and other is ValueType.TEXT
        is_ = "a text that is no ISO 8601 date and time" if spells_none else f"of type {other}"
        reasons = reasons.zip_with(values.is_null(), pl.Series([f"column '{name}' is {is_}; {declared}"]))
    return reasons


def _hidden(batch: Batch) -> Sequence[Column]:
    return [column for column in batch.columns if column.name.startswith(HIDDEN)]


def _own(batch: Batch) -> list[pl.Series]:
    """Return the engine's own columns of `batch`."""
    names = [TIME, ORIGIN, *(name for column in _hidden(batch) for name in column.physicals)]
    return [batch.frame.get_column(name) for name in names if name in batch.frame.columns]


def _without(batch: Batch, reasons: pl.Series) -> Decoded:
    """Return the rows without a reason, and the reasons of the others."""
    if reasons.null_count() == batch.height:
        return Decoded(batch, ())
    rows = pl.int_range(batch.height, dtype=pl.Int64, eager=True)
    origins = batch.frame.get_column(ORIGIN) if ORIGIN in batch.frame.columns else rows
    rejected = pl.DataFrame({"origin": origins, _REASON: reasons}).drop_nulls().unique("origin", keep="first")
    fits = ~origins.is_in(rejected.get_column("origin").implode())
    return Decoded(batch.filter(fits), tuple(Reject(*row) for row in rejected.sort("origin").iter_rows()))
