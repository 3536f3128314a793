"""The queue: every message is finished once, by the holder of its lease, or becomes a dead letter."""

import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.clock import ManualClock
from headrace.errors import DataError, UserError
from headrace.limits import MAX_EVENT_BYTES
from headrace.local import queue as queue_module
from headrace.local.dead_letters import DeadLetters
from headrace.local.namespace import Namespace
from headrace.local.queue import Depth, LostLease, Queue, list_queues

#: Where a sync costs nothing, for tests whose subject is not the disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture
def queue(namespace):
    return Queue(namespace, "tasks", visibility_timeout_s=30, max_deliveries=3)


def send(namespace, queue, *bodies, **properties):
    with namespace.transaction() as tx:
        queue.send(tx, bodies, **properties)


def delete(namespace, queue, messages):
    with namespace.transaction() as tx:
        queue.delete(tx, messages)


def claim(queue, limit=100, owner="me", **bounds):
    return queue.claim(limit=limit, owner=owner, **bounds)


def bodies(messages):
    return [message.body for message in messages]


def test_messages_come_in_the_order_they_were_sent_with_what_they_were_sent_with(namespace, queue, clock):
    sent_us = clock.now_us()
    send(namespace, queue, b"a", b"\x00\xff", tenant="north", priority=2)
    send(namespace, queue, b"", tenant="north", priority=1)
    clock.sleep(1)
    messages = claim(queue)
    assert [tuple(message)[1:2] + tuple(message)[3:] for message in messages] == [
        (b"a", 1, sent_us, "north", 2),
        (b"\x00\xff", 1, sent_us, "north", 2),
        (b"", 1, sent_us, "north", 1),
    ]


def test_higher_priority_goes_first(namespace, queue):
    send(namespace, queue, b"low 1", b"low 2", priority=-1)
    send(namespace, queue, b"high 1", b"high 2", priority=5)
    send(namespace, queue, b"usual")
    assert bodies(claim(queue, limit=3)) == [b"high 1", b"high 2", b"usual"]
    assert bodies(claim(queue)) == [b"low 1", b"low 2"]


def test_queues_of_one_namespace_do_not_meet(namespace, queue):
    other = Queue(namespace, "other")
    send(namespace, queue, b"mine")
    send(namespace, other, b"theirs")
    assert bodies(claim(queue)) == [b"mine"]
    assert bodies(claim(other)) == [b"theirs"]
    assert list_queues(namespace) == ["other", "tasks"]


def test_a_delayed_message_is_not_handed_out_before_its_time(namespace, queue, clock):
    send(namespace, queue, b"later", available_us=clock.now_us() + 1_000_000)
    assert claim(queue) == []
    assert queue.depth() == Depth(visible=0, leased=0, delayed=1, sent=1, finished=0, dead=0)
    clock.sleep(1)
    assert queue.depth().visible == 1
    assert bodies(claim(queue)) == [b"later"]


def test_a_leased_message_is_hidden_until_the_timeout_and_then_counted_again(namespace, queue, clock):
    send(namespace, queue, b"m")
    (first,) = claim(queue)
    clock.sleep(29.9)
    assert claim(queue) == []
    clock.sleep(0.1)
    (second,) = claim(queue)
    assert (second.id, second.delivery_count) == (first.id, 2)
    assert second.receipt != first.receipt


def test_renewing_keeps_a_message_hidden_only_for_the_holder_of_the_receipt(namespace, queue, clock):
    send(namespace, queue, b"m")
    old = claim(queue)
    clock.sleep(20)
    assert queue.renew(old) == 1
    clock.sleep(20)
    assert claim(queue) == []
    clock.sleep(10)
    new = claim(queue, owner="other")
    assert queue.renew(old) == 0
    assert queue.renew(new) == 1


def test_deleting_with_an_old_receipt_undoes_the_transaction_and_names_the_messages(namespace, queue, clock):
    send(namespace, queue, b"a", b"b", b"c")
    old = claim(queue, limit=2)
    clock.sleep(30)
    (taken,) = claim(queue, limit=1, owner="other")

    def commit():
        with namespace.transaction() as tx:
            queue.send(tx, [b"a result that must not stand"])
            queue.delete(tx, old)

    with pytest.raises(LostLease, match=r"lease on 1 message.* 'tasks'.*nothing was stored") as caught:
        commit()
    assert caught.value.message_ids == (taken.id,)
    assert queue.depth() == Depth(visible=2, leased=1, delayed=0, sent=3, finished=0, dead=0)
    delete(namespace, queue, [taken])


def test_a_lease_that_ran_out_can_still_be_finished_while_nobody_else_has_it(namespace, queue, clock):
    send(namespace, queue, b"m")
    messages = claim(queue)
    clock.sleep(100)
    delete(namespace, queue, messages)
    assert queue.depth() == Depth(visible=0, leased=0, delayed=0, sent=1, finished=1, dead=0)


def test_a_message_cannot_be_finished_twice(namespace, queue):
    send(namespace, queue, b"m")
    messages = claim(queue)
    delete(namespace, queue, messages + messages)
    with pytest.raises(LostLease):
        delete(namespace, queue, messages)


def test_finished_and_dead_messages_leave_nothing_behind(namespace, queue):
    send(namespace, queue, b"finished")
    delete(namespace, queue, claim(queue))
    send(namespace, queue, b"dead")
    while claim(queue):
        queue.reclaim("me")
    with namespace.reading() as connection:
        rows = connection.execute(
            "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM message_body)"
        )
        assert rows.get == (0, 0)


def test_a_forged_receipt_finishes_nothing(namespace, queue):
    send(namespace, queue, b"a", b"b")
    first, second = claim(queue, limit=1) + claim(queue, limit=1)
    with pytest.raises(LostLease):
        delete(namespace, queue, [first._replace(receipt=second.receipt)])
    with pytest.raises(LostLease):
        delete(namespace, queue, [first._replace(receipt=b"")])
    assert len({first.receipt, second.receipt}) == 2
    assert len(first.receipt) == 16


def test_released_messages_are_claimable_at_once_and_not_counted_as_delivered(namespace, queue):
    send(namespace, queue, b"a", b"b")
    for _ in range(10):
        messages = claim(queue)
        assert [message.delivery_count for message in messages] == [1, 1]
        assert queue.release(messages) == 2
    assert queue.release(messages) == 0


def test_what_a_dead_owner_held_is_claimable_at_once_and_counted(namespace, queue):
    send(namespace, queue, b"a", b"b")
    held = claim(queue, limit=1, owner="dead")
    claim(queue, limit=1, owner="alive")
    assert queue.reclaim("dead") == 1
    assert queue.reclaim("dead") == 0
    with pytest.raises(LostLease):
        delete(namespace, queue, held)
    (again,) = claim(queue)
    assert (again.body, again.delivery_count) == (b"a", 2)


def test_a_message_handed_out_too_often_becomes_a_dead_letter(namespace, queue, clock):
    send(namespace, queue, b"\x00poison")
    enqueued_us = clock.now_us()
    for count in (1, 2, 3):
        (message,) = claim(queue, owner=f"worker {count}")
        clock.sleep(30)
    assert claim(queue) == []
    (letter,) = DeadLetters(namespace).find(source="tasks")
    assert (letter.source_kind, letter.position, letter.body) == ("queue", message.id, b"\x00poison")
    assert (letter.reason, letter.attempts) == ("too many deliveries", 3)
    assert letter.detail == "handed out 3 times without being finished, at last to worker 3"
    assert (letter.first_us, letter.dead_us) == (enqueued_us, clock.now_us())
    assert queue.depth() == Depth(visible=0, leased=0, delayed=0, sent=1, finished=0, dead=1)


@pytest.mark.parametrize("poison_at", [0, 137, 999])
def test_a_message_that_kills_its_consumer_ends_alone_and_its_neighbours_are_finished(
    namespace, clock, poison_at
):
    queue = Queue(namespace, "tasks", max_deliveries=5)
    send(namespace, queue, *(b"poison" if n == poison_at else b"%d" % n for n in range(1000)))
    deaths, finished = 0, []
    while messages := claim(queue, limit=500):
        if b"poison" in bodies(messages):
            deaths += 1
            queue.reclaim("me")
        else:
            delete(namespace, queue, messages)
            finished += bodies(messages)
    assert deaths == 5
    assert sorted(finished, key=int) == [b"%d" % n for n in range(1000) if n != poison_at]
    assert [letter.body for letter in DeadLetters(namespace).find()] == [b"poison"]


def test_a_claim_is_bounded_in_bytes_but_never_empty(namespace, queue):
    send(namespace, queue, b"x" * 100, b"y" * 10, b"z" * 10, b"w")
    assert [len(body) for body in bodies(claim(queue, max_bytes=20))] == [100]
    assert [len(body) for body in bodies(claim(queue, max_bytes=20))] == [10, 10]


def test_more_messages_than_one_claim_wakes_come_in_the_next_claims(namespace, queue, clock, monkeypatch):
    monkeypatch.setattr(queue_module, "MAX_WOKEN_MESSAGES", 2)
    send(namespace, queue, *(b"%d" % n for n in range(5)))
    claim(queue)
    clock.sleep(30)
    found = list(itertools.chain.from_iterable(iter(lambda: claim(queue), [])))
    assert sorted(bodies(found)) == [b"0", b"1", b"2", b"3", b"4"]


def test_ids_are_not_used_again_after_the_queue_ran_empty(namespace, queue):
    send(namespace, queue, b"a")
    first = claim(queue)
    delete(namespace, queue, first)
    send(namespace, queue, b"b")
    assert claim(queue)[0].id > first[0].id


def test_polling_an_empty_queue_writes_nothing(namespace, queue):
    def commits():
        with namespace.reading() as connection:
            return connection.pragma("data_version")

    send(namespace, queue, b"a")
    claim(queue)
    before = commits()
    assert claim(queue) == claim(Queue(namespace, "never-used")) == []
    assert commits() == before


def test_claiming_reads_no_more_than_it_hands_out(namespace, queue):
    """The plan is a walk along the index: no sort, no scan of what others lease or what waits."""
    with namespace.reading() as connection:
        for statement in (queue_module._READY, queue_module._WAKE):
            bindings = (1,) * statement.count("?")
            plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, bindings)]
            assert not any(line.startswith(("SCAN", "USE TEMP")) for line in plan), plan


def test_a_message_over_the_limit_is_refused_with_its_size(namespace, queue):
    with pytest.raises(DataError, match=f"message of {MAX_EVENT_BYTES + 1} bytes.*'tasks'"):
        send(namespace, queue, b"fits", bytes(MAX_EVENT_BYTES + 1))
    assert queue.depth().sent == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("../q", {}),
        ("q", {"visibility_timeout_s": 0}),
        ("q", {"visibility_timeout_s": float("nan")}),
        ("q", {"visibility_timeout_s": float("inf")}),
        ("q", {"max_deliveries": 0}),
    ],
)
def test_settings_that_make_no_queue_are_refused(namespace, name, options):
    with pytest.raises(UserError):
        Queue(namespace, name, **options)


COMPETE = """
import json, pathlib, random, sys
from headrace.local.namespace import Namespace
from headrace.local.queue import LostLease, Queue
chance, finished = random.Random(sys.argv[2]), []
with Namespace.open(pathlib.Path(sys.argv[1])) as namespace:
    queue = Queue(namespace, "tasks", visibility_timeout_s=0.02, max_deliveries=1000)
    print("ready", flush=True)
    sys.stdin.readline()  # so that all begin at once
    while (depth := queue.depth()).finished < depth.sent:
        messages = queue.claim(limit=chance.randint(1, 30), owner=sys.argv[2])
        if chance.random() < 0.2:  # forget them; or, below, hold them too long
            continue
        while chance.random() < 0.3 and messages:
            queue.depth()
        try:
            with namespace.transaction() as tx:
                queue.delete(tx, messages)
            finished += [message.id for message in messages]
        except LostLease:
            pass
print(json.dumps(finished))
"""


def test_processes_that_compete_finish_every_message_exactly_once(tmp_path):
    with Namespace.open(tmp_path) as namespace:
        send(namespace, Queue(namespace, "tasks"), *(b"%d" % n for n in range(2000)))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPETE, str(tmp_path), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    finished = [json.loads(process.communicate()[0]) for process in processes]
    assert Counter(itertools.chain(*finished)) == Counter(range(1, 2001))


@dataclasses.dataclass
class Model:
    """What the oracle knows of one message."""

    body: bytes
    priority: int
    hidden_until_us: int
    deliveries: int = 0
    receipt: bytes | None = None
    owner: str = ""


class QueueMachine(RuleBasedStateMachine):
    """A queue beside a dictionary of messages, through sends, claims, deaths, renewals and time."""

    LIMIT_DELIVERIES = 3
    TIMEOUT_S = 10

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.clock = ManualClock()
        self.namespace = Namespace.open(Path(self.folder.name), clock=self.clock)
        self.queue = Queue(
            self.namespace,
            "q",
            visibility_timeout_s=self.TIMEOUT_S,
            max_deliveries=self.LIMIT_DELIVERIES,
        )
        self.letters = DeadLetters(self.namespace)
        self.live: dict[int, Model] = {}
        self.next_id, self.finished, self.claims = 1, 0, []

    def teardown(self):
        while messages := claim(self.queue):
            delete(self.namespace, self.queue, messages)
            self.finished += len(messages)
        self.clock.sleep(1000)
        while messages := claim(self.queue):
            delete(self.namespace, self.queue, messages)
            self.finished += len(messages)
        assert self.letters.count() + self.finished == self.next_id - 1
        self.namespace.close()
        self.folder.cleanup()

    def visible(self):
        now_us = self.clock.now_us()
        return [id_ for id_, model in self.live.items() if model.hidden_until_us <= now_us]

    def holds(self, message):
        model = self.live.get(message.id)
        return model is not None and model.receipt == message.receipt

    @rule(count=st.integers(1, 6), priority=st.integers(-1, 1), delay_s=st.sampled_from([None, -5, 0, 4, 12]))
    def send(self, count, priority, delay_s):
        now_us = self.clock.now_us()
        available_us = None if delay_s is None else now_us + delay_s * 1_000_000
        sent = [b"%d" % n for n in range(self.next_id, self.next_id + count)]
        send(self.namespace, self.queue, *sent, priority=priority, available_us=available_us)
        for body in sent:
            self.live[self.next_id] = Model(body, priority, available_us or now_us)
            self.next_id += 1

    @rule(limit=st.integers(1, 8), owner=st.sampled_from("ab"))
    def claim(self, limit, owner):
        expected: list[int] = []
        room = limit
        in_turn = sorted(self.visible(), key=lambda id_: (-self.live[id_].priority, id_))
        for id_ in in_turn:
            deliveries = self.live[id_].deliveries
            if deliveries == self.LIMIT_DELIVERIES:
                continue
            room = min(room, {0: limit, 1: int(limit**0.5), 2: 1}[deliveries])
            if expected and len(expected) >= room:
                break
            expected.append(id_)
        messages = claim(self.queue, limit=limit, owner=owner)
        assert [message.id for message in messages] == expected
        for message in messages:
            model = self.live[message.id]
            model.deliveries += 1
            model.receipt, model.owner = message.receipt, owner
            model.hidden_until_us = self.clock.now_us() + self.TIMEOUT_S * 1_000_000
            assert (message.body, message.delivery_count) == (model.body, model.deliveries)
        self.claims.append(messages)
        self.bury()

    def bury(self):
        for letter in self.letters.find():
            model = self.live.pop(letter.position, None)
            if model is not None:
                assert model.deliveries == letter.attempts == self.LIMIT_DELIVERIES
                assert model.hidden_until_us <= self.clock.now_us()
                assert model.body == letter.body

    @rule(data=st.data())
    def finish(self, data):
        messages = self.some_claimed(data)
        lost = {message.id for message in messages if not self.holds(message)}
        if lost:
            with pytest.raises(LostLease) as caught:
                delete(self.namespace, self.queue, messages)
            assert set(caught.value.message_ids) == lost
        else:
            delete(self.namespace, self.queue, messages)
            self.finished += len({self.live.pop(message.id).body for message in messages})

    @rule(data=st.data())
    def renew(self, data):
        messages = self.some_claimed(data)
        held = [message for message in messages if self.holds(message)]
        assert self.queue.renew(messages) == len(held)
        for message in held:
            self.live[message.id].hidden_until_us = self.clock.now_us() + self.TIMEOUT_S * 1_000_000

    @rule(data=st.data())
    def release(self, data):
        messages = self.some_claimed(data)
        held = [message for message in messages if self.holds(message)]
        assert self.queue.release(messages) == len(held)
        for message in held:
            model = self.live[message.id]
            model.hidden_until_us, model.receipt = self.clock.now_us(), None
            model.deliveries -= 1

    @rule(owner=st.sampled_from("ab"))
    def owner_dies(self, owner):
        self.queue.reclaim(owner)
        now_us = self.clock.now_us()
        for model in self.live.values():
            if model.owner == owner and model.receipt is not None and model.hidden_until_us > now_us:
                model.hidden_until_us, model.receipt = now_us, None

    @rule(seconds=st.sampled_from([1, 5, 10]))
    def time_passes(self, seconds):
        self.clock.sleep(seconds)

    def some_claimed(self, data):
        messages = list(itertools.chain(*self.claims[-4:]))
        return data.draw(st.lists(st.sampled_from(messages), unique=True)) if messages else []

    @invariant()
    def depth_is_known(self):
        visible = set(self.visible())
        hidden = [model for id_, model in self.live.items() if id_ not in visible]
        leased = sum(model.receipt is not None for model in hidden)
        sent, dead = self.next_id - 1, self.letters.count()
        assert self.queue.depth() == Depth(
            len(visible), leased, len(hidden) - leased, sent, self.finished, dead
        )
        assert sent == self.finished + dead + len(self.live)


TestQueueAgainstAnOracle = QueueMachine.TestCase
TestQueueAgainstAnOracle.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
