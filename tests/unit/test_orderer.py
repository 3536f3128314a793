"""Late, early and out of order: the policies against an oracle that takes one event at a time."""

from dataclasses import dataclass, field

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.operator import FOREVER_US, NEVER_US
from headrace.engine.orderer import NO_KEY, Orderer
from headrace.engine.snapshot import decode, encode
from headrace.errors import UserError
from headrace.events.batch import ORIGIN, TIME, Batch
from headrace.events.formats.json import from_rows
from headrace.events.watermark import NO_TIME, OUT_OF_ORDER, TOO_EARLY, TOO_LATE, Policy, judged
from headrace.sql.plan import ColumnRef

SECOND = 1_000_000
EARLY = 300 * SECOND


@dataclass
class Oracle:
    """The rules, one event at a time, as the reference words them."""

    policy: Policy | None
    over: bool
    largest: dict = field(default_factory=dict)
    dropped: dict = field(default_factory=dict)
    kept: list = field(default_factory=list)

    def take(self, number, partition, time, arrival, key):
        if self.over and key is None:
            self.dropped[number] = NO_KEY
            return
        if time is None:
            self.dropped[number] = NO_TIME
            return
        if self.policy is not None:
            late, disorder = self.policy.late_seconds * SECOND, self.policy.out_of_order_seconds * SECOND
            stream = (partition, key if self.over else None)
            if time > arrival + EARLY:
                self.dropped[number] = TOO_EARLY
                return
            if time < arrival - late:
                if self.policy.action == "drop":
                    self.dropped[number] = TOO_LATE
                    return
                time = arrival - late
            watermark = self.largest.get(stream, NEVER_US) - disorder
            self.largest[stream] = max(self.largest.get(stream, NEVER_US), time)
            if time < watermark:
                if self.policy.action == "drop":
                    self.dropped[number] = OUT_OF_ORDER
                    return
                time = watermark
        self.kept.append((time, partition, number))


POLICIES = st.builds(
    Policy,
    late_seconds=st.sampled_from([0, 3, 5, 40]),
    out_of_order_seconds=st.sampled_from([0, 2, 7]),
    action=st.sampled_from(["adjust", "drop"]),
)
KEYS = st.sampled_from([None, 1, 1.0, 1.5, "1", "a", True])


@st.composite
def streams(draw):
    """Return events (partition, time, arrival, key) as they arrive, and whether arrivals are a clock."""
    clock = draw(st.booleans())
    arrival, events = 1_000, []
    for _ in range(draw(st.integers(0, 30))):
        arrival = arrival + draw(st.integers(0, 6)) if clock else draw(st.integers(900, 1100))
        behind = draw(st.one_of(st.none(), st.integers(-3, 12), st.sampled_from([-301, -300, 50])))
        time = None if behind is None else (arrival - behind) * SECOND
        events.append((draw(st.integers(0, 2)), time, arrival * SECOND, draw(KEYS)))
    return events, clock


def batch(events, first):
    made = from_rows([{"k": key} for *_, key in events])
    frame = made.frame.with_columns(
        pl.Series(TIME, [time for _, time, _, _ in events], dtype=pl.Int64).cast(pl.Datetime("us")),
        pl.Series(ORIGIN, range(first, first + len(events)), dtype=pl.Int64),
    )
    return Batch(frame, made.columns)


def add(orderer, events, first, dropped):
    """Give events that have arrived to the orderer, partition by partition."""
    whole = batch(events, first)
    for partition in range(3):
        rows = [n for n, event in enumerate(events) if event[0] == partition]
        arrivals = pl.Series([events[n][2] for n in rows], dtype=pl.Int64)
        lost = orderer.add(Batch(whole.frame[rows], whole.columns), arrivals, partition)
        if lost is not None:
            dropped.update(lost.iter_rows())


def rows(part):
    if part.batch is None:
        return []
    return list(part.batch.frame.select(pl.col(TIME).to_physical(), ORIGIN).iter_rows())


@given(streams(), st.none() | POLICIES, st.booleans(), st.data())
@settings(max_examples=250, deadline=None)
def test_events_leave_as_the_rules_say_however_they_were_cut(stream, policy, over, data):
    events, clock = stream
    if policy is None:  # events then come in order of time
        timed = [event for event in events if event[1] is not None]
        events = sorted(timed, key=lambda event: event[1])
    oracle = Oracle(policy, over)
    for number, event in enumerate(events):
        partition, time, arrival, key = event
        oracle.take(
            number, partition, time, arrival, repr(key) if key not in {1, None} or key is True else key
        )

    keys = (ColumnRef("k"),) if over else ()
    made = lambda: Orderer(policy, keys, "k", partitions=3, clock=clock)  # noqa: E731
    orderer, dropped, found, before, first = made(), {}, [], NEVER_US, 0
    while first < len(events):
        until = data.draw(st.integers(first + 1, len(events)))
        add(orderer, events[first:until], first, dropped)
        frontier = orderer.frontier_us()
        assert frontier >= before
        part = rows(orderer.take(frontier))
        assert all(before <= time < frontier for time, _ in part)
        found += part
        before, first = frontier, until
        if data.draw(st.booleans()):
            state = decode(encode(orderer.state))
            orderer = made()
            orderer.restore(state)
    rest = rows(orderer.take(FOREVER_US))
    assert all(time >= before for time, _ in rest)
    assert found + rest == [(time, number) for time, _, number in sorted(oracle.kept)]
    assert dropped == oracle.dropped


def test_a_partition_without_events_holds_the_others_back():
    orderer = Orderer(Policy(), partitions=2)
    orderer.add(batch([(0, 9 * SECOND, 9 * SECOND, None)], 0), pl.Series([9 * SECOND]), 0)
    assert orderer.frontier_us() == NEVER_US
    orderer.add(batch([(1, 5 * SECOND, 7 * SECOND, None)], 1), pl.Series([7 * SECOND]), 1)
    assert orderer.frontier_us() == 5 * SECOND
    assert rows(orderer.take(5 * SECOND)) == []
    assert rows(orderer.take(FOREVER_US)) == [(5 * SECOND, 1), (9 * SECOND, 0)]


def test_arrival_alone_moves_the_frontier_as_far_as_lateness_allows():
    orderer = Orderer(Policy(late_seconds=5, out_of_order_seconds=60))
    orderer.add(batch([(0, 8 * SECOND, 10 * SECOND, None)], 0), pl.Series([10 * SECOND]))
    assert orderer.frontier_us() == 5 * SECOND


def test_a_substream_far_behind_the_others_loses_nothing():
    orderer = Orderer(Policy(late_seconds=60, action="drop"), (ColumnRef("k"),), "k")
    events = [(0, 21, 21, "p"), (0, 1, 21, "q"), (0, 25, 25, "p"), (0, 4, 25, "q")]
    events = [(p, time * SECOND, arrival * SECOND, key) for p, time, arrival, key in events]
    arrivals = pl.Series([event[2] for event in events])
    assert orderer.add(batch(events, 0), arrivals) is None
    assert [number for _, number in rows(orderer.take(FOREVER_US))] == [1, 3, 0, 2]


def test_what_a_substream_has_seen_is_forgotten_once_nothing_can_be_behind_it():
    orderer = Orderer(Policy(late_seconds=5), (ColumnRef("k"),), "k")
    for number in range(20):
        time = number * 100 * SECOND
        orderer.add(batch([(0, time, time, f"key {number}")], number), pl.Series([time]))
    [[_, _, substreams, _]] = orderer.state["partitions"]
    assert substreams.height <= 2


def test_without_dropped_rows_no_reasons_are_made():
    times = pl.Series([1, 2, 3], dtype=pl.Int64)
    found = judged(times, times, Policy(), 2)
    assert found.times_us.to_list() == [2, 2, 3]
    assert found.reasons is None
    assert found.latest_us(2) == 3


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"late_seconds": -1}, "policy.late_seconds: expected 0 to 1728000 seconds (20 days), found -1"),
        ({"late_seconds": 1_728_001}, "found 1728001"),
        ({"late_seconds": "5"}, "policy.late_seconds: expected a number of seconds, found '5'"),
        ({"late_seconds": True}, "found True"),
        ({"out_of_order_seconds": float("nan")}, "policy.out_of_order_seconds: expected 0 to"),
        ({"action": "ignore"}, "policy.action: expected 'adjust' or 'drop', found 'ignore'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(settings_, said):
    with pytest.raises(UserError) as error:
        Policy(**settings_)
    assert said in str(error.value)
