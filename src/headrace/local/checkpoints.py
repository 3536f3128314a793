"""Moving a write-ahead log into its database file, beside the writers instead of inside a commit."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import apsw

from headrace.local.sqlite_errors import ends_writing


class Checkpointer:
    """A thread, started when first needed, with a connection of its own.

    A passive checkpoint waits for nobody and makes nobody wait (the longest publish call went from 36 to
    13 ms with a 16 MB log). Of several processes SQLite lets one checkpoint; the others pass.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._running = threading.Lock()
        #: The disk failed under a checkpoint: writing on would trust it.
        self.failed = False

    def wake(self) -> None:
        """Ask for a checkpoint soon."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"checkpoint {self._path.name}", daemon=True
            )
            self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Finish the checkpoint under way and end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def run(self, connection: apsw.Connection) -> None:
        """Checkpoint now, through `connection`; what cannot be moved yet stays in the log."""
        try:
            with self._running:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:  # what the disk has no space for, or what is damaged, a writer meets too
            self.failed = self.failed or ends_writing(error, connection)

    def _run(self) -> None:
        while self._wake.wait() and not self._closed:
            self._wake.clear()
            # One that cannot be opened now, with too many files open, is opened the next time.
            with contextlib.suppress(apsw.Error), contextlib.closing(apsw.Connection(str(self._path))) as own:
                # A connection that has not read the file yet would checkpoint nothing.
                own.pragma("journal_mode", "wal")
                self.run(own)
                while self._wake.wait() and not self._closed:
                    self._wake.clear()
                    self.run(own)
