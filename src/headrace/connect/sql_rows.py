"""Rows to a table of an SQL database, exactly once: what the databases share.

A block is written in one transaction of the target, and in it the sequence of its line: the table
``headrace_delivery`` holds the last one of each producer, and a block whose sequence is not above it is there
already. So a block that is delivered again, after a crash or by a process that was taken for dead, changes
nothing. A row that the target refuses is found by halving; then nothing of the block is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

from headrace.connect.retry import Patience
from headrace.connect.row_lines import Line, is_null, lines_of, prepare_lines, scalar, shown, type_of
from headrace.connect.sink import Prepared, Refused, Rows
from headrace.errors import UserError, did_you_mean
from headrace.events.batch import Batch, ValueType

#: The table of the target that holds the last sequence of each producer.
DELIVERIES: Final = "headrace_delivery"

#: Rows of one statement: more are hardly faster, and a statement is held in memory whole.
MAX_STATEMENT_ROWS: Final = 100_000

_SHOWN_CHARS: Final = 200

#: The values of a row by column, as JSON.
Row = Mapping[str, bytes]


class RefusedStatement(Exception):
    """The target does not take one of the rows of a statement, or not together."""


class Target(Protocol):
    """One table of a database. What it raises otherwise is one of the errors of Headrace."""

    place: str  # what messages call it; no secret is in it

    def transaction(self) -> AbstractContextManager[None]:
        """Begin a transaction, durable when the block ends, undone if it raises."""
        ...

    def advance(self, producer: str, sequence: int) -> bool:
        """Make `sequence` the producer's last; false if its last is not below it."""
        ...

    def columns(self) -> Sequence[str]:
        """Return the names of the table's columns, none if there is no such table."""
        ...

    def make(self, columns: Mapping[str, ValueType], key: Sequence[str]) -> None:
        """Make the table with `key` as its primary key, or add columns to it if it is there by now."""
        ...

    def attempt(self) -> AbstractContextManager[None]:
        """Undo what the block wrote if it raises; the transaction goes on."""
        ...

    def insert(self, columns: Sequence[str], rows: Sequence[Sequence[bytes]], key: Sequence[str]) -> None:
        """Insert rows of JSON values, or update those whose `key` is there. Raises `RefusedStatement`."""
        ...

    def interrupt(self) -> None:
        """Break off, from a signal handler, the transaction that is open, and soon each one after it."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True)
class TableRules:
    """How rows become those of a table: see the settings of the outputs."""

    key: Sequence[str]
    create: bool
    max_rows: int


class SqlSink:
    """Writes blocks to a table; `output` is what messages call it.

    `source` tells this project from others that write to the same database.
    """

    def __init__(
        self, output: str, target: Target, rules: TableRules, source: str, patience: Patience
    ) -> None:
        self.patience = patience
        self._output, self._target, self._rules, self._source = output, target, rules, source

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows; one that is too large fails, and one whose key is NULL."""
        prepared = prepare_lines(rows)
        failures = {**prepared.failures, **self._without_key(rows.batch)}
        return Prepared(prepared.payload, prepared.rows, failures)

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Write the rows unless they are there; raises `Refused` for those that the table does not take."""
        with self._target.transaction():
            if not self._target.advance(f"{self._source}:{producer}", sequence):
                return
            lines = lines_of(block)
            refused = _Block(self._target, self._rules, lines).store()
            if refused:
                raise Refused(self._told(lines, refused), refused)

    def interrupt(self) -> None:
        """Break off what is being written, from a signal handler: `deliver` then raises Transient."""
        self._target.interrupt()

    def close(self) -> None:
        """Close the connection."""
        self._target.close()

    def _without_key(self, batch: Batch) -> dict[int, str]:
        missing: dict[int, str] = {}
        for name in self._rules.key:
            found = batch.named(name)
            if not found and not any(column.open for column in batch.columns):
                known = [column.name for column in batch.columns]
                raise UserError(
                    f"output '{self._output}': key names the column {name!r}, which the query does not "
                    f"write; it writes {', '.join(known)}. {did_you_mean(name, known)}".rstrip()
                )
            planes = [physical for column in found for physical in column.physicals]
            null = pl.all_horizontal(pl.col(planes).is_null()) if planes else pl.lit(value=True)
            rows = batch.frame.select(pl.int_range(pl.len()).filter(null)).to_series().to_list()
            missing |= dict.fromkeys(rows, f"the row's key {name!r} is NULL")
        return missing

    def _told(self, lines: Sequence[Line], refused: Mapping[int, str]) -> str:
        first = min(refused)
        return (
            f"output '{self._output}': {self._target.place} refuses {len(refused):,} of {len(lines):,} rows. "
            f"The first is {shown(lines[first].text)[:_SHOWN_CHARS]}: {refused[first]}. "
            "Nothing is lost: they are kept, and are delivered first when the job runs again"
        )


class _Block:
    """The rows of one block on their way into the table, within a transaction."""

    def __init__(self, target: Target, rules: TableRules, lines: Sequence[Line]) -> None:
        self._target, self._rules, self._lines = target, rules, lines
        self._known = _Names(target.columns())
        self._refused: dict[int, str] = {}

    def store(self) -> dict[int, str]:
        """Write the rows; returns those that are refused, and why."""
        if self._rules.create:
            self._make_columns()
        self._check_key()
        rows = {number: row for number in range(len(self._lines)) if (row := self._placed(number))}
        numbers = list(rows)
        for first in range(0, len(numbers), self._rules.max_rows):
            self._write(numbers[first : first + self._rules.max_rows], rows)
        return dict(sorted(self._refused.items()))

    def _make_columns(self) -> None:
        """Make the table, or the columns that it lacks, of the types that the block has in them."""
        found: dict[str, set[ValueType]] = {}
        names = _Names(())
        for line in self._lines:
            for name, value in line.values.items():
                if name and "\0" not in name and self._known.find(name) is None and not is_null(value):
                    column = names.find(name) or names.add(name)
                    type_ = type_of(value, is_datetime=name in line.datetimes)
                    found.setdefault(column, set()).add(type_)
        if found:
            key = [names.find(name) or name for name in self._rules.key]
            self._target.make({name: _column_type(types) for name, types in found.items()}, key)
            self._known = _Names(self._target.columns())

    def _check_key(self) -> None:
        for name in self._rules.key:
            if self._known.names and self._known.find(name) is None:
                raise UserError(
                    f"{self._target.place} has no column {name!r}, which `key` names. "
                    f"{did_you_mean(name, self._known.names)}".rstrip()
                )
        if not self._known.names and not self._rules.create:
            raise UserError(f"{self._target.place} is not there. Make it, or set create = true")

    def _placed(self, number: int) -> Row | None:
        """Return a row by column; None if it is refused, as when the table lacks a column of it."""
        row: dict[str, bytes] = {}
        for name, value in self._lines[number].values.items():
            column = self._known.find(name)
            if column is None:
                if not is_null(value):
                    self._refused[number] = f"the table has no column {name!r}"
                    return None
            elif not is_null(row.get(column, b"null")) and not is_null(value):
                self._refused[number] = f"it has the column {column!r} twice, in several spellings"
                return None
            elif column not in row or not is_null(value):
                row[column] = value
        if not row:
            self._refused[number] = "it has no value in any column of the table"
        return row or None

    def _write(self, numbers: Sequence[int], rows: Mapping[int, Row]) -> None:
        """Write rows together, or else in halves, down to those that are refused alone."""
        key = [self._known.find(name) or name for name in self._rules.key]
        try:
            with self._target.attempt():
                chosen = [rows[number] for number in numbers]
                for columns, values in _alike(_last_of_key(chosen, key) if key else chosen):
                    self._target.insert(columns, values, key)
        except RefusedStatement as error:
            if len(numbers) == 1:
                self._refused[numbers[0]] = str(error)
                return
            half = len(numbers) // 2
            self._write(numbers[:half], rows)
            self._write(numbers[half:], rows)


class _Names:
    """Names of columns, found as they are spelt or else in any case."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: list[str] = []
        self._found: dict[str, str | None] = {}
        self._folded: dict[str, list[str]] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> str:
        """Add a name and return it."""
        self.names.append(name)
        self._found.clear()
        self._folded.setdefault(name.casefold(), []).append(name)
        return name

    def find(self, name: str) -> str | None:
        """Return the column that a name means; None if there is none, or only several in other spellings."""
        if name not in self._found:
            same = self._folded.get(name.casefold(), [])
            self._found[name] = name if name in same else same[0] if len(same) == 1 else None
        return self._found[name]


def _column_type(types: set[ValueType]) -> ValueType:
    """Return the type of a column that holds values of `types`."""
    if len(types) == 1:
        return next(iter(types))
    if types == {ValueType.BIGINT, ValueType.FLOAT}:
        return ValueType.FLOAT
    return ValueType.RECORD if types == {ValueType.RECORD, ValueType.ARRAY} else ValueType.TEXT


def _last_of_key(rows: Sequence[Row], key: Sequence[str]) -> list[Row]:
    """Return what is left of rows once those of the same key were written one after the other.

    A row sets the columns that it has.
    """
    left: dict[tuple[str, ...], Row] = {}
    for row in rows:
        place = tuple(_key_text(row.get(column, b"null")) for column in key)
        left[place] = {**left.get(place, {}), **row}
    return list(left.values())


def _key_text(value: bytes) -> str:
    """Return a text that values have in common which a column may hold to be the same: 1, 1.0 and '1'."""
    held = scalar(value)
    return str(int(held)) if isinstance(held, float) and held.is_integer() else str(held)


def _alike(rows: Sequence[Row]) -> list[tuple[tuple[str, ...], list[tuple[bytes, ...]]]]:
    """Return rows by the columns that they have."""
    groups: dict[tuple[str, ...], list[tuple[bytes, ...]]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(tuple(row.values()))
    return list(groups.items())


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Return names as a list of SQL identifiers."""
    return ", ".join(map(quoted, names))


def on_conflict(columns: Sequence[str], key: Sequence[str]) -> str:
    """Return the end of an INSERT that updates the row whose key is there; empty without a key."""
    if not key:
        return ""
    others = [quoted(column) for column in columns if column not in key]
    update = "UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in others)
    return f" ON CONFLICT ({listed(key)}) DO {update if others else 'NOTHING'}"


def checked_key(key: str | list[str]) -> list[str]:
    """Return the columns of a key; raises ValueError for one that names a column twice, or none."""
    names = [key] if isinstance(key, str) else key
    if not all(names) or len({name.casefold() for name in names}) != len(names):
        raise ValueError(f"key: expected names of columns, each once, found {key!r}")
    return names
