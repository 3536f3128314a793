"""A job ends after the epoch it is in; whoever lost its task may not write; nothing is lost."""

import json
import signal

import pytest

from headrace.local.namespace import Namespace
from headrace.local.progress import Position, Progress
from tests.crash.processes import TIMEOUT_S, Sandbox, wait_until

SETTINGS = """
[inputs.papers]
kind = "hub"
partitions = 1
[outputs.results]
kind = "table"
row_key = "id"
[functions.paused]
python = "paused.py:paused"
batch = true
[jobs.score]
sql = "SELECT id, paused(id) AS found INTO results FROM papers"
"""

#: Says that it was called, and then works until it is told to go on.
PAUSED = """
import pathlib, time

HERE = pathlib.Path(__file__).parent

def paused(rows):
    (HERE / "called").touch()
    deadline = time.monotonic() + 30
    while not (HERE / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return [identity for identity, in rows]
"""

IDS = [f"{number:04}" for number in range(200)]


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS, paused__py=PAUSED)
    sandbox.publish("papers", [json.dumps({"id": identity}).encode() for identity in IDS])
    return sandbox


def is_called(sandbox):
    return (sandbox.folder / "called").exists()


def let_go(sandbox):
    (sandbox.folder / "go").touch()


def position(sandbox):
    with Namespace.open(sandbox.data, create=False) as namespace:
        known = Progress(namespace).positions("score", "papers/0").get(("papers", 0), Position(0))
        return known.next_offset


def assert_nothing_is_lost(sandbox):
    let_go(sandbox)
    ended = sandbox.run("run", "--until-end")
    assert ended.returncode == 0, ended.stderr
    assert sandbox.keys("results") == IDS
    with Namespace.open(sandbox.data, create=False) as namespace:
        assert Progress(namespace).counts("score") == {"events_in": 200, "rows_out": 200, "dead": 0}


def test_sigterm_finishes_the_epoch_and_exits_with_0(sandbox):
    with sandbox.running("run", "score", "--instance", "0") as instance:
        wait_until(lambda: is_called(sandbox))
        instance.send_signal(signal.SIGTERM)
        let_go(sandbox)
        assert instance.wait(TIMEOUT_S) == 0
    stored = sandbox.keys("results")
    assert 0 < len(stored) < len(IDS), "it goes no further than the epoch that it was in"
    assert stored == IDS[: position(sandbox)]
    assert_nothing_is_lost(sandbox)


def test_sigterm_to_the_whole_run_ends_every_instance_and_exits_with_0(sandbox):
    with sandbox.running("run") as run:
        wait_until(lambda: is_called(sandbox))
        run.send_signal(signal.SIGTERM)
        let_go(sandbox)
        assert run.wait(TIMEOUT_S) == 0
    assert sandbox.keys("results") == IDS[: position(sandbox)]
    assert_nothing_is_lost(sandbox)


def test_headrace_stop_ends_a_run_after_the_epoch_it_is_in(sandbox):
    let_go(sandbox)
    with sandbox.running("run") as run:
        wait_until(lambda: sandbox.keys("results"))
        stopped = sandbox.run("stop")
        assert (stopped.returncode, stopped.stdout) == (0, "stopped: score\n")
        assert run.wait(TIMEOUT_S) == 0
    assert_nothing_is_lost(sandbox)


def test_stopping_what_does_not_run_says_so(sandbox):
    with Namespace.open(sandbox.data):
        pass
    stopped = sandbox.run("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "no job was running\n")


def test_a_second_run_of_a_job_is_refused_and_names_the_first(sandbox):
    with sandbox.running("run") as run:
        wait_until(lambda: is_called(sandbox))
        second = sandbox.run("run")
        assert second.returncode == 3
        assert "job 'score' is run by process" in second.stderr
        assert str(run.pid) in second.stderr
        assert "Traceback" not in second.stderr
        let_go(sandbox)


def test_an_instance_whose_supervisor_was_killed_ends_by_itself(sandbox):
    let_go(sandbox)
    with sandbox.running("run") as run:
        wait_until(lambda: sandbox.keys("results"))
        run.kill()
        run.wait(TIMEOUT_S)
    with Namespace.open(sandbox.data, create=False) as namespace:
        wait_until(lambda: not Progress(namespace).is_held("score", "instance-0"))
    assert_nothing_is_lost(sandbox)


def test_an_instance_that_lost_its_task_while_it_slept_cannot_commit(sandbox):
    with sandbox.running("run", "score", "--instance", "0") as zombie:
        wait_until(lambda: is_called(sandbox))
        zombie.send_signal(signal.SIGSTOP)
        with Namespace.open(sandbox.data, create=False) as namespace, namespace.transaction() as tx:
            # What another process does that takes the task over.
            tx.connection.execute(
                "UPDATE task SET fence = fence + 1, owner = 'another' WHERE task LIKE '%/0'"
            )
        let_go(sandbox)
        zombie.send_signal(signal.SIGCONT)
        _, said = zombie.communicate(timeout=TIMEOUT_S)
        assert zombie.returncode == 3
    assert "task 'papers/0' of job 'score' was taken over by another" in said
    assert "Traceback" not in said
    assert sandbox.keys("results") == []
    assert position(sandbox) == 0
    assert_nothing_is_lost(sandbox)
