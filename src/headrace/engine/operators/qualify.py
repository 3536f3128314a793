"""A source of several: its columns under the source's name, beside its time."""

from __future__ import annotations

from headrace.events.batch import TIME, Batch, Column, ValueType
from headrace.sql.plan import SOURCE_TIME, qualified


def qualify(batch: Batch, name: str) -> Batch:
    """Return the rows of `batch` with every column named as of the source `name`, and its SOURCE_TIME.

    Nothing is computed. Rows without a time, as those of reference data, get no SOURCE_TIME.
    """
    columns = tuple(
        Column(qualified(name, column.name), column.planes, column.open) for column in batch.columns
    )
    renamed = {
        column.physical(plane): to.physical(plane)
        for column, to in zip(batch.columns, columns, strict=True)
        for plane in column.planes
    }
    frame = batch.frame.clone()
    frame.columns = [renamed.get(at, at) for at in frame.columns]
    if TIME not in frame.columns:
        return Batch(frame, columns)
    return Batch(frame, columns).with_column(
        qualified(name, SOURCE_TIME), {ValueType.DATETIME: frame.get_column(TIME)}
    )
