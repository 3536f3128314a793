"""The hub against a model of it: lists in memory."""

import itertools
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headrace.clock import ManualClock
from headrace.local.hub import Event, Hub
from headrace.local.publishing import partition_of

ALL = {"max_events": 1 << 20, "max_bytes": 1 << 30}

texts = st.text(max_size=5)
events = st.builds(
    Event,
    st.sampled_from([b"", b"\n", b"a\nb", b'{"x":1}']) | st.binary(max_size=30),
    st.none() | st.sampled_from(["", "a", "b", "é"]),
    st.none() | st.dictionaries(texts, texts, max_size=2),
)


class HubModel(RuleBasedStateMachine):
    """`logs` has for each partition a row (enqueued_us, body, key, properties) per event."""

    @initialize(partitions=st.integers(1, 3))
    def make(self, partitions):
        self.folder = Path(tempfile.mkdtemp(prefix="hub-"))
        self.clock = ManualClock()
        self.hub = Hub.create(self.folder, "h", partitions=partitions, clock=self.clock)
        self.logs = [[] for _ in range(partitions)]
        self.begins = [0] * partitions
        self.sequences = {}

    @rule(
        published=st.lists(events, min_size=1, max_size=8),
        partition=st.none() | st.integers(0, 2),
        producer=st.none() | st.sampled_from(["p", "q"]),
        step=st.integers(-1, 2),
        given_us=st.none() | st.lists(st.integers(-50, 50), min_size=8, max_size=8),
    )
    def publish(self, published, partition, producer, step, given_us):
        partition = partition if partition is None else partition % len(self.logs)
        sequence = None if producer is None else max(0, self.sequences.get(producer, 0) + step)
        times = given_us and [self.clock.us + offset for offset in given_us[: len(published)]]
        done = self.hub.publish_bodies(
            [event.body for event in published],
            partition=partition,
            producer=producer,
            sequence=sequence,
            enqueued_us=times,
            keys=[event.key for event in published],
            properties=[event.properties for event in published],
        )
        assert done.duplicate == (producer in self.sequences and sequence <= self.sequences[producer])
        if done.duplicate:
            assert done.ranges == ()
            return
        if producer is not None:
            self.sequences[producer] = sequence
        homes = [self.home(event, partition) for event in published]
        spare = next((r.partition for r in done.ranges if r.events > homes.count(r.partition)), None)
        homes = [spare if home is None else home for home in homes]
        counts = Counter(homes)
        assert {(r.partition, r.first_offset, r.events) for r in done.ranges} == {
            (home, len(self.logs[home]), count) for home, count in counts.items()
        }
        for event, home, time_us in zip(
            published, homes, times or itertools.repeat(self.clock.us), strict=False
        ):
            log = self.logs[home]
            last_us = log[-1][0] if log else 0
            enqueued_us = max(last_us, min(time_us, self.clock.us))
            log.append((enqueued_us, event.body, event.key, event.properties or None))

    def home(self, event, partition):
        if partition is None and event.key is not None:
            return partition_of(event.key, len(self.logs))
        return partition

    @rule(move_us=st.integers(-30, 100))
    def time_passes_or_jumps_back(self, move_us):
        self.clock.us += move_us

    @rule(back_us=st.integers(-5, 300))
    def expire(self, back_us):
        before_us = self.clock.us - back_us
        expired = 0
        for number, log in enumerate(self.logs):
            while self.begins[number] < len(log) and log[self.begins[number]][0] < before_us:
                self.begins[number] += 1
                expired += 1
        assert self.hub.expire(before_us) == expired

    @rule(
        partition=st.integers(0, 2),
        offset=st.integers(0, 60),
        count=st.integers(1, 9),
        size=st.integers(1, 60),
    )
    def read(self, partition, offset, count, size):
        partition %= len(self.logs)
        offset = min(offset, len(self.logs[partition]))
        found = self.hub.read(partition, offset, max_events=count, max_bytes=size)
        start = max(offset, self.begins[partition])
        rest = self.logs[partition][start:]
        assert (found.partition, found.first_offset) == (partition, start)
        assert bool(rest) <= len(found) <= count
        assert len(found) <= 1 or sum(map(len, found.bodies)) <= size
        self.compare(found, rest[: len(found)])

    @rule(back_us=st.integers(-10, 300), partition=st.integers(0, 2))
    def find_by_time(self, back_us, partition):
        partition %= len(self.logs)
        time_us = self.clock.us - back_us
        log = self.logs[partition]
        offsets = range(self.begins[partition], len(log))
        wanted = next((offset for offset in offsets if log[offset][0] >= time_us), len(log))
        assert self.hub.offset_at(partition, time_us) == wanted

    @rule()
    def open_again(self):
        self.hub.close()
        self.hub = Hub.open(self.folder, "h", clock=self.clock)

    @invariant()
    def bounds_agree(self):
        assert self.hub.ends() == [len(log) for log in self.logs]
        assert self.hub.begins() == self.begins
        assert {p: self.hub.last_sequence(p) for p in self.sequences} == self.sequences

    def teardown(self):
        try:
            for number, log in enumerate(self.logs):
                self.compare(self.hub.read(number, 0, **ALL), log[self.begins[number] :])
        finally:
            self.hub.close()
            shutil.rmtree(self.folder)

    @staticmethod
    def compare(found, rows):
        none = [None] * len(found)
        columns = found.enqueued_us.tolist(), found.bodies, found.keys or none, found.properties or none
        assert list(zip(*columns, strict=True)) == rows
        if found.chunks:
            assert b"\n".join(found.chunks).split(b"\n") == found.bodies


HubModel.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestHubModel = HubModel.TestCase
