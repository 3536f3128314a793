"""`headrace tags generate`, `enqueue` and `watch`: tenants' files are messages of the work queue, once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from headrace.clock import ManualClock
from headrace.local.namespace import Namespace
from headrace.local.queue import Queue
from headrace.project import Project
from headrace.project.datasets import open_enqueuer
from headrace.series.dataset import FileMessage, decode_message
from headrace.series.enqueue import Watcher
from tests.integration.command import Commands

PROJECT = """
[inputs.readings]
kind = "dataset"
queue = "work"
stores = { main = "in", other = "more" }
"""


@pytest.fixture
def headrace(tmp_path, capsys):
    for folder in ("in/acme/2013", "in/bolt", "more/acme"):
        (tmp_path / folder).mkdir(parents=True)
    return Commands(tmp_path, capsys, PROJECT)


def waiting(headrace):
    """The messages of the work queue, in the order of their files."""
    with Namespace.open(headrace.folder / ".headrace") as namespace:
        messages = []
        while found := Queue(namespace, "work").claim(limit=1_000, owner="test"):
            messages += found
        assert all(message.tenant == decode_message(message.body).tenant for message in messages)
    return sorted(
        (decode_message(message.body) for message in messages), key=lambda m: (m.store, m.tenant, m.file)
    )


def test_each_file_of_each_tenant_and_store_is_enqueued_once(headrace):
    for name in ("in/acme/2013/a.csv", "in/acme/b.csv", "in/bolt/a.csv", "more/acme/b.csv"):
        headrace.write(name, name)
    headrace.write("in/acme/c.csv.tmp", "x")
    assert headrace("tags", "enqueue").out == "enqueued 4 files (0.0 MB) in queue 'work'\n"
    found = headrace("tags", "enqueue", "readings", "--json").document
    assert (found["enqueued"], found["there_already"]) == (0, 4)
    stat = (headrace.folder / "in/acme/2013/a.csv").stat()
    messages = waiting(headrace)
    assert messages[0] == FileMessage("acme", "main", "2013/a.csv", 18, str(stat.st_mtime_ns))
    assert [(m.store, m.tenant, m.file) for m in messages[1:]] == [
        ("main", "acme", "b.csv"),
        ("main", "bolt", "a.csv"),
        ("other", "acme", "b.csv"),
    ]


def test_a_file_that_was_written_to_is_enqueued_again(headrace):
    file = headrace.write("in/acme/a.csv", "x")
    headrace("tags", "enqueue")
    os.utime(file, ns=(1, 1))
    assert "enqueued 1 file " in headrace("tags", "enqueue").out
    assert "enqueued 0 files" in headrace("tags", "enqueue").out
    assert len(waiting(headrace)) == 2


def test_a_folder_that_cannot_be_a_tenants_is_passed_over_and_told(headrace):
    (headrace.folder / "in/no tenant").mkdir()
    headrace.write("in/no tenant/a.csv", "x")
    headrace.write("in/acme/a.csv", "x")
    answer = headrace("tags", "enqueue")
    assert answer.exit_code == 1
    assert "enqueued 1 file " in answer.out
    assert "passed over main/no tenant: 'no tenant' cannot name a tenant" in answer.err
    (headrace.folder / "in/\x1b[31mred").mkdir()
    assert "\x1b" not in headrace("tags", "enqueue").err


def test_mistakes_are_told_with_what_to_do(headrace):
    assert headrace("tags", "enqueue", "reading").exit_code == 2
    answer = headrace("tags", "enqueue", "reading")
    assert "there are: readings. Did you mean 'readings'?" in answer.err
    answer = headrace.without_project("tags", "generate", headrace.folder / "new", "--tenant", "../x")
    assert answer.exit_code == 2
    assert "cannot name a tenant" in answer.err
    assert not (headrace.folder / "new").exists()
    headrace.write("headrace.toml", '[inputs.readings]\nkind = "dataset"\nstores = { main = "nowhere" }\n')
    answer = headrace("tags", "enqueue")
    assert answer.exit_code == 2
    assert "nowhere" in answer.err


def test_generated_files_are_enqueued_with_their_sizes(headrace):
    tenants = ("--tenant", "acme", "--tenant", "bolt")
    made = headrace.without_project(
        "tags", "generate", *tenants, "--megabytes", 2, "--tags", 10, "--json", headrace.folder / "in"
    ).document
    assert made["tenants"] == ["acme", "bolt"]
    found = headrace("tags", "enqueue", "--json").document
    assert (found["enqueued"], found["size_bytes"]) == (made["files"], made["size_bytes"])


def test_enqueuing_killed_at_any_commit_and_done_again_doubles_and_loses_nothing(headrace):
    names = [f"{number:04}.csv" for number in range(1_200)]
    for name in names:
        headrace.write(f"in/acme/{name}", "x")
    command = [sys.executable, "-m", "headrace.cli", "tags", "enqueue", "--project", str(headrace.folder)]
    for hit in (1, 2, 2):
        killed = subprocess.run(
            command,
            env={**os.environ, "HEADRACE_CRASH_AT": f"series.enqueue.before_commit:{hit}"},
            check=False,
            timeout=60,
            capture_output=True,
        )
        assert killed.returncode == -signal.SIGKILL
    assert headrace("tags", "enqueue").exit_code == 0
    assert [message.file for message in waiting(headrace)] == names


def test_a_watcher_enqueues_a_file_once_it_stood_still(headrace):
    clock = ManualClock()
    project = Project.load(headrace.folder)
    with Namespace.open(project.data, clock=clock) as namespace:
        enqueuer = open_enqueuer(project, namespace, "readings")
        watcher = Watcher(enqueuer, 5, clock)
        file = headrace.write("in/acme/a.csv", "x")
        headrace.write("in/acme/b.csv.tmp", "x")

        def poll_after(seconds):
            clock.sleep(seconds)
            watcher.poll()
            return enqueuer.done.files, watcher.waiting

        assert poll_after(0) == (0, 1)
        assert poll_after(4) == (0, 1)
        file.write_text("more of it")
        assert poll_after(2) == (0, 1)
        assert poll_after(4) == (0, 1)
        assert poll_after(1) == (1, 0)
        assert poll_after(100) == (1, 0)
        (headrace.folder / "in/acme/b.csv.tmp").rename(headrace.folder / "in/acme/b.csv")
        assert poll_after(1) == (1, 1)
        (headrace.folder / "in/acme/b.csv").unlink()
        assert poll_after(6) == (1, 0)
        assert Watcher(enqueuer, 0, clock).poll() is None
        assert enqueuer.done.files == 1


def test_watch_goes_on_until_it_is_told_to_stop(headrace):
    command = [sys.executable, "-m", "headrace.cli", "tags", "watch", "--settle", "0", "--interval-s", "0.1"]
    with subprocess.Popen(
        [*command, "--json", "--project", str(headrace.folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            headrace.write("in/acme/a.csv", "x")
            deadline = time.monotonic() + 30
            while not sent(headrace) and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert json.loads(out)["enqueued"] == 1


def sent(headrace):
    if not (headrace.folder / ".headrace/namespace.db").exists():
        return 0
    with Namespace.open(headrace.folder / ".headrace") as namespace:
        return Queue(namespace, "work").depth().sent
