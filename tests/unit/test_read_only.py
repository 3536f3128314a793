"""Looking at a file where nothing can be written: what was committed is seen, and nothing else."""

import contextlib
import shutil

import pytest

from headrace.errors import Transient, UserError
from headrace.local.database import Database, opened
from headrace.local.namespace import Namespace
from headrace.local.read_only import ReadOnlyDatabase

RULES = {"schema": "CREATE TABLE note (text TEXT) STRICT", "version": 1}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notes.db"


def note(database, text):
    with database.write() as connection:
        connection.execute("INSERT INTO note VALUES (?)", (text,))


def seen(database):
    with database.read() as connection:
        return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY rowid")]


def looked_at(path):
    return contextlib.closing(ReadOnlyDatabase(path, version=1))


def copied(path, *suffixes):
    """Copy some of a file's parts, as whoever saves only these."""
    for suffix in suffixes:
        shutil.copy(path.with_name(path.name + suffix), path.with_name("copy.db" + suffix))
    return path.with_name("copy.db")


def test_a_file_that_was_closed_in_order_is_read_without_leaving_anything(path):
    with contextlib.closing(Database(path, **RULES)) as writer:
        note(writer, "one")
    before = sorted(path.parent.iterdir())
    with looked_at(path) as looking:
        assert seen(looking) == ["one"]
    assert sorted(path.parent.iterdir()) == before


def test_what_others_commit_meanwhile_is_seen(path):
    with contextlib.closing(Database(path, log_kib=4, **RULES)) as writer:
        note(writer, "one")
        with looked_at(path) as looking:
            assert seen(looking) == ["one"]
            first = looking.version()
            for _ in range(50):
                note(writer, "x" * 1000)
            assert len(seen(looking)) == 51
            assert looking.version() != first


def test_a_read_sees_one_state_throughout_while_others_write(path):
    with contextlib.closing(Database(path, **RULES)) as writer, looked_at(path) as looking:
        note(writer, "one")
        with looking.read():
            assert seen(looking) == ["one"]
            note(writer, "two")
            assert seen(looking) == ["one"]
        assert seen(looking) == ["one", "two"]


@pytest.mark.parametrize("index", [True, False])
def test_what_a_dead_process_committed_is_read_from_its_log(path, index):
    with contextlib.closing(Database(path, **RULES)) as writer:
        note(writer, "one")
        copy = copied(path, "", "-wal", "-shm")
    if not index:
        copy.with_name("copy.db-shm").write_bytes(b"")
    with looked_at(copy) as looking:
        assert seen(looking) == ["one"]


def test_a_log_without_its_index_is_refused_instead_of_being_left_out(path):
    with contextlib.closing(Database(path, **RULES)) as writer:
        note(writer, "one")
        copy = copied(path, "", "-wal")
    with pytest.raises(UserError, match="was not closed in order"):
        ReadOnlyDatabase(copy, version=1)


def test_a_writer_that_comes_while_nobody_was_expected_is_noticed(path):
    Database(path, **RULES).close()
    with looked_at(path) as looking:
        assert seen(looking) == []
        with contextlib.closing(Database(path, **RULES)) as writer:
            note(writer, "one")
            with pytest.raises(Transient, match="another process has begun to write"):
                seen(looking)


def test_nothing_can_be_written(path):
    Database(path, **RULES).close()
    with looked_at(path) as looking, pytest.raises(UserError, match="can only be read here"):
        note(looking, "one")


@pytest.mark.parametrize(("version", "told"), [(0, "the earlier format"), (2, "a newer Headrace")])
def test_another_format_is_refused(path, version, told):
    with contextlib.closing(Database(path, **RULES)) as writer, writer.write() as connection:
        connection.pragma("user_version", version)
    with pytest.raises(UserError, match=told):
        ReadOnlyDatabase(path, version=1)


def test_who_looks_opens_a_file_for_reading_alone_only_where_it_cannot_be_written(path, monkeypatch):
    Database(path, **RULES).close()
    with contextlib.closing(opened(path, looking=True, **RULES)) as database:
        assert isinstance(database, Database)
    monkeypatch.setattr("headrace.local.database.may_write", lambda _path: False)
    with contextlib.closing(opened(path, looking=False, **RULES)) as database:
        assert isinstance(database, Database)
    with contextlib.closing(opened(path, looking=True, **RULES)) as database:
        assert isinstance(database, ReadOnlyDatabase)


def test_a_full_disk_does_not_hinder_who_looks(path, monkeypatch):
    with contextlib.closing(Database(path, **RULES)) as writer:
        note(writer, "one")

    def full(*_arguments, **_options):
        raise Transient("the disk is full")

    monkeypatch.setattr("headrace.local.database.Database", full)
    with contextlib.closing(opened(path, looking=True, **RULES)) as database:
        assert seen(database) == ["one"]
    copied(path, "")
    (path.parent / "copy.db-wal").write_bytes(b"a log that needs an index")
    with pytest.raises(Transient, match="the disk is full"):
        opened(path.with_name("copy.db"), looking=True, **RULES)


def test_a_namespace_that_is_only_looked_at_refuses_a_transaction(tmp_path, monkeypatch):
    Namespace.open(tmp_path).close()
    monkeypatch.setattr("headrace.local.database.may_write", lambda _path: False)
    with (
        Namespace.open(tmp_path, looking=True) as namespace,
        pytest.raises(UserError, match="can only be read here"),
        namespace.transaction(),
    ):
        pass
