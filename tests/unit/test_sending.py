"""Sending: a stream is stored once and whole, whatever stops it on the way; the Python door to it."""

import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connect.event_files import EventFile, in_blocks
from headrace.connect.hub import key_of
from headrace.errors import UserError
from headrace.limits import MAX_EVENT_BYTES
from headrace.local.browse import newest_messages
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.publishing import Published
from headrace.project.latest import newest_events
from headrace.project.sending import Sending, send


class Killed(Exception):
    pass


class Memory:
    """A target that keeps events as a hub does, and dies after or before its n-th commit."""

    def __init__(self):
        self.bodies, self.sequences = [], {}
        self.dies_after, self.dies_before = None, None

    def publish_bodies(self, bodies, *, producer=None, sequence=None):
        if self.dies_before == 0:
            raise Killed
        if producer is not None:
            if sequence <= self.sequences.get(producer, -1):
                return Published(len(bodies), (), duplicate=True)
            self.sequences[producer] = sequence
        self.bodies += bodies
        if self.dies_after == 0:
            raise Killed
        self.dies_after = None if self.dies_after is None else self.dies_after - 1
        self.dies_before = None if self.dies_before is None else self.dies_before - 1
        return Published(len(bodies), ())

    def last_sequence(self, producer):
        return self.sequences.get(producer)


attempts = st.lists(
    st.tuples(
        st.integers(0, 60),  # the limit of this attempt
        st.integers(1, 9),  # events of its blocks
        st.sampled_from(["dies_after", "dies_before", None]),
        st.integers(0, 5),
    ),
    max_size=6,
)


@given(attempts, st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_a_stream_that_is_stopped_anywhere_and_begun_again_is_stored_once_in_order(stops, count):
    stream = [b"%d" % number for number in range(count)]
    target = Memory()
    for limit, block_events, how, when in [*stops, (count, 7, None, 0)]:
        target.dies_after = target.dies_before = None
        if how:
            setattr(target, how, when)
        try:
            sending = Sending(target, "p")
            for block in in_blocks(stream[:limit], block_events, 1000):
                sending.publish(block)
        except Killed:
            continue
        assert sending.stored + sending.skipped == min(limit, count)
    assert target.bodies == stream


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=40), st.integers(1, 5), st.integers(1, 30))
def test_blocks_hold_all_events_in_order_within_their_bounds(events, max_events, max_bytes):
    blocks = list(in_blocks(events, max_events, max_bytes))
    assert [event for block in blocks for event in block] == events
    for block in blocks:
        assert 1 <= len(block) <= max_events
        assert len(block) == 1 or sum(map(len, block)) <= max_bytes


@given(st.lists(st.binary(max_size=30)))
@settings(max_examples=100)
def test_lines_of_a_file_are_its_events_whatever_their_bytes(tmp_path_factory, texts):
    file = tmp_path_factory.mktemp("lines") / "a.jsonl"
    first = b"{}"
    file.write_bytes(b"\n".join([first, *texts]))
    refused = []
    expected = [line.strip(b" \t\r\n") for text in texts for line in text.split(b"\n")]
    assert list(EventFile(file).events(refused.append)) == [first, *(line for line in expected if line)]
    assert refused == []


def test_the_longest_event_passes_and_one_byte_more_is_refused(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"1" * MAX_EVENT_BYTES + b"\r\n" + b"2" * (MAX_EVENT_BYTES + 1) + b"\n3")
    refused = []
    events = list(EventFile(file).events(refused.append))
    assert [len(event) for event in events] == [MAX_EVENT_BYTES, 1]
    assert [problem.partition(":")[0] for problem in refused] == [f"{file}, line 2"]


def test_a_digest_is_of_name_content_and_how_the_lines_are_read(tmp_path):
    (tmp_path / "other").mkdir()
    for name in ("a.txt", "b.txt", "other/a.txt"):
        (tmp_path / name).write_text("x\n")
    digest = EventFile(tmp_path / "a.txt", "doc").digest()
    assert EventFile(tmp_path / "other" / "a.txt", "doc").digest() == digest
    assert EventFile(tmp_path / "b.txt", "doc").digest() != digest
    assert EventFile(tmp_path / "a.txt", "text").digest() != digest
    (tmp_path / "a.txt").write_text("y\n")
    assert EventFile(tmp_path / "a.txt", "doc").digest() != digest


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"id": "a\\u00e9"}', "aé"),
        (b'{"ID": 7}', "7"),
        (b'{"Id": 1, "id": 2}', "2"),
        (b'{"id": 1.50}', "1.50"),
        (b'{"id": {"x": 1}}', '{"x": 1}'),
        (b'{"id": null}', None),
        (b"{}", None),
        (b"[1]", None),
        (b"\xff", None),
        (b'{"id": "\xff"}', None),
        (b"[" * 100_000, None),
    ],
)
def test_the_key_of_an_event_is_its_column_as_text(body, key):
    assert key_of(body, "id") == key


# --- from Python ------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[inputs.papers]\nkind = "hub"\npartitions = 2\n[inputs.work]\nkind = "queue"\n'
    )
    return tmp_path


def hub_bodies(project):
    with Hub.open(project / ".headrace" / "hubs", "papers") as hub:
        return [event.body for event in sorted(newest_events(hub, 100_000))]


def test_bytes_and_texts_are_bodies_and_mappings_become_json(project):
    day = datetime.date(2026, 1, 2)
    events = [b"\xff", "é", {"a": 1, "b": [None, "x"], "day": day}]
    assert send("papers", events, project=project) == 3
    assert hub_bodies(project) == [b"\xff", "é".encode(), b'{"a":1,"b":[null,"x"],"day":"2026-01-02"}']


@pytest.mark.parametrize("event", [b"x", "x", {"x": 1}])
def test_a_single_event_need_not_be_a_list(project, event):
    assert send("papers", event, project=project) == 1


def test_a_frame_is_sent_by_its_rows(project):
    frame = pl.DataFrame({"id": [1, 2], "title": ["a", None]})
    assert send("papers", frame, project=project) == 2
    assert hub_bodies(project) == [b'{"id":1,"title":"a"}', b'{"id":2,"title":null}']


@pytest.mark.parametrize("target", ["papers", "work"])
def test_a_producer_sends_its_stream_once_and_goes_on_where_it_ended(project, target):
    assert send(target, [b"a", b"b"], project=project, producer="p") == 2
    assert send(target, [b"a", b"b", b"c"], project=project, producer="p") == 1
    assert send(target, [b"a", b"b", b"c"], project=project, producer="p") == 0
    assert send(target, [b"a"], project=project, producer="q") == 1
    assert send(target, [b"a"], project=project) == 1


@pytest.mark.parametrize("target", ["papers", "work"])
def test_a_numbered_block_is_stored_if_its_number_is_above_the_last(project, target):
    assert send(target, [b"a", b"b"], project=project, producer="p", sequence=0) == 2
    assert send(target, [b"a", b"b"], project=project, producer="p", sequence=0) == 0
    assert send(target, [b"c"], project=project, producer="p", sequence=5) == 1
    with pytest.raises(UserError, match="producer and a sequence together"):
        send(target, [b"c"], project=project, sequence=5)


def test_many_events_go_in_blocks_over_all_partitions(project):
    assert send("papers", (b"%d" % number for number in range(2500)), project=project) == 2500
    with Hub.open(project / ".headrace" / "hubs", "papers") as hub:
        assert sorted(hub.ends()) == [1000, 1500]


def test_messages_to_a_queue_wait_there_in_order(project):
    send("work", [b"a", b"b"], project=project)
    with Namespace.open(project / ".headrace") as namespace:
        assert [message.body for message in newest_messages(namespace, "work", limit=9)] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("events", "options", "message"),
    [
        ([{"x": object()}], {}, "event 0 cannot be written as UTF-8 JSON"),
        (["\ud800"], {}, "event 0 cannot be written as UTF-8 JSON"),
        ([b"x" * (MAX_EVENT_BYTES + 1)], {}, "more than"),
        ([b"x"], {"target": "paper"}, "Did you mean 'papers'"),
        ([b"x"], {"target": "work", "key": "id"}, "has no partitions"),
        ([3], {}, "event 0 is int: give bytes, text or a mapping"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(project, events, options, message):
    with pytest.raises(UserError, match=message):
        send(options.pop("target", "papers"), events, project=project, **options)
