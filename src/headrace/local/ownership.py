"""Owning a task: an OS lock that dies with its process, and a fence that an owner left behind cannot pass."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from headrace.errors import Fatal, Transient, disk_error
from headrace.local.namespace import Namespace, Transaction
from headrace.names import safe_file_stem

_RAISE_FENCE: Final = """
INSERT INTO task (job, task, fence, owner, acquired_us) VALUES (?, ?, 1, ?, ?)
ON CONFLICT (job, task) DO UPDATE
SET fence = fence + 1, owner = excluded.owner, acquired_us = excluded.acquired_us
RETURNING fence
"""

#: `struct flock`: type, whence, start, length (0: to the end), pid (0 for a lock of the open file).
_FLOCK: Final = "hhqqi4x"


class Owned(Transient):
    """Another process has the task; it is free the moment that process ends. `owner` says which."""

    def __init__(self, what: str, owner: str) -> None:
        super().__init__(
            f"{what} is run by {owner}. Stop that one first, or wait until it ends: its place is free the "
            "moment it does"
        )
        self.owner = owner


class Ownership:
    """One task that this process owns until it is released or the process ends in any way.

    The lock keeps other processes of this machine out; the fence, checked inside each commit, keeps out one
    that lost the task without noticing.
    """

    def __init__(self, job: str, task: str, fence: int, lock: int) -> None:
        self.job, self.task, self.fence = job, task, fence
        self._lock: int | None = lock

    @classmethod
    def take(cls, namespace: Namespace, job: str, task: str, owner: str) -> Ownership:
        """Take a task; raises `Owned`, naming the process that has it, if that is another."""
        lock = _open_lock(_lock_path(namespace, job, task))
        try:
            if not _locked(lock):
                raise Owned(f"task {task!r} of job {job!r}", _read_note(lock))
            with namespace.transaction() as tx:
                since = datetime.fromtimestamp(tx.now_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                _write_note(lock, f"process {os.getpid()} ({owner}, since {since})")
                fence = tx.connection.execute(_RAISE_FENCE, (job, task, owner, tx.now_us)).get
        except BaseException:
            os.close(lock)
            raise
        return cls(job, task, fence, lock)

    @staticmethod
    def is_held(namespace: Namespace, job: str, task: str) -> bool:
        """Tell whether some process has a task now; asking never gets in the way of one that takes it."""
        path = _lock_path(namespace, job, task)
        if not path.exists():
            return False
        lock = _open_lock(path)
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            in_the_way: int = struct.unpack(_FLOCK, fcntl.fcntl(lock, fcntl.F_OFD_GETLK, asked))[0]
        finally:
            os.close(lock)
        return in_the_way != fcntl.F_UNLCK

    def check(self, tx: Transaction) -> None:
        """Raise `Fatal`, and so undo the transaction, if another process took the task over."""
        found = tx.connection.execute(
            "SELECT fence, owner FROM task WHERE job = ? AND task = ?", (self.job, self.task)
        ).get
        fence, owner = found or (0, "nobody")
        if fence != self.fence or self._lock is None:
            raise Fatal(
                f"task {self.task!r} of job {self.job!r} was taken over by {owner}: this process may not "
                "write for it any more. Nothing was stored twice; let the other go on"
            )

    def release(self) -> None:
        """Let others take the task; a second call does nothing."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            _write_note(lock, "")
            os.close(lock)

    def __del__(self) -> None:
        self.release()


def _lock_path(namespace: Namespace, job: str, task: str) -> Path:
    return namespace.locks_folder / f"{safe_file_stem(f'{job}@{task}')}.lock"


def _open_lock(path: Path) -> int:
    """Open a lock file. It is never removed: two files of one name could both be locked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(error.errno or 0, path, "lock", error.strerror or str(error)) from None


def _locked(lock: int) -> bool:
    """Take the lock if nobody has it. It belongs to the open file, so the kernel frees it when we end.

    An open-file-description lock can be asked for without being taken, which ``flock`` cannot.
    """
    with contextlib.suppress(BlockingIOError, PermissionError):
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        return True
    return False


def _read_note(lock: int) -> str:
    return os.pread(lock, 1024, 0).decode(errors="replace") or "another process"


def _write_note(lock: int, note: str) -> None:
    with contextlib.suppress(OSError):  # the note only helps a reader: a full disk must not cost the lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)
