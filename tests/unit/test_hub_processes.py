"""A hub shared by processes, some of which are killed."""

import subprocess
import sys

import pytest

from headrace.local.hub import Hub

PUBLISHER = """
import sys
from pathlib import Path
from headrace.local.hub import Hub

folder, name, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Hub.open(folder, "papers") as hub:
    sys.stdin.readline()
    for call in range(calls):
        block = [f"{name}:{call}:{number}".encode() for number in range(call % 7 + 1)]
        hub.publish_bodies(block, producer=name, sequence=call)
        print(call, flush=True)
"""


def start(folder, name, calls, **environment):
    command = [sys.executable, "-c", PUBLISHER, str(folder), name, str(calls)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def sent(name, calls):
    return {f"{name}:{call}:{number}".encode() for call in range(calls) for number in range(call % 7 + 1)}


def stored(hub):
    return [
        body
        for partition in range(hub.partitions)
        for body in hub.read(partition, 0, max_events=1 << 20, max_bytes=1 << 30).bodies
    ]


@pytest.fixture
def hub(tmp_path):
    with Hub.create(tmp_path, "papers", partitions=2) as hub:
        yield hub


def test_two_processes_that_publish_at_once_lose_and_double_nothing(hub, tmp_path):
    """A third one reads along: what it has seen of a partition never changes."""
    publishers = [start(tmp_path, name, 150) for name in "ab"]
    for publisher in publishers:
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
    seen = [[] for _ in range(hub.partitions)]
    while True:
        running = any(publisher.poll() is None for publisher in publishers)
        for partition, log in enumerate(seen):
            log.extend(hub.read(partition, len(log), max_events=50, max_bytes=1 << 20).bodies)
        if not running and [len(log) for log in seen] == hub.ends():
            break
    assert [publisher.communicate()[1] for publisher in publishers] == ["", ""]
    events = [body for log in seen for body in log]
    assert sorted(events) == sorted(sent("a", 150) | sent("b", 150))
    assert sorted(events) == sorted(stored(hub))
    for partition in range(hub.partitions):
        times = hub.read(partition, 0, max_events=1 << 20, max_bytes=1 << 30).enqueued_us.tolist()
        assert times == sorted(times)


@pytest.mark.parametrize(
    ("point", "kept"), [("hub.publish.before_commit", 2), ("hub.publish.after_commit", 3)]
)
def test_a_publisher_killed_around_its_commit_doubles_nothing_when_it_sends_again(hub, tmp_path, point, kept):
    killed = start(tmp_path, "a", 10, HEADRACE_CRASH_AT=f"{point}:3")
    answered = killed.communicate("go\n")[0].split()
    assert killed.returncode == -9
    assert answered == ["0", "1"]
    assert set(stored(hub)) == sent("a", kept)
    assert hub.last_sequence("a") == kept - 1
    again = start(tmp_path, "a", 10)
    assert again.communicate("go\n")[0].split() == [str(call) for call in range(10)]
    assert sorted(stored(hub)) == sorted(sent("a", 10))


def test_a_reader_sees_at_once_what_another_process_has_published(hub, tmp_path):
    assert hub.ends() == [0, 0]
    start(tmp_path, "a", 4).communicate("go\n")
    assert sum(hub.ends()) == 1 + 2 + 3 + 4
