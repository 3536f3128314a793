"""A SQLite file that may be looked at but not written: on a read-only disk, or in somebody else's folder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import apsw

from headrace.errors import Fatal, Transient, UserError
from headrace.local.sqlite_errors import translated, undo


class ReadOnlyDatabase:
    """Reads a file of format `version` as `Database` does, and refuses to write it.

    Where a process has the file open for writing, perhaps by another mount, its log and locks are there and
    are used. Where there is no log nobody writes, and SQLite may read without any locks: each read checks
    that it stayed so.
    """

    def __init__(self, path: Path, *, version: int) -> None:
        self.path = path
        self._turn = threading.RLock()
        with contextlib.ExitStack() as closing, translated(path, doing="read"):
            self._connection = connect_read_only(path)
            closing.callback(self._connection.close)
            self._unlogged = _is_unlogged(path)
            with translated(path, self._connection, "read"):
                self._check_version(version)
            self._closing = closing.pop_all()

    def _check_version(self, version: int) -> None:
        found = self._connection.pragma("user_version")
        if found > version:
            raise UserError(
                f"{self.path} was written by a newer Headrace (format {found}, this one reads up to "
                f"{version}). Upgrade Headrace"
            )
        if found < version:
            raise UserError(
                f"{self.path} has the earlier format {found} and cannot be brought up to {version}, as it "
                "cannot be written here. Copy the folder to where it can, and look there"
            )

    @contextlib.contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """Run a short read transaction: everything inside sees one state of the file."""
        with self._turn, translated(self.path, self._connection, "read"):
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                undo(self._connection)
            if self._unlogged and not _is_unlogged(self.path):
                raise Transient(f"another process has begun to write {self.path}: look again")

    def write(self) -> contextlib.AbstractContextManager[apsw.Connection]:
        """Raise `UserError`."""
        raise UserError(
            f"{self.path} can only be read here: its file system is read-only or its folder is somebody "
            "else's. Do this where it can be written"
        )

    def version(self) -> int:
        """Return a number that changes with every commit."""
        with self._turn, translated(self.path, self._connection, "read"):
            return int(self._connection.pragma("data_version"))

    def check_in_place(self) -> None:
        """Raise `Fatal` if the file is gone."""
        if not self.path.exists():
            raise Fatal(f"{self.path} was moved or removed while it was in use")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._closing.close()


def connect_read_only(path: Path) -> apsw.Connection:
    """Open a file for reading, whether or not it can be written; raises what SQLite raises.

    A log without the index beside it, as a copy may have, cannot be read where no index can be made:
    that is a `UserError`.
    """
    if _is_unlogged(path):
        # Without a log SQLite would make one even to read; it must be told that nobody writes.
        return _connect(path, "mode=ro&immutable=1")
    if not _beside(path, "-shm").exists():
        raise UserError(
            f"{path} was not closed in order, and what its log holds must be written to be read: copy the "
            f"folder {path.parent} to where it can be written, and look there"
        )
    return _connect(path, "mode=ro&readonly_shm=1")


def _connect(path: Path, options: str) -> apsw.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{options}"
    return apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)


def _is_unlogged(path: Path) -> bool:
    log = _beside(path, "-wal")
    return not log.exists() or (not log.stat().st_size and not _beside(path, "-shm").exists())


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
