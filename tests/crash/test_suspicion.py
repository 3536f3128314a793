"""When an event is taken for one that kills its reader: after deaths with events in hand, and only then."""

from collections import Counter

import pytest

from headrace.clock import ManualClock
from headrace.connect.hub import HubSource
from headrace.connect.queue import QueueSource
from headrace.engine.arrivals import Arranger
from headrace.engine.intake import Intake
from headrace.engine.made_anew import MadeAnew
from headrace.engine.stages import StageClocks
from headrace.engine.tasks import FIRST_BATCH_ROWS, Tasks
from headrace.limits import MAX_BATCH_BYTES, STARTS_WITHOUT_PROGRESS
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.sql.bind import bind


@pytest.fixture
def namespace(tmp_path):
    with Namespace.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def hub(namespace):
    with Hub.create(namespace.hubs_folder, "papers", partitions=1) as opened:
        yield opened


def started(namespace, hub):
    """What an instance has just after its start."""
    sources = {"papers": HubSource("papers", hub)}
    made_anew = MadeAnew("job", keeps_state=False, has_queues=False)
    tasks = Tasks(Progress(namespace), "job", sources, "me", lambda *_: None, made_anew)
    tasks.acquire(lambda *_: True)
    return tasks


def die(tasks):
    """End as a killed process does: its locks are gone, its records stay."""
    for task in tasks.owned:
        task.ownership.release()


def read(tasks):
    return [len(poll.bodies) for poll in tasks.read(FIRST_BATCH_ROWS, MAX_BATCH_BYTES)]


def test_deaths_while_nothing_was_to_be_read_make_no_event_suspect(namespace, hub):
    for _ in range(3 * STARTS_WITHOUT_PROGRESS):
        tasks = started(namespace, hub)
        assert read(tasks) == []
        die(tasks)
    hub.publish_bodies([b"{}"])
    tasks = started(namespace, hub)
    assert read(tasks) == [1]
    assert not tasks.suspicious


def test_an_event_that_kills_each_reader_is_read_in_ever_smaller_pieces_until_it_stands_alone(namespace, hub):
    hub.publish_bodies([b"{}"] * 100)
    pieces = []
    for _ in range(20):
        tasks = started(namespace, hub)
        pieces += read(tasks) or read(tasks)
        if tasks.suspicious and tasks.owned[0].kills_alone:
            break
        die(tasks)
    assert pieces == [64] * STARTS_WITHOUT_PROGRESS + [32, 16, 8, 4, 2, 1, 1]
    [poll] = tasks.read(FIRST_BATCH_ROWS, MAX_BATCH_BYTES)
    assert tasks.killer(poll)


def test_messages_of_a_queue_are_left_alone_while_an_event_of_a_hub_is_looked_for(namespace, hub):
    hub.publish_bodies([b"{}"] * 10)
    queue = Queue(namespace, "work")
    with namespace.transaction() as tx:
        queue.send(tx, [b"{}"])
    for _ in range(STARTS_WITHOUT_PROGRESS):
        tasks = started(namespace, hub)
        read(tasks)
        die(tasks)
    tasks = started(namespace, hub)
    clock = ManualClock()
    source = QueueSource("work", queue, "me")
    intake = Intake(tasks, [source], Arranger(bind("SELECT id FROM papers")), StageClocks(clock), clock)
    try:
        polls = [poll for _ in range(2) if (taken := intake.take(64)) for poll in taken.polls]
        assert [poll.input for poll in polls] == ["papers"]
        assert queue.depth().leased == 0
    finally:
        intake.close(blameless=False)
        die(tasks)


def test_all_partitions_are_read_alike_and_what_one_has_not_another_may_have(namespace, tmp_path):
    with Hub.create(tmp_path / "hubs", "apart", partitions=3) as hub:
        for partition, events in ((0, 1000), (1, 10), (2, 1000)):
            hub.publish_bodies([b"{}"] * events, partition=partition)
        tasks = started(namespace, hub)
        read = Counter()
        for poll in tasks.read(600, 1 << 20):
            read[poll.partition] += poll.events
        assert sum(read.values()) == 600
        assert read[1] == 10
        assert abs(read[0] - read[2]) < 200
        tasks.release(died=False)
