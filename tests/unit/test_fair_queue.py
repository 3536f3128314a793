"""Fair queues: tenants take turns by what they were handed, and their counts stay right."""

import dataclasses
import itertools
import random
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headrace.clock import ManualClock
from headrace.local.dead_letters import DeadLetters
from headrace.local.fair_queue import TenantShare
from headrace.local.namespace import Namespace
from headrace.local.queue import LostLease, Queue

#: Memory, where there is one to write to: a sync to disk costs more than all else here.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture
def queue(namespace):
    return Queue(namespace, "work", visibility_timeout_s=30, max_deliveries=3)


def send(namespace, queue, tenant, *bodies, **properties):
    with namespace.transaction() as tx:
        queue.send(tx, bodies, tenant=tenant, **properties)


def finish(namespace, queue, messages):
    with namespace.transaction() as tx:
        queue.delete(tx, messages)


def tenants_of_claims(namespace, queue, claims, limit=1):
    """Return the tenant of each of so many claims, whose messages are finished at once."""
    turns = []
    for _ in range(claims):
        messages = queue.claim(limit=limit, owner="me")
        turns += {message.tenant for message in messages}
        finish(namespace, queue, messages)
    return turns


def counts(queue):
    return {name: (count.ready, count.in_flight) for name, count in queue.tenants().items()}


def test_a_claim_has_messages_of_one_tenant_in_their_order(namespace, queue):
    send(namespace, queue, "a", b"a1", b"a2")
    send(namespace, queue, "b", b"b1", b"b2")
    send(namespace, queue, "b", b"b0", priority=1)
    claims = [queue.claim(limit=10, owner="me") for _ in range(3)]
    assert [[message.body for message in claim] for claim in claims] == [
        [b"a1", b"a2"],
        [b"b0", b"b1", b"b2"],
        [],
    ]


def test_a_tenant_that_comes_late_is_next_though_another_has_a_backlog(namespace, queue):
    send(namespace, queue, "a", *[b"a"] * 100)
    assert tenants_of_claims(namespace, queue, 3, limit=10) == ["a"] * 3
    send(namespace, queue, "b", b"b")
    assert tenants_of_claims(namespace, queue, 2, limit=10) == ["b", "a"]


def test_what_a_tenant_did_not_use_is_not_saved_up(namespace, queue):
    send(namespace, queue, "b", b"b")
    send(namespace, queue, "a", *[b"a"] * 200)
    tenants_of_claims(namespace, queue, 100)
    send(namespace, queue, "b", *[b"b"] * 100)
    assert Counter(tenants_of_claims(namespace, queue, 40))["b"] == pytest.approx(20, abs=1)


def test_a_tenant_is_charged_the_bytes_it_sent_with(namespace, queue):
    send(namespace, queue, "large", *[b"x"] * 100, cost=3_000)
    send(namespace, queue, "small", *[b"x"] * 100, cost=[1_000] * 100)
    turns = Counter(tenants_of_claims(namespace, queue, 80))
    assert turns["small"] == pytest.approx(60, abs=2)


def test_costs_must_be_as_many_as_messages(namespace, queue):
    with pytest.raises(ValueError, match="1 costs for 2 messages"):
        send(namespace, queue, "a", b"1", b"2", cost=[1])


def test_messages_without_a_tenant_take_turns_too_once_there_is_one(namespace, queue, clock):
    send(namespace, queue, "", b"1", b"2", b"3", b"4")
    leased = queue.claim(limit=1, owner="me")
    send(namespace, queue, "", b"later", available_us=clock.now_us() + 5_000_000)
    assert counts(queue) == {}
    send(namespace, queue, "a", b"a", b"a")
    assert counts(queue) == {"": (3, 1), "a": (2, 0)}
    finish(namespace, queue, leased)
    assert tenants_of_claims(namespace, queue, 4) == ["", "a", "", "a"]
    clock.sleep(5)
    assert tenants_of_claims(namespace, queue, 3) == ["", ""]
    assert counts(queue) == {"": (0, 0), "a": (0, 0)}


def test_a_tenant_has_no_more_in_flight_than_its_cap_and_others_go_on(namespace, queue, clock):
    queue.set_tenants({"a": TenantShare(max_in_flight=3)})
    send(namespace, queue, "a", *[b"a"] * 10)
    send(namespace, queue, "b", *[b"b"] * 2)
    first = queue.claim(limit=2, owner="me")
    assert [[m.tenant for m in queue.claim(limit=2, owner="me")] for _ in range(3)] == [["b", "b"], ["a"], []]
    assert counts(queue)["a"] == (7, 3)
    finish(namespace, queue, first)
    assert len(queue.claim(limit=10, owner="me")) == 2
    clock.sleep(31)
    assert counts(queue) == {"a": (5, 3), "b": (0, 2)}
    queue.claim(limit=10, owner="me")
    assert counts(queue) == {"a": (8, 0), "b": (0, 2)}  # what ran out is ready again


def test_a_capped_tenant_saves_nothing_up_either(namespace, queue):
    queue.set_tenants({"a": TenantShare(max_in_flight=1)})
    send(namespace, queue, "a", *[b"a"] * 100)
    send(namespace, queue, "b", *[b"b"] * 200)
    held = queue.claim(limit=1, owner="me")
    tenants_of_claims(namespace, queue, 100)
    finish(namespace, queue, held)
    assert Counter(tenants_of_claims(namespace, queue, 40))["b"] == pytest.approx(20, abs=1)


def test_the_urgent_class_goes_first_but_has_three_claims_of_four(namespace, queue):
    queue.set_tenants({"alarm": TenantShare(urgent=True)})
    send(namespace, queue, "a", *[b"a"] * 5)
    send(namespace, queue, "alarm", *[b"!"] * 20)
    turns = tenants_of_claims(namespace, queue, 12)
    assert turns == ["alarm", "alarm", "alarm", "a"] * 3
    send(namespace, queue, "b", b"b")
    assert "b" in tenants_of_claims(namespace, queue, 8)


def test_redelivered_messages_are_not_charged_again(namespace, queue, clock):
    send(namespace, queue, "a", b"a", cost=7)
    queue.release(queue.claim(limit=1, owner="me"))
    queue.claim(limit=1, owner="dies")
    queue.reclaim("dies")
    queue.claim(limit=1, owner="me")
    clock.sleep(31)
    assert [message.delivery_count for message in queue.claim(limit=1, owner="me")] == [3]
    assert finish_tags(namespace) == {"a": 7}


def finish_tags(namespace):
    with namespace.reading() as connection:
        return dict(connection.execute("SELECT name, finish FROM queue_tenant").fetchall())


def test_dead_letters_say_whose_they_are_and_what_they_cost(namespace, queue, clock):
    send(namespace, queue, "a", b"poison", cost=700)
    for _ in range(4):
        queue.claim(limit=1, owner="me")
        clock.sleep(31)
    (letter,) = DeadLetters(namespace).find(tenant="a")
    assert (letter.body, letter.tenant, letter.cost) == (b"poison", "a", 700)
    assert DeadLetters(namespace).find(tenant="b") == []
    assert (DeadLetters(namespace).count(tenant="a"), DeadLetters(namespace).count(tenant="b")) == (1, 0)
    assert counts(queue) == {"a": (0, 0)}


def test_changed_shares_count_from_then_on_and_lose_nothing(namespace, queue):
    queue.set_tenants({"a": TenantShare(weight=4), "b": TenantShare(urgent=True)})
    send(namespace, queue, "a", *[b"a"] * 50)
    send(namespace, queue, "b", *[b"b"] * 50)
    held = queue.claim(limit=5, owner="me")
    queue.set_tenants({"a": TenantShare(weight=2, max_in_flight=20)})
    tenants = queue.tenants()
    assert tenants["a"] == (TenantShare(weight=2, max_in_flight=20), 50, 0)
    assert tenants["b"] == (TenantShare(), 45, 5)
    finish(namespace, queue, held)
    assert Counter(tenants_of_claims(namespace, queue, 30)) == {"a": 20, "b": 10}


def test_shares_that_stand_already_are_not_written_again(namespace, queue):
    shares = {"a": TenantShare(weight=4), "b": TenantShare(urgent=True, max_in_flight=7)}
    queue.set_tenants(shares)
    before = namespace.folder.joinpath("namespace.db-wal").stat().st_size
    queue.set_tenants(shares)
    assert namespace.folder.joinpath("namespace.db-wal").stat().st_size == before


@pytest.mark.parametrize(
    "share", [{"weight": 0}, {"weight": float("nan")}, {"weight": 1e9}, {"max_in_flight": 0}]
)
def test_shares_that_mean_nothing_are_refused(share):
    with pytest.raises(ValueError, match=next(iter(share))):
        TenantShare(**share)


def test_a_claim_costs_the_same_however_many_tenants_wait_or_are_capped(namespace, queue):
    def work(tenants):
        """Return how many steps the database takes for a claim."""
        steps = 0

        def count():
            nonlocal steps
            steps += 1
            return False

        with namespace.transaction() as tx:
            connection = tx.connection
            for number in tenants:
                queue.send(tx, [b"x"], tenant=f"tenant-{number}")
            connection.execute("UPDATE queue_tenant SET max_in_flight = 1, in_flight = 1 WHERE id % 2")
        connection.set_progress_handler(count, 10)
        queue.claim(limit=1, owner="me")
        connection.set_progress_handler(None)
        return steps

    few = work(range(10))
    assert work(range(10, 1_000)) <= few * 1.5


# --- simulated: a clock set by hand, batches that take a second per worker ---------------------------------


class Simulation:
    """Workers that take turns at a queue: each claims a batch and has it for as long as its cost says."""

    BATCH = 10

    def __init__(self, namespace, clock, queue, workers=2):
        self.namespace, self.clock, self.queue = namespace, clock, queue
        self.busy = [(0, [])] * workers  # until when, and with what
        self.waits_us, self.served = defaultdict(list), Counter()

    def step(self, until_us):
        """Let the worker that is free first finish its batch and take the next."""
        worker = min(range(len(self.busy)), key=lambda number: self.busy[number][0])
        free_us, messages = self.busy[worker]
        if free_us > self.clock.now_us():
            self.clock.sleep((free_us - self.clock.now_us()) / 1e6)
        if messages:
            finish(self.namespace, self.queue, messages)
        claimed = self.queue.claim(limit=self.BATCH, owner=str(worker))
        now_us = self.clock.now_us()
        for message in claimed:
            self.waits_us[message.tenant].append(now_us - message.enqueued_us)
            self.served[message.tenant] += 1
        self.busy[worker] = (now_us + max(len(claimed), 1) * 100_000, claimed)
        return now_us < until_us

    def run(self, seconds):
        until_us = self.clock.now_us() + int(seconds * 1e6)
        while self.step(until_us):
            yield


@pytest.fixture
def swift(clock):
    """A namespace in memory, where thousands of commits take no time."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        Namespace.open(Path(folder), clock=clock) as opened,
    ):
        yield opened


def test_a_quiet_tenant_waits_under_two_batches_while_another_dumps_5000_files(swift, clock):
    queue = Queue(swift, "work", visibility_timeout_s=60)
    send(swift, queue, "noisy", *[b"x"] * 5_000, cost=1_000_000)
    simulation, chance = Simulation(swift, clock, queue), random.Random(1)
    for _ in simulation.run(240):
        if chance.random() < 0.3:
            send(swift, queue, chance.choice(["quiet", "calm"]), b"x", cost=1_000_000)
    waits = sorted(simulation.waits_us["quiet"] + simulation.waits_us["calm"])
    assert len(waits) > 100
    assert waits[int(len(waits) * 0.99)] < 2 * Simulation.BATCH * 100_000
    assert simulation.served["noisy"] > 4_000  # nobody stands idle for it


def test_shares_follow_weights_within_a_twentieth(swift, clock):
    queue = Queue(swift, "work", visibility_timeout_s=60)
    weights = {"one": 1, "two": 2, "four": 4}
    queue.set_tenants({name: TenantShare(weight=weight) for name, weight in weights.items()})
    chance = random.Random(2)
    for name in weights:
        costs = [chance.randint(1, 4_000_000) for _ in range(3_000)]
        send(swift, queue, name, *[b"%d" % cost for cost in costs], cost=costs)
    bytes_of = Counter()
    for _ in range(350):
        messages = queue.claim(limit=10, owner="me")
        bytes_of[messages[0].tenant] += sum(int(message.body) for message in messages)
        finish(swift, queue, messages)
    for name, weight in weights.items():
        assert bytes_of[name] / bytes_of.total() == pytest.approx(weight / 7, rel=0.05)


def test_an_urgent_class_under_load_leaves_others_a_quarter_of_the_claims(swift, clock):
    queue = Queue(swift, "work", visibility_timeout_s=60)
    queue.set_tenants({"alarm": TenantShare(urgent=True)})
    send(swift, queue, "alarm", *[b"x"] * 3_000)
    send(swift, queue, "a", *[b"x"] * 500)
    send(swift, queue, "b", *[b"x"] * 500)
    simulation = Simulation(swift, clock, queue)
    for _ in simulation.run(100):
        pass
    share = (simulation.served["a"] + simulation.served["b"]) / simulation.served.total()
    assert share == pytest.approx(0.25, rel=0.05)
    assert simulation.served["a"] == pytest.approx(simulation.served["b"], abs=Simulation.BATCH)


# --- against a model ---------------------------------------------------------------------------------------


@dataclasses.dataclass
class Model:
    """What the oracle knows of one message."""

    id: int
    tenant: str
    cost: int
    hidden_until_us: int
    charged: bool = False
    deliveries: int = 0
    receipt: bytes | None = None
    owner: str = ""


class FairMachine(RuleBasedStateMachine):
    """A fair queue beside a plain model of start-time fair queueing."""

    NAMES = ("a", "b", "c", "d", "")
    DELIVERIES = 3
    TIMEOUT_S = 10

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.clock = ManualClock()
        self.namespace = Namespace.open(Path(self.folder.name), clock=self.clock)
        self.queue = Queue(
            self.namespace, "q", visibility_timeout_s=self.TIMEOUT_S, max_deliveries=self.DELIVERIES
        )
        self.live: dict[int, Model] = {}
        self.tags: dict[str, float] = {}  # in the order in which tenants came, which decides between equals
        self.shares: dict[str, TenantShare] = {}
        self.start = {False: 0.0, True: 0.0}
        self.urgent_turns, self.next_id = 0, 1
        self.woken: set[int] = set()  # whose lease or delay ran out, as a claim has noticed
        self.eligible: set[str] = set()
        self.claims = []

    def teardown(self):
        self.namespace.close()
        self.folder.cleanup()

    def share(self, name):
        return self.shares.get(name, TenantShare())

    def standing(self, name):
        """Return the messages of a tenant that are ready, in order, and how many are in flight."""
        own = [message for message in self.live.values() if message.tenant == name]
        ready = [message for message in own if message.hidden_until_us == 0]
        return ready, sum(message.hidden_until_us > 0 and message.receipt is not None for message in own)

    def may_have_a_turn(self, name):
        ready, in_flight = self.standing(name)
        cap = self.share(name).max_in_flight
        return bool(ready) and (cap is None or in_flight < cap)

    def settle(self):
        """Let tenants that may have a turn again start where their class is."""
        for name in self.tags:
            if self.may_have_a_turn(name) and name not in self.eligible:
                self.tags[name] = max(self.tags[name], self.start[self.share(name).urgent])
        self.eligible = {name for name in self.tags if self.may_have_a_turn(name)}

    @initialize()
    def begin_fair(self):
        """Let the queue have tenants from the beginning: messages without one make none."""
        self.send("a", 1, 1, None)

    @rule(
        tenant=st.sampled_from(NAMES),
        count=st.integers(1, 4),
        cost=st.integers(1, 50),
        delay_s=st.sampled_from([None, None, 4, 12]),
    )
    def send(self, tenant, count, cost, delay_s):
        available_us = None if delay_s is None else self.clock.now_us() + delay_s * 1_000_000
        bodies = [b"x"] * count
        send(self.namespace, self.queue, tenant, *bodies, cost=cost, available_us=available_us)
        self.tags.setdefault(tenant, 0.0)
        for _ in bodies:
            self.live[self.next_id] = Model(self.next_id, tenant, cost, available_us or 0)
            self.next_id += 1
        self.settle()

    @rule(tenant=st.sampled_from(NAMES), weight=st.sampled_from([1, 2, 4]), urgent=st.booleans())
    def change_weight_or_class(self, tenant, weight, urgent):
        if urgent != self.share(tenant).urgent:
            self.tags[tenant] = self.start[urgent]
        self.change(tenant, dataclasses.replace(self.share(tenant), weight=weight, urgent=urgent))

    @rule(tenant=st.sampled_from(NAMES), cap=st.sampled_from([None, 1, 3]))
    def change_cap(self, tenant, cap):
        self.change(tenant, dataclasses.replace(self.share(tenant), max_in_flight=cap))

    def change(self, tenant, share):
        self.tags.setdefault(tenant, 0.0)
        self.shares[tenant] = share
        self.queue.set_tenants(self.shares)
        self.settle()

    def turn(self):
        """Return the tenant that is next."""
        waiting = [name for name in self.tags if self.may_have_a_turn(name)]
        urgent = [name for name in waiting if self.share(name).urgent]
        normal = [name for name in waiting if not self.share(name).urgent]
        first = normal if (normal and self.urgent_turns >= 3) or not urgent else urgent
        return min(first, key=self.tags.__getitem__, default=None)

    @rule(limit=st.integers(1, 6), owner=st.sampled_from("xy"))
    def claim(self, limit, owner):
        expected: list[Model] = []
        while not expected and self.wake():
            expected = self.claim_once(limit)
        messages = self.queue.claim(limit=limit, owner=owner)
        assert [message.id for message in messages] == [model.id for model in expected]
        for message, model in zip(messages, expected, strict=True):
            model.deliveries, model.charged = model.deliveries + 1, True
            model.receipt, model.owner = message.receipt, owner
            model.hidden_until_us = self.clock.now_us() + self.TIMEOUT_S * 1_000_000
            assert (message.tenant, message.delivery_count) == (model.tenant, model.deliveries)
        self.claims.append(messages)
        self.settle()

    def wake(self):
        """Bring back what ran out; tell whether anybody may have a turn."""
        for model in self.live.values():
            if 0 < model.hidden_until_us <= self.clock.now_us():
                model.hidden_until_us = 0
        self.settle()
        return self.turn() is not None

    def claim_once(self, limit):
        name = self.turn()
        share, (ready, in_flight) = self.share(name), self.standing(name)
        limit = limit if share.max_in_flight is None else min(limit, share.max_in_flight - in_flight)
        chosen, room = [], limit
        for model in ready:
            if model.deliveries == self.DELIVERIES:
                del self.live[model.id]
                continue
            room = min(room, {0: limit, 1: int(limit**0.5), 2: 1}[model.deliveries])
            if chosen and len(chosen) >= room:
                break
            chosen.append(model)
        if chosen:
            self.start[share.urgent] = max(self.start[share.urgent], self.tags[name])
            self.urgent_turns = min(self.urgent_turns + 1, 3) if share.urgent else 0
        cost = sum(model.cost for model in chosen if not model.charged)
        self.tags[name] += cost / share.weight
        self.settle()
        return chosen

    def holds(self, message):
        model = self.live.get(message.id)
        return model is not None and model.receipt == message.receipt

    @rule(data=st.data())
    def finish(self, data):
        messages = self.some_claimed(data)
        if all(map(self.holds, messages)):
            finish(self.namespace, self.queue, messages)
            for message in messages:
                del self.live[message.id]
        else:
            with pytest.raises(LostLease):
                finish(self.namespace, self.queue, messages)
        self.settle()

    @rule(data=st.data())
    def release(self, data):
        messages = self.some_claimed(data)
        held = [message for message in messages if self.holds(message)]
        assert self.queue.release(messages) == len(held)
        for message in held:
            model = self.live[message.id]
            model.hidden_until_us, model.receipt, model.deliveries = 0, None, model.deliveries - 1
        self.settle()

    @rule(data=st.data())
    def renew(self, data):
        messages = self.some_claimed(data)
        held = [message for message in messages if self.holds(message)]
        assert self.queue.renew(messages) == len(held)
        for message in held:
            self.live[message.id].hidden_until_us = self.clock.now_us() + self.TIMEOUT_S * 1_000_000
        self.settle()

    @rule(owner=st.sampled_from("xy"))
    def owner_dies(self, owner):
        now_us = self.clock.now_us()
        held = [
            m for m in self.live.values() if m.owner == owner and m.receipt and m.hidden_until_us > now_us
        ]
        assert self.queue.reclaim(owner) == len(held)
        for model in held:
            model.hidden_until_us, model.receipt = 0, None
        self.settle()

    @rule(seconds=st.sampled_from([1, 5, 10]))
    def time_passes(self, seconds):
        self.clock.sleep(seconds)

    def some_claimed(self, data):
        messages = list(itertools.chain(*self.claims[-4:]))
        return data.draw(st.lists(st.sampled_from(messages), unique=True)) if messages else []

    @invariant()
    def counts_and_tags_are_those_of_the_model(self):
        expected = {name: (len(self.standing(name)[0]), self.standing(name)[1]) for name in self.tags}
        assert counts(self.queue) == expected
        tags = finish_tags(self.namespace)
        eligible = {name: tags[name] for name in self.eligible}
        assert eligible == pytest.approx({name: self.tags[name] for name in self.eligible})


TestFairMachine = FairMachine.TestCase
TestFairMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
