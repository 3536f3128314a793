"""A file that one process appends to: written and synced behind what counts, and never by two at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.errors import Fatal, UserError, disk_error
from headrace.local.files import make_folder, replacing, sync_folder

_COPIED_BYTES: Final = 1024 * 1024

#: Only the data and what is needed to read it back, where the system can do so.
_sync: Final = getattr(os, "fdatasync", os.fsync)


class AppendedFile:
    """A file of which some bytes count; what stands behind them is overwritten."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._failed = False

    def open(self, size_bytes: int) -> None:
        """Open the file, making it if there is none; `size_bytes` of it count.

        Raises `UserError` if it is shorter than that.
        """
        self.check_size(size_bytes)
        with writing(self.path, "open"):
            make_folder(self.path.parent)
            is_new = not self.path.exists()
            if not self._open():
                # Whoever has it open lost the line without noticing, and may yet write into it.
                self._copy(size_bytes)
                self._open()
            if is_new:
                sync_folder(self.path.parent)

    def _open(self) -> bool:
        """Open the file, and tell whether no other process has."""
        self.close()
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _copy(self, size_bytes: int) -> None:
        """Put a copy of what counts in the place of the file."""
        with self.path.open("rb") as source, replacing(self.path) as target:
            left = size_bytes
            while left:
                chunk = source.read(min(left, _COPIED_BYTES))
                target.write(chunk)
                left -= len(chunk)

    def write(self, payload: bytes, at: int) -> int:
        """Write a payload behind the first `at` bytes, which count; returns where it ends. `sync` comes next.

        Raises Transient when the disk is full.
        """
        self._check_sound()
        assert self._handle is not None, "open comes first"
        with writing(self.path, "write"):
            if os.fstat(self._handle).st_size > at:
                os.ftruncate(self._handle, at)
            written = 0
            while written < len(payload):  # one call writes at most 2 GB
                written += os.pwrite(self._handle, memoryview(payload)[written:], at + written)
        return at + len(payload)

    def sync(self) -> None:
        """Sync what was written; after a failure nothing more is written."""
        self._check_sound()
        assert self._handle is not None, "open comes first"
        try:
            _sync(self._handle)
        except OSError as error:
            # A sync tried again may claim what is lost.
            self._failed = True
            raise Fatal(
                f"cannot sync {self.path}: {error.strerror or error}. Nothing is tried again, as that might "
                "claim what is lost: look at the disk and its free space, and start again"
            ) from None

    def _check_sound(self) -> None:
        if self._failed:
            raise Fatal(
                f"the disk failed while {self.path} was written: nothing more is written to it. "
                "Start again when it is mended"
            )

    def check(self, size_bytes: int) -> None:
        """Raise `UserError` for a file that is shorter than what counts, or another than is open."""
        self.check_size(size_bytes)
        assert self._handle is not None, "open comes first"
        with writing(self.path, "read"), contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._handle)):
                return
        raise UserError(
            f"{self.path} was moved or removed while it was written: nothing more is written to it. "
            "Put it back, and start again; to begin another file, change the output's path"
        )

    def check_size(self, size_bytes: int) -> None:
        """Raise `UserError` for a file that is shorter than what counts."""
        with writing(self.path, "read"):
            there_bytes = self.path.stat().st_size if self.path.exists() else 0
        if there_bytes < size_bytes:
            found = f"has only {there_bytes:,} bytes" if there_bytes else "is gone or empty"
            raise UserError(
                f"{self.path} {found}, and {size_bytes:,} were written and committed: rows are lost. "
                "Put back a copy that has them; to begin another file, change the output's path"
            )

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextlib.contextmanager
def writing(path: Path, doing: str) -> Iterator[None]:
    """Say what the system refuses to do with a file as `disk_error` does."""
    try:
        yield
    except OSError as error:
        raise disk_error(error.errno or 0, path, doing, error.strerror or str(error)) from None
