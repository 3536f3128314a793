"""The suites find faults that were planted, and find none where there is none."""

import contextlib
import tempfile
from pathlib import Path

import pytest

from headrace.local.queue import Queue
from headrace.testing.conformance import (
    CompetingSourceSuite,
    LocalSinkSuite,
    OrderedSourceSuite,
    RemoteSinkSuite,
    StagedSinkSuite,
    verdicts,
)
from headrace.testing.conformance.planted import (
    COMPETING,
    LOCAL,
    ORDERED,
    REMOTE,
    STAGED,
    Around,
    Link,
    Linked,
)
from tests.conformance.harnesses import FileOut, HubIn, HubOut, QueueIn, QueueOut

#: A good connector of each kind, its suite, and the faults to plant in it.
PLANTED = {
    "ordered": (HubIn, OrderedSourceSuite, ORDERED),
    "competing": (QueueIn, CompetingSourceSuite, COMPETING),
    "local": (QueueOut, LocalSinkSuite, LOCAL),
    "staged": (FileOut, StagedSinkSuite, STAGED),
    "remote": (HubOut, RemoteSinkSuite, REMOTE),
}


@contextlib.contextmanager
def linked(kind, fault=None):
    """A harness of a good connector behind a link that breaks, with a fault over it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(kind(Path(folder))) as harness:
        link, opened = Link(), harness.open
        around = Around(getattr(harness, "commit", contextlib.nullcontext))

        def open_over_link(*owner):
            good = Linked(opened(*owner), link)
            return fault(good, around) if fault else good

        harness.open, harness.breaks = open_over_link, True
        for call, mood in (
            ("cut", "gone"),
            ("lose_answers", "lost"),
            ("refuse", "refused"),
            ("heal", "well"),
        ):
            setattr(harness, call, lambda mood=mood: setattr(link, "mood", mood))
        yield harness
        for file in around.shared.get("files", ()):
            file.close()


@pytest.mark.parametrize("name", PLANTED)
def test_a_good_connector_behind_a_link_that_breaks_passes_all(name):
    kind, suite, _ = PLANTED[name]
    assert verdicts(suite, lambda: linked(kind)) == {}


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, (_, _, faults) in PLANTED.items() for fault in faults]
)
def test_a_fault_is_found(name, fault):
    kind, suite, faults = PLANTED[name]
    found = verdicts(suite, lambda: linked(kind, fault), faults[fault])
    assert list(found) == [faults[fault]]


def test_messages_that_are_handed_out_for_ever_are_found():
    class Patient(QueueIn):
        def _queue(self):
            return Queue(self.namespace, "work", visibility_timeout_s=30, max_deliveries=50)

    name = "test_a_message_that_kills_is_set_aside_alone"
    assert name in verdicts(CompetingSourceSuite, lambda: linked(Patient), name)


def test_neighbours_that_are_set_aside_with_a_message_that_kills_are_found(monkeypatch):
    monkeypatch.setattr(Queue, "_batch_size", lambda self, limit, deliveries: limit)
    name = "test_a_message_that_kills_is_set_aside_alone"
    assert "lost [0, 2, 3]" in verdicts(CompetingSourceSuite, lambda: linked(QueueIn), name)[name]


def test_values_that_change_are_found():
    class Plain(QueueOut):
        def read(self):
            return [row | {"text": row["text"] and ascii(row["text"])} for row in super().read()]

    name = "test_rows_of_all_types_come_back"
    assert "row 1, text" in verdicts(LocalSinkSuite, lambda: linked(Plain), name)[name]
