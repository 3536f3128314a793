"""Rows that are committed and wait for their file to be whole: the part files, and how far they count.

A line of a job, which has one owner at a time, has for each output any number of parts. One that is closed
takes no more rows: the file that is made of it has a name and a content that stay, whoever makes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from headrace.errors import UserError
from headrace.local.namespace import Namespace, Transaction
from headrace.names import safe_file_stem

_OF_OUTPUT: Final = """
SELECT number, place, path, name, making, size_bytes, rows, begun_us, written_us, closed
FROM file_part WHERE job = ? AND line = ? AND output = ? ORDER BY number
"""

_SAVE: Final = """
INSERT INTO file_part
    (job, line, output, number, place, path, name, making, size_bytes, rows, begun_us, written_us, closed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, line, output, number) DO UPDATE
SET size_bytes = excluded.size_bytes, rows = excluded.rows, written_us = excluded.written_us,
    closed = excluded.closed
"""

_BEGIN: Final = """
INSERT INTO whole_files (job, line, output, path, begun) VALUES (?, ?, ?, ?, 0)
ON CONFLICT (job, line, output) DO UPDATE SET path = excluded.path, columns = NULL
"""


class Part(NamedTuple):
    """A part file by its `name`, what of it counts, and the `path` of the file that is made of it."""

    number: int
    place: str
    path: str
    name: str
    making: str
    size_bytes: int
    rows: int
    begun_us: int
    written_us: int
    closed: bool


class PartRecord:
    """The record of the parts that a line of a job has for an output."""

    def __init__(self, namespace: Namespace, job: str, line: str, output: str) -> None:
        self._namespace = namespace
        self.job, self.line, self.output = job, line, output
        self._key = (job, line, output)
        self.clock = namespace.clock
        self.folder: Path = namespace.folder / "parts" / safe_file_stem(f"{job}@{line}@{output}")

    def begin(self, path: str) -> None:
        """Put on record where files are written; raises `UserError` if another output writes there.

        Under another path than before the columns of CSV files are open again.
        """
        with self._namespace.transaction() as tx:
            found: tuple[str, str, str, str] | None = tx.connection.execute(
                "SELECT job, line, output, path FROM whole_files WHERE path = ?", (path,)
            ).get
            if found is not None and found[:3] != self._key:
                job, line, output, _ = found
                raise UserError(
                    f"output '{self.output}' of job '{self.job}' would write {path}, which output "
                    f"'{output}' of job '{job}' ({line}) writes. Give each a path of its own"
                )
            if found is None:
                tx.connection.execute(_BEGIN, (*self._key, path))

    def begun(self) -> int:
        """Return how many files were begun."""
        with self._namespace.reading() as connection:
            begun: int | None = connection.execute(
                "SELECT begun FROM whole_files WHERE job = ? AND line = ? AND output = ?", self._key
            ).get
        return begun or 0

    def columns(self) -> tuple[str, ...] | None:
        """Return the columns of CSV files that the first rows have given."""
        with self._namespace.reading() as connection:
            columns: str | None = connection.execute(
                "SELECT columns FROM whole_files WHERE job = ? AND line = ? AND output = ?", self._key
            ).get
        return None if columns is None else tuple(json.loads(columns))

    def read(self) -> list[Part]:
        """Return the parts that there are, in order of their numbers."""
        with self._namespace.reading() as connection:
            rows = connection.execute(_OF_OUTPUT, self._key)
            return [Part(*row)._replace(closed=bool(row[-1])) for row in rows]

    def save(
        self, tx: Transaction, parts: Iterable[Part], begun: int, columns: Sequence[str] | None = None
    ) -> None:
        """Within a commit: parts count as far as they say, and so many files were begun."""
        tx.connection.executemany(_SAVE, [(*self._key, *part) for part in parts])
        tx.connection.execute(
            "UPDATE whole_files SET begun = ?, columns = coalesce(columns, ?) "
            "WHERE job = ? AND line = ? AND output = ?",
            (begun, None if columns is None else json.dumps(columns), *self._key),
        )

    def forget(self, tx: Transaction, number: int) -> None:
        """Within a commit: the file of a part is whole and in its place."""
        tx.connection.execute(
            "DELETE FROM file_part WHERE job = ? AND line = ? AND output = ? AND number = ?",
            (*self._key, number),
        )


def records_of_line(namespace: Namespace, job: str, line: str) -> list[PartRecord]:
    """Return the records of all outputs whose files a line of a job writes whole."""
    with namespace.reading() as connection:
        rows = connection.execute(
            "SELECT output FROM whole_files WHERE job = ? AND line = ? ORDER BY output", (job, line)
        )
        return [PartRecord(namespace, job, line, output) for (output,) in rows]
