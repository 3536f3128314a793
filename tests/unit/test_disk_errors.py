"""Each refusal of the system and of SQLite: whether it passes, whose it is, and what its message says."""

import errno
import resource

import apsw
import pytest

from headrace.errors import PASSING, Fatal, Transient, UserError, disk_error
from headrace.local.sqlite_errors import ends_writing, translated


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (errno.ENOSPC, Transient, "is full. Nothing is lost: free some space"),
        (errno.EDQUOT, Transient, "quota"),
        (errno.EFBIG, Transient, "may not grow any more"),
        (errno.EROFS, Transient, "its file system is read-only"),
        (errno.EMFILE, Transient, "too many files are open"),
        (errno.ENFILE, Transient, "ulimit -n"),
        (errno.ENOMEM, Transient, "no memory"),
        (errno.EIO, Fatal, "the disk failed (Input/output error). Nothing is tried again"),
        (errno.EACCES, UserError, "Permission denied. Check that the folder is yours"),
        (errno.ENOENT, UserError, "No such file or directory"),
        (0, UserError, "Check that the folder is yours"),
    ],
)
def test_a_refusal_of_the_system_names_the_file_and_says_what_to_do(number, kind, told):
    error = disk_error(number, "/data/namespace.db")
    assert type(error) is kind
    assert "/data/namespace.db" in str(error)
    assert told in str(error)
    assert (number in PASSING) == (kind is Transient)


class Connection:
    """Stands for a connection whose last failure had this number."""

    def __init__(self, number):
        self.system_errno = number


def failure(kind, code):
    error = kind("as SQLite says it")
    error.extendedresult = code
    return error


@pytest.mark.parametrize(
    ("error", "number", "kind", "told"),
    [
        (failure(apsw.FullError, apsw.SQLITE_FULL), 0, Transient, "is full"),
        (failure(apsw.NoLFSError, apsw.SQLITE_NOLFS), 0, Transient, "may not grow"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE), errno.EDQUOT, Transient, "quota"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE), errno.EROFS, Transient, "read-only"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_SHMSIZE), errno.ENOSPC, Transient, "is full"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE), errno.EIO, Fatal, "cannot write"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_READ), errno.EIO, Fatal, "cannot read"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_FSYNC), errno.EIO, Fatal, "the disk failed"),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_FSYNC), errno.ENOSPC, Fatal, "the disk failed"),
        (failure(apsw.CantOpenError, apsw.SQLITE_CANTOPEN), errno.EMFILE, Transient, "too many files"),
        (failure(apsw.CantOpenError, apsw.SQLITE_CANTOPEN), errno.ENOENT, UserError, "folder is yours"),
        (failure(apsw.ReadOnlyError, apsw.SQLITE_READONLY), 0, UserError, "cannot write"),
        (failure(apsw.ReadOnlyError, apsw.SQLITE_READONLY_CANTINIT), 0, Transient, "another process"),
        (failure(apsw.CorruptError, apsw.SQLITE_CORRUPT), 0, Fatal, "is damaged"),
        (failure(apsw.NotADBError, apsw.SQLITE_NOTADB), 0, Fatal, "is damaged"),
        (failure(apsw.BusyError, apsw.SQLITE_BUSY), 0, Transient, "stayed locked"),
        (failure(apsw.ProtocolError, apsw.SQLITE_PROTOCOL), 0, Transient, "stayed locked"),
    ],
)
def test_a_result_of_sqlite_names_the_file_and_says_what_to_do(tmp_path, error, number, kind, told):
    path = tmp_path / "notes.db"
    with pytest.raises(kind) as raised, translated(path, Connection(number)):
        raise error
    assert type(raised.value) is kind
    assert str(path) in str(raised.value)
    assert told in str(raised.value)


def test_a_mistake_in_our_own_sql_stays_what_it_is(tmp_path):
    with pytest.raises(apsw.SQLError), translated(tmp_path / "notes.db"):
        raise apsw.SQLError("no such table: notes")


def test_a_folder_that_is_gone_is_found_to_be_the_reason(tmp_path):
    path = tmp_path / "gone" / "notes.db"
    with pytest.raises(UserError, match="unable to open"), translated(path, doing="open"):
        apsw.Connection(str(path))


@pytest.mark.parametrize(
    ("error", "number", "ends"),
    [
        (failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE), errno.EIO, True),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_FSYNC), errno.EIO, True),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_FSYNC), errno.ENOSPC, True),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_DIR_FSYNC), errno.EDQUOT, True),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE), errno.EDQUOT, False),
        (failure(apsw.IOError, apsw.SQLITE_IOERR_WRITE), errno.EROFS, False),
        (failure(apsw.FullError, apsw.SQLITE_FULL), 0, False),
        (failure(apsw.BusyError, apsw.SQLITE_BUSY), 0, False),
        (ValueError(), 0, False),
    ],
)
def test_writing_ends_with_a_failed_sync_or_disk_but_not_with_a_full_one(error, number, ends):
    assert ends_writing(error, Connection(number)) is ends


def test_a_closed_connection_is_no_obstacle_to_a_message(tmp_path):
    connection = apsw.Connection(":memory:")
    connection.close()
    with pytest.raises(Transient, match="is full"), translated(tmp_path / "notes.db", connection):
        raise apsw.FullError("database or disk is full")


@pytest.fixture
def no_more_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("no_more_files")
def test_too_many_open_files_are_told_where_sqlite_only_cannot_open(tmp_path):
    path = tmp_path / "notes.db"
    with pytest.raises(Transient, match="too many files are open"), translated(path, doing="open"):
        apsw.Connection(str(path))
