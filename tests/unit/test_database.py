"""The rules by which every SQLite file of ours is opened and written."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading

import apsw
import pytest

from headrace.errors import Fatal, Transient, UserError
from headrace.local.database import Database

SCHEMA = "CREATE TABLE note (text TEXT) STRICT"


def opened(path, **options):
    return Database(path, schema=SCHEMA, version=1, **options)


@pytest.fixture
def database(tmp_path):
    with contextlib.closing(opened(tmp_path / "notes.db", busy_timeout_s=0.2)) as database:
        yield database


def notes(database):
    with database.read() as connection:
        return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY rowid")]


def note(database, text):
    with database.write() as connection:
        connection.execute("INSERT INTO note VALUES (?)", (text,))


def test_a_write_that_raises_leaves_nothing(database):
    with pytest.raises(ZeroDivisionError), database.write() as connection:  # noqa: PT012
        connection.execute("INSERT INTO note VALUES ('half')")
        _ = 1 / 0
    note(database, "whole")
    assert notes(database) == ["whole"]


def test_a_read_inside_a_write_sees_what_that_has_written(database):
    with database.write() as connection:
        connection.execute("INSERT INTO note VALUES ('new')")
        assert notes(database) == ["new"]


def test_a_read_of_another_thread_waits_for_no_writer(database):
    note(database, "old")
    seen = []
    with database.write() as connection:
        connection.execute("INSERT INTO note VALUES ('new')")
        reader = threading.Thread(target=lambda: seen.append(notes(database)))
        reader.start()
        reader.join(10)
        assert seen == [["old"]]
    assert notes(database) == ["old", "new"]


def test_a_read_sees_one_state_throughout(database):
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM note").get == 0
        writer = threading.Thread(target=note, args=(database, "new"))
        writer.start()
        writer.join(10)
        assert notes(database) == []
    assert notes(database) == ["new"]


def test_nothing_can_be_written_through_a_read(database):
    with pytest.raises(UserError, match="cannot write"), database.read() as connection:
        connection.execute("INSERT INTO note VALUES ('x')")


def test_the_version_changes_with_every_commit_of_anyone_and_only_then(database):
    first = database.version()
    assert database.version() == first
    note(database, "mine")
    second = database.version()
    with contextlib.closing(opened(database.path)) as other:
        note(other, "theirs")
    assert len({first, second, database.version()}) == 3


@pytest.mark.parametrize("in_background", [True, False])
def test_the_log_is_emptied_while_writing_goes_on(tmp_path, monkeypatch, in_background):
    if not in_background:
        monkeypatch.setattr("headrace.local.checkpoints.Checkpointer.wake", lambda _self: None)
    path = tmp_path / "notes.db"
    with contextlib.closing(opened(path, log_kib=64)) as database:
        for _ in range(150):
            note(database, "x" * 10_000)
        assert path.with_name("notes.db-wal").stat().st_size < 500_000
        assert path.stat().st_size > 1_000_000
        assert len(notes(database)) == 150


def test_a_failed_sync_stops_the_writer_for_good_but_not_the_reader(tmp_path, monkeypatch):
    disk = FailingDisk()
    monkeypatch.setattr(apsw, "Connection", functools.partial(apsw.Connection, vfs="failing"))
    with contextlib.closing(opened(tmp_path / "notes.db")) as database:
        note(database, "before")
        disk.fails = True
        with pytest.raises(Fatal, match="the disk failed"):
            note(database, "lost")
        disk.fails = False
        with pytest.raises(Fatal, match="nothing more is written"):
            note(database, "after")
        assert notes(database) == ["before"]
    disk.unregister()


def test_a_failed_sync_of_a_checkpoint_stops_the_writer_too(tmp_path, monkeypatch):
    disk = FailingDisk()
    monkeypatch.setattr(apsw, "Connection", functools.partial(apsw.Connection, vfs="failing"))
    with contextlib.closing(opened(tmp_path / "notes.db")) as database:
        note(database, "before")
        disk.fails = True
        database._checkpointer.run(database._writer)
        disk.fails = False
        with pytest.raises(Fatal, match="nothing more is written"):
            note(database, "after")
        assert notes(database) == ["before"]
    disk.unregister()


class FailingDisk(apsw.VFS):
    """Passes everything on to the real disk, but fails to sync while `fails`."""

    def __init__(self):
        self.fails = False
        super().__init__("failing", base="")

    def xOpen(self, name, flags):
        disk = self

        class File(apsw.VFSFile):
            def __init__(self):
                super().__init__("", name, flags)

            def xSync(self, how):
                if disk.fails:
                    raise apsw.IOError("the disk does not answer")
                super().xSync(how)

        return File()


HOLDER = """
import os, signal, sys
from pathlib import Path
from headrace.local.database import Database

with Database(Path(sys.argv[1]), schema="", version=1).write():
    print("holding", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_stopped_holder_of_the_lock_is_named_and_hinders_nobody_once_it_goes_on(database):
    command = [sys.executable, "-c", HOLDER, str(database.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"holding\n"
        for _ in range(2):  # the second time the first wait is still under way
            with pytest.raises(
                Transient, match=rf"notes\.db stayed locked for 0\.2 s by process {holder.pid}\b"
            ):
                note(database, "x")
        assert notes(database) == []
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.wait(10) == 0
    with contextlib.closing(opened(database.path, busy_timeout_s=5)) as other:
        note(other, "y")  # the wait that was given up did not keep the lock
    note(database, "z")
    assert notes(database) == ["y", "z"]


def test_a_file_in_a_place_that_cannot_be_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot open"):
        opened(tmp_path / "file" / "notes.db")


def test_a_database_can_be_closed_twice(tmp_path):
    database = opened(tmp_path / "deep" / "er" / "notes.db")
    database.close()
    database.close()


@pytest.mark.parametrize("use", [notes, lambda database: note(database, "new"), Database.version])
def test_a_file_that_was_removed_is_used_no_more_though_another_took_its_place(tmp_path, use):
    folder = tmp_path / "data"
    with contextlib.closing(opened(folder / "notes.db")) as database:
        folder.rename(tmp_path / "away")
        with pytest.raises(Fatal, match=r"notes\.db was moved or removed while it was in use"):
            use(database)
        with contextlib.closing(opened(folder / "notes.db")), pytest.raises(Fatal, match="moved or removed"):
            use(database)


def test_a_file_of_an_earlier_format_is_brought_up_step_by_step(tmp_path):
    path = tmp_path / "old.db"
    Database(path, schema="CREATE TABLE one (n);", version=1).close()
    upgrades = {1: "CREATE TABLE two (n);", 2: "CREATE TABLE three (n);"}
    for _ in range(2):
        opened = Database(path, schema="never", version=3, upgrades=upgrades)
        with opened.read() as connection:
            names = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").get
            assert connection.pragma("user_version") == 3
        opened.close()
    assert set(names) == {"one", "two", "three"}
