"""Which files an input of a job has begun to read, and in which order: what its offsets count by."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw

from headrace.local.namespace import Namespace

_READ: Final = """
SELECT name, head, size_bytes, cuts FROM input_file
WHERE job = ? AND input = ? AND number >= ? ORDER BY number
"""

_SAVE: Final = """
INSERT INTO input_file (job, input, number, name, head, size_bytes, cuts) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, input, number) DO UPDATE SET size_bytes = excluded.size_bytes, cuts = excluded.cuts
"""


class InputFile(NamedTuple):
    """A file of a sequence: its first bytes, its size, and the ends of lines that no newline marks.

    The size is that at which it was begun or, once a later file was begun, the one at which it was left.
    """

    name: str
    head: bytes
    size_bytes: int
    cuts: tuple[int, ...] = ()


class InputFiles:
    """The record of one input of a job. A file has the number of its place in it, from 0, for ever."""

    def __init__(self, namespace: Namespace, job: str, name: str) -> None:
        self._namespace, self._key = namespace, (job, name)

    def since(self, number: int) -> list[InputFile]:
        """Return the files on record from a number on."""
        with self._namespace.reading() as connection:
            return self._read(connection, number)

    def save(self, number: int, known: Sequence[InputFile], files: Sequence[InputFile]) -> bool:
        """Put `files` on record from a number on.

        False, and nothing is changed, if another process has put there what is not `known`.
        """
        with self._namespace.transaction() as tx:
            if self._read(tx.connection, number) != list(known):
                return False
            tx.connection.executemany(
                _SAVE,
                [
                    (*self._key, place, file.name, file.head, file.size_bytes, json.dumps(file.cuts))
                    for place, file in enumerate(files, start=number)
                ],
            )
            return True

    def _read(self, connection: apsw.Connection, number: int) -> list[InputFile]:
        rows = connection.execute(_READ, (*self._key, number))
        return [
            InputFile(name, head, size_bytes, tuple(json.loads(cuts)))
            for name, head, size_bytes, cuts in rows
        ]
