"""Files as outputs: lines of JSON or CSV, appended and synced before the commit that says they count.

What stands behind the size on record was written by a process that died before its commit, and is cut off.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from headrace.connect.appended_file import AppendedFile, writing
from headrace.connect.file_making import Making, shown_columns
from headrace.connect.sink import Prepared, Rows
from headrace.connect.whole_files import settle_line
from headrace.errors import UserError, disk_error
from headrace.local.namespace import Namespace, Transaction
from headrace.local.staged import Staged, StagedFile, path_on_record, staged_of_line

_JSON_LINES = Making()


class FileSink:
    """Appends rows to a file; `folder` is where `path` starts from, `making` how rows become lines."""

    def __init__(self, record: StagedFile, folder: Path, path: str, making: Making = _JSON_LINES) -> None:
        self._record, self._folder, self._making = record, folder, making
        self._own = path_on_record(folder, path)
        self._path = folder / self._own
        self._file = AppendedFile(self._path)

    def resume(self) -> None:
        """Cut off what an earlier process of this line staged and no commit published; make the file.

        Raises `UserError` for a file that is there and that this job did not write, that is shorter than what
        was published, or that has other columns.
        """
        known = self._record.read()
        if known is not None:
            sweep(self._folder, known)
        if known is None or known.path != self._own:
            self._check_free()
            self._record.begin(self._own)
            known = Staged(self._own, 0)
        self._take_columns(known)
        self._file.open(known.size_bytes)

    def _take_columns(self, known: Staged) -> None:
        """Go on with the columns that the file was begun with. Raises `UserError` where they do not fit."""
        if known.size_bytes and (known.columns is None) != (self._making.format == "json"):
            other = "JSON lines" if known.columns is None else "CSV"
            raise UserError(f"{self._path} was begun as {other}: another format needs another path")
        if known.columns is None or self._making.format == "json":
            return
        columns = self._making.columns
        if columns is not None and columns != known.columns:
            raise UserError(
                f"{self._path} was begun with the columns {', '.join(known.columns)}, and the query gives "
                f"{', '.join(columns)}: choose another path for output '{self._record.output}'"
            )
        self._making = self._making.with_columns(known.columns)

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as lines; unless the query says so, the first give a CSV file its columns."""
        if self._making.format == "csv" and self._making.columns is None:
            self._making = self._making.with_columns(shown_columns(rows.batch))
        failures = self._making.failures(rows.batch)
        lines = b"" if failures else self._making.lines(rows.batch)
        return Prepared(lines, rows.batch.height, failures)

    def stage(self, payload: bytes) -> int:
        """Write and sync a payload behind what is published; returns the size that the file has with it."""
        known = self._record.read()
        assert known is not None, "resume comes first"
        self._file.check(known.size_bytes)
        if payload and not known.size_bytes:
            payload = self._making.header() + payload
        behind = self._file.write(payload, known.size_bytes)
        self._file.sync()
        return behind

    def publish(self, tx: Transaction, staged: int) -> None:
        """Within the commit: the file counts up to this size from now on."""
        self._record.publish(tx, staged, self._making.columns)

    def settle(self, *, ending: bool = False) -> None:
        """Return None: the file stays as it is when nothing comes."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check_free(self) -> None:
        """Raise `UserError` for a file that would be appended to although this job did not write it."""
        with writing(self._path, "read"):
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


def sweep_line(
    namespace: Namespace,
    folder: Path,
    job: str,
    line: str,
    *,
    kept: Collection[str] = (),
    check: Callable[[Transaction], None] = lambda _: None,
) -> None:
    """Bring all files of a line that nobody runs now to what was committed.

    What was written and not committed is cut off. Files that appear whole are made, where they are closed or
    not of outputs `kept`, which the line goes on writing; `check` refuses that for a line that is another's.
    """
    for known in staged_of_line(namespace, job, line):
        sweep(folder, known)
    settle_line(namespace, folder, job, line, kept, check)
