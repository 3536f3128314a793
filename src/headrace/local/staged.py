"""How much is committed of the files that jobs write: bytes come first, and a commit says that they count."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from headrace.errors import UserError
from headrace.local.namespace import Namespace, Transaction

_BEGIN: Final = """
INSERT INTO staged_file (job, line, output, path, size_bytes) VALUES (?, ?, ?, ?, 0)
ON CONFLICT (job, line, output) DO UPDATE SET path = excluded.path, size_bytes = 0, columns = NULL
"""

_OF_LINE: Final = "SELECT path, size_bytes FROM staged_file WHERE job = ? AND line = ? ORDER BY output"

_LINES: Final = """
SELECT line FROM staged_file WHERE job = ? UNION SELECT line FROM whole_files WHERE job = ? ORDER BY line
"""


class Staged(NamedTuple):
    """A file, by its name on record, how many of its bytes are committed, and the columns of a CSV file."""

    path: str
    size_bytes: int
    columns: tuple[str, ...] | None = None


class StagedFile:
    """The record of the file that a line of a job, which has one owner at a time, writes for an output."""

    def __init__(self, namespace: Namespace, job: str, line: str, output: str) -> None:
        self._namespace = namespace
        self.job, self.line, self.output = job, line, output

    def read(self) -> Staged | None:
        """Return the file and what of it is committed, None if there never was one."""
        with self._namespace.reading() as connection:
            row = connection.execute(
                "SELECT path, size_bytes, columns FROM staged_file WHERE job = ? AND line = ? AND output = ?",
                (self.job, self.line, self.output),
            ).get
        if row is None:
            return None
        path, size_bytes, columns = row
        return Staged(path, size_bytes, None if columns is None else tuple(json.loads(columns)))

    def begin(self, path: str) -> None:
        """Put a file on record of which nothing is committed yet; raises `UserError` if another writes it."""
        with self._namespace.transaction() as tx:
            writer: tuple[str, str, str] | None = tx.connection.execute(
                "SELECT job, output, line FROM staged_file WHERE path = ?", (path,)
            ).get
            if writer is not None and writer != (self.job, self.output, self.line):
                raise UserError(
                    f"output '{self.output}' of job '{self.job}' would write {path}, which output "
                    f"'{writer[1]}' of job '{writer[0]}' ({writer[2]}) writes. Give each a path of its own"
                )
            tx.connection.execute(_BEGIN, (self.job, self.line, self.output, path))

    def publish(self, tx: Transaction, size_bytes: int, columns: Sequence[str] | None = None) -> None:
        """Within a commit: so many bytes of the file count from now on; it has these columns if it is CSV."""
        tx.connection.execute(
            "UPDATE staged_file SET size_bytes = ?, columns = ? WHERE job = ? AND line = ? AND output = ?",
            (size_bytes, None if columns is None else json.dumps(columns), self.job, self.line, self.output),
        )


def staged_of_line(namespace: Namespace, job: str, line: str) -> list[Staged]:
    """Return the files that a line of a job has written."""
    with namespace.reading() as connection:
        return [Staged(*row) for row in connection.execute(_OF_LINE, (job, line))]


def staged_lines(namespace: Namespace, job: str) -> list[str]:
    """Return the lines of a job that have written files."""
    with namespace.reading() as connection:
        rows = connection.execute(_LINES, (job, job))
        return [line for (line,) in rows]


def published_bytes(namespace: Namespace, path: str) -> int | None:
    """Return how much of a file is committed, None if no job writes it."""
    with namespace.reading() as connection:
        size_bytes: int | None = connection.execute(
            "SELECT size_bytes FROM staged_file WHERE path = ?", (path,)
        ).get
    return size_bytes


def path_on_record(folder: Path, path: str | Path) -> str:
    """Return the name under which a file is on record: within the project's folder it moves with that."""
    whole = os.path.normpath(folder / path)
    inside = os.path.normpath(folder) + os.sep
    return whole.removeprefix(inside)
