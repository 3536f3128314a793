"""A namespace: the folder, and the one file in it, where everything that a job commits stands together.

``namespace.db`` holds tables, queues, dead letters, positions, epochs and the outbox, so that one transaction
over it is the commit of a job. Hubs have files of their own beside it: publishing is bulk, and an offset in
the commit says all that a job needs of a hub. Files are never attached to one another, since in WAL mode a
commit over two files can be torn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

import apsw

from headrace.clock import Clock, SystemClock
from headrace.errors import UserError
from headrace.limits import MAX_BATCH_BYTES
from headrace.local.database import CACHE_KIB, opened, script

FORMAT: Final = 5

_FILE: Final = "namespace.db"

_SYSTEM_CLOCK: Final = SystemClock()

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Transaction:
    """The write transaction that is open now, handed to everything that writes in it."""

    connection: apsw.Connection
    now_us: int


class Namespace:
    """The folder of a project's data: ``namespace.db``, ``hubs/``, ``exchanges/`` and ``locks/``.

    Several processes may have it open at once; in one process a transaction belongs to one thread at a time.
    """

    def __init__(
        self, folder: Path, clock: Clock, *, looking: bool = False, cache_kib: int = CACHE_KIB
    ) -> None:
        self.folder = folder
        self.clock = clock
        upgrades = {
            1: script("state.sql"),
            2: script("recovery.sql"),
            3: script("outputs.sql") + script("series.sql"),
            4: script("identities.sql"),
        }
        schema = script("namespace.sql") + "".join(upgrades.values())
        self._database = opened(
            folder / _FILE,
            looking=looking,
            schema=schema,
            version=FORMAT,
            upgrades=upgrades,
            cache_kib=cache_kib,
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Clock = _SYSTEM_CLOCK,
        create: bool = True,
        looking: bool = False,
        cache_kib: int = CACHE_KIB,
    ) -> Self:
        """Open the namespace in `folder`, making it unless `create` is false.

        `cache_kib` is the memory for pages of the writing connection. Where it cannot be written, whoever is
        only `looking` can read it all the same. Raises `UserError` for a folder that cannot be used or a
        newer format, `Transient` for a disk that is full or read-only now, `Fatal` for a damaged file.
        """
        try:
            if folder.exists() and not folder.is_dir():
                raise UserError(f"{folder} is a file: a namespace is a folder. Choose another data folder")
            found = (folder / _FILE).exists()
        except OSError as error:
            raise UserError(
                f"cannot read {folder}: {error.strerror}. Check that the folder is yours"
            ) from None
        if not found and not create:
            raise UserError(
                f"nothing is stored in {folder} yet: send events or run a job first, or check `data` in "
                "headrace.toml"
            )
        return cls(folder, clock, looking=looking, cache_kib=cache_kib)

    @property
    def hubs_folder(self) -> Path:
        """Where each hub has its file."""
        return self.folder / "hubs"

    @property
    def exchanges_folder(self) -> Path:
        """Where the hubs between two stages of a job have their files."""
        return self.folder / "exchanges"

    @property
    def locks_folder(self) -> Path:
        """Where each task has the file that its owner locks."""
        return self.folder / "locks"

    def identity(self) -> str:
        """Return what tells this namespace from every other, for ever."""
        with self.reading() as connection:
            identity: str = connection.execute("SELECT identity FROM namespace_identity").get
        return identity

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Run one write transaction: durable when the block ends, undone whole if it raises.

        Keep it short, and do not open another inside it: other processes wait.
        """
        with self._database.write() as connection:
            yield Transaction(connection, self.clock.now_us())

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Read one state of the namespace; inside a transaction of this thread, what that has written too."""
        with self._database.read() as connection:
            yield connection

    def version(self) -> int:
        """Return a number that changes with every commit, of whichever process; it costs microseconds."""
        return self._database.version()

    def check_in_place(self) -> None:
        """Raise `Fatal` if the folder was moved or removed since it was opened."""
        self._database.check_in_place()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def within_bytes(rows: Iterator[_Row], size_bytes: Callable[[_Row], int]) -> list[_Row]:
    """Take rows until they make `MAX_BATCH_BYTES`, at least one: a page bounded by its size."""
    page, total_bytes = [], 0
    for row in rows:
        page.append(row)
        total_bytes += size_bytes(row)
        if total_bytes >= MAX_BATCH_BYTES:
            break
    return page
