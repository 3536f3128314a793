"""Looking at a queue without taking anything away: no lease, no delivery is counted."""

from __future__ import annotations

from typing import Final, NamedTuple

from headrace.local.namespace import Namespace, within_bytes

_NEWEST: Final = """
SELECT message.id, body, enqueued_us, delivery_count, hidden_until_us IS NOT NULL
FROM message CROSS JOIN message_body USING (id)
WHERE queue_id = (SELECT id FROM queue WHERE name = ?) AND message.id > ?
ORDER BY message.id DESC LIMIT ?
"""


class WaitingMessage(NamedTuple):
    """A message that is not finished; a hidden one is leased or delayed."""

    id: int
    body: bytes
    enqueued_us: int
    delivery_count: int
    hidden: bool


def newest_messages(namespace: Namespace, queue: str, *, limit: int, after: int = 0) -> list[WaitingMessage]:
    """Return the newest messages of a queue with ids above `after`, in the order they were sent.

    At most `limit`, fewer when their bodies are large.
    """
    with namespace.reading() as connection:
        found = connection.execute(_NEWEST, (queue, after, limit))
        newest = within_bytes((_message(row) for row in found), lambda message: len(message.body))
        found.close()
    return newest[::-1]


def _message(row: tuple[int, bytes, int, int, int]) -> WaitingMessage:
    return WaitingMessage(*row[:4], hidden=bool(row[4]))
