"""Tables of SQLite and PostgreSQL as outputs: what rows become, what is written twice, what is refused."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime

import apsw
import pytest

from headrace.connect.postgresql import PostgresqlSettings, postgresql_sink
from headrace.connect.sink import Refused, Rows
from headrace.connect.sqlite import SqliteSettings, sqlite_sink
from headrace.errors import Transient, UserError
from headrace.events.batch import Batch
from headrace.events.formats.json_rows import from_rows
from headrace.redaction import redacted
from headrace.testing.postgresql import fresh_database
from tests.crash.processes import wait_until

WHEN = datetime(2026, 11, 21, 10, 30, 59, 123456, tzinfo=UTC)

VALUES = {
    "id": 2**53 + 1,
    "price": 0.1,
    "Näme": "Ωmega 🌊\n\"quoted\" \\ 'x' %s {y}",
    "ok": True,
    "at": WHEN,
    "tag": {"b": [1, {"ü": None}], "a": 2.5},
    "list": [1, "x", [True]],
    "none": None,
}


class SqliteDatabase:
    """What both databases are asked in these tests."""

    kind = "sqlite"

    def __init__(self, folder, closing):
        self.folder, self.closing = folder, closing

    def sink(self, source="project", **settings):
        sink = sqlite_sink("rows", SqliteSettings(path="rows.db", **settings), self.folder, source)
        self.closing.callback(sink.close)
        return sink

    def run(self, statement):
        connection = apsw.Connection(str(self.folder / "rows.db"))
        try:
            return list(connection.execute(statement))
        finally:
            connection.close()


class PostgresqlDatabase:
    kind = "postgresql"

    def __init__(self, url, closing):
        self.url, self.closing = url, closing

    def sink(self, source="project", **settings):
        sink = postgresql_sink("rows", PostgresqlSettings(url=self.url, **settings), source)
        self.closing.callback(sink.close)
        return sink

    def run(self, statement):
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def sqlite(tmp_path):
    with contextlib.ExitStack() as closing:
        yield SqliteDatabase(tmp_path, closing)


@pytest.fixture
def postgresql(postgresql_server):
    with contextlib.ExitStack() as closing:
        yield PostgresqlDatabase(fresh_database(postgresql_server), closing)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    return request.getfixturevalue(request.param)


def batch_of(rows, *, whole=False):
    """Return rows whose columns the data name, so that NULL ones are left out, unless they are `whole`."""
    batch = from_rows(rows)
    columns = tuple(dataclasses.replace(column, open=not whole) for column in batch.columns)
    return Rows(Batch(batch.frame, columns), lambda: None)


def deliver(sink, rows, sequence=1, producer="job:a", *, whole=False):
    prepared = sink.prepare(batch_of(rows, whole=whole))
    assert not prepared.failures
    sink.deliver(prepared.payload, producer, sequence)


def test_values_of_every_type_come_back_from_columns_of_their_type(database):
    deliver(database.sink(), [VALUES])
    [row] = database.run('SELECT id, price, "Näme", ok, at, tag, list FROM rows')
    id_, price, name, ok, at, tag, items = row
    assert (id_, price, name, ok) == (VALUES["id"], 0.1, VALUES["Näme"], True)
    if database.kind == "sqlite":
        assert datetime.fromisoformat(at[:26]).replace(tzinfo=UTC) == WHEN
        tag, items = json.loads(tag), json.loads(items)
    else:
        assert at == WHEN
        assert database.run("SELECT pg_typeof(ok)::text, pg_typeof(tag)::text FROM rows") == [
            ("boolean", "jsonb")
        ]
    assert (tag, items) == (VALUES["tag"], VALUES["list"])


def test_datetimes_of_the_first_and_the_last_year_are_kept(database):
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    deliver(database.sink(), [{"at": first}, {"at": last}])
    found = [str(at) for (at,) in database.run("SELECT at FROM rows ORDER BY at")]
    assert [at[:10] for at in found] == ["0001-01-01", "9999-12-31"]


def test_null_is_null_and_an_empty_text_is_not(database):
    deliver(database.sink(), [{"id": 1, "a": None, "b": ""}, {"id": 2, "a": "x", "b": None}], whole=True)
    assert database.run("SELECT a, b FROM rows ORDER BY id") == [(None, ""), ("x", None)]


def test_a_block_that_is_delivered_again_is_written_once(database):
    sink = database.sink()
    for sequence in (1, 1, 2, 1, 2):
        deliver(sink, [{"id": sequence}], sequence)
    deliver(database.sink(), [{"id": 2}], 2)
    assert database.run("SELECT id FROM rows ORDER BY id") == [(1,), (2,)]


def test_another_line_and_another_project_have_sequences_of_their_own(database):
    deliver(database.sink(), [{"id": 1}])
    deliver(database.sink(), [{"id": 2}], producer="job:b")
    deliver(database.sink(source="other"), [{"id": 3}])
    assert database.run("SELECT id FROM rows ORDER BY id") == [(1,), (2,), (3,)]


def test_rows_of_one_key_update_the_columns_that_they_have(database):
    sink = database.sink(key=["ID"])
    deliver(sink, [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}, {"id": 1, "b": 5}, {"id": 1, "b": 6}])
    assert database.run("SELECT id, a, b FROM rows ORDER BY id") == [(1, "x", 6), (2, "y", None)]
    deliver(sink, [{"id": 2, "a": None}, {"id": 3, "a": "z"}], 2, whole=True)
    assert database.run("SELECT id, a, b FROM rows ORDER BY id") == [
        (1, "x", 6),
        (2, None, None),
        (3, "z", None),
    ]


def test_a_key_that_is_one_value_in_several_spellings_is_one_row(database):
    sink = database.sink(key="id")
    deliver(sink, [{"id": 1.5, "n": 1}, {"id": 2, "n": 2}, {"id": 2.0, "n": 3}])
    assert database.run("SELECT id, n FROM rows ORDER BY id") == [(1.5, 1), (2.0, 3)]


def test_a_key_that_the_column_folds_is_found_out_row_by_row(database):
    folded = {"sqlite": "TEXT COLLATE NOCASE", "postgresql": "numeric(4, 1)"}[database.kind]
    first, second = {"sqlite": ("a", "A"), "postgresql": (1.01, 1.02)}[database.kind]
    database.run(f"CREATE TABLE rows (id {folded} PRIMARY KEY, n INTEGER)")
    deliver(database.sink(key="id"), [{"id": first, "n": 1}, {"id": second, "n": 2}])
    assert database.run("SELECT n FROM rows") == [(2,)]


def test_a_row_without_its_key_is_set_aside_and_a_key_that_no_query_writes_is_refused(database):
    sink = database.sink(key="id")
    prepared = sink.prepare(batch_of([{"id": None, "a": 1}, {"id": 1, "a": 2}]))
    assert prepared.failures == {0: "the row's key 'id' is NULL"}
    with pytest.raises(UserError, match="Did you mean 'ident'"):
        database.sink(key="idnt").prepare(batch_of([{"ident": 1}], whole=True))


def test_later_columns_are_added_and_left_out_of_a_table_that_is_not_ours(database):
    deliver(database.sink(), [{"id": 1}])
    deliver(database.sink(), [{"id": 2, "More": "x"}], 2)
    assert database.run('SELECT id, "More" FROM rows ORDER BY id') == [(1, None), (2, "x")]
    with pytest.raises(Refused) as refused:
        deliver(database.sink(create=False), [{"id": 3}, {"id": 4, "else": 1}], 3)
    assert refused.value.rows == {1: "the table has no column 'else'"}
    assert database.run("SELECT id FROM rows ORDER BY id") == [(1,), (2,)]


def test_a_column_is_found_in_another_case_and_two_spellings_in_a_row_are_refused(database):
    database.run("CREATE TABLE rows (id INTEGER, name TEXT DEFAULT 'none')")
    sink = database.sink(create=False)
    deliver(sink, [{"ID": 1}, {"Id": 2, "NAME": "x"}])
    assert database.run("SELECT id, name FROM rows ORDER BY id")[1] == (2, "x")
    with pytest.raises(Refused, match="twice"):
        deliver(sink, [{"ID": 1, "id": 2}], 2)


def test_every_row_that_is_refused_is_named_and_nothing_of_its_block_is_written(database):
    database.run("CREATE TABLE rows (id INTEGER CHECK (id < 1000), name TEXT)")
    rows = [{"id": 10_000 if number in {3, 77} else number, "name": "ä"} for number in range(100)]
    sink = database.sink(max_rows=40)
    with pytest.raises(Refused, match="refuses 2 of 100 rows") as refused:
        deliver(sink, rows)
    assert sorted(refused.value.rows) == [3, 77]
    assert database.run("SELECT count(*) FROM rows") == [(0,)]
    deliver(sink, [row for row in rows if row["id"] < 1000])
    assert database.run("SELECT count(*) FROM rows") == [(98,)]


def test_a_refused_row_is_shown_as_the_query_wrote_it(database):
    database.run("CREATE TABLE rows (id INTEGER CHECK (id < 1000), at TEXT)")
    with pytest.raises(Refused) as refused:
        deliver(database.sink(), [{"id": 1000, "at": WHEN}])
    assert '{"id":1000,"at":"2026-11-21T10:30:59.1234560Z"}: ' in str(refused.value)


def test_a_generated_column_is_there_and_cannot_be_written(database):
    database.run("CREATE TABLE rows (id BIGINT, twice BIGINT GENERATED ALWAYS AS (id * 2) STORED)")
    deliver(database.sink(), [{"id": 1}])
    assert database.run("SELECT id, twice FROM rows") == [(1, 2)]
    with pytest.raises(UserError, match=r"generated column|non-DEFAULT value into column") as told:
        deliver(database.sink(), [{"id": 1, "twice": 3}], 2)
    assert "Check the settings" in str(told.value)


def test_a_value_of_another_type_than_the_column_is_refused(database):
    sink = database.sink()
    deliver(sink, [{"id": 1}])
    with pytest.raises(Refused) as refused:
        deliver(sink, [{"id": 2}, {"id": "three"}], 2)
    assert list(refused.value.rows) == [1]


def test_names_are_identifiers_whatever_is_in_them(database):
    odd = 'a"; DROP TABLE rows; --%s %(x)s'
    deliver(database.sink(table='my "rows"', key=odd), [{odd: 1, "%b": "x"}])
    assert database.run('SELECT * FROM "my ""rows"""') == [(1, "x")]


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_column_can_have_refuses_its_row(database, name):
    with pytest.raises(Refused, match="has no column") as refused:
        deliver(database.sink(), [{"id": 1}, {"id": 2, name: "x"}])
    assert list(refused.value.rows) == [1]


def test_a_name_that_the_server_would_cut_refuses_its_row(postgresql):
    with pytest.raises(Refused, match="has no column") as refused:
        deliver(postgresql.sink(), [{"id": 1}, {"id": 2, "ä" * 32: "x"}])
    assert list(refused.value.rows) == [1]


def test_a_table_that_is_not_there_is_told_and_nothing_else_is(database):
    with pytest.raises(UserError, match="create = true"):
        deliver(database.sink(create=False), [{"id": 1}])


def test_a_key_without_a_unique_index_is_told(database):
    database.run("CREATE TABLE rows (id INTEGER)")
    with pytest.raises(UserError, match="ON CONFLICT"):
        deliver(database.sink(key="id"), [{"id": 1}])


def test_a_database_that_is_locked_or_away_is_tried_again(sqlite, monkeypatch):
    monkeypatch.setattr("headrace.connect.sqlite.BUSY_TIMEOUT_S", 0.01)
    database = sqlite
    deliver(database.sink(), [{"id": 1}])
    other = apsw.Connection(str(sqlite.folder / "rows.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked"):
        deliver(database.sink(), [{"id": 2}], 2)
    other.close()
    away = postgresql_sink("rows", PostgresqlSettings(url="postgresql://127.0.0.1:1/x"), "project")
    with pytest.raises(Transient, match="Connection refused"):
        deliver(away, [{"id": 1}])


@contextlib.contextmanager
def signalled_to_end(sink):
    """Interrupt an output from a signal handler a moment after the block has begun, as a stop does."""
    before = signal.signal(signal.SIGUSR1, lambda *_: sink.interrupt())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    began = time.monotonic()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < 9


def test_a_stop_ends_the_wait_for_a_file_that_stays_locked(sqlite):
    sink = sqlite.sink()
    deliver(sink, [{"id": 1}])
    with contextlib.closing(apsw.Connection(str(sqlite.folder / "rows.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        with signalled_to_end(sink), pytest.raises(Transient, match="locked"):
            deliver(sink, [{"id": 2}], 2)
        other.execute("ROLLBACK")
    deliver(sqlite.sink(), [{"id": 2}], 2)
    assert sqlite.run("SELECT id FROM rows ORDER BY id") == [(1,), (2,)]


ENDLESS = """
CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;
CREATE TRIGGER hangs AFTER INSERT ON rows WHEN NEW.id > 1 BEGIN SELECT * FROM endless; END;
"""


def test_a_stop_breaks_off_a_statement_of_sqlite_that_does_not_end(sqlite):
    sink = sqlite.sink()
    deliver(sink, [{"id": 1}])
    sqlite.run(ENDLESS)
    with signalled_to_end(sink), pytest.raises(Transient, match="a statement was broken off"):
        deliver(sink, [{"id": 2}], 2)
    assert sqlite.run("SELECT id FROM rows") == [(1,)]
    sqlite.run("DROP TRIGGER hangs")
    deliver(sqlite.sink(), [{"id": 2}], 2)
    assert sqlite.run("SELECT id FROM rows ORDER BY id") == [(1,), (2,)]


HANGS = """
CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
CREATE TRIGGER hangs BEFORE INSERT ON rows FOR EACH ROW WHEN (NEW.id > 1) EXECUTE FUNCTION hang();
"""
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'headrace' AND state <> 'idle'"


def hanging(database):
    sink = database.sink()
    deliver(sink, [{"id": 1}])
    database.run(HANGS)
    return sink


def test_a_stop_cancels_a_statement_of_postgresql_and_the_server_goes_on(postgresql):
    sink = hanging(postgresql)
    with signalled_to_end(sink), pytest.raises(Transient, match="table 'rows' of postgresql://"):
        deliver(sink, [{"id": 2}], 2)
    wait_until(lambda: not postgresql.run(SESSIONS))
    postgresql.run("DROP TRIGGER hangs ON rows")
    deliver(postgresql.sink(), [{"id": 2}], 2)
    assert postgresql.run("SELECT id FROM rows ORDER BY id") == [(1,), (2,)]


def test_a_delivery_that_begins_after_a_stop_and_hangs_is_broken_off_as_well(postgresql, monkeypatch):
    monkeypatch.setattr("headrace.connect.breaking_off.BROKEN_OFF_AFTER_S", 0.2)
    sink = hanging(postgresql)
    sink.interrupt()
    began = time.monotonic()
    with pytest.raises(Transient):
        deliver(sink, [{"id": 2}], 2)
    assert time.monotonic() - began < 9
    postgresql.run("DROP TRIGGER hangs ON rows")
    deliver(sink, [{"id": 2}], 2)  # what does not hang goes through


def test_a_stop_does_not_wait_for_a_server_that_stands_still(postgresql):
    sink = hanging(postgresql)
    stopped = []

    def stand_still():
        stopped.extend(pid for (pid,) in postgresql.run(SESSIONS))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    timer = threading.Timer(0.1, stand_still)
    timer.start()
    try:
        with signalled_to_end(sink), pytest.raises(Transient):
            deliver(sink, [{"id": 2}], 2)
    finally:
        timer.join()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert stopped


def test_a_stop_does_not_wait_for_a_server_that_answers_no_connection():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x"
        sink = postgresql_sink("rows", PostgresqlSettings(url=url), "project")
        with signalled_to_end(sink), pytest.raises(Transient, match="does not answer, and the job is to end"):
            deliver(sink, [{"id": 1}])


def test_a_text_with_nul_is_refused_where_the_database_holds_none(postgresql):
    database = postgresql
    sink = database.sink()
    with pytest.raises(Refused) as refused:
        deliver(sink, [{"a": "x", "b": {"c": 1}}, {"a": "\0"}, {"b": {"c": "\0"}}])
    assert sorted(refused.value.rows) == [1, 2]


def test_constraints_that_wait_for_the_commit_name_their_row_all_the_same(postgresql):
    database = postgresql
    database.run("CREATE TABLE parent (id bigint PRIMARY KEY)")
    database.run("CREATE TABLE rows (id bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    database.run("INSERT INTO parent VALUES (1)")
    with pytest.raises(Refused) as refused:
        deliver(database.sink(), [{"id": 1}, {"id": 2}])
    assert list(refused.value.rows) == [1]


def test_a_server_that_holds_no_changes_and_sessions_that_are_ended_are_tried_again(postgresql):
    database = postgresql
    sink = database.sink()
    deliver(sink, [{"id": 1}])
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headrace'")
    with pytest.raises(Transient):
        deliver(sink, [{"id": 2}], 2)
    deliver(sink, [{"id": 2}], 2)
    name = database.url.rpartition("/")[2]
    database.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(Transient, match="read-only"):
        deliver(database.sink(), [{"id": 3}], 3)


def test_a_row_that_another_transaction_holds_is_waited_for_no_longer_than_the_setting_says(
    postgresql,
):
    import psycopg

    database = postgresql
    sink = database.sink(timeout_s=1)
    deliver(sink, [{"id": 1}])
    with psycopg.connect(database.url) as zombie:
        zombie.execute("UPDATE headrace_delivery SET sequence = 2")
        with pytest.raises(Transient, match="lock timeout"):
            deliver(sink, [{"id": 2}], 2)


def test_a_schema_holds_the_table_and_the_sequences(postgresql):
    database = postgresql
    database.run('CREATE SCHEMA "my Schema"')
    deliver(database.sink(schema="my Schema", table="t"), [{"id": 1}])
    assert database.run('SELECT id, sequence FROM "my Schema".t, "my Schema".headrace_delivery') == [(1, 1)]
    with pytest.raises(UserError, match="elsewhere"):
        deliver(database.sink(schema="elsewhere"), [{"id": 1}])


def test_no_message_and_no_repr_shows_the_password():
    url = "postgresql://me:s3cr%40t-1@127.0.0.1:1/x?sslmode=disable"
    settings = PostgresqlSettings(url=url, password="s3cret-2")
    assert "s3cr" not in repr(settings)
    with pytest.raises(Transient) as refused:
        deliver(postgresql_sink("rows", settings, "project"), [{"id": 1}])
    assert "s3cr" not in str(refused.value)
    assert redacted("s3cr@t-1 s3cret-2") == "*** ***"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"url": "mysql://x"},
        {"url": "postgresql://[x"},
        {"url": "postgresql://me:a?b@x/y"},
        {"url": "postgresql://x", "table": ""},
    ],
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match=r"url|table"):
        PostgresqlSettings(**settings)


@pytest.mark.parametrize("settings", [{}, {"path": "x", "table": ""}, {"path": "x", "key": ["a", "A"]}])
def test_settings_of_a_file_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match=r"path|table|key"):
        SqliteSettings(**settings)


def test_rows_go_to_the_file_that_has_the_path_now(sqlite):
    database, tmp_path = sqlite, sqlite.folder
    sink = database.sink()
    deliver(sink, [{"id": 1}])
    (tmp_path / "rows.db").rename(tmp_path / "old.db")
    deliver(sink, [{"id": 2}], 2)
    assert database.run("SELECT id FROM rows") == [(2,)]


def test_the_folder_of_an_sqlite_file_is_made_with_it(tmp_path):
    sink = sqlite_sink("rows", SqliteSettings(path="new/deep/rows.db"), tmp_path, "source")
    sink.deliver(b'{"id":1}', "producer", 1)
    sink.close()
    assert (tmp_path / "new" / "deep" / "rows.db").exists()


def test_a_path_that_is_no_sqlite_file_is_told_with_its_output(tmp_path):
    (tmp_path / "notes.txt").write_text("these are no rows\n" * 100)
    (tmp_path / "folder").mkdir()
    for path, told in (("notes.txt", "no SQLite database"), ("folder", "is a folder")):
        sink = sqlite_sink("rows", SqliteSettings(path=path), tmp_path, "source")
        with pytest.raises(UserError, match=rf"table 'rows' of .*{path} cannot be written: the .*{told}"):
            sink.deliver(b'{"id":1}', "producer", 1)
        sink.close()
    assert (tmp_path / "notes.txt").read_text().startswith("these are no rows")
