"""Owning a task: an OS lock that dies with its process, and a fence that an owner left behind cannot pass."""

from __future__ import annotations

import contextlib
import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from headrace.errors import Fatal, Transient, UserError
from headrace.local.namespace import Namespace, Transaction
from headrace.names import safe_file_stem

_RAISE_FENCE: Final = """
INSERT INTO task (job, task, fence, owner, acquired_us) VALUES (?, ?, 1, ?, ?)
ON CONFLICT (job, task) DO UPDATE
SET fence = fence + 1, owner = excluded.owner, acquired_us = excluded.acquired_us
RETURNING fence
"""


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
        """Take a task; raises `Transient`, naming the process that has it, if it is owned."""
        lock = _locked(_lock_path(namespace, job, task), f"task {task!r} of job {job!r}")
        try:
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
        """Tell whether some process has a task now."""
        try:
            lock = _locked(_lock_path(namespace, job, task), f"task {task!r} of job {job!r}")
        except Transient:
            return True
        os.close(lock)
        return False

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
    return namespace.locks_folder / f"{safe_file_stem(job)}@{safe_file_stem(task)}.lock"


def _locked(path: Path, what: str) -> int:
    """Open and lock a file. It stays when the lock is let go: two files of one name could both be locked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot lock {path}: {error.strerror}. Check that the folder is yours") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 1024, 0).decode(errors="replace") or "another process"
        os.close(lock)
        raise Transient(
            f"{what} is run by {holder}. Stop that one first, or wait until it ends: "
            "its place is free the moment it does"
        ) from None
    return lock


def _write_note(lock: int, note: str) -> None:
    with contextlib.suppress(OSError):  # the note only helps a reader: a full disk must not cost the lock
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)
