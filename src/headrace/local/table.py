"""A table: rows of JSON properties under a partition key and a row key, written by upserts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import apsw
import polars as pl

from headrace.errors import UserError, did_you_mean
from headrace.limits import MAX_PAGE_ROWS
from headrace.local.export import export_rows
from headrace.local.namespace import Namespace, Transaction, within_bytes
from headrace.names import checked_name

_UPSERT: Final = """
INSERT INTO entity (table_id, partition_key, row_key, properties) VALUES (?, ?, ?, ?)
ON CONFLICT (table_id, partition_key, row_key) DO UPDATE SET properties = excluded.properties
"""

_TABLE_ID: Final = "SELECT id FROM table_name WHERE name = ?"

_PAGE: Final = """
SELECT partition_key, row_key, properties FROM entity
WHERE table_id = (SELECT id FROM table_name WHERE name = ?)
  AND (partition_key, row_key) >= (?, ?) AND (partition_key, row_key) < (?, ?)
ORDER BY partition_key, row_key LIMIT ?
"""

_COUNT: Final = """
SELECT count(*) FROM entity WHERE table_id = (SELECT id FROM table_name WHERE name = ?)
"""

#: In key order the index is written page by page, which matters when many rows have random keys; to put a few
#: in order takes longer than to write them.
_SORTED_FROM: Final = 1_000

#: SQLite orders every blob behind every text, so this is a bound above all keys.
_ABOVE_ALL: Final = b""

_Bound = tuple[str | bytes, str | bytes]


class Entity(NamedTuple):
    """One row; `properties` is the text of a JSON object."""

    partition_key: str
    row_key: str
    properties: str


class Entities(NamedTuple):
    """Rows to store, as columns of text of equal length and without NULLs."""

    partition_keys: pl.Series
    row_keys: pl.Series
    properties: pl.Series


class Table:
    """One table of a namespace; it begins with its first rows."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self.name = checked_name(name, "table")
        self._namespace = namespace

    def upsert(self, tx: Transaction, entities: Entities) -> None:
        """Store rows, each in place of the one with its key; of equal keys the last one stays.

        The properties must be texts of JSON objects, which is not checked here.
        """
        if entities.row_keys.is_empty():
            return
        table_id = self._table_id(tx.connection)
        columns = entities if len(entities.row_keys) < _SORTED_FROM else _in_key_order(entities)
        table_ids = itertools.repeat(table_id, len(columns.row_keys))
        rows = zip(table_ids, *(column.to_list() for column in columns), strict=True)
        tx.connection.executemany(_UPSERT, rows)

    def _table_id(self, connection: apsw.Connection) -> int:
        found: int | None = connection.execute(_TABLE_ID, (self.name,)).get
        if found is None:
            connection.execute("INSERT INTO table_name (name) VALUES (?)", (self.name,))
            found = connection.last_insert_rowid()
        return found

    def read(
        self,
        *,
        partition_key: str | None = None,
        row_key_from: str = "",
        row_key_to: str | None = None,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Entity]:
        """Return rows in key order: of all partitions, or of one between two row keys (the second excluded).

        `after` is the key of the last row already seen. The rows are read a page at a time, so that reading
        never keeps writers waiting; rows written meanwhile may or may not be among them.
        """
        high: _Bound
        if partition_key is None:
            if row_key_from or row_key_to is not None:
                raise UserError(f"table {self.name!r}: a range of row keys needs the partition key")
            low, high = ("", ""), (_ABOVE_ALL, _ABOVE_ALL)
        else:
            low = (partition_key, row_key_from)
            high = (partition_key, _ABOVE_ALL if row_key_to is None else row_key_to)
        if after is not None:
            low = max(low, _next_key(*after))
        return self._pages(low, high, limit)

    def _pages(self, low: tuple[str, str], high: _Bound, limit: int | None) -> Iterator[Entity]:
        missing = limit
        while missing is None or missing > 0:
            page_rows = MAX_PAGE_ROWS if missing is None else min(missing, MAX_PAGE_ROWS)
            with self._namespace.reading() as connection:
                found = connection.execute(_PAGE, (self.name, *low, *high, page_rows))
                page = within_bytes(map(Entity._make, found), _entity_chars)
                found.close()
            if not page:
                return
            yield from page
            low = _next_key(page[-1].partition_key, page[-1].row_key)
            missing = None if missing is None else missing - len(page)

    def count(self) -> int:
        """Return how many rows there are."""
        with self._namespace.reading() as connection:
            found: int = connection.execute(_COUNT, (self.name,)).get
        return found

    def export(self, path: Path, file_format: str | None = None) -> int:
        """Write all rows to a file in key order and return how many; the suffix says the format unless given.

        The formats are csv, parquet, json and jsonl. The file appears whole or not at all. Rows written
        meanwhile may or may not be in it. Raises `UserError` for a table that is not there.
        """
        known = list_tables(self._namespace)
        if self.name not in known:
            raise UserError(f"there is no table {self.name!r}. {did_you_mean(self.name, known)}".strip())
        return export_rows(self.read(), path, file_format)


def list_tables(namespace: Namespace) -> list[str]:
    """Return the names of all tables, sorted."""
    with namespace.reading() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM table_name ORDER BY name")]


def _in_key_order(entities: Entities) -> Entities:
    """Return rows in the order of their keys; those of equal keys stay in theirs."""
    frame = pl.DataFrame([column.alias(str(place)) for place, column in enumerate(entities)])
    return Entities(*frame.sort("0", "1", maintain_order=True).get_columns())


def _next_key(partition_key: str, row_key: str) -> tuple[str, str]:
    """Return the smallest key above this one."""
    return partition_key, row_key + "\0"


def _entity_chars(entity: Entity) -> int:
    return sum(map(len, entity))
