"""Batches to CSV: text in every field, NULL and the empty text told apart by quotes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import polars as pl

from headrace.events.batch import Batch, ValueType
from headrace.events.formats.csv_records import check_delimiter
from headrace.events.formats.json_encode import DATETIME_TEXT
from headrace.events.formats.json_exact import NESTED


def encode_csv(batch: Batch, columns: Sequence[str], *, header: bool, delimiter: str = ",") -> bytes:
    """Return the rows as CSV in UTF-8, each ended by a newline, `columns` in the order given.

    What the batch has beside them is left out, what it lacks is NULL. A value is written as in JSON, a text
    without JSON's quotes: a record or array as its JSON, a datetime in ISO 8601 with Z. NULL is an empty
    field, and the empty text ``""``; so a row of one column that is NULL is a blank line, which readers pass
    over.
    """
    check_delimiter(delimiter)
    values = [_field(batch, name).alias(f"c{number}") for number, name in enumerate(columns)]
    frame = pl.DataFrame(values)
    written = BytesIO()
    if header:
        pl.DataFrame({f"c{number}": [name] for number, name in enumerate(columns)}).write_csv(
            written, include_header=False, separator=delimiter
        )
    frame.write_csv(written, include_header=False, separator=delimiter)
    return written.getvalue()


def _field(batch: Batch, name: str) -> pl.Series:
    """Return a column as Polars writes it right: as it is when it has one plain type, else as text."""
    physicals = [(plane, column.physical(plane)) for column in batch.named(name) for plane in column.planes]
    texts = [_plain(plane, batch.frame[physical]) for plane, physical in physicals]
    if not texts:
        return pl.repeat(None, batch.height, dtype=pl.String, eager=True)
    if len(texts) == 1:
        return texts[0]
    return pl.select(pl.coalesce(*(text.cast(pl.String) for text in texts))).to_series()


def _plain(plane: ValueType, values: pl.Series) -> pl.Series:
    if plane is ValueType.DATETIME:
        return values.dt.to_string(DATETIME_TEXT)
    if plane in NESTED:
        return values.str.replace_all("\n", " ", literal=True)
    return values
