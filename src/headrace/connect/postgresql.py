"""A table of a PostgreSQL database as an output, exactly once.

A statement has its rows as one JSON parameter, which the server makes rows of by the types of the table:
four times as fast as a statement a row, and as exact as JSON is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from headrace.connect.breaking_off import BreakingOff
from headrace.connect.retry import OnError, Patience
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
from headrace.errors import Transient, UserError
from headrace.events.batch import ValueType
from headrace.redaction import redacted, remember_secret

if TYPE_CHECKING:
    import psycopg

_TYPES: Final = {
    ValueType.BIT: "boolean",
    ValueType.BIGINT: "bigint",
    ValueType.FLOAT: "double precision",
    ValueType.TEXT: "text",
    ValueType.DATETIME: "timestamptz",
    ValueType.RECORD: "jsonb",
    ValueType.ARRAY: "jsonb",
}

#: The server cuts longer names, so that two may become one.
_MAX_NAME_BYTES: Final = 63

#: For one transaction, as a pool may give the next to another. A session that stops amid a transaction, with
#: its process, ends by itself and lets go of its locks; a commit is durable even where the default is not.
_SESSION: Final = """
SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true),
    set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true)
"""
#: A constraint that waits for the end would refuse a row that is not told.
_AT_ONCE: Final = "SET CONSTRAINTS ALL IMMEDIATE"

_EXISTS: Final = "SELECT to_regclass($1) IS NOT NULL"
_CREATE_DELIVERIES: Final = (
    "CREATE TABLE IF NOT EXISTS {deliveries} (producer text PRIMARY KEY, sequence bigint NOT NULL)"
)
_ADVANCE: Final = """
INSERT INTO {deliveries} AS delivery (producer, sequence) VALUES ($1, $2)
ON CONFLICT (producer) DO UPDATE SET sequence = excluded.sequence WHERE delivery.sequence < excluded.sequence
RETURNING sequence
"""
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
#: Instances make tables in turn: two that make the same at once would hinder each other.
_IN_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended('headrace:' || $1, 0))"
_CREATE: Final = "CREATE TABLE {table} ({columns}{key})"
_ADD: Final = "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column}"
_INSERT: Final = """
INSERT INTO {table} ({columns})
SELECT {columns} FROM json_to_recordset($1::json) AS given ({typed}){conflict}
"""

#: Classes of SQLSTATE (PostgreSQL, appendix A): connection, rollback, resources, intervention, system.
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "57", "58"})
#: Locks not to be had, in use, read-only, ended while idle in a transaction; made by another meanwhile.
_PASSING: Final = frozenset({"55P03", "55006", "25006", "25P03", "42P07", "42701"})
#: Cardinality (two rows of one key), data, constraints, a view's check, limits, what a trigger raises.
_REFUSAL_CLASSES: Final = frozenset({"21", "22", "23", "44", "54", "P0"})


class PostgresqlSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="postgresql", tag_field="kind"
):
    """``kind = "postgresql"``: rows of `table` (by default the output's name) of the database `url`.

    `password` may stand apart from it. `schema` is where the table is, by default where the server looks.
    With `key`, columns that are unique together, a row updates the one that has its key. With `create` the
    table is made, and columns that it lacks are added. A statement has at most `max_rows`; connecting, and a
    lock, may take `timeout_s`.
    `on_error`, `max_tries` and `give_up_seconds` are the output's `Patience`.
    """

    url: str | None = None
    password: str | None = None
    table: str | None = None
    schema: str | None = None
    key: str | list[str] = []
    create: bool = True
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_STATEMENT_ROWS)] = 5000
    timeout_s: Annotated[float, msgspec.Meta(ge=1, le=300)] = 30
    on_error: OnError = "retry"
    max_tries: Annotated[int, msgspec.Meta(ge=1)] | None = None
    give_up_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        if not self.url:
            raise ValueError("url is missing: expected the database, as postgresql://user@host:5432/name")
        if not self.url.startswith(("postgresql://", "postgres://")) or not self.url.isprintable():
            raise ValueError("url is no database's: expected postgresql://user@host:5432/name")
        try:
            parts = urlsplit(self.url)
        except ValueError:
            raise ValueError("url is no database's: its host is not one") from None
        if "@" in parts.path + parts.query + parts.fragment:
            raise ValueError(
                "url: write @, /, ? and # in a password as %40, %2F, %3F and %23, or use password"
            )
        for name in (self.table, self.schema):
            if name is not None and (not name or "\0" in name or len(name.encode()) > _MAX_NAME_BYTES):
                raise ValueError(f"table and schema: expected a name of at most {_MAX_NAME_BYTES} bytes")
        checked_key(self.key)
        Patience.of(self.on_error, self.max_tries, self.give_up_seconds)

    @property
    def patience(self) -> Patience:
        """How long the target is asked again."""
        return Patience.of(self.on_error, self.max_tries, self.give_up_seconds)

    @property
    def where(self) -> str:
        """The database, without the user, the password and the parameters."""
        parts = urlsplit(self.url or "")
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __repr__(self) -> str:
        return (
            f"PostgresqlSettings(url={self.where!r}, table={self.table!r}, schema={self.schema!r}, "
            f"key={self.key!r}, create={self.create}, max_rows={self.max_rows}, timeout_s={self.timeout_s:g})"
        )


def postgresql_sink(output: str, settings: PostgresqlSettings, source: str) -> SqlSink:
    """Open the output; it connects with the first block."""
    target = PostgresqlTable(settings, settings.table or output)
    return SqlSink(
        output,
        target,
        TableRules(checked_key(settings.key), settings.create, settings.max_rows),
        source,
        settings.patience,
    )


class PostgresqlTable:
    """A table of a PostgreSQL database, over one connection that is made anew when it broke."""

    def __init__(self, settings: PostgresqlSettings, table: str) -> None:
        self._psycopg = _psycopg()
        self.place = f"table {table!r} of {settings.where}"
        self._settings = settings
        schema = f"{quoted(settings.schema)}." if settings.schema is not None else ""
        self._table, self._deliveries = schema + quoted(table), schema + quoted(DELIVERIES)
        self._types: dict[str, str] = {}
        self._opened: psycopg.Connection[Any] | None = None
        self._breaking_off = BreakingOff(self._psycopg)
        for secret in (settings.password, unquote(urlsplit(settings.url or "").password or "")):
            remember_secret(secret or "")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction; a connection that is not well after it is closed."""
        with self._told():
            if self._opened is None or self._opened.closed:
                self._opened = self._breaking_off.connected(self._connect)
            try:
                with self._breaking_off.over(self._opened), self._opened.transaction():
                    timeout = f"{self._settings.timeout_s * 1000:.0f}ms"
                    self._run(_SESSION, timeout)
                    yield
            except BaseException:
                self.close()
                raise

    def advance(self, producer: str, sequence: int) -> bool:
        """Make `sequence` the producer's last; false if its last is not below it."""
        if not self._run(_EXISTS, self._deliveries)[0][0]:
            self._run(_IN_TURN, self._deliveries)
            self._run(_CREATE_DELIVERIES.format(deliveries=self._deliveries))
        return bool(self._run(_ADVANCE.format(deliveries=self._deliveries), producer, sequence))

    def columns(self) -> list[str]:
        """Return the names of the table's columns."""
        self._types = dict(self._run(_COLUMNS, self._table))
        return list(self._types)

    def make(self, columns: Mapping[str, ValueType], key: Sequence[str]) -> None:
        """Make the table, or add columns to it; a name that the server would cut is left out."""
        self._run(_IN_TURN, self._table)
        fitting = {name: type_ for name, type_ in columns.items() if len(name.encode()) <= _MAX_NAME_BYTES}
        typed = [f"{quoted(name)} {_TYPES[type_]}" for name, type_ in fitting.items()]
        if self.columns():
            for column in typed:
                self._run(_ADD.format(table=self._table, column=column))
            return
        primary = f", PRIMARY KEY ({listed(key)})" if key else ""
        self._run(_CREATE.format(table=self._table, columns=", ".join(typed), key=primary))

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Run a savepoint; what the server refuses of the rows in it is told as `RefusedStatement`."""
        try:
            with self._connection.transaction():
                self._run(_AT_ONCE)
                yield
        except self._psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _REFUSAL_CLASSES:
                raise
            raise RefusedStatement(_said(error)) from None

    def insert(self, columns: Sequence[str], rows: Sequence[Sequence[bytes]], key: Sequence[str]) -> None:
        """Insert or update rows."""
        members = (msgspec.json.encode(name).replace(b"%", b"%%") + b":%b" for name in columns)
        shape = b"{" + b",".join(members) + b"}"
        given = b"[" + b",".join([shape % tuple(row) for row in rows]) + b"]"
        statement = _INSERT.format(
            table=self._table,
            columns=listed(columns),
            typed=", ".join(f"{quoted(name)} {self._types[name]}" for name in columns),
            conflict=on_conflict(columns, key),
        )
        self._run(statement, given.decode())

    def interrupt(self) -> None:
        """Break off what hangs, from a signal handler: it raises Transient."""
        self._breaking_off.interrupt()

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _connection(self) -> psycopg.Connection[Any]:
        assert self._opened is not None
        return self._opened

    def _run(self, statement: str, *values: object) -> list[Any]:
        cursor = self._connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def _connect(self) -> psycopg.Connection[Any]:
        driver = self._psycopg
        given: dict[str, Any] = (
            {} if self._settings.password is None else {"password": self._settings.password}
        )
        timeout_ms = round(self._settings.timeout_s * 1000)
        connection: psycopg.Connection[Any] = driver.connect(
            self._settings.url,
            autocommit=True,
            cursor_factory=driver.RawCursor,
            prepare_threshold=None,  # a pool may give each transaction another connection
            connect_timeout=max(2, round(self._settings.timeout_s)),
            tcp_user_timeout=timeout_ms,
            client_encoding="utf8",
            application_name="headrace",
            **given,
        )
        connection.isolation_level = driver.IsolationLevel.READ_COMMITTED
        return connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Transient as error:  # no connection
            raise Transient(f"{self.place}: {error}") from None
        except self._psycopg.Error as error:
            state = error.sqlstate
            what = f"{self.place}: {_said(error)}"
            broken = state is None and isinstance(error, self._psycopg.OperationalError)
            if broken or (state or "")[:2] in _PASSING_CLASSES or state in _PASSING:
                raise Transient(what) from None
            raise UserError(f"{what}. Check the settings of the output against the database") from None


def _said(error: Exception) -> str:
    """Return what the server says, in one line."""
    diagnosis = getattr(error, "diag", None)
    parts = [diagnosis.message_primary, diagnosis.message_detail] if diagnosis else []
    text = ": ".join(part for part in parts if part) or str(error) or type(error).__name__
    return redacted(" ".join(text.split()).rstrip(".?"))


def _psycopg() -> Any:
    with contextlib.suppress(ImportError):
        import psycopg  # noqa: PLC0415 - optional

        return psycopg
    raise UserError("writing to PostgreSQL needs psycopg: pip install 'headrace[postgresql]'")
