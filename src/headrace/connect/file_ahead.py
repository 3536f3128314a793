"""Reading on in a file while what was read is worked on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from headrace.connect.file_lines import Piece
from headrace.connect.file_opening import OpenFile


@dataclass(frozen=True, slots=True)
class Window:
    """What to read of a file: lines or rows from `at` on, so many events and bytes at most."""

    at: int
    max_events: int
    max_bytes: int


class ReadAhead:
    """Has one window read by a thread; what it has is of use only if just that is asked for next."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[OpenFile, Window, Future[Piece]] | None = None

    def begin(self, file: OpenFile, window: Window, until: int) -> None:
        """Read a window, if all of it lies before `until`, up to which the file may be read."""
        if window.at + window.max_bytes > until:
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="file")
        sizes = {"max_events": window.max_events, "max_bytes": window.max_bytes}
        self._next = file, window, self._thread.submit(file.read, window.at, until, whole=False, **sizes)

    def take(self, file: OpenFile, window: Window, until: int) -> Piece | None:
        """Return the lines of a window, None if they were not read or may not be any more."""
        ahead, self._next = self._next, None
        if ahead is None or ahead[0] is not file or ahead[1] != window:
            return None
        piece = ahead[2].result()
        return piece if window.at < piece.behind <= until else None

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown()
