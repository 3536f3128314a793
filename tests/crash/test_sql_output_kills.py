"""Random kills of a job, and of the database server below it, lose no row and double none."""

import json
import random
import time
from collections import Counter

import apsw
import pytest

from headrace.testing.postgresql import PostgresqlServer, fresh_database, session_server
from tests.crash.processes import Sandbox, wait_until

EVENTS = 6_000
BLOCK = 150
KILLS = 8

SETTINGS = """
[inputs.papers]
kind = "hub"
partitions = 2

[outputs.rows]
{output}
max_rows = 40

[jobs.store]
sql = "SELECT id, title INTO rows FROM papers"
instances = 2
"""


def bodies(begin, end):
    return [json.dumps({"id": number, "title": f"Ünï {number}"}).encode() for number in range(begin, end)]


class Run:
    """A job that is started again after each kill, while events come."""

    def __init__(self, sandbox, seed):
        self.sandbox, self.chance = sandbox, random.Random(seed)
        self.sent = 0

    def send(self):
        """Publish a few blocks more."""
        for _ in range(self.chance.randint(1, 3)):
            end = min(EVENTS, self.sent + BLOCK)
            if end > self.sent:
                self.sandbox.publish("papers", bodies(self.sent, end), partitions=2)
            self.sent = end

    def killed(self, meanwhile=lambda: None):
        """Run each instance as a process of its own, and kill both at a random moment."""
        self.send()
        with (
            self.sandbox.running("run", "store", "--instance", "0") as first,
            self.sandbox.running("run", "store", "--instance", "1") as second,
        ):
            time.sleep(0.5 + self.chance.random())
            self.send()
            meanwhile()
            time.sleep(self.chance.random() * 0.5)
            first.kill()
            self.send()
            time.sleep(self.chance.random() * 0.2)
            second.kill()

    def ended(self):
        """Send what is left, and run the job to its end."""
        while self.sent < EVENTS:
            self.send()
        ended = self.sandbox.run("run", "--until-end")
        assert ended.returncode == 0, ended.stderr


def assert_each_once(rows):
    found = Counter(rows)
    assert {row: count for row, count in found.items() if count > 1} == {}
    assert [number for number in range(EVENTS) if (number, f"Ünï {number}") not in found] == []
    assert len(found) == EVENTS


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


def test_kills_of_a_job_lose_and_double_nothing_in_sqlite(sandbox):
    sandbox.write(headrace__toml=SETTINGS.format(output='kind = "sqlite"\npath = "rows.db"'))
    run = Run(sandbox, 1)
    for _ in range(KILLS):
        run.killed()
    run.ended()
    connection = apsw.Connection(str(sandbox.folder / "rows.db"))
    rows = list(connection.execute("SELECT id, title FROM rows"))
    connection.close()
    assert_each_once(rows)


def test_kills_of_a_job_and_of_the_server_lose_and_double_nothing_in_postgresql(sandbox):
    import psycopg

    with session_server(pytest.skip) as server:
        url = fresh_database(server)
        sandbox.write(headrace__toml=SETTINGS.format(output=f'kind = "postgresql"\nurl = "{url}"'))
        run = Run(sandbox, 2)
        for number in range(KILLS):
            run.killed((lambda: _killed(server)) if number % 2 else lambda: None)
        run.ended()
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT id, title FROM rows").fetchall()
    assert_each_once(rows)


def _killed(server):
    server.kill()
    server.start()


def test_a_job_waits_for_a_server_that_is_away_and_goes_on_by_itself(sandbox):
    import psycopg

    with session_server(pytest.skip) as server:
        url = fresh_database(server)
        sandbox.write(headrace__toml=SETTINGS.format(output=f'kind = "postgresql"\nurl = "{url}"'))
        sandbox.publish("papers", bodies(0, 100), partitions=2)
        server.kill()
        with sandbox.running("run") as run:
            time.sleep(2)
            assert run.poll() is None
            server.start()
            wait_until(lambda: _rows(psycopg, url) == 100)


def _rows(psycopg, url):
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('rows')").fetchone() == (None,):
            return 0
        return connection.execute("SELECT count(*) FROM rows").fetchone()[0]


def test_a_zombie_that_holds_a_transaction_open_is_ended_and_what_it_held_is_written_once(sandbox):
    """A process that was stopped amid a transaction keeps its locks until the server ends its session."""
    import psycopg

    with session_server(pytest.skip) as server:
        assert isinstance(server, PostgresqlServer)
        url = fresh_database(server)
        output = f'kind = "postgresql"\nurl = "{url}"\ntimeout_s = 1'
        sandbox.write(headrace__toml=SETTINGS.format(output=output))
        sandbox.publish("papers", bodies(0, 100), partitions=2)
        assert sandbox.run("run", "--until-end").returncode == 0
        with psycopg.connect(url) as zombie:
            zombie.execute("SET idle_in_transaction_session_timeout = '3s'")
            zombie.commit()
            zombie.execute("UPDATE headrace_delivery SET sequence = sequence + 1")
            sandbox.publish("papers", bodies(100, 200), partitions=2)
            ended = sandbox.run("run", "--until-end")
            assert ended.returncode == 0, ended.stderr
            assert _rows(psycopg, url) == 200
            with pytest.raises(psycopg.Error, match="idle-in-transaction"):
                zombie.commit()
