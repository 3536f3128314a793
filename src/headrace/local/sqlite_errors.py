"""What SQLite says when a file cannot be used, as errors for a user: the one place for its result codes."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from headrace.errors import PASSING, Fatal, Transient, disk_error

_SYNCS: Final = {apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC}

_READS: Final = {
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_CORRUPTFS,
    apsw.SQLITE_IOERR_FSTAT,
}

#: Another process is just taking in the log of a file that we may only read.
_NOT_YET_READABLE: Final = {
    apsw.SQLITE_READONLY_RECOVERY,
    apsw.SQLITE_READONLY_CANTLOCK,
    apsw.SQLITE_READONLY_CANTINIT,
}


@contextlib.contextmanager
def translated(path: Path, connection: apsw.Connection | None = None, doing: str = "write") -> Iterator[None]:
    """Turn SQLite's errors, raised by `connection`, into ours: what, where and what to do."""
    try:
        yield
    except apsw.Error as error:
        raise _of_sqlite(error, path, _number(connection), doing) from None


def ends_writing(error: BaseException, connection: apsw.Connection) -> bool:
    """Tell whether the disk failed so that nothing may be written through this connection any more.

    After a failed sync the system forgets what it has not written, and the next sync claims it. A file that
    may not grow is no failure: what was refused has changed nothing.
    """
    if not isinstance(error, apsw.IOError):
        return False
    return _code(error) in _SYNCS or connection.system_errno not in PASSING


def _of_sqlite(error: apsw.Error, path: Path, number: int, doing: str) -> Exception:
    match error:
        case apsw.FullError():
            return disk_error(errno.ENOSPC, path)
        case apsw.NoLFSError():
            return disk_error(errno.EFBIG, path)
        case apsw.IOError() if number in PASSING and _code(error) not in _SYNCS:
            return disk_error(number, path, doing)
        case apsw.IOError():
            doing = "read" if _code(error) in _READS else doing
            return disk_error(errno.EIO, path, doing, str(error))
        case apsw.ReadOnlyError() if _code(error) in _NOT_YET_READABLE:
            return Transient(f"{path} is being opened by another process. Try again")
        case apsw.ReadOnlyError():
            return disk_error(_obstacle(path, number), path, "write", str(error))
        case apsw.CantOpenError() | apsw.PermissionsError() | apsw.AuthError():
            return disk_error(_obstacle(path, number), path, doing, str(error))
        case apsw.CorruptError() | apsw.NotADBError():
            return Fatal(f"{path} is damaged: {error}. Put back a copy, or choose another data folder")
        case apsw.BusyError() | apsw.ProtocolError():
            return Transient(f"{path} stayed locked by another process. Try again when that has ended")
    return error  # a mistake in our own SQL


def _code(error: apsw.Error) -> int:
    return int(getattr(error, "extendedresult", 0))


def _number(connection: apsw.Connection | None) -> int:
    """Return the system's own number for the last failure, 0 where there is none."""
    if connection is None:
        return 0
    try:
        return connection.system_errno
    except apsw.ConnectionClosedError:
        return 0


def _obstacle(path: Path, number: int) -> int:
    """Find out why a file cannot be opened or written: of that SQLite tells little, or the wrong thing.

    The file itself is not opened, as closing it again would drop the locks that this process has on it.
    """
    if number in {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        return number
    try:
        os.close(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        disk = os.statvfs(path.parent)
    except OSError as error:
        return error.errno or errno.EACCES
    if disk.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if not may_write(path):
        return errno.EACCES
    return errno.ENOSPC if not disk.f_bavail or (disk.f_files and not disk.f_favail) else errno.EACCES


def undo(connection: apsw.Connection) -> None:
    """Roll back what is open; after some errors SQLite has done so already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def may_write(path: Path) -> bool:
    """Tell whether a file, and those that SQLite keeps beside it, can be written here by this user."""
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        return False
    return not path.exists() or os.access(path, os.W_OK, effective_ids=True)
