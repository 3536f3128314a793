"""A full disk stops the job with a clear message; once there is space, nothing turns out to be lost."""

import json
import random
import resource
import subprocess

import pytest

from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from tests.crash.processes import TIMEOUT_S, Sandbox, wait_until

SETTINGS = """
[inputs.papers]
kind = "hub"
partitions = 2
[outputs.results]
kind = "table"
row_key = "id"
[jobs.store]
sql = "SELECT id, doc INTO results FROM papers"
"""

EVENTS = 4000
ROOM_BYTES = 3_000_000

#: Makes a file fail beyond a size, as a full disk does; the limit can be raised from outside.
NARROW = ("sh", "-c", f'ulimit -S -f {ROOM_BYTES // 512}; exec "$@"', "sh")


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.write(headrace__toml=SETTINGS)
    return sandbox


def fill(sandbox):
    chance = random.Random(1)
    docs = [{"id": f"{n:05}", "doc": chance.randbytes(600).hex()} for n in range(EVENTS)]
    sandbox.publish("papers", [json.dumps(doc).encode() for doc in docs], partitions=2)


def assert_nothing_is_lost_or_doubled(sandbox):
    assert sandbox.keys("results") == [f"{n:05}" for n in range(EVENTS)]
    with Namespace.open(sandbox.data, create=False) as namespace:
        counts = Progress(namespace).counts("store")
    assert counts == {"events_in": EVENTS, "rows_out": EVENTS, "dead": 0}


def test_a_run_goes_on_by_itself_once_its_disk_takes_more(sandbox, tmp_path):
    fill(sandbox)
    with (tmp_path / "said").open("w+b") as said:
        run = subprocess.Popen([*NARROW, *sandbox.command("run", "--until-end")], stderr=said)
        try:
            wait_until(lambda: b"starting it again in 0.5 s" in (tmp_path / "said").read_bytes())
            assert 0 < len(sandbox.keys("results")) < EVENTS
            hard = resource.prlimit(run.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert run.wait(TIMEOUT_S) == 0
        finally:
            run.kill()
            run.wait(TIMEOUT_S)
    message = (tmp_path / "said").read_text()
    assert f"the disk failed while writing {sandbox.data / 'namespace.db'}: disk I/O error" in message
    assert "start again when it is mended" in message
    assert "Traceback" not in message
    assert_nothing_is_lost_or_doubled(sandbox)


@pytest.fixture
def small_disk(sandbox):
    """A file system of 6 MB in place of the data folder, where mounting one is permitted."""
    sandbox.data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(sandbox.data)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs more rights than these tests have")
    yield sandbox
    subprocess.run(["umount", "-l", str(sandbox.data)], check=True)


def test_a_full_file_system_stops_an_instance_with_a_clear_message(small_disk):
    fill(small_disk)
    stopped = small_disk.run("run", "store", "--instance", "0")
    assert stopped.returncode == 3
    assert f"the disk that holds {small_disk.data / 'namespace.db'} is full" in stopped.stderr
    assert "free some space and start again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk.data)], check=True)
    assert small_disk.run("run", "--until-end").returncode == 0
    assert_nothing_is_lost_or_doubled(small_disk)
