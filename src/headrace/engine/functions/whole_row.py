"""Whole rows as records: what ``COUNT(DISTINCT source)``, ``TopOne()`` or ``f(source)`` take.

Fields that are NULL are left out, as a star leaves them out. The others stand in the order of their names,
so that one row makes one text: the columns of a batch stand in the order in which its events brought them.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headrace.engine.values import any_of
from headrace.events.batch import HIDDEN, Batch, Column
from headrace.events.formats.json import encode_rows
from headrace.sql.plan import SOURCE_TIME, qualified


def read_whole_row(batch: Batch, source: str | None) -> pl.Series:
    """Return the row of `source`, or with None all that ``*`` shows, as the JSON text of a record.

    It is NULL where a join has no row of `source`.
    """
    if source is None:
        shown = [column for column in batch.columns if not column.name.startswith(HIDDEN)]
        return _records(batch.frame, shown)
    prefix = qualified(source, "")
    own = [column for column in batch.columns if column.name.startswith(prefix)]
    shorter = [replace(column, name=column.name.removeprefix(prefix)) for column in own]
    renamed = [
        pl.col(column.physical(plane)).alias(short.physical(plane))
        for column, short in zip(own, shorter, strict=True)
        for plane in column.planes
    ]
    if not renamed:
        return pl.Series([None], dtype=pl.String()).new_from_index(0, batch.height)
    frame = batch.frame.select(renamed)
    shown = [column for column in shorter if not column.name.startswith(HIDDEN)]
    timed = [name for column in shorter if column.name == SOURCE_TIME for name in column.physicals]
    there = any_of(pl.col(name).is_not_null() for name in timed or frame.columns)
    return _records(frame, shown).zip_with(
        frame.select(there).to_series(), pl.Series([None], dtype=pl.String())
    )


def _records(frame: pl.DataFrame, columns: list[Column]) -> pl.Series:
    """Return the JSON object of each row of `frame`; columns without a NULL need no care."""
    named = [
        replace(column, open=any(frame.get_column(name).null_count() for name in column.physicals))
        for column in sorted(columns, key=lambda column: column.name)
        if column.planes
    ]
    return encode_rows(Batch(frame, tuple(named)))
