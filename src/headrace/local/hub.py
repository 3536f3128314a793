"""The hub: a partitioned, durable log of events in one SQLite file, for several processes at once.

Acknowledged means synced to disk. Offsets count the events of a partition from 0 without gaps; enqueued times
never go back within a partition, whatever the clock does. A producer that numbers its calls may send one
again after a crash: the hub knows it and stores nothing twice.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

from headrace.clock import Clock, SystemClock
from headrace.errors import Fatal, HeadraceError, UserError, did_you_mean, disk_error
from headrace.limits import MAX_PACK_BYTES, MAX_PARTITIONS
from headrace.local import log
from headrace.local.blocks import DamagedBlock, Properties
from headrace.local.database import BUSY_TIMEOUT_S, AnyDatabase, opened, script
from headrace.local.files import make_folder, sync_folder
from headrace.local.group_commit import GroupCommit
from headrace.local.publishing import (
    Apart,
    Block,
    Call,
    Columns,
    Event,
    Published,
    Range,
    blocks,
    check,
    check_producer,
)
from headrace.local.slices import Slice
from headrace.local.write_lock import WriteLock
from headrace.names import checked_name, safe_file_stem

__all__ = ["Apart", "Event", "Hub", "Published", "Range", "Slice"]

FORMAT: Final = 1

#: Large pages: a block of 1,000 events is some 350 KB in a chain of pages, and to delete it is to walk that.
_PAGE_BYTES: Final = 16 * 1024
_LOG_KIB: Final = 16 * 1024
_CACHE_KIB: Final = 8 * 1024

#: How often a publisher looks for events past the hub's retention.
_RETENTION_PAUSE_US: Final = 10_000_000

_SYSTEM_CLOCK: Final = SystemClock()


@dataclass(frozen=True, slots=True)
class _Settings:
    name: str
    identity: str
    partitions: int
    retention_us: int | None

    @classmethod
    def new(cls, name: str, partitions: int, retention_s: float | None) -> Self:
        retention_us = None if retention_s is None else round(retention_s * 1e6)
        return cls(name, uuid.uuid4().hex, partitions, retention_us)


class Hub:
    """A log of events in `partitions` partitions; threads may share it, a fork may not.

    `identity` tells this hub from one made later under the same name, for those who keep offsets.
    """

    def __init__(self, database: AnyDatabase, settings: _Settings, clock: Clock) -> None:
        self.name = settings.name
        self.identity = settings.identity
        self.partitions = settings.partitions
        self.retention_s = None if settings.retention_us is None else settings.retention_us / 1e6
        self._retention_us = settings.retention_us
        self._database = database
        self._clock = clock
        self._commits = GroupCommit(
            database, lambda connection, calls: log.append(connection, calls, clock.now_us())
        )
        self._retained_us = 0
        self._seen: tuple[int, list[log.Partition]] = (-1, [])
        # The next partition goes on where the hub's publishers stopped: many short ones still spread.
        self._rotation = itertools.count(sum(self.ends()))

    @classmethod
    def create(
        cls,
        folder: Path,
        name: str,
        *,
        partitions: int = 4,
        retention_s: float | None = None,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> Self:
        """Make a hub and open it; `retention_s` None keeps events for ever.

        Raises `UserError` when there is one of that name.
        """
        hub, made = cls._ensured(folder, name, partitions, retention_s, clock)
        if not made:
            hub.close()
            raise UserError(f"there is a hub {name!r} already: open it, or choose another name")
        return hub

    @classmethod
    def ensure(
        cls,
        folder: Path,
        name: str,
        *,
        partitions: int = 4,
        retention_s: float | None = None,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> Self:
        """Open a hub, making it when it is missing; only then do `partitions` and `retention_s` count."""
        return cls._ensured(folder, name, partitions, retention_s, clock)[0]

    @classmethod
    def open(cls, folder: Path, name: str, *, clock: Clock = _SYSTEM_CLOCK, looking: bool = False) -> Self:
        """Open a hub; raises `UserError` when there is none, or when a newer Headrace made it.

        Where it cannot be written, whoever is only `looking` can read it all the same.
        """
        path = _path(folder, name)
        if path.exists():
            database = _opened(path, looking=looking)
            try:
                return cls(database, _settings(database), clock)
            except BaseException:
                database.close()
                raise
        advice = did_you_mean(name, Hub.names(folder)) or "Make it first"
        raise UserError(f"there is no hub {name!r} in {folder}. {advice}")

    @staticmethod
    def names(folder: Path) -> list[str]:
        """Return the names of the hubs in `folder`, sorted."""
        return sorted(_name(path.name.removesuffix(".db")) for path in folder.glob("*.db"))

    @classmethod
    def _ensured(
        cls, folder: Path, name: str, partitions: int, retention_s: float | None, clock: Clock
    ) -> tuple[Self, bool]:
        path = _path(folder, name)
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise UserError(f"{partitions} partitions: a hub has 1 to {MAX_PARTITIONS}")
        if retention_s is not None and retention_s <= 0:
            raise UserError(f"a retention of {retention_s:g} s keeps nothing: give more, or none to keep all")
        made = not path.exists() and _made(path, _Settings.new(name, partitions, retention_s), clock)
        return cls.open(folder, name, clock=clock), made

    def publish(
        self,
        events: Sequence[Event],
        *,
        partition: int | None = None,
        key: str | None = None,
        producer: str | None = None,
        sequence: int | None = None,
    ) -> Published:
        """Store events, synced to disk when this returns; see `publish_bodies`.

        `key` stands for the events that have none of their own.
        """
        keys = [key if event.key is None else event.key for event in events]
        properties = [event.properties or None for event in events]
        return self.publish_bodies(
            [event.body for event in events],
            partition=partition,
            producer=producer,
            sequence=sequence,
            keys=keys,
            properties=properties,
        )

    def publish_bodies(
        self,
        bodies: Sequence[bytes],
        *,
        partition: int | None = None,
        producer: str | None = None,
        sequence: int | None = None,
        enqueued_us: Sequence[int] | None = None,
        keys: Sequence[str | None] | None = None,
        properties: Sequence[Properties | None] | None = None,
    ) -> Published:
        """Store events given column by column, all or none, synced to disk when this returns.

        With `partition` all go there; else each goes by its key, and those without one together to the next
        partition in turn. A `sequence` that is not above the last of its `producer` is acknowledged without
        being stored. `enqueued_us` is for events that arrived before (a replay); a time after now or before
        the partition's last is moved to that. Raises `UserError` for what no hub takes.
        """
        columns = Columns(bodies, keys, properties, enqueued_us).trimmed()
        check(columns)
        check_producer(producer, sequence)
        if partition is not None:
            self._check_partition(partition)
        cut = blocks(
            columns,
            partition=partition,
            spare=next(self._rotation) % self.partitions,
            partitions=self.partitions,
        )
        call = Call(len(bodies), cut, producer, sequence or 0)
        self._commits.commit(call)
        self._retain()
        assert call.published is not None
        return call.published

    def publish_apart(self, calls: Sequence[Apart]) -> None:
        """Store calls that are given partition by partition, all or none, synced when this returns.

        Their events may be packs, which may be larger.
        """
        made = []
        for call in calls:
            whole = [body for some in call.bodies.values() for body in some]
            check(Columns(whole), MAX_PACK_BYTES)
            check_producer(call.producer, call.sequence)
            cut: list[Block] = []
            for partition, some in call.bodies.items():
                self._check_partition(partition)
                cut += blocks(Columns(some), partition=partition, spare=0, partitions=self.partitions)
            made.append(Call(len(whole), cut, call.producer, call.sequence))
        if made:
            self._commits.commit(*made)

    def read(self, partition: int, offset: int, *, max_events: int, max_bytes: int) -> Slice:
        """Return events from `offset` on, at most so many and so large, but at least one if there is any.

        Below the oldest event reading starts there, which shows in `first_offset`. An offset past the end
        raises `UserError`: this is not the hub that it comes from. A damaged block raises `Fatal`.
        """
        self._check_partition(partition)
        with self._named_damage():
            with self._database.read() as connection:
                bounds = log.partition_with(connection, partition)
                if not 0 <= offset <= bounds.next:
                    raise UserError(
                        f"hub {self.name!r}, partition {partition} ends at offset {bounds.next}, so it never "
                        f"had {offset}: it was made anew or put back from an older copy. "
                        "Start again from the beginning"
                    )
                start = max(offset, bounds.begin)
                if start == bounds.next:
                    return Slice(partition, start)
                stored = log.blocks_from(
                    connection, partition, start, max_events=max_events, max_bytes=max_bytes
                )
            parts = log.contents_from(stored, start, max_events=max_events, max_bytes=max_bytes)
        return Slice(partition, start, tuple(parts))

    def offset_at(self, partition: int, time_us: int) -> int:
        """Return the first offset enqueued at or after the time, the partition's end if there is none."""
        self._check_partition(partition)
        with self._named_damage(), self._database.read() as connection:
            return log.offset_at(connection, log.partition_with(connection, partition), time_us)

    def ends(self) -> list[int]:
        """Return the offset that the next event of each partition will get; cheap enough to poll."""
        return [partition.next for partition in self._bounds()]

    def begins(self) -> list[int]:
        """Return the offset of the oldest event of each partition, its end when it is empty."""
        return [partition.begin for partition in self._bounds()]

    def last_sequence(self, producer: str) -> int | None:
        """Return the sequence of the producer's last call that is stored, None if there is none."""
        with self._database.read() as connection:
            return log.last_sequence(connection, producer)

    def quiet_since(self, offsets: Mapping[int, int], now_us: int) -> dict[int, int]:
        """Return, for each partition that still ends at its offset, a time that no event will precede.

        That is `now_us`, or later where its last event is: nothing that is published there from now on is
        stamped earlier. A partition that goes on behind the offset is left out.
        """
        ends = self.ends()
        if all(ends[partition] != offset for partition, offset in offsets.items()):
            return {}
        with self._database.write() as connection:
            return log.raise_floors(connection, offsets, now_us)

    def expire(self, before_us: int) -> int:
        """Delete the events enqueued before the time and return how many; their space is used again.

        It works in short transactions and rests between them, so that publishers go on meanwhile.
        """
        expired, more = 0, True
        while more:
            started_ns = self._clock.monotonic_ns()
            removed, more = self._expire_some(before_us)
            expired += removed
            if more:
                self._clock.sleep((self._clock.monotonic_ns() - started_ns) / 1e9)
        return expired

    def forget(self, partition: int, before_offset: int) -> None:
        """Delete the events of a partition before an offset, in short transactions as `expire` does."""
        self._check_partition(partition)
        more = True
        while more:
            started_ns = self._clock.monotonic_ns()
            with self._named_damage(), self._database.write() as connection:
                more = log.forget_some(connection, partition, before_offset)
            if more:
                self._clock.sleep((self._clock.monotonic_ns() - started_ns) / 1e9)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expire_some(self, before_us: int) -> tuple[int, bool]:
        with self._named_damage(), self._database.write() as connection:
            return log.expire_some(connection, before_us)

    def _retain(self) -> None:
        now_us = self._clock.now_us()
        if self._retention_us is None or now_us < self._retained_us + _RETENTION_PAUSE_US:
            return
        # The events of this call are stored, so nothing here may make the call fail.
        with contextlib.suppress(HeadraceError):
            _, more = self._expire_some(now_us - self._retention_us)
            if more:
                return
        self._retained_us = now_us

    def _bounds(self) -> list[log.Partition]:
        version = self._database.version()
        if version != self._seen[0]:
            with self._database.read() as connection:
                self._seen = (version, log.partitions(connection))
        return self._seen[1]

    def _check_partition(self, partition: int) -> None:
        if not 0 <= partition < self.partitions:
            raise UserError(
                f"hub {self.name!r} has no partition {partition}: it has 0 to {self.partitions - 1}"
            )

    @contextlib.contextmanager
    def _named_damage(self) -> Iterator[None]:
        try:
            yield
        except DamagedBlock as error:
            raise Fatal(
                f"hub {self.name!r}, partition {error.partition} is damaged at offset {error.offset}: "
                f"{error.problem}. Put back a copy of {self._database.path}, or read on after the damage"
            ) from None


def _opened(path: Path, *, looking: bool = False) -> AnyDatabase:
    return opened(
        path,
        looking=looking,
        schema=script("hub.sql"),
        version=FORMAT,
        page_bytes=_PAGE_BYTES,
        cache_kib=_CACHE_KIB,
        log_kib=_LOG_KIB,
    )


def _settings(database: AnyDatabase) -> _Settings:
    with database.read() as connection:
        row = connection.execute("SELECT name, identity, partitions, retention_us FROM settings").fetchone()
    if row is None:
        raise Fatal(f"{database.path} is no whole hub: its settings are missing. Remove it, or restore it")
    return _Settings(*row)


def _made(path: Path, settings: _Settings, clock: Clock) -> bool:
    """Make a hub's file, unless another process has; return whether this one did.

    The file has its name only once it is whole: whoever finds a hub can open it.
    """
    with _turn_to_make(path):
        if path.exists():
            return False
        making = path.with_name(path.name + ".making")
        remains = [making.with_name(making.name + ending) for ending in ("", "-wal", "-shm", ".lock")]
        try:
            for remain in remains:  # of one who died here
                remain.unlink(missing_ok=True)
            with contextlib.closing(_opened(making)) as database, database.write() as connection:
                connection.execute(
                    "INSERT INTO settings VALUES (?, ?, ?, ?, ?)", (*astuple(settings), clock.now_us())
                )
                connection.executemany(
                    "INSERT INTO partition VALUES (?, 0, 0, 0)",
                    [(number,) for number in range(settings.partitions)],
                )
            making.replace(path)
            remains[-1].unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise disk_error(error.errno or 0, path, problem=error.strerror or str(error)) from None
    return True


@contextlib.contextmanager
def _turn_to_make(path: Path) -> Iterator[None]:
    try:
        make_folder(path.parent)
        lock = WriteLock(path.with_name(path.name + ".lock"))
    except OSError as error:
        raise disk_error(error.errno or 0, path, "open", error.strerror or str(error)) from None
    with contextlib.closing(lock):
        lock.acquire(BUSY_TIMEOUT_S)
        try:
            yield
        finally:
            lock.release()


def _path(folder: Path, name: str) -> Path:
    return folder / f"{safe_file_stem(checked_name(name, 'hub'))}.db"


def _name(stem: str) -> str:
    """Return the name that `safe_file_stem` turned into `stem`."""
    return re.sub(r"~([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), stem.removesuffix("."))
