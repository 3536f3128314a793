"""One SQLite file opened by our rules: a current SQLite, WAL, every commit synced, one format number.

Reasons: SQLite below 3.51.3 can corrupt a WAL database on reset; ``synchronous=FULL`` makes a commit
survive a power cut; a file written by a newer Headrace is refused instead of being misread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import apsw

from headrace.errors import Fatal, HeadraceError, Transient, UserError, disk_error
from headrace.local.checkpoints import Checkpointer
from headrace.local.files import make_folder
from headrace.local.read_only import ReadOnlyDatabase
from headrace.local.sqlite_errors import ends_writing, may_write, translated, undo
from headrace.local.write_lock import WriteLock

MINIMUM_SQLITE: Final = (3, 51, 3)

#: How long a write waits for another process's short transaction before it gives up.
BUSY_TIMEOUT_S: Final = 30.0

#: Under commits without a pause the background never catches up, and a log is used again only once all of it
#: is in the file. At this many times its aim the writer therefore moves the rest before others may write.
_LOG_OVERRUN: Final = 4

_KIB: Final = 1024

#: The memory for pages of the writing connection, unless told otherwise.
CACHE_KIB: Final = 64 * 1024


def script(name: str) -> str:
    """Return one of the `.sql` files beside this module."""
    return resources.files("headrace.local").joinpath(name).read_text("utf-8")


class Database:
    """One SQLite file with a connection for writing and one for reading, so that reads wait for no writer.

    Threads take turns on each connection; processes take turns at writing through an OS file lock in front
    of SQLite's own (with 8 writing processes this cut the 99th percentile of a commit from 107 to 22 ms).
    `schema` makes a file of format `version`, and `upgrades` has what turns one of an earlier format into one
    of the next. `page_bytes` counts when the file is made. `cache_kib` is the memory for pages of the writing
    connection, `log_kib` the size of the write-ahead log at which a background thread begins to move it.
    A failed sync stops the writer for good, since a sync tried again may claim what is lost. A file that was
    moved or removed is not used any more: what is written there nobody would find. Never share an instance
    across a fork.
    """

    def __init__(
        self,
        path: Path,
        *,
        schema: str,
        version: int,
        upgrades: Mapping[int, str] | None = None,
        page_bytes: int = 4096,
        cache_kib: int = CACHE_KIB,
        log_kib: int = 64 * 1024,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        _check_sqlite()
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._write_turn, self._read_turn = threading.RLock(), threading.RLock()
        self._checkpointer = Checkpointer(path)
        self._failed = False
        self._log_pages = self._moved_pages = 0
        with contextlib.ExitStack() as closing:
            try:
                make_folder(path.parent)
                self._lock = WriteLock(path.with_name(path.name + ".lock"))
            except OSError as error:
                raise disk_error(error.errno or 0, path, "open", error.strerror or str(error)) from None
            closing.callback(self._lock.close)
            self._writer = self._connection(closing)
            self._identity = _identity(path)
            with translated(path, self._writer):
                self._prepare_writer(page_bytes, cache_kib)
                self._aim_pages = log_kib * _KIB // self._writer.pragma("page_size")
            closing.callback(self._checkpointer.close)
            with translated(path, self._writer):
                self._upgrade(schema, version, upgrades or {})
            self._reader = self._connection(closing)
            with translated(path, self._reader, "read"):
                self._reader.pragma("query_only", 1)
            self._closing = closing.pop_all()

    def _connection(self, closing: contextlib.ExitStack) -> apsw.Connection:
        with translated(self.path, doing="open"):
            connection = apsw.Connection(str(self.path))
        closing.callback(connection.close)
        connection.set_busy_timeout(round(self._busy_timeout_s * 1000))
        connection.pragma("temp_store", 2)  # in memory: no other disk can be full or read-only
        return connection

    def _prepare_writer(self, page_bytes: int, cache_kib: int) -> None:
        self._writer.pragma("page_size", page_bytes)
        if self._writer.pragma("journal_mode", "wal") != "wal":
            raise Fatal(
                f"{self.path} cannot use write-ahead logging: is it on a network disk? Use a local one"
            )
        self._writer.pragma("synchronous", 2)
        self._writer.pragma("foreign_keys", 1)
        self._writer.pragma("cache_size", -cache_kib)
        self._writer.set_wal_hook(self._note_log)

    def _upgrade(self, schema: str, version: int, upgrades: Mapping[int, str]) -> None:
        found = self._writer.pragma("user_version")
        if found > version:
            raise UserError(
                f"{self.path} was written by a newer Headrace (format {found}, this one reads up to "
                f"{version}). Upgrade Headrace, or choose another data folder"
            )
        if found < version:
            with self.write() as connection:
                found = connection.pragma("user_version")
                steps = [upgrades[step] for step in range(found, version)] if found else [schema]
                for step in steps:
                    connection.execute(step)
                connection.pragma("user_version", version)

    @contextlib.contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """Run a short write transaction: durable when the block ends, undone if it raises."""
        with self._write_turn:
            assert not self._writer.in_transaction, "a write transaction inside another"
            if self._failed or self._checkpointer.failed:
                raise Fatal(
                    f"the disk failed while {self.path} was written: nothing more is written to it. "
                    "Start again when it is mended"
                )
            self._lock.acquire(self._busy_timeout_s)
            try:
                self.check_in_place()
                with translated(self.path, self._writer):
                    yield from self._transaction()
            finally:
                self._lock.release()

    def _transaction(self) -> Iterator[apsw.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException as error:
            self._failed = self._failed or ends_writing(error, self._writer)
            undo(self._writer)
            raise
        self._tend_log()

    @contextlib.contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """Run a short read transaction: everything inside sees one state of the file.

        Inside a `write` of the same thread it sees what that has written. Nothing can be written through it.
        A long one keeps the log from being emptied.
        """
        if self._writing_here():
            yield self._writer
            return
        with self._read_turn, translated(self.path, self._reader, "read"):
            if self._reader.in_transaction:
                yield self._reader
                return
            self.check_in_place()
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                undo(self._reader)

    def version(self) -> int:
        """Return a number that changes with every commit, of whichever process; it costs microseconds."""
        self.check_in_place()
        with self._read_turn, translated(self.path, self._reader, "read"):
            return int(self._reader.pragma("data_version"))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._write_turn, self._read_turn:
            self._closing.close()

    def check_in_place(self) -> None:
        """Raise `Fatal` if the file is no longer the one that was opened."""
        if _identity(self.path) != self._identity:
            raise Fatal(
                f"{self.path} was moved or removed while it was in use: nothing more is written to it. "
                "Put it back if it is needed, and start again"
            )

    def _writing_here(self) -> bool:
        # An RLock is taken again at once by the thread that has it, and by another only when it is free.
        if not self._write_turn.acquire(blocking=False):
            return False
        try:
            return self._writer.in_transaction
        finally:
            self._write_turn.release()

    def _note_log(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _tend_log(self) -> None:
        if self._log_pages >= self._aim_pages * _LOG_OVERRUN:
            self._checkpointer.run(self._writer)
        elif self._log_pages >= self._moved_pages + self._aim_pages:
            self._moved_pages = self._log_pages
            self._checkpointer.wake()
        elif self._log_pages < self._moved_pages:
            self._moved_pages = 0  # the log has begun anew


AnyDatabase = Database | ReadOnlyDatabase


def opened(path: Path, *, looking: bool, version: int, **options: Any) -> AnyDatabase:
    """Open a file as `Database` says; for whoever is only `looking`, also where it cannot be written."""
    if not looking or not path.exists():
        return Database(path, version=version, **options)
    if not may_write(path):
        return ReadOnlyDatabase(path, version=version)
    try:
        return Database(path, version=version, **options)
    except Transient:  # a full disk, for one, which need not hinder who looks
        with contextlib.suppress(HeadraceError):
            return ReadOnlyDatabase(path, version=version)
        raise


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells this file from another one of the same name, None if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_sqlite() -> None:
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if found < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        raise Fatal(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a log; Headrace needs {wanted} or newer. "
            "Install the apsw wheel from PyPI"
        )
