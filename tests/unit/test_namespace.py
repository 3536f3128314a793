"""The namespace: one file, one transaction, and clear answers when it cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import apsw
import polars as pl
import pytest

from headrace.clock import ManualClock
from headrace.errors import Fatal, Transient, UserError
from headrace.local.dead_letters import DeadLetter, DeadLetters
from headrace.local.namespace import FORMAT, Namespace
from headrace.local.queue import Queue
from headrace.local.table import Entities, Table


def entities(*rows):
    columns = zip(*rows, strict=True)
    return Entities(*(pl.Series(column, dtype=pl.String) for column in columns))


@pytest.fixture
def namespace(tmp_path):
    with Namespace.open(tmp_path / "data", clock=ManualClock()) as opened:
        yield opened


def test_what_was_committed_is_there_after_opening_again(tmp_path):
    with Namespace.open(tmp_path / "new" / "data") as namespace, namespace.transaction() as tx:
        Table(namespace, "t").upsert(tx, entities(("p", "r", "{}")))
    with Namespace.open(tmp_path / "new" / "data", create=False) as namespace:
        assert [tuple(row) for row in Table(namespace, "t").read()] == [("p", "r", "{}")]


def test_a_transaction_carries_the_time_of_the_clock_handed_over(namespace):
    with namespace.transaction() as tx:
        assert tx.now_us == namespace.clock.now_us()


def test_one_transaction_holds_rows_messages_and_dead_letters_or_none_of_them(namespace):
    table, queue, letters = Table(namespace, "t"), Queue(namespace, "q"), DeadLetters(namespace)
    with namespace.transaction() as tx:
        queue.send(tx, [b"in"])
    claimed = queue.claim(limit=1, owner="me")

    def commit(tx, *, fails=False):
        table.upsert(tx, entities(("p", "r", "{}")))
        queue.send(tx, [b"out"])
        queue.delete(tx, claimed)
        letters.add(tx, [DeadLetter("job", "hub", "h", 0, 7, b"raw", "bad")])
        assert not fails

    with pytest.raises(AssertionError), namespace.transaction() as tx:
        commit(tx, fails=True)
    assert (table.count(), queue.depth().leased, queue.depth().sent, letters.count()) == (0, 1, 1, 0)
    with namespace.transaction() as tx:
        commit(tx)
    assert (table.count(), queue.depth().leased, queue.depth().sent, letters.count()) == (1, 0, 2, 1)


def test_reading_inside_a_transaction_sees_what_it_has_written(namespace):
    table = Table(namespace, "t")
    with namespace.transaction() as tx:
        table.upsert(tx, entities(("p", "r", "{}")))
        assert table.count() == 1


def test_a_missing_namespace_is_not_made_by_a_reader(tmp_path):
    with pytest.raises(UserError, match="nothing is stored in"):
        Namespace.open(tmp_path / "data", create=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("folder", ["file", "file/data"])
def test_a_file_in_the_place_of_the_folder_is_a_user_error(tmp_path, folder):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="file"):
        Namespace.open(tmp_path / folder)
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_folder_that_cannot_be_made_is_a_user_error():
    with pytest.raises(UserError, match=r"cannot open .*/proc/headrace"):
        Namespace.open(Path("/proc/headrace"))


def test_a_folder_of_somebody_else_is_a_user_error(tmp_path):
    Namespace.open(tmp_path / "data").close()
    (tmp_path / "data").chmod(0)
    open_as_nobody = (
        "import os, sys, pathlib\n"
        "from headrace.errors import UserError\n"
        "from headrace.local.namespace import Namespace\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "try: Namespace.open(pathlib.Path(sys.argv[1]))\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", open_as_nobody, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=True,
    )
    (tmp_path / "data").chmod(0o700)
    assert "Check that the folder is yours" in done.stdout


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    Namespace.open(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "namespace.db"))
    connection.pragma("user_version", FORMAT + 1)
    connection.close()
    with pytest.raises(UserError, match=f"newer Headrace .format {FORMAT + 1}"):
        Namespace.open(tmp_path)


@pytest.mark.parametrize("damage", ["all", "a page"])
def test_a_damaged_file_stops_with_its_name(tmp_path, damage):
    with Namespace.open(tmp_path) as namespace, namespace.transaction() as tx:
        Table(namespace, "t").upsert(tx, entities(*((f"{n}", "r", "{}") for n in range(1000))))
    file = tmp_path / "namespace.db"
    size = file.stat().st_size
    with file.open("r+b") as handle:
        handle.seek(0 if damage == "all" else 4096)
        handle.write(os.urandom(size - handle.tell()))
    with pytest.raises(Fatal, match=r"namespace\.db is damaged"), Namespace.open(tmp_path) as namespace:
        list(Table(namespace, "t").read())


def test_a_full_disk_undoes_the_transaction_at_whatever_page_and_goes_on_when_there_is_space(namespace):
    table = Table(namespace, "t")
    with namespace.transaction() as tx:
        table.upsert(tx, entities(("p", "before", "{}")))
    rows = entities(*(("p", f"{n}", '{"text":"' + "x" * 900 + '"}') for n in range(20)))
    refused = 0
    while table.count() == 1:
        try:
            with namespace.transaction() as tx:
                tx.connection.pragma("max_page_count", tx.connection.pragma("page_count") + refused)
                table.upsert(tx, rows)
        except Transient as error:
            refused += 1
            assert "is full" in str(error)  # noqa: PT017 - the loop ends when nothing is raised
            assert [row.row_key for row in table.read()] == ["before"]
    assert refused > 3
    assert table.count() == 21


def test_processes_that_open_a_new_namespace_at_once_all_get_it(tmp_path):
    open_and_count = (
        "import sys, pathlib\n"
        "from headrace.local.namespace import Namespace\n"
        "from headrace.local.progress import Progress\n"
        "sys.stdin.readline()\n"
        "with Namespace.open(pathlib.Path(sys.argv[1])) as namespace, namespace.transaction() as tx:\n"
        "    Progress(namespace).count(tx, 'job', {'opened': 1})\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", open_and_count, str(tmp_path)], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * 4
    with Namespace.open(tmp_path) as namespace, namespace.reading() as connection:
        assert connection.execute("SELECT value FROM job_count").get == 4
