"""Data that cannot be written, or is gone: what is said, what can still be read, and how it goes on."""

import os
import shutil
import subprocess

import pytest

from headrace.cli import main
from tests.crash.processes import TIMEOUT_S, wait_until
from tests.crash.stored import EVENTS, assert_all_is_there_once, documents, prepare, running, send, stored

LOOKING = [("peek", "papers"), ("peek", "results"), ("dead-letters",), ("sample", "papers"), ("check",)]

WRITING = [("run", "--until-end"), ("send", "papers", "more.jsonl"), ("dead-letters", "drop", "--all")]


@pytest.fixture
def half_done(sandbox):
    """A project with rows in its table, and events that wait."""
    prepare(sandbox, "table")
    assert sandbox.run("run", "--until-end").returncode == 0
    send(sandbox, "table", documents(EVENTS, EVENTS + 2))
    sandbox.write(more__jsonl='{"id": "more"}')
    return sandbox


def test_on_a_read_only_disk_all_can_be_looked_at_and_nothing_written(small_disk, half_done, capsys):
    small_disk.lock()
    for words in LOOKING:
        assert main([*words, "--project", str(half_done.folder)]) == 0, words
    capsys.readouterr()
    for words in WRITING:
        assert main([*without_folder(half_done, words), "--project", str(half_done.folder)]) == 3
        said = capsys.readouterr().err
        assert "its file system is read-only. Nothing is lost: mount it for writing" in said
        assert said.count("\n") == 1
    small_disk.unlock()
    assert half_done.run("run", "--until-end").returncode == 0
    assert_all_is_there_once(half_done, "table", EVENTS + 2)


def without_folder(sandbox, words):
    """Name files in the project's folder by their path."""
    return [str(sandbox.folder / word) if word.endswith(".jsonl") else word for word in words]


#: Runs a command without the right of root to write everywhere; to others it makes no difference.
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture
def forbidden(half_done):
    """The data in a folder that its user may read but not write."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that from it")
    folders = [half_done.data, half_done.data / "hubs", half_done.data / "locks"]
    for folder in folders:
        folder.chmod(0o555)
    yield half_done
    for folder in folders:
        folder.chmod(0o755)


def run_unprivileged(sandbox, *words):
    prefix = UNPRIVILEGED if os.geteuid() == 0 else ()
    return subprocess.run(
        [*prefix, *sandbox.command(*words)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def test_in_a_folder_of_somebody_else_all_can_be_looked_at_and_nothing_written(forbidden):
    for path in forbidden.data.rglob("*.lock"):
        path.chmod(0o444)
    looked = run_unprivileged(forbidden, "peek", "results", "--rows", "0")
    assert (looked.returncode, f"{EVENTS:,} rows" in looked.stderr) == (0, True)
    looked = run_unprivileged(forbidden, "peek", "papers", "--rows", "0")
    assert (looked.returncode, looked.stderr) == (0, "")
    refused = run_unprivileged(forbidden, "run", "--until-end")
    assert refused.returncode == 2
    assert "Permission denied. Check that the folder is yours" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_locks_that_cannot_be_taken_are_told_with_their_path(half_done):
    shutil.rmtree(half_done.data / "locks")
    (half_done.data / "locks").write_text("in the way")
    refused = half_done.run("run", "--until-end")
    assert refused.returncode == 2
    assert f"cannot lock {half_done.data / 'locks'}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_data_that_is_moved_away_stops_the_run_and_is_not_begun_anew(sandbox, tmp_path):
    prepare(sandbox, "table")
    said = tmp_path / "said"
    with running(sandbox, said, "run") as run:
        wait_until(lambda: stored(sandbox, "table").total() == EVENTS)
        sandbox.data.rename(tmp_path / "away")
        assert run.wait(TIMEOUT_S) == 3
    assert f"{sandbox.data / 'namespace.db'} was moved or removed while it was in use" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert not sandbox.data.exists()
    (tmp_path / "away").rename(sandbox.data)
    assert sandbox.run("run", "--until-end").returncode == 0
    assert_all_is_there_once(sandbox, "table")


@pytest.mark.parametrize("files", [6, 8, 12])
def test_too_few_files_are_told_and_nothing_is_lost(files, sandbox, tmp_path):
    prepare(sandbox, "table")
    said = tmp_path / "said"
    limit = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
    with running(sandbox, said, "run", "--until-end", prefix=limit) as run:
        wait_until(lambda: "starting it again" in said.read_text() or run.poll() is not None)
        run.terminate()
        code = run.wait(TIMEOUT_S)
    message = said.read_text()
    assert "Traceback" not in message
    assert "unexpected" not in message
    if code:
        assert code == 3
        assert "too many files are open" in message or "Too many open files" in message
    assert sandbox.run("run", "--until-end").returncode == 0
    assert_all_is_there_once(sandbox, "table")
