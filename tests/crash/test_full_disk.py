"""A full disk makes a job wait with a clear message; once there is space, nothing turns out to be lost."""

import contextlib
import errno
import random
import re
import resource
import subprocess

import pytest

from headrace.errors import Transient
from headrace.local.database import Database
from headrace.local.hub import Hub
from tests.crash.processes import TIMEOUT_S, wait_until
from tests.crash.stored import (
    EVENTS,
    JOBS,
    RESTARTED,
    assert_all_is_there_once,
    documents,
    prepare,
    running,
    send,
    stored,
)

ROOM_BYTES = 1_500_000

#: Makes a file fail beyond a size; the limit can be raised from outside.
NARROW = ("sh", "-c", f'ulimit -S -f {ROOM_BYTES // 512}; exec "$@"', "sh")


@pytest.mark.parametrize("job", JOBS)
def test_a_job_waits_until_there_is_space_and_goes_on_by_itself(job, sandbox, small_disk, tmp_path):
    prepare(sandbox, job)
    small_disk.leave(1000)
    said = tmp_path / "said"
    with running(sandbox, said, "run", "--until-end") as run:
        wait_until(lambda: RESTARTED in said.read_text() or run.poll() is not None)
        assert run.poll() is None
        assert stored(sandbox, job).total() < EVENTS
        small_disk.widen()
        assert run.wait(TIMEOUT_S) == 0
    message = said.read_text()
    told = rf"the disk that holds {re.escape(str(small_disk.folder))}/\S+\.db is full\. Nothing is lost: free"
    assert re.search(told, message)
    assert "Traceback" not in message
    assert_all_is_there_once(sandbox, job)


def test_a_job_goes_on_by_itself_once_its_files_may_grow(sandbox, tmp_path):
    prepare(sandbox, "table")
    said = tmp_path / "said"
    with running(sandbox, said, "run", "--until-end", prefix=NARROW) as run:
        wait_until(lambda: RESTARTED in said.read_text() or run.poll() is not None)
        hard = resource.prlimit(run.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert run.wait(TIMEOUT_S) == 0
    message = said.read_text()
    assert f"{sandbox.data / 'namespace.db'} may not grow any more" in message
    assert "Traceback" not in message
    assert_all_is_there_once(sandbox, "table")


def test_a_quota_that_is_used_up_is_waited_for_as_well(sandbox, faulty_disk, tmp_path):
    prepare(sandbox, "table")
    said = tmp_path / "said"
    with running(sandbox, said, "run", prefix=faulty_disk.prefix) as run:
        wait_until(lambda: stored(sandbox, "table").total() == EVENTS)
        faulty_disk.fail("write", errno.EDQUOT, "namespace.db-wal")
        send(sandbox, "table", documents(EVENTS, EVENTS + 100))
        wait_until(lambda: RESTARTED in said.read_text() or run.poll() is not None)
        faulty_disk.mend()
        wait_until(lambda: stored(sandbox, "table").total() == EVENTS + 100)
        run.terminate()
        assert run.wait(TIMEOUT_S) == 0
    assert f"the disk quota for {sandbox.data / 'namespace.db'} is used up" in said.read_text()
    assert_all_is_there_once(sandbox, "table", EVENTS + 100)


def test_a_disk_that_is_full_at_the_start_is_told_and_a_new_run_begins_where_nothing_was_done(
    sandbox, small_disk
):
    prepare(sandbox, "table")
    small_disk.leave(0)
    refused = sandbox.run("run", "--until-end")
    assert refused.returncode == 3
    assert f"the disk that holds {small_disk.folder / 'namespace.db'} is full" in refused.stderr
    assert "Traceback" not in refused.stderr
    looked = sandbox.run("peek", "papers", "--rows", "0")
    assert (looked.returncode, "1,000" in looked.stdout) == (0, True)
    small_disk.widen()
    assert sandbox.run("run", "--until-end").returncode == 0
    assert_all_is_there_once(sandbox, "table")


def test_a_run_whose_messages_find_no_space_runs_on(sandbox, tmp_path):
    prepare(sandbox, "table")
    with open("/dev/full", "wb") as full:
        run = subprocess.run(
            sandbox.command("run", "--until-end"), stdout=full, stderr=full, timeout=TIMEOUT_S, check=False
        )
    assert run.returncode == 0
    assert_all_is_there_once(sandbox, "table")


def test_a_result_that_finds_no_space_is_told_and_asked_for_again(sandbox):
    prepare(sandbox, "table")
    with open("/dev/full", "wb") as full:
        peek = subprocess.run(
            sandbox.command("peek", "papers"),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert peek.returncode == 3
    assert peek.stderr.startswith(b"headrace: the disk that holds the output is full")
    assert peek.stderr.count(b"\n") == 1


def test_publishing_goes_on_when_there_is_space_and_so_does_the_log(sandbox, small_disk):
    bodies = [random.Random(number).randbytes(50_000) for number in range(100)]
    with Hub.create(small_disk.folder / "hubs", "papers", partitions=1) as hub:
        hub._database._aim_pages = 8  # a log that is moved every few calls
        small_disk.leave(2000)
        with pytest.raises(Transient, match="is full"):
            publish(hub, bodies)
        assert 0 < hub.ends()[0] < len(bodies)
        small_disk.widen()
        publish(hub, bodies)
        assert hub.ends() == [len(bodies)]
        assert hub.read(0, 0, max_events=100, max_bytes=1 << 24).bodies == bodies


def publish(hub, bodies):
    for number, body in enumerate(bodies):
        hub.publish_bodies([body], producer="p", sequence=number)


def test_a_checkpoint_that_finds_no_space_leaves_all_in_the_log(small_disk):
    path = small_disk.folder / "notes.db"
    database = Database(path, schema="CREATE TABLE note (text TEXT) STRICT", version=1)
    with contextlib.closing(database):
        for number in range(100):
            with database.write() as connection:
                connection.execute("INSERT INTO note VALUES (?)", (f"{number:04}" * 1000,))
        small_disk.leave(0)
        database._checkpointer.run(database._writer)
        assert not database._checkpointer.failed
        with database.read() as connection:
            assert connection.execute("SELECT count(*) FROM note").get == 100
        small_disk.widen()
        with database.write() as connection:
            connection.execute("INSERT INTO note VALUES ('last')")
        database._checkpointer.run(database._writer)
        assert path.stat().st_size > 400_000


def test_no_message_is_blamed_for_a_disk_that_stays_full(sandbox, small_disk):
    prepare(sandbox, "queue")
    small_disk.leave(100)  # enough to take messages, too little to store their rows
    for _ in range(8):  # more often than a message is handed out before it is set aside
        assert sandbox.run("run", "store", "--instance", "0").returncode == 3
    small_disk.widen()
    assert sandbox.run("run", "--until-end").returncode == 0
    assert_all_is_there_once(sandbox, "queue")
