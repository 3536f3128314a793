"""Files as outputs: JSON lines, appended and synced before the commit that says they count.

What stands behind the size on record was written by a process that died before its commit, and is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.connect.file_sequence import is_pattern
from headrace.connect.sink import Prepared, Rows
from headrace.errors import Fatal, UserError, disk_error
from headrace.events.formats.json import encode_lines
from headrace.local.files import make_folder, replacing, sync_folder
from headrace.local.namespace import Namespace, Transaction
from headrace.local.staged import Staged, StagedFile, path_on_record, staged_of_line

_COPIED_BYTES: Final = 1024 * 1024

#: Only the data and what is needed to read it back, where the system can do so.
_sync: Final = getattr(os, "fdatasync", os.fsync)


class FileSink:
    """Appends rows to a file; `folder` is where `path` starts from."""

    def __init__(self, record: StagedFile, folder: Path, path: str) -> None:
        self._record, self._folder = record, folder
        self._own = path_on_record(folder, path)
        self._path = folder / self._own
        self._handle: int | None = None
        self._failed = False

    def resume(self) -> None:
        """Cut off what an earlier process of this line staged and no commit published; make the file.

        Raises `UserError` for a file that is there and that this job did not write, or that is shorter
        than what was published.
        """
        known = self._record.read()
        if known is not None:
            sweep(self._folder, known)
        if known is None or known.path != self._own:
            self._check_free()
            self._record.begin(self._own)
        else:
            self._check_size(known)
        with self._writing("open"):
            make_folder(self._path.parent)
            is_new = not self._path.exists()
            if not self._open():
                # Whoever has it open lost the line without noticing, and may yet write into it.
                self._copy(0 if known is None else known.size_bytes)
                self._open()
            if is_new:
                sync_folder(self._path.parent)
        self._published_bytes()

    def _open(self) -> bool:
        """Open the file, and tell whether no other process has."""
        self.close()
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _copy(self, size_bytes: int) -> None:
        """Put a copy of what is published in the place of the file."""
        with self._path.open("rb") as source, replacing(self._path) as target:
            left = size_bytes
            while left:
                chunk = source.read(min(left, _COPIED_BYTES))
                target.write(chunk)
                left -= len(chunk)

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as JSON lines."""
        return Prepared(encode_lines(rows.batch, ended=True), rows.batch.height)

    def stage(self, payload: bytes) -> int:
        """Write and sync a payload behind what is published; returns the size that the file has with it."""
        if self._failed:
            raise Fatal(
                f"the disk failed while {self._path} was written: nothing more is written to it. "
                "Start again when it is mended"
            )
        published_bytes = self._published_bytes()
        assert self._handle is not None
        with self._writing("write"):
            if os.fstat(self._handle).st_size > published_bytes:
                os.ftruncate(self._handle, published_bytes)
            written = 0
            while written < len(payload):  # one call writes at most 2 GB
                written += os.pwrite(self._handle, memoryview(payload)[written:], published_bytes + written)
        try:
            _sync(self._handle)
        except OSError as error:
            # A sync tried again may claim what is lost.
            self._failed = True
            raise Fatal(
                f"cannot sync {self._path}: {error.strerror or error}. Nothing is tried again, as that might "
                "claim what is lost: look at the disk and its free space, and start again"
            ) from None
        return published_bytes + len(payload)

    def publish(self, tx: Transaction, staged: int) -> None:
        """Within the commit: the file counts up to this size from now on."""
        self._record.publish(tx, staged)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _published_bytes(self) -> int:
        """Return the size on record; raises `UserError` for a shorter file, or another than is open."""
        known = self._record.read()
        assert known is not None, "resume comes first"
        assert self._handle is not None, "resume comes first"
        self._check_size(known)
        with self._writing("read"), contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self._path), os.fstat(self._handle)):
                return known.size_bytes
        raise UserError(
            f"{self._path} was moved or removed while it was written: nothing more is written to it. "
            "Put it back, and start again; to begin another file, change the output's path"
        )

    def _check_size(self, known: Staged) -> None:
        with self._writing("read"):
            size_bytes = self._path.stat().st_size if self._path.exists() else 0
        if size_bytes < known.size_bytes:
            found = f"has only {size_bytes:,} bytes" if size_bytes else "is gone or empty"
            raise UserError(
                f"{self._path} {found}, and {known.size_bytes:,} were written and committed: rows are lost. "
                "Put back a copy that has them; to begin another file, change the output's path"
            )

    def _check_free(self) -> None:
        """Raise `UserError` for a file that would be appended to although this job did not write it."""
        with self._writing("read"):
            try:
                found = os.stat(self._path)
            except FileNotFoundError:
                return
        record = self._record
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{self._path} is no file: choose another path for output '{record.output}'")
        if found.st_size:
            raise UserError(
                f"{self._path} is there already, and by the records output '{record.output}' of job "
                f"'{record.job}' did not write it. Move it away, or choose another path"
            )

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_error(error.errno or 0, self._path, doing, error.strerror or str(error)) from None


def check_output_path(output: str, path: str) -> None:
    """Raise `UserError` for a path that must be a pattern, or a folder."""
    if is_pattern(path) or path.endswith("/"):
        raise UserError(f'outputs.{output}.path: expected one file such as "out.jsonl", found {path!r}')


def instance_path(path: str, instance: int) -> str:
    """Return the path that an instance writes: the first `path`, others with ``-n`` before its suffix."""
    if instance == 0:
        return path
    whole = Path(path)
    return str(whole.with_name(f"{whole.stem}-{instance}{whole.suffix}"))


def sweep(folder: Path, known: Staged) -> None:
    """Cut off what stands in a file, if it is there, behind what a commit published."""
    path = folder / known.path
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(error.errno or 0, path, "open") from None
    try:
        if os.fstat(handle).st_size > known.size_bytes:
            os.ftruncate(handle, known.size_bytes)
            os.fsync(handle)
    except OSError as error:
        raise disk_error(error.errno or 0, path) from None
    finally:
        os.close(handle)


def sweep_line(namespace: Namespace, folder: Path, job: str, line: str) -> None:
    """Cut off, in all files of a line that nobody runs any more, what no commit published."""
    for known in staged_of_line(namespace, job, line):
        sweep(folder, known)
