"""Turns between processes that write one file: fair, with a deadline, and with the name of who holds on."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from headrace.errors import Transient


class WriteLock:
    """An exclusive lock on one file; taken by one thread at a time, shared with other processes.

    A blocked ``flock`` is woken in turn (polling let 8 writers wait up to three times as long at the 99th
    percentile) but cannot time out: a stopped holder would hang everyone without a word. So a call that
    has to wait is made by a helper thread, and the caller waits for that thread only so long. Never share
    an instance across a fork.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._state = threading.Lock()
        self._asked = threading.Semaphore(0)
        self._granted = threading.Semaphore(0)
        self._waiter: threading.Thread | None = None
        self._waiting = False  # the helper thread is blocked in flock
        self._wanted = False  # ... and somebody still wants the lock
        self._closed = False

    def acquire(self, timeout_s: float) -> None:
        """Take the lock, waiting at most `timeout_s`; `Transient` names the process that holds it."""
        with self._state:
            if not self._waiting:
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._ask()
                else:
                    return
            self._wanted = True
        try:
            granted = self._granted.acquire(timeout=timeout_s)
        except BaseException:  # Ctrl-C
            if self._give_up():
                self.release()
            raise
        if granted or self._give_up():
            return
        raise Transient(
            f"{self.path.with_suffix('')} stayed locked for {timeout_s:g} s by {self._holder()}. "
            "If that process is stopped, let it go on or end it; nothing was written"
        )

    def release(self) -> None:
        """Give the lock back."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; a lock still held is given back."""
        with self._state:
            if self._closed:
                return
            self._closed = True
            if not self._waiting:  # else the helper closes it: the number must not be reused under its call
                os.close(self._file)
            self._asked.release()

    def _ask(self) -> None:
        if self._waiter is None:
            self._waiter = threading.Thread(target=self._wait, name=f"lock {self.path.name}", daemon=True)
            self._waiter.start()
        self._waiting = True
        self._asked.release()

    def _give_up(self) -> bool:
        """Stop waiting; return True if the lock was granted just before."""
        with self._state:
            granted = self._granted.acquire(blocking=False)
            self._wanted = False
            return granted

    def _wait(self) -> None:
        while True:
            self._asked.acquire()
            if not self._waiting:
                return
            fcntl.flock(self._file, fcntl.LOCK_EX)
            with self._state:
                self._waiting = False
                if self._closed:
                    os.close(self._file)
                    return
                if self._wanted:
                    self._granted.release()
                else:
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    def _holder(self) -> str:
        inode = f":{os.fstat(self._file).st_ino} "
        try:
            for line in Path("/proc/locks").read_text("ascii").splitlines():
                fields = line.split()
                if inode in f"{line} " and fields[1] == "FLOCK":  # a waiting line has "->" in that place
                    return f"process {fields[4]}"
        except OSError:
            pass
        return "another process"
