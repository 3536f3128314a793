"""The loop of deliveries: how often a target is asked, what goes on meanwhile, and what becomes of rows."""

import contextlib
import json
from itertools import pairwise

import pytest

from headrace.connect.retry import NotNow, Patience
from headrace.connect.sink import Refused
from headrace.engine.delivery import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    LONGEST_WISH_S,
    RESUMED_BLOCKS,
    Delivery,
    Manner,
)
from headrace.errors import Transient
from headrace.local.dead_letters import DeadLetters
from headrace.local.progress import Progress


class Target:
    """Takes blocks, once a producer and sequence; `moods` says what the next ones get instead."""

    def __init__(self, patience=None):
        self.patience = patience or Patience()
        self.moods, self.taken, self.asked = [], {}, 0

    def deliver(self, block, producer, sequence):
        self.asked += 1
        mood = self.moods.pop(0) if self.moods else None
        if mood is not None:
            raise mood
        self.taken.setdefault((producer, sequence), block)

    @property
    def rows(self):
        return [json.loads(line)["n"] for block in self.taken.values() for line in block.split(b"\n")]


class Bench:
    """An outbox of one line for outputs `hook` and `other`, whose waits take no time."""

    def __init__(self, namespace, clock):
        self.namespace, self.clock = namespace, clock
        self.progress, self.letters = Progress(namespace), DeadLetters(namespace)
        self.targets = {"hook": Target(), "other": Target()}
        self.waits, self.said, self.conditions, self.ends_at = [], [], [], 1 << 30
        self.outbox = self.opened()

    def opened(self, say=None):
        manner = Manner(self._tend, say or self.said.append, self.clock, lambda: 1.0, self._waiting)
        found = Delivery(self.progress, self.namespace, "job", "instance-2", self.targets, manner)
        found.resume()
        return found

    @contextlib.contextmanager
    def _waiting(self):
        def wait(seconds):
            self.waits.append(seconds)
            self.clock.sleep(seconds)
            return False

        yield wait

    def _tend(self, condition):
        self.conditions.append(condition)
        return len(self.conditions) >= self.ends_at

    def commit(self, *numbers, output="hook"):
        block = b"\n".join(b'{"n":%d}' % number for number in numbers)
        with self.namespace.transaction() as tx:
            self.outbox.add(tx, output, block)

    def dead(self):
        return [json.loads(letter.body)["n"] for letter in self.letters.find()]

    def pending(self):
        self.outbox.forget()
        return len(self.progress.pending_outbox("job", "instance-2"))


@pytest.fixture
def bench(namespace, clock):
    return Bench(namespace, clock)


def test_a_target_is_asked_until_it_takes_the_rows_and_the_instance_says_so_meanwhile(bench):
    bench.targets["hook"].moods = [Transient("it is down")] * 12
    bench.commit(1, 2)
    bench.commit(3)
    bench.outbox.deliver()
    assert (bench.targets["hook"].rows, bench.pending()) == ([1, 2, 3], 0)
    first = bench.conditions[0]
    assert first.state == "retrying"
    assert first.note.startswith("output 'hook': it is down. Tried 1 times since 00:00:00 UTC, next at")
    assert "Tried 12 times" in bench.conditions[-1].note
    assert {condition.since_us for condition in bench.conditions} == {first.since_us}
    assert bench.outbox.condition is None
    assert bench.said[0] == (
        "job job: output 'hook': it is down. It is asked again, until it takes its rows, and nothing is "
        "lost. Ctrl-C or `headrace stop job` ends that and keeps the rows; max_tries or give_up_seconds, "
        'with on_error = "dead-letter", end it without you'
    )
    assert "takes rows again, after" in bench.said[-1]


def test_a_wait_is_told_at_once_after_a_minute_and_ever_more_seldom(bench):
    told_us = []
    bench.outbox = bench.opened(say=lambda _: told_us.append(bench.clock.us))
    began_us = bench.clock.us
    bench.targets["hook"].moods = [Transient("down")] * 700
    bench.commit(1)
    bench.outbox.deliver()
    *told_s, _ = [(us - began_us) / 1e6 for us in told_us]
    assert told_s[0] < 5
    assert told_s[1:7] == pytest.approx([60, 120, 240, 480, 960, 1920], abs=31)
    assert max(later - earlier for earlier, later in pairwise(told_s)) < 3700


def test_a_wait_that_has_an_end_is_told_with_it(bench):
    target = bench.targets["hook"] = Target(Patience(True, max_tries=9, give_up_s=3600))
    bench.outbox = bench.opened()
    target.moods = [Transient("down")] * 6
    bench.commit(1)
    bench.outbox.deliver()
    assert (
        "It is asked again, 9 times in all or for 3600 s; then its rows become dead letters." in bench.said[0]
    )


def test_waits_grow_up_to_a_bound_and_what_the_target_wishes_counts(bench):
    asked_us = []
    target = bench.targets["hook"]
    target.moods = [Transient("down")] * 12 + [NotNow("busy", 100), NotNow("busy", 1e6)]
    deliver, target.deliver = (
        target.deliver,
        lambda *block: (asked_us.append(bench.clock.us), deliver(*block)),
    )
    bench.commit(1)
    bench.outbox.deliver()
    waited_s = [(later - earlier) / 1e6 for earlier, later in pairwise(asked_us)]
    assert waited_s[0] == pytest.approx(FIRST_WAIT_S, abs=0.01)
    assert waited_s[1:4] == pytest.approx([0.4, 0.8, 1.6], abs=0.3)
    assert waited_s[11] == pytest.approx(LONGEST_WAIT_S, abs=0.3)
    assert waited_s[12:] == pytest.approx([100, LONGEST_WISH_S], abs=0.3)
    assert max(bench.waits) <= 0.5  # whatever else must go on is looked after


def test_an_instance_that_is_to_end_ends_with_its_rows_kept_and_the_next_one_delivers_them(bench):
    bench.targets["hook"].moods = [Transient("down")] * 50
    bench.ends_at = 3
    bench.commit(1)
    bench.outbox.deliver()
    assert bench.outbox.kept == (
        "rows for output 'hook' are kept, and are delivered first when it runs again"
    )
    asked = bench.targets["hook"].asked
    bench.commit(2)
    bench.outbox.deliver()  # does not ask again before it ends
    assert (bench.targets["hook"].asked, bench.pending()) == (asked, 2)
    bench.targets["hook"].moods, bench.ends_at = [], 1 << 30
    bench.outbox = bench.opened()
    assert (bench.targets["hook"].rows, bench.pending()) == ([1, 2], 0)


def test_all_blocks_of_an_earlier_process_are_delivered_in_their_order(bench):
    for number in range(3 * RESUMED_BLOCKS + 1):
        bench.commit(number)
    bench.outbox = bench.opened()
    assert (bench.targets["hook"].rows, bench.pending()) == (list(range(3 * RESUMED_BLOCKS + 1)), 0)


def test_an_output_that_waits_holds_back_no_other(bench):
    bench.targets["hook"].moods = [Transient("down")] * 50
    bench.ends_at = 2
    bench.commit(1)
    bench.commit(2, output="other")
    bench.outbox.deliver()
    assert (bench.targets["other"].rows, bench.targets["hook"].rows) == ([2], [])


def test_rows_that_are_refused_stop_the_job_unless_they_are_set_aside(bench):
    bench.targets["hook"].moods = [Refused("no", {0: "no"})]
    bench.commit(1)
    with pytest.raises(Refused):
        bench.outbox.deliver()
    assert (bench.dead(), bench.pending()) == ([], 1)


@pytest.mark.parametrize("rest_delivered", [False, True])
def test_refused_rows_are_dead_letters_and_the_others_are_delivered_once(bench, rest_delivered):
    target = bench.targets["hook"] = Target(Patience(sets_aside=True))
    refused = Refused("no", {1: "a row too many", 3: "no"}, rest_delivered=rest_delivered)
    target.moods = [refused]
    bench.outbox = bench.opened()
    bench.commit(0, 1, 2, 3, 4)
    bench.commit(5)
    bench.outbox.deliver()
    assert bench.dead() == [1, 3]
    assert target.rows == ([5] if rest_delivered else [0, 2, 4, 5])
    assert bench.pending() == 0
    [letter, _] = bench.letters.find()
    assert (letter.job, letter.source_kind, letter.source) == ("job", "output", "hook")
    assert (letter.partition, letter.reason) == (2, "a row too many")
    assert bench.progress.counts("job") == {"dead": 2}


def test_a_block_of_which_nothing_is_left_leaves_the_outbox(bench):
    bench.targets["hook"] = Target(Patience(sets_aside=True))
    bench.targets["hook"].moods = [Refused("no", {0: "no", 1: "no"})]
    bench.outbox = bench.opened()
    bench.commit(1, 2)
    bench.outbox.deliver()
    assert (bench.dead(), bench.pending(), bench.targets["hook"].asked) == ([1, 2], 0, 1)


def test_rows_set_aside_and_their_block_change_together_or_not_at_all(bench):
    target = bench.targets["hook"] = Target(Patience(sets_aside=True))
    target.moods = [Refused("no", {0: "no"})]
    bench.outbox = bench.opened()

    def overtaken(tx):
        raise RuntimeError("overtaken")

    bench.outbox.resume(overtaken)
    bench.commit(1, 2)
    with pytest.raises(RuntimeError):
        bench.outbox.deliver()
    assert (bench.dead(), bench.pending()) == ([], 1)
    target.moods = [Refused("no", {0: "no"})]
    bench.outbox = bench.opened()
    assert (bench.dead(), target.rows, bench.pending()) == ([1], [2], 0)


@pytest.mark.parametrize("patience", [Patience(True, max_tries=3), Patience(True, give_up_s=0.5)])
def test_after_the_tries_or_seconds_of_its_settings_an_output_is_given_up_until_it_takes_rows(
    bench, patience
):
    target = bench.targets["hook"] = Target(patience)
    bench.outbox = bench.opened()
    target.moods = [NotNow("down", settled=1, refused={0: "refused before"})] * 3 + [Transient("down")]
    bench.commit(1, 2)
    bench.commit(3)
    bench.commit(4)
    bench.outbox.deliver()
    assert bench.dead() == [1, 2, 3]
    assert target.asked == 5
    reasons = [letter.reason for letter in bench.letters.find()]
    assert reasons[0] == "refused before"
    assert reasons[1] == "output 'hook': down, after 3 tries"
    assert (target.rows, bench.pending()) == ([4], 0)


def test_an_output_that_was_broken_off_is_not_given_up_for_it(bench):
    target = bench.targets["hook"] = Target(Patience(True, max_tries=1))
    bench.outbox, bench.ends_at = bench.opened(), 2
    target.moods = [Transient("broken off")]
    bench.outbox.interrupt()
    bench.commit(1)
    bench.outbox.deliver()
    assert (bench.dead(), bench.pending()) == ([], 1)


def test_an_outbox_that_does_not_wait_raises_and_keeps_what_it_has(bench):
    bench.targets["hook"].moods = [Transient("down")]
    bench.commit(1)
    plain = Delivery(bench.progress, bench.namespace, "job", "instance-2", bench.targets)
    with pytest.raises(Transient, match="down"):
        plain.resume()
    assert bench.pending() == 1


def test_without_dead_letters_a_target_is_never_given_up():
    with pytest.raises(ValueError, match='need on_error = "dead-letter"'):
        Patience.of("retry", max_tries=3)


def test_whoever_delivers_many_blocks_of_an_earlier_process_reports_meanwhile_and_may_be_stopped(bench):
    for number in range(3 * RESUMED_BLOCKS):
        bench.commit(number)
    bench.conditions.clear()
    bench.ends_at = 2
    bench.opened()
    assert [condition.state for condition in bench.conditions] == ["running", "running"]
    assert bench.targets["hook"].rows == list(range(2 * RESUMED_BLOCKS))
    bench.ends_at = 1 << 30
    bench.opened()
    assert bench.targets["hook"].rows == list(range(3 * RESUMED_BLOCKS))
