"""Jobs whose rows go to SQL databases, Python functions and topics."""

import json
import signal
import subprocess

import apsw
import pytest

from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.testing.postgresql import fresh_database
from tests.crash.processes import Sandbox, wait_until

INPUT = """
[inputs.papers]
kind = "hub"
partitions = 1
"""

JOB = """
[jobs.store]
sql = "SELECT id, title, tag INTO rows FROM papers"
"""

FUNCTION = """
import json
from pathlib import Path

FILE = Path(__file__).with_name("rows.jsonl")

def store(rows, *, delivery_id):
    kept = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
    FILE.write_text("".join(json.dumps(one) + "\\n" for one in [*kept, {"id": delivery_id, "rows": rows}]))
    if not Path(__file__).with_name("well").exists():
        Path(__file__).with_name("well").touch()
        raise ConnectionError("not well")
"""

EVENTS = [{"id": number, "title": f"Ünï {number}", "tag": {"n": number}} for number in range(20)]


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.publish("papers", [json.dumps(event).encode() for event in EVENTS])
    return sandbox


def run_killed_then_to_the_end(sandbox, monkeypatch):
    """Kill a job once it has delivered its first block, before it knows; then run it to the end."""
    monkeypatch.setenv("HEADRACE_CRASH_AT", "job.deliver.after_send")
    assert sandbox.run("run", "store", "--instance", "0").returncode == -signal.SIGKILL
    monkeypatch.delenv("HEADRACE_CRASH_AT")
    ended = sandbox.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr


def test_a_job_killed_behind_its_transaction_has_each_row_once_in_sqlite(sandbox, monkeypatch):
    output = '[outputs.rows]\nkind = "sqlite"\npath = "rows.db"\n'
    sandbox.write(headrace__toml=INPUT + output + JOB)
    run_killed_then_to_the_end(sandbox, monkeypatch)
    connection = apsw.Connection(str(sandbox.folder / "rows.db"))
    rows = list(connection.execute("SELECT id, title, tag FROM rows ORDER BY id"))
    connection.close()
    assert [(id_, title, json.loads(tag)) for id_, title, tag in rows] == [
        tuple(event.values()) for event in EVENTS
    ]


ENDLESS = """
CREATE TABLE rows (id INTEGER, title TEXT, tag TEXT);
CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;
CREATE TRIGGER hangs AFTER INSERT ON rows BEGIN SELECT * FROM endless; END;
"""


def test_headrace_stop_ends_a_job_whose_statement_hangs_and_its_rows_come_with_the_next_run(sandbox):
    output = '[outputs.rows]\nkind = "sqlite"\npath = "rows.db"\n'
    sandbox.write(headrace__toml=INPUT + output + JOB)
    connection = apsw.Connection(str(sandbox.folder / "rows.db"))
    connection.execute(ENDLESS)
    with Namespace.open(sandbox.data) as namespace, sandbox.running("run") as run:
        wait_until(lambda: Progress(namespace).pending_outbox("store", "instance-0"))
        stopped = sandbox.run("stop", "--timeout-s", "30")
        assert (stopped.returncode, stopped.stdout) == (0, "stopped: store\n"), stopped.stderr
        assert run.wait(30) == 0
    connection.execute("DROP TRIGGER hangs")
    assert sandbox.run("run", "--until-end").returncode == 0
    assert list(connection.execute("SELECT id FROM rows ORDER BY id")) == [(e["id"],) for e in EVENTS]
    connection.close()


def test_a_job_killed_behind_its_transaction_has_each_row_once_in_postgresql(
    sandbox, monkeypatch, postgresql_server
):
    import psycopg

    url = fresh_database(postgresql_server)
    monkeypatch.setenv("DATABASE", url)
    output = '[outputs.rows]\nkind = "postgresql"\nurl = "${DATABASE}"\n'
    sandbox.write(headrace__toml=INPUT + output + JOB)
    run_killed_then_to_the_end(sandbox, monkeypatch)
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT id, title, tag FROM rows ORDER BY id").fetchall()
    assert rows == [tuple(event.values()) for event in EVENTS]


def test_a_row_that_the_table_refuses_is_a_dead_letter_where_the_output_says_so(sandbox):
    connection = apsw.Connection(str(sandbox.folder / "rows.db"))
    connection.execute("CREATE TABLE rows (id INTEGER CHECK (id <> 7), title TEXT, tag TEXT)")
    connection.close()
    output = '[outputs.rows]\nkind = "sqlite"\npath = "rows.db"\n'
    sandbox.write(headrace__toml=INPUT + output + JOB)
    stopped = sandbox.run("run", "--until-end")
    assert stopped.returncode == 1
    assert "refuses 1 of 20 rows" in stopped.stderr
    sandbox.write(headrace__toml=INPUT + output + 'on_error = "dead-letter"\n' + JOB)
    ended = sandbox.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    connection = apsw.Connection(str(sandbox.folder / "rows.db"))
    assert list(connection.execute("SELECT count(*) FROM rows")) == [(19,)]
    connection.close()
    [letter] = sandbox.dead_letters()
    assert json.loads(letter.body)["id"] == 7


def test_a_function_gets_a_block_again_under_its_id_when_it_raised_and_after_a_kill(sandbox, monkeypatch):
    output = '[outputs.rows]\nkind = "python"\npython = "mine.py:store"\n'
    sandbox.write(headrace__toml=INPUT + output + JOB, mine__py=FUNCTION)
    run_killed_then_to_the_end(sandbox, monkeypatch)
    calls = [json.loads(line) for line in (sandbox.folder / "rows.jsonl").read_text().splitlines()]
    assert len(calls) == 3
    assert len({call["id"] for call in calls}) == 1
    assert calls[0]["rows"] == calls[1]["rows"] == calls[2]["rows"] == EVENTS


TOPIC = """
[outputs.rows]
kind = "topic"
subscriptions = ["all"]

[inputs.odd]
kind = "topic"
topic = "rows"
subscription = "sevens"
filter = { ID = 7 }

[outputs.seen]
kind = "table"
row_key = "id"

[jobs.read]
sql = "SELECT id INTO seen FROM odd"
"""


def bodies(sandbox, queue):
    with Namespace.open(sandbox.data) as namespace:
        messages = Queue(namespace, queue).claim(limit=100, owner="test")
        return [json.loads(message.body)["id"] for message in messages]


def test_each_subscription_of_a_topic_holds_the_messages_that_it_takes(sandbox):
    sandbox.write(headrace__toml=INPUT + TOPIC + JOB)
    ended = sandbox.run("run", "store", "--until-end")
    assert ended.returncode == 0, ended.stderr
    sent = subprocess.run(
        sandbox.command("send", "rows", "-"),
        input='{"id": 7}\n{"id": 8}\n',
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sent 2 events to topic 'rows'" in sent.stdout
    shown = sandbox.run("peek", "rows")
    assert "rows.sevens" in shown.stdout
    assert "topic 'rows': 2 subscriptions" in shown.stdout + shown.stderr
    shown = sandbox.run("peek", "odd")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count('"id"') == 2
    ended = sandbox.run("run", "read", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sandbox.keys("seen") == ["7"]
    sampled = sandbox.run("sample", "rows.all", "-n", "1")
    assert json.loads(sampled.stdout)["id"] == 8
    assert bodies(sandbox, "rows.all") == [*range(20), 7, 8]
    checked = sandbox.run("check")
    assert checked.returncode == 0, checked.stderr
