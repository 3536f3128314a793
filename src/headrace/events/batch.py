"""A batch: rows in order, whose values carry types and whose columns need not.

A column is a set of *planes*, one per type that its values have: a column ``kw`` that holds bigints and
floats is the two Polars columns ``bigint:kw`` and ``float:kw``; in each row at most one plane is not NULL,
and a row whose planes are all NULL holds NULL. So filtering, gathering, sorting and concatenating rows are
plain Polars operations that cannot mix types up, and an expression runs once per combination of types
that occurs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: What Polars raises on a damaged file: a panic inside it is no `Exception`.
POLARS_FAULTS: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


class ValueType(StrEnum):
    """The types of the language; the value is the name that GetType returns."""

    BIT = "bit"
    BIGINT = "bigint"
    FLOAT = "float"
    TEXT = "nvarchar(max)"
    DATETIME = "datetime"
    RECORD = "record"
    ARRAY = "array"


#: How a plane of each type is stored. Datetimes are UTC with microseconds (the language's seventh digit is
#: cut: nanoseconds could not reach years 1 and 9999). A record or array is its JSON text, so that the
#: presence of fields, their order and the exact numbers are kept.
DTYPES: Final[dict[ValueType, pl.DataType]] = {
    ValueType.BIT: pl.Boolean(),
    ValueType.BIGINT: pl.Int64(),
    ValueType.FLOAT: pl.Float64(),
    ValueType.TEXT: pl.String(),
    ValueType.DATETIME: pl.Datetime("us"),
    ValueType.RECORD: pl.String(),
    ValueType.ARRAY: pl.String(),
}

#: System.Timestamp() of each row, as a Datetime("us").
TIME: Final = "@time"

#: The number, within the poll, of the input event that a row comes from, as an Int64.
ORIGIN: Final = "@origin"

#: Columns whose names begin so are the engine's own: `*` does not show them. No name in data looks like it
#: by chance (``@timestamp`` is a common one, a unit separator is not).
HIDDEN: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name and the types that occur in it.

    `open` says that the data, not the query, named it (it came through ``*``): where it is NULL an output
    leaves it out, since the columns of other events in the batch must not show.
    """

    name: str
    planes: tuple[ValueType, ...]
    open: bool = False

    def physical(self, type_: ValueType) -> str:
        """Return the name of the Polars column that holds the plane of `type_`."""
        return f"{type_.name.lower()}:{self.name}"

    @property
    def physicals(self) -> list[str]:
        """The names of all its Polars columns."""
        return [self.physical(plane) for plane in self.planes]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in order: the planes of `columns` in `frame`, beside TIME and ORIGIN where they are known."""

    frame: pl.DataFrame
    columns: tuple[Column, ...]

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.frame.height

    def named(self, name: str) -> list[Column]:
        """Return the columns called `name`, ignoring case; an exact match comes first.

        Several can match when the data spell a name in several ways; each row has its value in one of them.
        """
        fold = name.casefold()
        found = [column for column in self.columns if column.name.casefold() == fold]
        return sorted(found, key=lambda column: column.name != name)

    def filter(self, mask: pl.Series) -> Batch:
        """Return the rows where `mask` is true."""
        return Batch(self.frame.filter(mask), self.columns)

    def with_column(self, name: str, planes: dict[ValueType, pl.Series]) -> Batch:
        """Return the batch with one more column made of full-length `planes`."""
        column = Column(name, tuple(planes))
        series = [values.alias(column.physical(plane)) for plane, values in planes.items()]
        return Batch(self.frame.with_columns(series), (*self.columns, column))


def times_us(rows: pl.DataFrame) -> NDArray[np.int64]:
    """Return the TIME of each row, which none is without, in microseconds since 1970."""
    return rows.get_column(TIME).cast(pl.Int64).to_numpy()


def concat(batches: Sequence[Batch]) -> Batch:
    """Return the rows of `batches` one after the other; a column missing in one is NULL in its rows."""
    if len(batches) == 1:
        return batches[0]
    frame = pl.concat([batch.frame for batch in batches], how="diagonal")
    return Batch(frame, merged_columns(batch.columns for batch in batches))


def merged_columns(groups: Iterable[Sequence[Column]]) -> tuple[Column, ...]:
    """Return the union of columns by exact name, in order of first appearance, with the union of planes."""
    merged: dict[str, Column] = {}
    for columns in groups:
        for column in columns:
            known = merged.get(column.name)
            if known is None:
                merged[column.name] = column
            elif known != column:
                planes = tuple(dict.fromkeys((*known.planes, *column.planes)))
                merged[column.name] = Column(column.name, planes, known.open and column.open)
    return tuple(merged.values())
