"""The catalogue of a store: its tenants, the numbers of their tags, and the segments that count.

A segment counts once a transaction says so; a file that no row speaks of is nobody's. Tags get their numbers
in a transaction before the points that use them are written: a number that is then not used does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import numpy as np
from numpy.typing import NDArray

from headrace.errors import UserError
from headrace.local.namespace import Namespace, Transaction
from headrace.names import checked_name
from headrace.series.points import Codes

#: What a row group of a segment holds: its tags and times from first to last, both included.
BLOCK: Final = np.dtype(
    [("first_code", "<u4"), ("last_code", "<u4"), ("points", "<u4"), ("first_us", "<i8"), ("last_us", "<i8")]
)
Blocks = NDArray[np.void]

#: So many tags get their numbers in one transaction, so that others need not wait long.
_TAGS_AT_ONCE: Final = 20_000

_MAKE_TENANT: Final = "INSERT INTO series_tenant (store, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
_FIND_TENANT: Final = "SELECT id FROM series_tenant WHERE store = ? AND name = ?"

_KNOWN: Final = (
    "SELECT guid, code FROM series_tag WHERE tenant_id = ? AND guid IN (SELECT value FROM carray(?))"
)
_NUMBER: Final = "INSERT INTO series_tag (tenant_id, code, guid) VALUES (?, ?, ?)"
_COUNT_TAGS: Final = "UPDATE series_tenant SET tags = ? WHERE id = ?"

_BETWEEN: Final = (
    "SELECT code, guid FROM series_tag WHERE tenant_id = ? AND guid BETWEEN ? AND ? ORDER BY guid"
)
_TOTALS: Final = """
SELECT (SELECT tags FROM series_tenant WHERE id = ?1), count(*), coalesce(sum(points), 0),
       coalesce(sum(size_bytes), 0), min(first_us), max(last_us)
FROM series_segment WHERE tenant_id = ?1
"""

_ADD: Final = """
INSERT INTO series_segment (tenant_id, newest, name, level, points, size_bytes, first_us, last_us, blocks)
VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING id
"""
_SET_NEWEST: Final = "UPDATE series_segment SET newest = ? WHERE id = ?"

_SEGMENTS: Final = """
SELECT id, newest, name, level, points, size_bytes, first_us, last_us, blocks FROM series_segment
WHERE tenant_id = ? AND last_us >= ? AND first_us < ?
ORDER BY newest, id
"""

_SOME_FILES: Final = """
SELECT series_tenant.name, series_segment.name
FROM series_segment JOIN series_tenant ON series_tenant.id = tenant_id
WHERE store = ? ORDER BY series_segment.id DESC LIMIT 16
"""

#: Times that stand for no bound.
EVER_US: Final = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of points, sorted by tag and time; `id` and `newest` are 0 until it is added."""

    name: str
    level: int
    points: int
    size_bytes: int
    first_us: int
    last_us: int
    blocks: Blocks
    id: int = 0
    newest: int = 0

    def blocks_of(self, code: int, start_us: int = EVER_US[0], end_us: int = EVER_US[1]) -> list[int]:
        """Return the row groups that may hold points of a tag at or after `start_us` and before `end_us`."""
        blocks = self.blocks
        within = (blocks["first_code"] <= code) & (blocks["last_code"] >= code)
        return np.flatnonzero(
            within & (blocks["last_us"] >= start_us) & (blocks["first_us"] < end_us)
        ).tolist()


@dataclass(frozen=True, slots=True)
class Totals:
    """What a tenant has: points as they are stored, so that one stored again counts twice until compacted."""

    tags: int
    segments: int
    points: int
    size_bytes: int
    first_us: int | None
    last_us: int | None

    @property
    def bytes_per_point(self) -> float | None:
        """What a point takes on disk, None where there is none."""
        return self.size_bytes / self.points if self.points else None


class Catalogue:
    """What a store, by its name, holds; processes may share it."""

    def __init__(self, namespace: Namespace, store: str) -> None:
        self._namespace, self.store = namespace, store

    # --- tenants and tags --------------------------------------------------------------------------------

    def tenant(self, name: str) -> int:
        """Return the number of a tenant, which is made if it is new."""
        found = self.find_tenant(name)
        if found is None:
            checked_name(name, "tenant")
            with self._namespace.transaction() as tx:
                tx.connection.execute(_MAKE_TENANT, (self.store, name))
            found = self.find_tenant(name)
        assert found is not None
        return found

    def find_tenant(self, name: str) -> int | None:
        """Return the number of a tenant, None if nothing of it was ever stored."""
        with self._namespace.reading() as connection:
            found: int | None = connection.execute(_FIND_TENANT, (self.store, name)).get
        return found

    def known_tenant(self, name: str) -> int:
        """Return the number of a tenant; raises `UserError` if nothing of it was ever stored."""
        found = self.find_tenant(name)
        if found is None:
            raise UserError(f"series '{self.store}' has nothing of a tenant {name[:60]!r}")
        return found

    def tenants(self) -> list[str]:
        """Return the names of the tenants."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT name FROM series_tenant WHERE store = ? ORDER BY name", (self.store,)
            )
            return [name for (name,) in rows]

    def codes(self, tenant: int, guids: Sequence[bytes]) -> Codes:
        """Return the number of each tag, in the order given; those that are new get the next numbers."""
        known: dict[bytes, int] = {}
        for some in _cut(guids):
            with self._namespace.reading() as connection:
                known.update(_codes_of(connection, tenant, some))
            if any(guid not in known for guid in some):
                with self._namespace.transaction() as tx:
                    known.update(_codes_of(tx.connection, tenant, some))
                    fresh = list(dict.fromkeys(guid for guid in some if guid not in known))
                    first: int = tx.connection.execute(
                        "SELECT tags FROM series_tenant WHERE id = ?", (tenant,)
                    ).get
                    numbered = list(enumerate(fresh, first))
                    tx.connection.executemany(_NUMBER, ((tenant, code, guid) for code, guid in numbered))
                    tx.connection.execute(_COUNT_TAGS, (first + len(fresh), tenant))
                known.update({guid: code for code, guid in numbered})
        return np.fromiter((known[guid] for guid in guids), np.uint32, len(guids))

    def code(self, tenant: int, guid: bytes) -> int | None:
        """Return the number of one tag, None if there is none."""
        with self._namespace.reading() as connection:
            found: int | None = connection.execute(
                "SELECT code FROM series_tag WHERE tenant_id = ? AND guid = ?", (tenant, guid)
            ).get
        return found

    def find(self, tenant: int, guids: Sequence[bytes]) -> dict[bytes, int]:
        """Return the numbers of those tags that there are."""
        with self._namespace.reading() as connection:
            return {guid: code for some in _cut(guids) for guid, code in _codes_of(connection, tenant, some)}

    def tags(self, tenant: int, low: bytes, high: bytes) -> list[tuple[int, bytes]]:
        """Return the number and GUID of each tag from `low` to `high`, both included, sorted by GUID."""
        with self._namespace.reading() as connection:
            return list(connection.execute(_BETWEEN, (tenant, low, high)))

    def totals(self, tenant: int) -> Totals:
        """Return how much a tenant has."""
        with self._namespace.reading() as connection:
            return Totals(*next(connection.execute(_TOTALS, (tenant,))))

    def guids(self, tenant: int, first: int = 0, limit: int = -1) -> list[bytes]:
        """Return the tags from number `first` on, in order of their numbers; all if `limit` is negative."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT guid FROM series_tag WHERE tenant_id = ? AND code >= ? ORDER BY code LIMIT ?",
                (tenant, first, limit),
            )
            return [guid for (guid,) in rows]

    # --- segments -----------------------------------------------------------------------------------------

    def add(self, tx: Transaction, tenant: int, segment: Segment, newest: int | None = None) -> None:
        """Let a segment count, as the newest there is unless told otherwise; again is no more than once."""
        added: int | None = tx.connection.execute(
            _ADD,
            (
                tenant,
                segment.name,
                segment.level,
                segment.points,
                segment.size_bytes,
                segment.first_us,
                segment.last_us,
                segment.blocks.tobytes(),
            ),
        ).get
        if added is not None:
            tx.connection.execute(_SET_NEWEST, (added if newest is None else newest, added))

    def remove(self, tx: Transaction, tenant: int, segments: Sequence[Segment]) -> None:
        """Let segments count no more; `sweep` then removes their files."""
        rows = [(tenant, segment.name) for segment in segments]
        tx.connection.executemany("INSERT OR IGNORE INTO series_gone (tenant_id, name) VALUES (?, ?)", rows)
        tx.connection.executemany("DELETE FROM series_segment WHERE tenant_id = ? AND name = ?", rows)

    def gone(self, tenant: int) -> list[str]:
        """Return the names of files that are to be removed."""
        with self._namespace.reading() as connection:
            rows = connection.execute("SELECT name FROM series_gone WHERE tenant_id = ?", (tenant,))
            return [name for (name,) in rows]

    def forget(self, tx: Transaction, tenant: int, names: Sequence[str]) -> None:
        """Take note that files are removed."""
        rows = [(tenant, name) for name in names]
        tx.connection.executemany("DELETE FROM series_gone WHERE tenant_id = ? AND name = ?", rows)

    def names(self, tenant: int) -> set[str]:
        """Return the names of all files that segments are in, or were in and that are to be removed."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT name FROM series_segment WHERE tenant_id = ?1 "
                "UNION ALL SELECT name FROM series_gone WHERE tenant_id = ?1",
                (tenant,),
            )
            return {name for (name,) in rows}

    def some_files(self) -> list[tuple[str, str]]:
        """Return the tenants and names of the segments that were added last, none if there are none."""
        with self._namespace.reading() as connection:
            return list(connection.execute(_SOME_FILES, (self.store,)))

    def segments(self, tenant: int, start_us: int = EVER_US[0], end_us: int = EVER_US[1]) -> list[Segment]:
        """Return the segments with points at or after `start_us` and before `end_us`, oldest first."""
        with self._namespace.reading() as connection:
            rows = connection.execute(_SEGMENTS, (tenant, start_us, end_us))
            return [_segment(*row) for row in rows]


def _segment(number: int, newest: int, name: str, level: int, points: int, *rest: Any) -> Segment:
    size_bytes, first_us, last_us, blocks = rest
    found = np.frombuffer(blocks, BLOCK)
    return Segment(name, level, points, size_bytes, first_us, last_us, found, number, newest)


def _codes_of(
    connection: apsw.Connection, tenant: int, guids: Sequence[bytes]
) -> Iterator[tuple[bytes, int]]:
    yield from connection.execute(_KNOWN, (tenant, apsw.carray(tuple(guids), flags=apsw.SQLITE_CARRAY_BLOB)))


def _cut(guids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for first in range(0, len(guids), _TAGS_AT_ONCE):
        yield guids[first : first + _TAGS_AT_ONCE]
