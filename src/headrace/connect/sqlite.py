"""A table of an SQLite file as an output, exactly once; other programs may have the file open, too."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import apsw
import msgspec

from headrace.clock import SystemClock
from headrace.connect.appended_file import writing
from headrace.connect.retry import BROKEN_OFF_AFTER_S, OnError, Patience
from headrace.connect.row_lines import scalar
from headrace.connect.sql_rows import (
    DELIVERIES,
    MAX_STATEMENT_ROWS,
    RefusedStatement,
    SqlSink,
    TableRules,
    checked_key,
    listed,
    on_conflict,
    quoted,
)
from headrace.errors import Fatal, Transient, UserError
from headrace.events.batch import ValueType
from headrace.local.files import make_folder
from headrace.local.sqlite_errors import translated, undo

#: How long a block waits for the transaction of another program before it is delivered later.
BUSY_TIMEOUT_S: Final = 10.0

#: How often it is asked for the lock meanwhile, and how many steps a statement takes between two looks
#: whether it is to be broken off: some milliseconds of work.
_ASK_EVERY_S: Final = 0.02
_STEPS: Final = 100_000

_TYPES: Final = {
    ValueType.BIT: "INTEGER",
    ValueType.BIGINT: "INTEGER",
    ValueType.FLOAT: "REAL",
}

_CREATE_DELIVERIES: Final = (
    "CREATE TABLE IF NOT EXISTS {deliveries} (producer TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT"
)
_ADVANCE: Final = """
INSERT INTO {deliveries} AS delivery (producer, sequence) VALUES (?, ?)
ON CONFLICT (producer) DO UPDATE SET sequence = excluded.sequence WHERE delivery.sequence < excluded.sequence
RETURNING sequence
"""
#: With those that are generated: they cannot be written, but no other can have their name.
_COLUMNS: Final = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1"
_CREATE: Final = "CREATE TABLE {table} ({columns}{key}) STRICT"
_ADD: Final = "ALTER TABLE {table} ADD COLUMN {column}"
_INSERT: Final = "INSERT INTO {table} ({columns}) VALUES ({marks}){conflict}"

#: The values are at fault, not the statement.
_REFUSALS: Final = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError)


class SqliteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sqlite", tag_field="kind"):
    """``kind = "sqlite"``: rows of the table `table` (by default the output's name) in the file `path`.

    With `key`, columns that are unique together, a row updates the one that has its key. With `create` the
    table is made, and columns that it lacks are added. A statement has at most `max_rows`.
    `on_error`, `max_tries` and `give_up_seconds` are the output's `Patience`.
    """

    path: str | None = None
    table: str | None = None
    key: str | list[str] = []
    create: bool = True
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_STATEMENT_ROWS)] = 5000
    on_error: OnError = "retry"
    max_tries: Annotated[int, msgspec.Meta(ge=1)] | None = None
    give_up_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("path is missing: expected the database file")
        if self.table == "" or "\0" in (self.table or "") + self.path:
            raise ValueError("table and path must not be empty, nor hold a NUL")
        checked_key(self.key)
        Patience.of(self.on_error, self.max_tries, self.give_up_seconds)

    @property
    def patience(self) -> Patience:
        """How long the target is asked again."""
        return Patience.of(self.on_error, self.max_tries, self.give_up_seconds)


def sqlite_sink(output: str, settings: SqliteSettings, folder: Path, source: str) -> SqlSink:
    """Open the output; its path starts from `folder`."""
    target = SqliteTable(folder / (settings.path or ""), settings.table or output)
    return SqlSink(
        output,
        target,
        TableRules(checked_key(settings.key), settings.create, settings.max_rows),
        source,
        settings.patience,
    )


class SqliteTable:
    """A table of an SQLite file, in write-ahead logging with every commit synced."""

    def __init__(self, path: Path, table: str) -> None:
        self._clock = SystemClock()
        self.place = f"table {table!r} of {path}"
        self._path, self._table = path, table
        self._opened: apsw.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._asked_ns = 0
        self._end_ns: int | None = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction that has the file's write lock from its beginning."""
        connection = self._current()
        with self._told(connection):
            self._asked_ns = self._clock.monotonic_ns()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                undo(connection)
                raise

    def advance(self, producer: str, sequence: int) -> bool:
        """Make `sequence` the producer's last; false if its last is not below it."""
        deliveries = quoted(DELIVERIES)
        self._connection.execute(_CREATE_DELIVERIES.format(deliveries=deliveries))
        found = self._connection.execute(_ADVANCE.format(deliveries=deliveries), (producer, sequence)).get
        return found is not None

    def columns(self) -> list[str]:
        """Return the names of the table's columns."""
        return [name for (name,) in self._connection.execute(_COLUMNS, (self._table,))]

    def make(self, columns: Mapping[str, ValueType], key: Sequence[str]) -> None:
        """Make the table, or add columns to it."""
        typed = [f"{quoted(name)} {_TYPES.get(type_, 'TEXT')}" for name, type_ in columns.items()]
        table = quoted(self._table)
        if self.columns():
            for column in typed:
                self._connection.execute(_ADD.format(table=table, column=column))
            return
        primary = f", PRIMARY KEY ({listed(key)})" if key else ""
        self._connection.execute(_CREATE.format(table=table, columns=", ".join(typed), key=primary))

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Run a savepoint."""
        with self._connection:
            yield

    def insert(self, columns: Sequence[str], rows: Sequence[Sequence[bytes]], key: Sequence[str]) -> None:
        """Insert or update rows."""
        statement = _INSERT.format(
            table=quoted(self._table),
            columns=listed(columns),
            marks=", ".join("?" * len(columns)),
            conflict=on_conflict(columns, key),
        )
        try:
            self._connection.executemany(statement, [tuple(map(scalar, row)) for row in rows])
        except _REFUSALS as error:
            raise RefusedStatement(str(error)) from None

    def interrupt(self) -> None:
        """Break off what hangs, from a signal handler: a statement soon raises Transient, as all after it.

        SQLite waits and works without Python's knowledge, in which a handler would not run; so it is made to
        look now and then.
        """
        if self._end_ns is None:
            self._end_ns = self._clock.monotonic_ns() + int(BROKEN_OFF_AFTER_S * 1e9)

    def _is_over(self) -> bool:
        return self._end_ns is not None and self._clock.monotonic_ns() >= self._end_ns

    def _waits(self, _times: int) -> bool:
        """Wait a moment for the lock; false if that was long enough."""
        waited_ns = self._clock.monotonic_ns() - self._asked_ns
        if self._is_over() or waited_ns >= BUSY_TIMEOUT_S * 1e9:
            return False
        self._clock.sleep(_ASK_EVERY_S)
        return True

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _connection(self) -> apsw.Connection:
        assert self._opened is not None
        return self._opened

    def _current(self) -> apsw.Connection:
        """Return a connection to the file that has the path now: a removed one would take rows for nobody."""
        if self._opened is not None and _identity(self._path) == self._identity:
            return self._opened
        self.close()
        if self._path.is_dir():
            raise UserError(f"{self.place} cannot be written: the path is a folder. Name a file in it")
        with writing(self._path, "open"):
            make_folder(self._path.parent)
        with self._told(None, "open"):
            connection = apsw.Connection(str(self._path))
        try:
            with self._told(connection, "open"):
                self._asked_ns = self._clock.monotonic_ns()
                connection.set_busy_handler(self._waits)
                connection.set_progress_handler(self._is_over, _STEPS)
                connection.pragma("journal_mode", "wal")
                connection.pragma("synchronous", 2)
        except BaseException:
            connection.close()
            raise
        self._opened, self._identity = connection, _identity(self._path)
        return connection

    @contextlib.contextmanager
    def _told(self, connection: apsw.Connection | None, doing: str = "write") -> Iterator[None]:
        try:
            with translated(self._path, connection, doing), self._of_the_user():
                yield
        except apsw.Error as error:
            if self._is_over():  # then the transaction is gone, which is an error of its own to what follows
                raise Transient(f"{self.place}: a statement was broken off, as the job is to end") from None
            raise UserError(
                f"{self.place} cannot be written: {error}. Check the settings of the output against the table"
            ) from None

    @contextlib.contextmanager
    def _of_the_user(self) -> Iterator[None]:
        """Tell what is wrong with a file that is not one of the data folder."""
        try:
            yield
        except apsw.NotADBError:
            raise UserError(
                f"{self.place} cannot be written: the file is no SQLite database. Choose another path, or "
                "move it away"
            ) from None
        except apsw.CorruptError as error:
            raise Fatal(f"{self.place} is damaged: {error}. Put back a copy of the file") from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
