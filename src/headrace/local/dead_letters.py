"""Dead letters: events that could not be processed, kept with their bytes, the reason and the attempts."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple

import apsw

from headrace.limits import MAX_PAGE_ROWS
from headrace.local.namespace import Namespace, Transaction, within_bytes

_ADD = """
INSERT INTO dead_letter
    (job, source_kind, source, partition, position, body, reason, detail, attempts, first_us, dead_us,
     tenant, cost)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, source_kind, source, partition, position) DO UPDATE SET
    body = excluded.body, reason = excluded.reason, detail = excluded.detail,
    attempts = attempts + excluded.attempts, dead_us = excluded.dead_us
"""

_FIND = """
SELECT job, source_kind, source, partition, position, body, reason, detail, attempts, first_us, dead_us, id,
    tenant, cost
FROM dead_letter
WHERE id > :after
  AND (:job IS NULL OR job = :job)
  AND (:source IS NULL OR source = :source)
  AND (:kind IS NULL OR source_kind = :kind)
  AND (:since_us IS NULL OR dead_us >= :since_us)
  AND (:until_us IS NULL OR dead_us < :until_us)
  AND (:tenant IS NULL OR tenant = :tenant)
ORDER BY id LIMIT :limit
"""

_GET = """
SELECT job, source_kind, source, partition, position, body, reason, detail, attempts, first_us, dead_us, id,
    tenant, cost
FROM dead_letter WHERE id = ?
"""


#: The kind of source of a row that failed and comes from no one event: its source is the job that made it,
#: its partition the epoch, and its body the row as JSON.
DEAD_ROW: Final = "row"

#: That of a row which an output's target did not take: its source is the output, its body the row as JSON,
#: its partition the instance, its position the block's number and, in the last 24 bits, the place there.
DEAD_OUTPUT: Final = "output"

#: The line of the outbox that rows of outputs are put back into; the first instance of their job delivers it.
RETRIED_LINE: Final = "dead-letters"


class DeadLetter(NamedTuple):
    """One event that was set aside.

    `position` is the offset in the partition, or the id of a queue's message; `body` is always the bytes as
    they came. `first_us` is when the event was first met and `dead_us` when it was set aside last (0: now).
    It is `tenant`'s ('': nobody's in particular), which pays `cost` when its queue hands it out again (0: by
    the size of the body).
    """

    job: str
    source_kind: str
    source: str
    partition: int
    position: int
    body: bytes
    reason: str
    detail: str = ""
    attempts: int = 1
    first_us: int = 0
    dead_us: int = 0
    id: int = 0
    tenant: str = ""
    cost: int = 0


class DeadLetters:
    """The dead letters of a namespace, from every job and queue."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def add(self, tx: Transaction, entries: Iterable[DeadLetter]) -> None:
        """Keep each entry; one that stands already (job, source, position) gets its attempts added."""
        tx.connection.executemany(
            _ADD,
            (
                (
                    *entry[:9],
                    entry.first_us or tx.now_us,
                    entry.dead_us or tx.now_us,
                    entry.tenant,
                    entry.cost,
                )
                for entry in entries
            ),
        )

    def find(
        self,
        *,
        job: str | None = None,
        source: str | None = None,
        kind: str | None = None,
        tenant: str | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        after: int = 0,
        limit: int = MAX_PAGE_ROWS,
    ) -> list[DeadLetter]:
        """Return the next page behind the id `after`, oldest first, empty at the end.

        Times are those at which entries were set aside last; `until_us` is not included. A page has at most
        `limit` entries, fewer when their bodies are large.
        """
        wanted = {
            "job": job,
            "source": source,
            "kind": kind,
            "tenant": tenant,
            "since_us": since_us,
            "until_us": until_us,
            "after": after,
            "limit": limit,
        }
        with self._namespace.reading() as connection:
            found = connection.execute(_FIND, wanted)
            page = within_bytes(map(DeadLetter._make, found), _body_bytes)
            found.close()
        return page

    def get(self, letter_id: int) -> DeadLetter | None:
        """Return one entry, or None if there is none with this id."""
        with self._namespace.reading() as connection:
            row = connection.execute(_GET, (letter_id,)).get
        return row and DeadLetter._make(row)

    def count(self, *, job: str | None = None, tenant: str | None = None) -> int:
        """Return how many entries there are, of one job or tenant or of all."""
        with self._namespace.reading() as connection:
            found: int = connection.execute(
                "SELECT count(*) FROM dead_letter "
                "WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR tenant = ?2)",
                (job, tenant),
            ).get
        return found

    def delete(self, tx: Transaction, letter_ids: Iterable[int]) -> int:
        """Remove entries for good, as after a successful retry; return how many there were."""
        ids = array("q", letter_ids)
        if not ids:
            return 0
        tx.connection.execute(
            "DELETE FROM dead_letter WHERE id IN (SELECT value FROM carray(?))", (apsw.carray(ids),)
        )
        return tx.connection.changes()


def _body_bytes(letter: DeadLetter) -> int:
    return len(letter.body)
