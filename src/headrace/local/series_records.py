"""What a job that writes histories has on record: the lines that write, and what became of each file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.local.namespace import Namespace, Transaction

#: Files that stay on record of each job, the last ones.
FILES_KEPT: Final = 10_000

_REMEMBER: Final = """
INSERT INTO series_line (job, instance, line, store, folder) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (job, instance, line, store) DO UPDATE SET folder = excluded.folder
"""

_ADD: Final = """
INSERT INTO series_progress
    (job, line, tenant, file, message_id, points, bad, size_bytes,
     t1_us, t2_us, t3_us, t4_us, t5_us, t6_us, t7_us, t8_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_PRUNE: Final = """
DELETE FROM series_progress WHERE job = ?1 AND id <= (
    SELECT id FROM series_progress WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
)
"""

_FIND: Final = """
SELECT job, line, tenant, file, message_id, points, bad, size_bytes,
       t1_us, t2_us, t3_us, t4_us, t5_us, t6_us, t7_us, t8_us
FROM series_progress
WHERE job = ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY id DESC LIMIT ?3
"""


class Line(NamedTuple):
    """Who writes files of the series output `store`, below `folder`: a thread of an instance of a job."""

    job: str
    instance: str
    line: str
    store: str
    folder: str


class FileDone(NamedTuple):
    """An input file that was stored: what it held, and when (microseconds since 1970 UTC).

    Its message was taken at `t1_us`; reading took from `t2_us` to `t3_us`, parsing from `t4_us` to `t5_us`,
    writing from `t6_us` to `t7_us`; at `t8_us` the message was deleted, at the end of the
    transaction that commits and before its sync. A file that is read
    in several pieces has the time of all its pieces, as if they had been read first and parsed behind that.
    """

    job: str
    line: str
    tenant: str
    file: str
    message_id: int
    points: int
    bad: int
    size_bytes: int
    t1_us: int
    t2_us: int
    t3_us: int
    t4_us: int
    t5_us: int
    t6_us: int
    t7_us: int
    t8_us: int

    @property
    def gaps_us(self) -> tuple[int, int, int, int]:
        """What passed between the stages: T2-T1, T4-T3, T6-T5 and T8-T7."""
        return (
            self.t2_us - self.t1_us,
            self.t4_us - self.t3_us,
            self.t6_us - self.t5_us,
            self.t8_us - self.t7_us,
        )


def remember_lines(namespace: Namespace, lines: Sequence[Line]) -> None:
    """Keep who is about to write, so that what it leaves behind is found."""
    with namespace.transaction() as tx:
        tx.connection.executemany(_REMEMBER, lines)


def lines_of(namespace: Namespace, job: str) -> list[Line]:
    """Return everyone who ever wrote for a job."""
    with namespace.reading() as connection:
        rows = connection.execute(
            "SELECT job, instance, line, store, folder FROM series_line WHERE job = ? ORDER BY line, store",
            (job,),
        )
        return list(map(Line._make, rows))


def record_files(tx: Transaction, files: Sequence[FileDone], kept: int = FILES_KEPT) -> None:
    """Keep what became of files of one job, within their commit, and forget the oldest."""
    if files:
        tx.connection.executemany(_ADD, files)
        tx.connection.execute(_PRUNE, (files[0].job, kept))


def files_done(
    namespace: Namespace, job: str, *, tenant: str | None = None, limit: int = -1
) -> list[FileDone]:
    """Return the files that a job stored last, the newest first, of one tenant or of all."""
    with namespace.reading() as connection:
        return list(map(FileDone._make, connection.execute(_FIND, (job, tenant, limit))))
