"""A queue: messages that competing consumers lease, finish or give back.

A claimed message is hidden for the visibility timeout and comes back when its consumer dies; only the holder
of the current receipt can renew, delete or release it. Deleting is part of the consumer's transaction, so a
message is finished exactly when its results are stored. A message that was handed out too often without
being finished becomes a dead letter.
"""

from __future__ import annotations

import secrets
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import apsw

from headrace.errors import DataError, HeadraceError, UserError
from headrace.limits import (
    MAX_BATCH_BYTES,
    MAX_DELIVERIES,
    MAX_EVENT_BYTES,
    MAX_VISIBILITY_TIMEOUT_S,
    MAX_WOKEN_MESSAGES,
)
from headrace.local import fair_queue
from headrace.local.dead_letters import DeadLetter, DeadLetters
from headrace.local.fair_queue import TenantCount, TenantShare, Turn
from headrace.local.namespace import Namespace, Transaction
from headrace.names import checked_name

_SEND: Final = """
INSERT INTO message (id, queue_id, tenant, tenant_id, priority, enqueued_us, hidden_until_us, cost)
SELECT :first_id + rowid - 1, :queue_id, :tenant, :tenant_id, :priority, :now_us, :hidden_until_us, value
FROM carray(:costs)
"""

_SEND_BODIES: Final = """
INSERT INTO message_body (id, body) SELECT :first_id + rowid - 1, value FROM carray(:bodies)
"""

_ANYTHING_TO_CLAIM: Final = """
SELECT EXISTS (
        SELECT 1 FROM message WHERE queue_id = queue.id AND hidden_until_us IS NULL AND tenant_id IS NULL
    ) OR EXISTS (SELECT 1 FROM message WHERE queue_id = queue.id AND hidden_until_us <= :now_us)
    OR EXISTS (
        SELECT 1 FROM queue_tenant WHERE queue_id = queue.id AND ready > 0
            AND (max_in_flight IS NULL OR in_flight < max_in_flight)
    )
FROM queue WHERE name = :name
"""

_WAKE: Final = """
UPDATE message SET hidden_until_us = NULL WHERE id IN (
    SELECT id FROM message WHERE queue_id = ? AND hidden_until_us <= ? ORDER BY hidden_until_us LIMIT ?
)
RETURNING tenant_id, 1, -(receipt IS NOT NULL)
"""

_READY: Final = """
SELECT message.id, body, delivery_count, enqueued_us, tenant, priority, owner, cost, charged
FROM message CROSS JOIN message_body USING (id)
WHERE queue_id = ? AND hidden_until_us IS NULL AND tenant_id IS NULL
ORDER BY priority DESC, message.id
"""

_READY_OF_TENANT: Final = _READY.replace("queue_id = ?", "tenant_id = ?").replace(
    "tenant_id IS NULL", "tenant_id IS NOT NULL"
)

_LEASE: Final = """
UPDATE message
SET hidden_until_us = ?, receipt = ?, owner = ?, delivery_count = delivery_count + 1, charged = 1
WHERE id IN (SELECT value FROM carray(?))
"""

# What the tenants of held messages have more of, ready and in flight, once they are leased or given back: a
# lease that ran out is held for as long as nobody else has the message.
_RENEWED: Final = """
SELECT tenant_id, -1, 1 FROM message
WHERE receipt = ? AND id IN (SELECT value FROM carray(?)) AND hidden_until_us IS NULL
"""
_RELEASED: Final = """
SELECT tenant_id, 1, -1 FROM message
WHERE receipt = ? AND id IN (SELECT value FROM carray(?)) AND hidden_until_us IS NOT NULL
"""

_RENEW: Final = """
UPDATE message SET hidden_until_us = ? WHERE receipt = ? AND id IN (SELECT value FROM carray(?))
"""

_RELEASE: Final = """
UPDATE message
SET hidden_until_us = NULL, receipt = NULL, owner = NULL, delivery_count = delivery_count - 1
WHERE receipt = ? AND id IN (SELECT value FROM carray(?))
"""

_RECLAIM: Final = """
UPDATE message SET hidden_until_us = NULL, receipt = NULL
WHERE queue_id = (SELECT id FROM queue WHERE name = ?)
  AND hidden_until_us > ? AND receipt IS NOT NULL AND owner = ?
RETURNING tenant_id, 1, -1
"""

_CURRENT: Final = """
SELECT id, tenant_id, -(hidden_until_us IS NULL), -(hidden_until_us IS NOT NULL)
FROM message WHERE receipt = ? AND id IN (SELECT value FROM carray(?))
"""
_DELETE: Final = "DELETE FROM message WHERE id IN (SELECT value FROM carray(?))"
_DELETE_BODIES: Final = "DELETE FROM message_body WHERE id IN (SELECT value FROM carray(?))"

_DEPTH: Final = """
SELECT sent, finished, dead,
    (SELECT count(*) FROM message
     WHERE queue_id = queue.id AND hidden_until_us > :now_us AND receipt IS NOT NULL),
    (SELECT count(*) FROM message
     WHERE queue_id = queue.id AND hidden_until_us > :now_us AND receipt IS NULL)
FROM queue WHERE name = :name
"""


class LostLease(HeadraceError):
    """Messages that another consumer may have by now, so that this one must not finish them.

    `message_ids` names them; the transaction that meets this is undone, and nothing of it was stored.
    """

    exit_code = 3

    def __init__(self, queue: str, message_ids: Sequence[int], timeout_s: float) -> None:
        self.message_ids = tuple(message_ids)
        shown = ", ".join(map(str, self.message_ids[:5])) + (", ..." if len(self.message_ids) > 5 else "")
        super().__init__(
            f"the lease on {len(self.message_ids)} message(s) of queue {queue!r} is lost (ids {shown}): they "
            f"were not finished within {timeout_s:g} s, so others get them, and nothing was stored here. "
            "Take smaller batches, or set a longer visibility timeout"
        )


class Message(NamedTuple):
    """A leased message: `body` as it was sent, `delivery_count` from 1, the `receipt` of this claim."""

    id: int
    body: bytes
    receipt: bytes
    delivery_count: int
    enqueued_us: int
    tenant: str
    priority: int


class Depth(NamedTuple):
    """How many messages stand in a queue now, and how many ever went through it.

    `visible` may be claimed, `leased` are with a consumer, `delayed` wait for their time; `sent`, `finished`
    and `dead` are totals since the queue began.
    """

    visible: int
    leased: int
    delayed: int
    sent: int
    finished: int
    dead: int


class _Ready(NamedTuple):
    """A message that may be handed out, with its deliveries so far and its last owner."""

    id: int
    body: bytes
    deliveries: int
    enqueued_us: int
    tenant: str
    priority: int
    owner: str | None
    cost: int
    charged: int


class Queue:
    """One queue of a namespace; it begins with its first message."""

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        *,
        visibility_timeout_s: float = 60.0,
        max_deliveries: int = MAX_DELIVERIES,
    ) -> None:
        self.name = checked_name(name, "queue")
        if not 0 < visibility_timeout_s <= MAX_VISIBILITY_TIMEOUT_S or max_deliveries < 1:
            raise UserError(
                f"queue {name!r}: visibility_timeout_s must be above 0 and at most "
                f"{MAX_VISIBILITY_TIMEOUT_S}, max_deliveries at least 1, not {visibility_timeout_s} and "
                f"{max_deliveries}"
            )
        self._namespace = namespace
        self.visibility_timeout_s = visibility_timeout_s
        self._max_deliveries = max_deliveries

    def send(
        self,
        tx: Transaction,
        bodies: Sequence[bytes],
        *,
        tenant: str = "",
        cost: int | Sequence[int] | None = None,
        priority: int = 0,
        available_us: int | None = None,
    ) -> None:
        """Append messages, hidden until `available_us` if that is given.

        Higher `priority` is handed out first, equal ones in the order in which they arrived. The first
        message with a `tenant` makes the queue fair: tenants take turns, and each is charged the `cost` of
        its messages in bytes, that of all or of each, by default that of the body, at least 1. Priorities
        then count among the messages of a tenant. Raises `DataError` for a body over `MAX_EVENT_BYTES`.
        """
        if not bodies:
            return
        if (largest := max(map(len, bodies))) > MAX_EVENT_BYTES:
            raise DataError(
                f"a message of {largest} bytes is too large for queue {self.name!r}: "
                f"at most {MAX_EVENT_BYTES}. Send less, or store the body elsewhere and send where it is"
            )
        costs = _costs(bodies, cost)
        queue_id = self._count_sent(tx, len(bodies))
        tenant_id = fair_queue.tenant_of(tx, queue_id, tenant)
        values = {
            "first_id": tx.connection.execute(
                "UPDATE message_sequence SET next_id = next_id + ?1 RETURNING next_id - ?1", (len(bodies),)
            ).get,
            "queue_id": queue_id,
            "tenant": tenant,
            "tenant_id": tenant_id,
            "priority": priority,
            "now_us": tx.now_us,
            "hidden_until_us": available_us if available_us and available_us > tx.now_us else None,
            "bodies": apsw.carray(tuple(bodies)),
            "costs": apsw.carray(costs),
        }
        tx.connection.execute(_SEND, values)
        tx.connection.execute(_SEND_BODIES, values)
        if tenant_id is not None and values["hidden_until_us"] is None:
            fair_queue.move(tx, [(tenant_id, len(bodies), 0)])

    def _count_sent(self, tx: Transaction, count: int) -> int:
        queue_id: int = tx.connection.execute(
            "INSERT INTO queue (name, sent) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET sent = sent + excluded.sent RETURNING id",
            (self.name, count),
        ).get
        return queue_id

    def set_tenants(self, shares: Mapping[str, TenantShare]) -> None:
        """Give tenants these shares from now on, and all others the default one.

        It is a transaction of its own, and writes nothing if nothing changes. What stands in the queue, and
        what tenants have been charged, stays.
        """
        fair_queue.set_shares(self._namespace, self.name, shares)

    def tenants(self) -> dict[str, TenantCount]:
        """Return the share of each tenant and what it has ready and in flight."""
        return fair_queue.tenant_counts(self._namespace, self.name)

    def claim(self, *, limit: int, owner: str, max_bytes: int = MAX_BATCH_BYTES) -> list[Message]:
        """Lease up to `limit` messages with up to `max_bytes` of bodies, but at least one if there is any.

        It is a transaction of its own. Messages that were handed out before come in ever smaller batches, at
        last alone: one that kills its consumer then dies without taking its neighbours with it. Those that
        have no delivery left become dead letters here. In a fair queue they are all of the tenant whose turn
        it is.
        """
        while self._anything_to_claim():
            with self._namespace.transaction() as tx:
                if messages := self._claim(tx, limit, owner, max_bytes):
                    return messages
        return []

    def _anything_to_claim(self) -> bool:
        """Look without a write transaction, so that polling an empty queue keeps no one waiting."""
        values = {"name": self.name, "now_us": self._namespace.clock.now_us()}
        with self._namespace.reading() as connection:
            return bool(connection.execute(_ANYTHING_TO_CLAIM, values).get)

    def _claim(self, tx: Transaction, limit: int, owner: str, max_bytes: int) -> list[Message]:
        queue_id: int = tx.connection.execute("SELECT id FROM queue WHERE name = ?", (self.name,)).get
        fair_queue.move(tx, tx.connection.execute(_WAKE, (queue_id, tx.now_us, MAX_WOKEN_MESSAGES)))
        turn = None
        if fair_queue.is_fair(tx, queue_id):
            turn = fair_queue.next_turn(tx, queue_id)
            if turn is None:
                return []
            limit = limit if turn.room is None else min(limit, turn.room)
        chosen, spent = self._in_turn(tx, queue_id, turn, limit, max_bytes)
        self._bury(tx, spent)
        receipt = secrets.token_bytes(16)
        if chosen:
            ids = apsw.carray(array("q", (row.id for row in chosen)))
            tx.connection.execute(_LEASE, (self._hidden_until_us(tx), receipt, owner, ids))
        if turn is not None:
            cost = sum(row.cost for row in chosen if not row.charged)
            fair_queue.take_turn(tx, queue_id, turn, leased=len(chosen), buried=len(spent), cost=cost)
        return [
            Message(row.id, row.body, receipt, row.deliveries + 1, row.enqueued_us, row.tenant, row.priority)
            for row in chosen
        ]

    def _in_turn(
        self, tx: Transaction, queue_id: int, turn: Turn | None, limit: int, max_bytes: int
    ) -> tuple[list[_Ready], list[_Ready]]:
        """Return the messages to hand out, and those whose deliveries are spent, that come first."""
        if turn is None:
            ready = tx.connection.execute(_READY, (queue_id,))
        else:
            ready = tx.connection.execute(_READY_OF_TENANT, (turn.tenant_id,))
        try:
            return self._choose(map(_Ready._make, ready), limit, max_bytes)
        finally:
            ready.close()

    def _choose(
        self, ready: Iterator[_Ready], limit: int, max_bytes: int
    ) -> tuple[list[_Ready], list[_Ready]]:
        """Split the messages that come first into those to hand out and those whose deliveries are spent."""
        chosen: list[_Ready] = []
        spent: list[_Ready] = []
        room, total_bytes = limit, 0
        for row in ready:
            total_bytes += len(row.body)
            if total_bytes > max_bytes and (chosen or spent):
                break
            if row.deliveries >= self._max_deliveries:
                spent.append(row)
                continue
            room = min(room, self._batch_size(limit, row.deliveries))
            if chosen and len(chosen) >= room:
                break
            chosen.append(row)
        return chosen, spent

    def _batch_size(self, limit: int, deliveries: int) -> int:
        """Return how large a batch with a message of so many deliveries may be: `limit` first, 1 at last."""
        if deliveries == 0:
            return limit
        return int(limit ** (1 - deliveries / (self._max_deliveries - 1)))

    def _bury(self, tx: Transaction, spent: list[_Ready]) -> None:
        if not spent:
            return
        DeadLetters(self._namespace).add(tx, (self._dead_letter(row) for row in spent))
        self._remove(tx, array("q", (row.id for row in spent)))
        tx.connection.execute("UPDATE queue SET dead = dead + ? WHERE name = ?", (len(spent), self.name))

    def _dead_letter(self, row: _Ready) -> DeadLetter:
        return DeadLetter(
            job="",
            source_kind="queue",
            source=self.name,
            partition=0,
            position=row.id,
            body=row.body,
            reason="too many deliveries",
            detail=f"handed out {row.deliveries} times without being finished, at last to {row.owner}",
            attempts=row.deliveries,
            first_us=row.enqueued_us,
            tenant=row.tenant,
            cost=row.cost,
        )

    def renew(self, messages: Iterable[Message]) -> int:
        """Hide messages for another visibility timeout; return how many this consumer still holds."""
        with self._namespace.transaction() as tx:
            until_us = self._hidden_until_us(tx)
            held = 0
            for receipt, ids in _by_receipt(messages):
                fair_queue.move(tx, tx.connection.execute(_RENEWED, (receipt, apsw.carray(ids))))
                tx.connection.execute(_RENEW, (until_us, receipt, apsw.carray(ids)))
                held += tx.connection.changes()
        return held

    def delete(self, tx: Transaction, messages: Iterable[Message]) -> None:
        """Finish messages in the caller's transaction.

        Raises `LostLease` if another consumer may have one of them; the transaction must then be undone.
        """
        finished: array[int] = array("q")
        lost: list[int] = []
        for receipt, ids in _by_receipt(messages):
            found: list[Any] = tx.connection.execute(_CURRENT, (receipt, apsw.carray(ids))).fetchall()
            current = {row[0] for row in found}
            finished.extend(current)
            fair_queue.move(tx, (row[1:] for row in found))
            lost.extend(message_id for message_id in ids if message_id not in current)
        if lost:
            raise LostLease(self.name, lost, self.visibility_timeout_s)
        if finished:
            self._remove(tx, finished)
            tx.connection.execute(
                "UPDATE queue SET finished = finished + ? WHERE name = ?", (len(finished), self.name)
            )

    def _remove(self, tx: Transaction, ids: array[int]) -> None:
        tx.connection.execute(_DELETE, (apsw.carray(ids),))
        tx.connection.execute(_DELETE_BODIES, (apsw.carray(ids),))

    def release(self, messages: Iterable[Message]) -> int:
        """Give messages back untouched, as if they had never been claimed; return how many were held."""
        with self._namespace.transaction() as tx:
            released = 0
            for receipt, ids in _by_receipt(messages):
                fair_queue.move(tx, tx.connection.execute(_RELEASED, (receipt, apsw.carray(ids))))
                tx.connection.execute(_RELEASE, (receipt, apsw.carray(ids)))
                released += tx.connection.changes()
        return released

    def reclaim(self, owner: str) -> int:
        """Make what `owner` holds claimable at once, when it is known to be dead; return how many it held.

        Their deliveries stay counted: one of them may be what it died of.
        """
        with self._namespace.transaction() as tx:
            held: list[Any] = tx.connection.execute(_RECLAIM, (self.name, tx.now_us, owner)).fetchall()
            fair_queue.move(tx, held)
        return len(held)

    def depth(self) -> Depth:
        """Return how full the queue is now; a queue that never had a message is empty."""
        values = {"name": self.name, "now_us": self._namespace.clock.now_us()}
        with self._namespace.reading() as connection:
            row = connection.execute(_DEPTH, values).get
        sent, finished, dead, leased, delayed = row or (0, 0, 0, 0, 0)
        return Depth(sent - finished - dead - leased - delayed, leased, delayed, sent, finished, dead)

    def _hidden_until_us(self, tx: Transaction) -> int:
        return tx.now_us + int(self.visibility_timeout_s * 1_000_000)


def _costs(bodies: Sequence[bytes], cost: int | Sequence[int] | None) -> array[int]:
    """Return what each message is charged, at least 1: what costs nothing would go before all else."""
    if isinstance(cost, int):
        return array("q", [max(cost, 1)]) * len(bodies)
    if cost is not None and len(cost) != len(bodies):
        raise ValueError(f"{len(cost)} costs for {len(bodies)} messages")
    costs = array("q", map(len, bodies) if cost is None else cost)
    return costs if min(costs) >= 1 else array("q", (max(one, 1) for one in costs))


def list_queues(namespace: Namespace) -> list[str]:
    """Return the names of all queues, sorted."""
    with namespace.reading() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM queue ORDER BY name")]


def _by_receipt(messages: Iterable[Message]) -> Iterable[tuple[bytes, array[int]]]:
    """Group message ids by the claim they came with, each id once."""
    groups: defaultdict[bytes, dict[int, None]] = defaultdict(dict)
    for message in messages:
        groups[message.receipt][message.id] = None
    return [(receipt, array("q", ids)) for receipt, ids in groups.items()]
