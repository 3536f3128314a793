"""Tables as outputs: a keyed upsert per row, within the commit."""

from __future__ import annotations

from typing import cast

import msgspec
import polars as pl

from headrace.connect.sink import Prepared, Rows
from headrace.errors import UserError, did_you_mean
from headrace.events.batch import Batch, Column, ValueType
from headrace.events.formats.json import encode_rows
from headrace.local.namespace import Transaction
from headrace.local.table import Entities, Table


class TableSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="table", tag_field="kind"):
    """``kind = "table"``: `table` names it (by default the name in the settings).

    `partition_key` and `row_key` name the columns whose values are the key of a row: a later row with the
    same key replaces it. Without `partition_key` all rows share one partition; without `row_key` each row has
    the position of its event as its key, so that the table keeps them all.
    """

    table: str | None = None
    partition_key: str | None = None
    row_key: str | None = None


class TableSink:
    """Upserts rows; the columns that are not keys become the entity's properties."""

    def __init__(self, table: Table, settings: TableSettings) -> None:
        self._table, self._settings = table, settings

    def prepare(self, rows: Rows) -> Prepared[object]:
        """Work out keys and properties; a row whose key is NULL fails."""
        batch = rows.batch
        partition_keys = self._key(batch, self._settings.partition_key, "partition_key")
        row_keys = self._key(batch, self._settings.row_key, "row_key")
        if partition_keys is None:
            partition_keys = pl.Series([""]).new_from_index(0, batch.height)
        if row_keys is None:
            row_keys = rows.ids()
        named = {(self._settings.partition_key or "").casefold(), (self._settings.row_key or "").casefold()}
        properties = encode_rows(batch, [c for c in batch.columns if c.name.casefold() not in named])
        return Prepared(
            Entities(partition_keys, row_keys, properties), batch.height, _null_keys(partition_keys, row_keys)
        )

    def write(self, tx: Transaction, prepared: Prepared[object]) -> None:
        """Upsert the rows."""
        self._table.upsert(tx, cast("Entities", prepared.payload))

    def close(self) -> None:
        """Do nothing: the namespace is closed by whoever opened it."""

    def _key(self, batch: Batch, column: str | None, setting: str) -> pl.Series | None:
        if column is None:
            return None
        found = batch.named(column)
        if not found:
            known = [c.name for c in batch.columns]
            raise UserError(
                f"table {self._table.name!r}: {setting} names the column {column!r}, which the query does "
                f"not write; it writes {', '.join(known)}. {did_you_mean(column, known)}".rstrip()
            )
        return _as_text(batch, found)


def _as_text(batch: Batch, columns: list[Column]) -> pl.Series:
    """Return the key's value as text: bigints in decimal, datetimes in ISO 8601."""
    planes = [_plane_text(column.physical(plane), plane) for column in columns for plane in column.planes]
    texts = pl.coalesce(planes) if planes else pl.lit(None, dtype=pl.String)
    return batch.frame.select(texts.alias("key")).to_series()


def _plane_text(physical: str, plane: ValueType) -> pl.Expr:
    if plane is ValueType.DATETIME:
        return pl.col(physical).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f0Z")
    return pl.col(physical).cast(pl.String)


def _null_keys(partition_keys: pl.Series, row_keys: pl.Series) -> dict[int, str]:
    if not partition_keys.null_count() and not row_keys.null_count():
        return {}
    missing = (partition_keys.is_null() | row_keys.is_null()).arg_true().to_list()
    return dict.fromkeys(missing, "the row's key is NULL: a table needs a value in its key columns")
