"""The versions of reference data that a job has noticed, and their content while it may be needed."""

from __future__ import annotations

from typing import Final, NamedTuple

from headrace.local.namespace import Namespace, Transaction

_READ: Final = """
SELECT number, start_us, name, seen, hash FROM reference_version WHERE job = ? AND input = ? ORDER BY number
"""

_LAST: Final = "SELECT coalesce(max(number), -1) FROM reference_version WHERE job = ? AND input = ?"

_ADD: Final = """
INSERT INTO reference_version (job, input, number, start_us, name, seen, hash) VALUES (?, ?, ?, ?, ?, ?, ?)
"""

#: The oldest version of an input that an epoch on record may have looked up in.
_OLDEST: Final = """
SELECT min(known.value) - 1 FROM epoch, json_each(epoch.ranges, '$.references') AS known
WHERE epoch.job = ? AND known.key = ? AND json_type(epoch.ranges, '$.references') = 'object'
"""

_FORGET: Final = "DELETE FROM reference_version WHERE job = ? AND input = ? AND number < ?"

_SWEEP: Final = "DELETE FROM reference_content WHERE hash NOT IN (SELECT hash FROM reference_version)"


class Version(NamedTuple):
    """A version: valid from a time on, or, if that is None, for whatever is read once it is known."""

    number: int
    start_us: int | None
    name: str
    seen: str
    hash: str


class VersionRecord:
    """The versions of one input of a job; numbers count from 0, for ever."""

    def __init__(self, namespace: Namespace, job: str, name: str) -> None:
        self._namespace, self._key = namespace, (job, name)

    def read(self) -> list[Version]:
        """Return the versions on record, oldest first."""
        with self._namespace.reading() as connection:
            return list(map(Version._make, connection.execute(_READ, self._key)))

    def add(self, version: Version, content: bytes) -> bool:
        """Put a version on record; false if another process has put one there under its number.

        Versions that count for whatever is read take the place of those that no epoch on record knows.
        """
        with self._namespace.transaction() as tx:
            if tx.connection.execute(_LAST, self._key).get != version.number - 1:
                return False
            tx.connection.execute(
                "INSERT OR IGNORE INTO reference_content (hash, content) VALUES (?, ?)",
                (version.hash, content),
            )
            tx.connection.execute(_ADD, (*self._key, *version))
            if version.start_us is None:
                self._forget(tx, version.number)
            return True

    def see(self, version: Version) -> None:
        """Note that the file of a version looks otherwise now, with the same content."""
        with self._namespace.transaction() as tx:
            tx.connection.execute(
                "UPDATE reference_version SET seen = ? WHERE job = ? AND input = ? AND number = ?",
                (version.seen, *self._key, version.number),
            )

    def content(self, hash_: str) -> bytes | None:
        """Return the content of a version, None if it is not on record."""
        with self._namespace.reading() as connection:
            found: bytes | None = connection.execute(
                "SELECT content FROM reference_content WHERE hash = ?", (hash_,)
            ).get
        return found

    def _forget(self, tx: Transaction, latest: int) -> None:
        oldest: int | None = tx.connection.execute(_OLDEST, self._key).get
        # The one before the latest is what an epoch that is being worked on may still look up in.
        tx.connection.execute(_FORGET, (*self._key, min(latest - 1, latest if oldest is None else oldest)))
        tx.connection.execute(_SWEEP)
