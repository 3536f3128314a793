"""Fair shares of a queue: which tenant's messages the next claim hands out.

It is start-time fair queueing (Goyal, Vin and Cheng, 1996). Each tenant has a finish tag that grows by
cost / weight with every message that it is handed, and the smallest tag is next; so tenants that wait get
shares of the cost as their weights are, and one that was quiet is served before one that has had much. A
tenant that comes back starts at the tag served last: what it did not use is not saved up. The urgent class
goes first, but has at most `URGENT_TURNS` turns in a row while others wait.

A queue is fair from its first message with a tenant on; what has none is then of the tenant ''. Everything is
written in the transaction that moves the messages, and a turn is found by an index over those tenants that
may have one, so that it costs the same however many tenants, messages or capped tenants there are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import apsw

from headrace.limits import MAX_TENANT_WEIGHT
from headrace.local.namespace import Namespace, Transaction

#: Turns that the urgent class has in a row while others wait: 3 of 4.
URGENT_TURNS: Final = 3

_IS_FAIR: Final = "SELECT EXISTS (SELECT 1 FROM fair_queue WHERE queue_id = ?)"

_BEGIN: Final = "INSERT INTO fair_queue (queue_id) VALUES (?)"

# Ready messages and hidden ones apart, here and below, since each are in an index of their own.
_HAS_MESSAGES: Final = """
SELECT EXISTS (SELECT 1 FROM message WHERE queue_id = ?1 AND hidden_until_us IS NULL AND tenant_id IS NULL)
    OR EXISTS (SELECT 1 FROM message WHERE queue_id = ?1 AND hidden_until_us IS NOT NULL)
"""

_ADOPT: Final = (
    "UPDATE message SET tenant_id = ?2 WHERE queue_id = ?1 AND hidden_until_us IS NULL AND tenant_id IS NULL "
    "RETURNING tenant_id, 1, 0",
    "UPDATE message SET tenant_id = ?2 WHERE queue_id = ?1 AND hidden_until_us IS NOT NULL "
    "RETURNING tenant_id, 0, receipt IS NOT NULL",
)

_TENANT: Final = "SELECT id FROM queue_tenant WHERE queue_id = ? AND name = ?"
_ADD_TENANT: Final = "INSERT INTO queue_tenant (queue_id, name) VALUES (?, ?) RETURNING id"

_URGENT_TURNS: Final = "SELECT urgent_turns FROM fair_queue WHERE queue_id = ?"

_FIRST: Final = """
SELECT id, urgent, finish, weight, max_in_flight - in_flight
FROM queue_tenant
WHERE queue_id = ? AND urgent = ? AND ready > 0 AND (max_in_flight IS NULL OR in_flight < max_in_flight)
ORDER BY finish, id LIMIT 1
"""

_TAKE: Final = """
UPDATE queue_tenant
SET finish = finish + ?2 / weight, ready = ready - ?3 - ?4, in_flight = in_flight + ?3
WHERE id = ?1
"""

_COUNT_URGENT_TURN: Final = """
UPDATE fair_queue
SET urgent_turns = min(urgent_turns + 1, ?3), urgent_start = max(urgent_start, ?2) WHERE queue_id = ?1
"""
_COUNT_TURN: Final = """
UPDATE fair_queue SET urgent_turns = 0, normal_start = max(normal_start, ?2) WHERE queue_id = ?1
"""

# A tenant that could not have a turn until now starts where its class is.
_MOVE: Final = """
UPDATE queue_tenant
SET finish = CASE
        WHEN ready > 0 AND (max_in_flight IS NULL OR in_flight < max_in_flight) THEN finish
        ELSE max(finish, (
            SELECT iif(queue_tenant.urgent, urgent_start, normal_start)
            FROM fair_queue WHERE fair_queue.queue_id = queue_tenant.queue_id
        ))
    END,
    ready = ready + ?2,
    in_flight = in_flight + ?3
WHERE id = ?1
"""

_SHARES: Final = """
SELECT name, weight, urgent, max_in_flight
FROM queue_tenant WHERE queue_id = (SELECT id FROM queue WHERE name = ?)
"""

_QUEUE: Final = """
INSERT INTO queue (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id
"""

_STARTS: Final = "SELECT normal_start, urgent_start FROM fair_queue WHERE queue_id = ?"

_SET_SHARE: Final = """
INSERT INTO queue_tenant (queue_id, name, weight, urgent, max_in_flight, finish)
VALUES (:queue_id, :name, :weight, :urgent, :max_in_flight, :start)
ON CONFLICT (queue_id, name) DO UPDATE SET
    weight = excluded.weight, urgent = excluded.urgent, max_in_flight = excluded.max_in_flight,
    finish = CASE
        WHEN urgent <> excluded.urgent THEN excluded.finish
        WHEN ready > 0 AND (max_in_flight IS NULL OR in_flight < max_in_flight) THEN finish
        ELSE max(finish, excluded.finish)
    END
"""

_COUNTS: Final = """
SELECT name, weight, urgent, max_in_flight, ready, in_flight
FROM queue_tenant WHERE queue_id = (SELECT id FROM queue WHERE name = ?) ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class TenantShare:
    """What a tenant gets of a queue.

    Where tenants wait, each gets its `weight` of the sum of theirs. An `urgent` one goes before others, up to
    three claims of four. Of its messages no more than `max_in_flight` are leased at a time.
    """

    weight: float = 1.0
    urgent: bool = False
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and 1 / MAX_TENANT_WEIGHT <= self.weight <= MAX_TENANT_WEIGHT):
            raise ValueError(
                f"weight must be from {1 / MAX_TENANT_WEIGHT:g} to {MAX_TENANT_WEIGHT:g}, not {self.weight:g}"
            )
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {self.max_in_flight}")


class TenantCount(NamedTuple):
    """How many messages of a tenant stand in a queue: to be handed out, and leased."""

    share: TenantShare
    ready: int
    in_flight: int


class Turn(NamedTuple):
    """Whose messages a claim hands out, and at most how many (`room`, None: any number)."""

    tenant_id: int
    urgent: bool
    start: float
    weight: float
    room: int | None


def is_fair(tx: Transaction, queue_id: int) -> bool:
    """Tell whether turns of this queue are given by tenants."""
    return bool(tx.connection.execute(_IS_FAIR, (queue_id,)).get)


def tenant_of(tx: Transaction, queue_id: int, name: str) -> int | None:
    """Return the id under which messages of a tenant are sent, None where no message has a tenant.

    The first name makes the queue fair: the messages that stand in it become those of the tenant ''.
    """
    if not is_fair(tx, queue_id):
        if not name:
            return None
        tx.connection.execute(_BEGIN, (queue_id,))
        if tx.connection.execute(_HAS_MESSAGES, (queue_id,)).get:
            nobody = _known_tenant(tx.connection, queue_id, "")
            for adopt in _ADOPT:
                move(tx, tx.connection.execute(adopt, (queue_id, nobody)))
    return _known_tenant(tx.connection, queue_id, name)


def _known_tenant(connection: apsw.Connection, queue_id: int, name: str) -> int:
    found: int | None = connection.execute(_TENANT, (queue_id, name)).get
    if found is None:
        found = connection.execute(_ADD_TENANT, (queue_id, name)).get
    return found


def move(tx: Transaction, changes: Iterable[tuple[int | None, int, int]]) -> None:
    """Add to what tenants have ready and in flight; a change that has no tenant counts nothing."""
    ready: defaultdict[int, int] = defaultdict(int)
    in_flight: defaultdict[int, int] = defaultdict(int)
    for tenant_id, more_ready, more_in_flight in changes:
        if tenant_id is not None:
            ready[tenant_id] += more_ready
            in_flight[tenant_id] += more_in_flight
    for tenant_id, more_ready in ready.items():
        tx.connection.execute(_MOVE, (tenant_id, more_ready, in_flight[tenant_id]))


def next_turn(tx: Transaction, queue_id: int) -> Turn | None:
    """Return whose turn it is, None if no tenant may be handed a message now."""
    urgent_turns: int = tx.connection.execute(_URGENT_TURNS, (queue_id,)).get
    classes = (1, 0) if urgent_turns < URGENT_TURNS else (0, 1)
    for urgent in classes:
        found = tx.connection.execute(_FIRST, (queue_id, urgent)).fetchone()
        if found is not None:
            return Turn._make(found)
    return None


def take_turn(tx: Transaction, queue_id: int, turn: Turn, *, leased: int, buried: int, cost: int) -> None:
    """Charge a tenant for what it was handed; `buried` messages are gone, and cost nothing."""
    tx.connection.execute(_TAKE, (turn.tenant_id, float(cost), leased, buried))
    if not leased:
        return
    if turn.urgent:
        tx.connection.execute(_COUNT_URGENT_TURN, (queue_id, turn.start, URGENT_TURNS))
    else:
        tx.connection.execute(_COUNT_TURN, (queue_id, turn.start))


def set_shares(namespace: Namespace, queue: str, shares: Mapping[str, TenantShare]) -> None:
    """Give tenants of a queue these shares, and all others the default; write only what changes.

    What they were handed so far stays charged. One whose class changes begins where its new class is.
    """
    with namespace.reading() as connection:
        known = {
            name: TenantShare(weight, bool(urgent), max_in_flight)
            for name, weight, urgent, max_in_flight in connection.execute(_SHARES, (queue,))
        }
    wanted = dict.fromkeys(known, TenantShare()) | dict(shares)
    changed = {name: share for name, share in wanted.items() if known.get(name) != share}
    if not changed:
        return
    with namespace.transaction() as tx:
        queue_id: int = tx.connection.execute(_QUEUE, (queue,)).get
        normal_start, urgent_start = tx.connection.execute(_STARTS, (queue_id,)).fetchone() or (0.0, 0.0)
        tx.connection.executemany(
            _SET_SHARE,
            (
                {
                    "queue_id": queue_id,
                    "name": name,
                    "weight": float(share.weight),
                    "urgent": share.urgent,
                    "max_in_flight": share.max_in_flight,
                    "start": urgent_start if share.urgent else normal_start,
                }
                for name, share in changed.items()
            ),
        )


def tenant_counts(namespace: Namespace, queue: str) -> dict[str, TenantCount]:
    """Return what each tenant of a queue has there, by name; a queue that is not fair has none."""
    with namespace.reading() as connection:
        return {
            name: TenantCount(TenantShare(weight, bool(urgent), max_in_flight), ready, in_flight)
            for name, weight, urgent, max_in_flight, ready, in_flight in connection.execute(_COUNTS, (queue,))
        }
