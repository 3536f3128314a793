"""The sources of a join or APPLY in its rows: their columns are there under qualified names."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headrace.events.batch import HIDDEN, Batch
from headrace.sql.plan import SOURCE_TIME, qualified


def rows_of(batch: Batch, source: str | None) -> Batch:
    """Return the columns that ``source.*`` shows, under their own names; with None those of ``*``."""
    prefix = "" if source is None else qualified(source, "")
    pairs = [
        (column, replace(column, name=column.name.removeprefix(prefix)))
        for column in batch.columns
        if column.name.startswith(prefix)
    ]
    shown = [(column, own) for column, own in pairs if not own.name.startswith(HIDDEN)]
    series = [
        batch.frame.get_column(column.physical(plane)).alias(own.physical(plane))
        for column, own in shown
        for plane in column.planes
    ]
    frame = pl.DataFrame(series) if series else pl.DataFrame(height=batch.height)
    return Batch(frame, tuple(own for _, own in shown))


def has_row_of(batch: Batch, source: str) -> pl.Series:
    """Return where `batch` has a row of `source`: an outer join or OUTER APPLY leaves all of it NULL.

    SOURCE_TIME tells; without one, as for reference data, a row of nothing but NULL counts as none.
    """
    time = batch.named(qualified(source, SOURCE_TIME))
    frame = rows_of(batch, source).frame
    if time:
        frame = batch.frame.select(name for column in time for name in column.physicals)
    there = pl.Series([False]).new_from_index(0, batch.height)
    for values in frame:
        there |= values.is_not_null()
    return there
