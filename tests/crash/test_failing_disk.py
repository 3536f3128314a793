"""A disk that fails: who met it writes no more and ends; a new process goes on from what is in the log."""

import errno

import pytest

from tests.crash.processes import TIMEOUT_S, wait_until
from tests.crash.stored import (
    EVENTS,
    RESTARTED,
    assert_all_is_there_once,
    documents,
    prepare,
    running,
    send,
    stored,
)

MORE = 200


def work_off_with_a_fault(sandbox, job, disk, said, *fault):
    """Run a job, let the disk fail when more events come, and mend it; returns what was said."""
    prepare(sandbox, job)
    with running(sandbox, said, "run", prefix=disk.prefix) as run:
        wait_until(lambda: stored(sandbox, job).total() == EVENTS)
        told = said.stat().st_size
        disk.fail(*fault)
        send(sandbox, job, documents(EVENTS, EVENTS + MORE))
        # What was not synced can be read all the same, and then is not written again.
        wait_until(
            lambda: (
                RESTARTED in said.read_text()
                or run.poll() is not None
                or (said.stat().st_size > told and stored(sandbox, job).total() == EVENTS + MORE)
            )
        )
        disk.mend()
        wait_until(lambda: stored(sandbox, job).total() == EVENTS + MORE)
        run.terminate()
        assert run.wait(TIMEOUT_S) in {0, 3}  # 3 where it was ended before it had started again
    assert_all_is_there_once(sandbox, job, EVENTS + MORE)
    message = said.read_text()
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("job", ["table", "queue"])
def test_after_a_failed_sync_a_process_writes_and_syncs_no_more(job, sandbox, faulty_disk, tmp_path):
    said = work_off_with_a_fault(
        sandbox, job, faulty_disk, tmp_path / "said", "sync", errno.EIO, "namespace.db-wal"
    )
    file = sandbox.data / "namespace.db"
    assert f"cannot write {file}: the disk failed (disk I/O error). Nothing is tried again" in said
    assert "start again when it is mended" in said
    stopped = set()
    for process, operation, refused in faulty_disk.done():
        assert process not in stopped, f"{operation} after a failed sync"
        if refused:
            stopped.add(process)
    assert len(stopped) >= 2


@pytest.mark.parametrize(
    ("job", "fault"),
    [
        ("table", ("write", errno.EIO, "namespace.db-wal")),
        ("hub", ("sync", errno.EIO, "results.db-wal")),
        ("table", ("sync", errno.ENOSPC, "namespace.db-wal")),
    ],
)
def test_nothing_is_lost_or_doubled_when_a_disk_fails_and_is_mended(
    job, fault, sandbox, faulty_disk, tmp_path
):
    said = work_off_with_a_fault(sandbox, job, faulty_disk, tmp_path / "said", *fault)
    assert "the disk failed (disk I/O error)" in said


def test_a_disk_that_became_read_only_is_waited_for(sandbox, faulty_disk, tmp_path):
    said = work_off_with_a_fault(
        sandbox, "table", faulty_disk, tmp_path / "said", "write", errno.EROFS, "namespace.db-wal"
    )
    assert f"cannot write {sandbox.data / 'namespace.db'}: its file system is read-only" in said


def test_a_disk_that_fails_at_the_start_ends_the_run(sandbox, faulty_disk, tmp_path):
    prepare(sandbox, "table")
    faulty_disk.fail("sync", errno.EIO, "namespace.db-wal")
    said = tmp_path / "said"
    with running(sandbox, said, "run", prefix=faulty_disk.prefix) as run:
        assert run.wait(TIMEOUT_S) == 3
    assert said.read_text().count("\n") == 1
    assert "the disk failed" in said.read_text()
    assert sandbox.run("run", "--until-end").returncode == 0
    assert_all_is_there_once(sandbox, "table")
