"""Listing the files of datasets into the work queue, each version of a file once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from headrace.clock import Clock
from headrace.errors import UserError
from headrace.faults import crash_point
from headrace.local.namespace import Namespace, Transaction
from headrace.local.queue import Queue
from headrace.names import checked_name
from headrace.series.dataset import FileMessage, FileStore, Listed

#: Files that one transaction enqueues: so long others wait, some 10 ms.
_PAGE_FILES: Final = 500

_PUT_ON_RECORD: Final = """
INSERT INTO series_enqueued (queue, store, tenant, file, size_bytes, changed) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET size_bytes = excluded.size_bytes, changed = excluded.changed
WHERE size_bytes <> excluded.size_bytes OR changed <> excluded.changed
RETURNING 1
"""

_ON_RECORD: Final = """
SELECT EXISTS (
    SELECT 1 FROM series_enqueued
    WHERE queue = ? AND store = ? AND tenant = ? AND file = ? AND size_bytes = ? AND changed = ?
)
"""


class Dataset(NamedTuple):
    """The files of one tenant in one store, named by its key in the settings."""

    store: str
    tenant: str


@dataclass(slots=True)
class Enqueued:
    """What was enqueued so far: files and their bytes, those that were on record, folders passed over."""

    files: int = 0
    size_bytes: int = 0
    there_already: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # why, by ``store/folder``


class Enqueuer:
    """Enqueues files of datasets; what was sent is on record in the transaction that sends it."""

    def __init__(self, namespace: Namespace, queue: Queue, stores: Mapping[str, FileStore]) -> None:
        self._namespace, self._queue, self._stores = namespace, queue, stores
        self.done = Enqueued()

    def datasets(self) -> Iterator[Dataset]:
        """Yield the datasets that there are now; folders whose names no tenant can have are put down."""
        for store, files in self._stores.items():
            for tenant in files.list_tenants():
                try:
                    yield Dataset(store, checked_name(tenant, "tenant"))
                except UserError as error:
                    self.done.refused[f"{store}/{tenant}"] = str(error)

    def files(self, dataset: Dataset) -> Iterator[Listed]:
        """Yield the files of a dataset as they stand now."""
        return self._stores[dataset.store].list_files(dataset.tenant)

    def enqueue(self) -> Iterator[Enqueued]:
        """Enqueue all files that are not on record as they are now; yields how far it is, now and then."""
        for dataset in self.datasets():
            listed = self.files(dataset)
            while page := list(islice(listed, _PAGE_FILES)):
                self.send(dataset, page)
                yield self.done

    def send(self, dataset: Dataset, files: Iterable[Listed]) -> None:
        """Enqueue files of a dataset, but none that was enqueued as it is."""
        with self._namespace.transaction() as tx:
            sent = [listed for listed in files if self._put_on_record(tx, dataset, listed)]
            bodies = [
                FileMessage(dataset.tenant, dataset.store, file.file, file.size_bytes, file.changed).encode()
                for file in sent
            ]
            costs = [max(1, listed.size_bytes) for listed in sent]
            self._queue.send(tx, bodies, tenant=dataset.tenant, cost=costs)
            crash_point("series.enqueue.before_commit")
        self.done.files += len(sent)
        self.done.size_bytes += sum(listed.size_bytes for listed in sent)

    def _put_on_record(self, tx: Transaction, dataset: Dataset, listed: Listed) -> bool:
        values = (self._queue.name, *dataset, listed.file, listed.size_bytes, listed.changed)
        new = tx.connection.execute(_PUT_ON_RECORD, values).get is not None
        self.done.there_already += not new
        return new

    def is_on_record(self, dataset: Dataset, listed: Listed) -> bool:
        """Tell whether a file was enqueued as it is."""
        with self._namespace.reading() as connection:
            values = (self._queue.name, *dataset, listed.file, listed.size_bytes, listed.changed)
            return bool(connection.execute(_ON_RECORD, values).get)


class _Sighting(NamedTuple):
    """A file that is not enqueued yet, and since when it stands still."""

    listed: Listed
    since_ns: int


class Watcher:
    """Enqueues files as they arrive: when size and time stood still for `settle_s` seconds.

    It has to see a file twice, so `poll` is called again and again; what it has seen ends with it, what it
    has enqueued is on record.
    """

    def __init__(self, enqueuer: Enqueuer, settle_s: float, clock: Clock) -> None:
        self._enqueuer, self._settle_ns, self._clock = enqueuer, int(settle_s * 1e9), clock
        self._seen: dict[tuple[Dataset, str], _Sighting] = {}

    @property
    def waiting(self) -> int:
        """How many files were seen and may still be written to."""
        return len(self._seen)

    def poll(self) -> None:
        """Look once; enqueue what has arrived."""
        before, self._seen = self._seen, {}
        for dataset in self._enqueuer.datasets():
            listed = self._enqueuer.files(dataset)
            while page := list(islice(listed, _PAGE_FILES)):
                arrived = [file for file in page if self._has_arrived(dataset, file, before)]
                if arrived:
                    self._enqueuer.send(dataset, arrived)

    def _has_arrived(
        self, dataset: Dataset, listed: Listed, before: Mapping[tuple[Dataset, str], _Sighting]
    ) -> bool:
        """Tell whether a file is to be enqueued now, and remember it if it may be soon."""
        now_ns = self._clock.monotonic_ns()
        key = (dataset, listed.file)
        seen = before.get(key)
        if seen is None and self._enqueuer.is_on_record(dataset, listed):
            return False
        if seen is None or seen.listed != listed:
            seen = _Sighting(listed, now_ns)
        if now_ns - seen.since_ns >= self._settle_ns:
            return True
        self._seen[key] = seen
        return False
