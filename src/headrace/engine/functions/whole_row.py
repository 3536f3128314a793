"""Whole rows as records: what ``COUNT(DISTINCT source)``, ``TopOne()`` or ``f(source)`` take.

Fields that are NULL are left out, as a star leaves them out. The others stand in the order of their names,
so that one row makes one text: the columns of a batch stand in the order in which its events brought them.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headrace.engine.sources import has_row_of, rows_of
from headrace.events.batch import Batch
from headrace.events.formats.json import encode_rows


def read_whole_row(batch: Batch, source: str | None) -> pl.Series:
    """Return the row of `source`, or with None all that ``*`` shows, as the JSON text of a record.

    It is NULL where a join has no row of `source`.
    """
    shown = rows_of(batch, source)
    columns = tuple(
        # A column without a NULL needs no care.
        replace(column, open=any(shown.frame.get_column(name).null_count() for name in column.physicals))
        for column in sorted(shown.columns, key=lambda column: column.name)
        if column.planes
    )
    records = encode_rows(Batch(shown.frame, columns))
    if source is None:
        return records
    return records.zip_with(has_row_of(batch, source), pl.Series([None], dtype=pl.String()))
