"""What a job commits beside its outputs, who owns a task, and who runs."""

import os
import signal
import subprocess
import sys

import pytest

from headrace.errors import Fatal, Transient, UserError
from headrace.limits import EPOCHS_KEPT
from headrace.local.namespace import Namespace
from headrace.local.ownership import Ownership
from headrace.local.progress import Condition, Position, Progress, SavedState

HOLD = """
import pathlib, sys
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress, SavedState
with Namespace.open(pathlib.Path(sys.argv[1])) as namespace:
    ownership = Progress(namespace).acquire("job", "task", "holder")
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def progress(namespace):
    return Progress(namespace)


@pytest.fixture
def holder(tmp_path, namespace):
    """Another process that owns the task."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def record(namespace, progress, ranges="{}", positions=(), **options):
    with namespace.transaction() as tx:
        return progress.record_epoch(tx, "job", "task", ranges, dict(positions), **options)


# --- owning a task ---------------------------------------------------------------------------------------


def test_a_second_owner_is_told_who_has_the_task_since_when_and_what_to_do(progress, holder):
    with pytest.raises(Transient) as caught:
        progress.acquire("job", "task", "second")
    message = str(caught.value)
    assert message.startswith(f"task 'task' of job 'job' is run by process {holder.pid} (holder, since 20")
    assert "UTC). Stop that one first" in message


def test_a_killed_owner_leaves_the_task_free_at_once_and_the_fence_grows(progress, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not progress.is_held("job", "task")
    assert progress.acquire("job", "task", "second").fence == 2


def test_asking_whether_a_task_is_held_takes_nothing(progress, holder):
    assert progress.is_held("job", "task")
    assert not progress.is_held("job", "never run")
    holder.communicate(b"\n")
    assert not progress.is_held("job", "task")


def test_a_process_cannot_own_a_task_twice(progress):
    first = progress.acquire("job", "task", "me")
    with pytest.raises(Transient, match=f"process {os.getpid()} "):
        progress.acquire("job", "task", "me too")
    first.release()
    first.release()
    assert progress.acquire("job", "task", "me too").fence == first.fence + 1


def test_tasks_and_jobs_with_like_names_are_owned_apart(progress):
    names = [("a", "b"), ("a", "B"), ("A", "b"), ("a", "b/0"), ("a", "b@0"), ("a", "../b"), ("a.b", "c")]
    held = [progress.acquire(job, task, "me") for job, task in names]
    assert [ownership.fence for ownership in held] == [1] * len(names)


def test_an_owner_that_was_left_behind_cannot_commit(namespace, progress):
    behind = progress.acquire("job", "task", "behind")
    with namespace.transaction() as tx:
        behind.check(tx)
    # A lock file that somebody deletes no longer keeps others out: the fence still does.
    for lock in namespace.locks_folder.iterdir():
        lock.unlink()
    ahead = progress.acquire("job", "task", "ahead")

    def commit():
        with namespace.transaction() as tx:
            progress.count(tx, "job", {"rows": 1})
            behind.check(tx)

    with pytest.raises(Fatal, match="'task' of job 'job' was taken over by ahead"):
        commit()
    assert progress.counts("job") == {}
    with namespace.transaction() as tx:
        ahead.check(tx)


def test_an_owner_that_released_its_task_cannot_commit(namespace, progress):
    ownership = progress.acquire("job", "task", "me")
    ownership.release()
    with pytest.raises(Fatal), namespace.transaction() as tx:
        ownership.check(tx)


def test_a_task_whose_acquisition_fails_is_free_again(namespace, progress, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Namespace, "transaction", lambda _: pytest.fail("no transaction"))
        with pytest.raises(pytest.fail.Exception):
            Ownership.take(namespace, "job", "task", "me")
    assert not progress.is_held("job", "task")
    progress.acquire("job", "task", "me")


def test_a_lock_that_cannot_be_written_is_a_user_error(namespace, progress):
    namespace.locks_folder.write_text("a file in place of the folder")
    with pytest.raises(UserError, match=r"cannot lock .*Check that the folder is yours"):
        progress.acquire("job", "task", "me")


def test_a_name_that_is_no_name_owns_nothing(progress):
    with pytest.raises(UserError, match="cannot name a job"):
        progress.acquire("../job", "task", "me")


# --- epochs and positions --------------------------------------------------------------------------------


def test_positions_are_those_of_the_last_epoch_of_each_input_and_partition(namespace, progress):
    assert progress.positions("job", "task") == {}
    record(namespace, progress, positions={("a", 0): Position(5), ("a", 1): Position(7)})
    record(namespace, progress, positions={("a", 1): Position(9, "hub"), ("b", 0): Position(1)})
    assert progress.positions("job", "task") == {
        ("a", 0): Position(5),
        ("a", 1): Position(9, "hub"),
        ("b", 0): Position(1),
    }
    assert progress.positions("job", "other") == progress.positions("other", "task") == {}


def test_epochs_are_numbered_and_only_the_last_ones_stay_on_record(namespace, progress, clock):
    numbers = [
        record(namespace, progress, f"[{n}]", watermark_us=n if n > 1 else None)
        for n in range(1, EPOCHS_KEPT + 4)
    ]
    assert numbers == list(range(1, EPOCHS_KEPT + 4))
    kept = progress.epochs("job", "task")
    assert [epoch.number for epoch in kept] == numbers[-EPOCHS_KEPT:]
    assert kept[-1] == (numbers[-1], f"[{numbers[-1]}]", numbers[-1], clock.now_us(), None)


def test_an_epoch_that_is_undone_moves_nothing(namespace, progress):
    with pytest.raises(KeyboardInterrupt), namespace.transaction() as tx:
        raise KeyboardInterrupt(progress.record_epoch(tx, "job", "task", "{}", {("a", 0): Position(5)}))
    assert progress.positions("job", "task") == {}
    assert progress.epochs("job", "task") == []


# --- starts without progress -----------------------------------------------------------------------------


def test_starts_are_counted_until_there_is_progress(namespace, progress):
    progress.acquire("job", "task", "me").release()
    assert [progress.count_start("job", "task") for _ in range(3)] == [1, 2, 3]
    progress.acquire("job", "task", "me").release()
    assert progress.count_start("job", "task") == 4
    record(namespace, progress)
    assert progress.count_start("job", "task") == 1
    progress.forget_starts("job", "task")
    assert progress.count_start("job", "task") == 1


def test_a_probe_is_kept_through_starts_and_dropped_by_progress(namespace, progress):
    progress.acquire("job", "task", "me").release()
    assert progress.probe("job", "task") is None
    progress.save_probe("job", "task", 0, 1000)
    progress.save_probe("job", "task", 0, 500)
    progress.acquire("job", "task", "me").release()
    assert progress.probe("job", "task") == (0, 500)
    record(namespace, progress)
    assert progress.probe("job", "task") is None


# --- the outbox ------------------------------------------------------------------------------------------


def add_blocks(namespace, progress, *sequences, line="line"):
    with namespace.transaction() as tx:
        return [progress.add_outbox(tx, "job", line, "out", n, b"block %d" % n) for n in sequences]


def test_committed_blocks_wait_in_order_until_they_are_done(namespace, progress):
    first = add_blocks(namespace, progress, 1, 2)
    second = add_blocks(namespace, progress, 3)
    add_blocks(namespace, progress, 1, line="other")
    assert progress.pending_outbox("job", "line") == first + second
    assert [block.block for block in first] == [b"block 1", b"block 2"]
    with namespace.transaction() as tx:
        progress.done_outbox(tx, [block.id for block in first])
        progress.done_outbox(tx, [])
    assert progress.pending_outbox("job", "line") == second
    assert len(progress.pending_outbox("job", "other")) == 1


def test_the_last_sequence_of_a_line_outlives_its_blocks(namespace, progress):
    assert progress.last_sequence("job", "line") == 0
    blocks = add_blocks(namespace, progress, 1, 2)
    with namespace.transaction() as tx:
        progress.done_outbox(tx, [block.id for block in blocks])
    assert progress.last_sequence("job", "line") == 2
    assert progress.last_sequence("job", "other") == 0


# --- counts, instances, stopping -------------------------------------------------------------------------


def test_counts_add_up_over_commits_and_not_over_undone_ones(namespace, progress):
    for _ in range(2):
        with namespace.transaction() as tx:
            progress.count(tx, "job", {"events_in": 3, "dead": 1})
            progress.count(tx, "other", {"events_in": 1})
    with pytest.raises(KeyboardInterrupt), namespace.transaction() as tx:
        raise KeyboardInterrupt(progress.count(tx, "job", {"events_in": 100}))
    assert progress.counts("job") == {"events_in": 6, "dead": 2}
    assert progress.counts("none") == {}


def test_instances_report_themselves_and_a_new_process_begins_anew(progress, clock, monkeypatch):
    started_us = clock.now_us()
    progress.beat("job", "instance-0", {"events_in": 1})
    clock.sleep(1)
    waiting = Condition("retrying", clock.now_us(), "it is down")
    progress.beat("job", "instance-0", {"events_in": 2, "read_ms": 0.5}, waiting)
    progress.beat("job", "instance-1", {})
    progress.beat("other", "instance-0", {})
    first, second = progress.instances("job")
    assert first == (
        "job",
        "instance-0",
        os.getpid(),
        started_us,
        clock.now_us(),
        {"events_in": 2, "read_ms": 0.5},
        waiting,
    )
    assert (second.instance, second.counters) == ("instance-1", {})
    assert len(progress.instances()) == 3
    monkeypatch.setattr(os, "getpid", lambda: first.pid + 1)
    progress.beat("job", "instance-0", {})
    assert progress.instances("job")[0][2:6] == (first.pid + 1, clock.now_us(), clock.now_us(), {})


def test_a_request_to_stop_stands_until_it_is_cleared(progress):
    assert progress.stop_requested("job") is None
    progress.request_stop("job", "end")
    assert progress.stop_requested("job") == "end"
    progress.request_stop("job")
    assert progress.stop_requested("job") == "now"
    assert progress.stop_requested("other") is None
    progress.clear_stop("job")
    assert progress.stop_requested("job") is None


def test_a_saved_state_takes_the_place_of_the_one_before_and_of_the_epochs_that_it_knows_of(
    progress, namespace
):
    def logged(number, saved=None):
        with namespace.transaction() as tx:
            assert progress.log_epoch(tx, "job", "state", "{}", 5, b"answers") == number
            if saved is not None:
                progress.save_state(tx, "job", "state", saved)

    assert progress.state("job", "state") is None
    logged(1, SavedState(0, {"a": b"1", "b": b"2"}))
    logged(2)
    assert [epoch.number for epoch in progress.epochs("job", "state")] == [1, 2]
    logged(3, SavedState(2, {"a": b"1", "b": b"3"}))
    assert progress.state("job", "state") == SavedState(2, {"a": b"1", "b": b"3"})
    assert [(epoch.number, epoch.answers) for epoch in progress.epochs("job", "state")] == [
        (2, b"answers"),
        (3, b"answers"),
    ]
    assert progress.tasks_with_state("job") == ["state"]
    assert progress.tasks_with_state("other") == []


def test_a_job_that_starts_elsewhere_keeps_nothing_of_before(progress, namespace):
    with namespace.transaction() as tx:
        progress.log_epoch(tx, "job", "state", "{}", 5, None)
        progress.save_state(tx, "job", "state", SavedState(1, {"a": b"1"}))
    progress.start_at("job", {"events/0": {("events", 0): Position(7)}}, from_us=12)
    assert progress.state("job", "state") is None
    assert progress.positions("job", "events/0") == {("events", 0): Position(7)}
    assert progress.start_us("job") == 12
    progress.start_at("job", {}, None)
    assert progress.start_us("job") is None


def test_an_instance_that_was_left_behind_cannot_undo_a_start_elsewhere(namespace, progress):
    left_behind = progress.acquire("job", "events/0", "instance-0")
    progress.start_at("job", {"events/0": {("events", 0): Position(0)}}, None)
    with pytest.raises(Fatal, match="taken over by a start elsewhere"), namespace.transaction() as tx:
        left_behind.check(tx)
    assert progress.positions("job", "events/0") == {("events", 0): Position(0)}


def test_a_process_that_is_gone_is_on_record_with_what_it_counted_unless_it_said_more_itself(progress):
    progress.beat("job", "instance-0", {"rows_out": 5})
    progress.beat("job", "instance-1", {}, Condition("ended", 1, "cannot divide by zero"))
    for number in range(2):
        progress.died("job", f"instance-{number}", os.getpid(), "killed by SIGKILL")
    progress.died("job", "instance-2", 7, "exit code 3")  # before it reported anything
    states = [(s.condition.state, s.condition.note, s.counters) for s in progress.instances("job")]
    assert states == [
        ("ended", "killed by SIGKILL", {"rows_out": 5}),
        ("ended", "cannot divide by zero", {}),
        ("ended", "exit code 3", {}),
    ]
