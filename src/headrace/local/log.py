"""The rows of a hub: what one transaction does to its partitions and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import numpy as np

from headrace.local.blocks import Contents, DamagedBlock, Stored, open_block
from headrace.local.publishing import Block, Call, Published, Range

#: What one transaction deletes at most, so that publishers wait for milliseconds.
_EXPIRE_BLOCKS: Final = 500
_EXPIRE_BYTES: Final = 8 * 1024 * 1024

_PARTITIONS: Final = "SELECT id, begin, next, enqueued_us FROM partition ORDER BY id"
_PARTITION: Final = "SELECT id, begin, next, enqueued_us FROM partition WHERE id = ?"
_ADVANCE: Final = "UPDATE partition SET next = ?, enqueued_us = ? WHERE id = ?"
_LAST_SEQUENCE: Final = "SELECT sequence FROM producer WHERE id = ?"
_KEEP_SEQUENCE: Final = """
    INSERT INTO producer VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence
"""
_ADD_BLOCK: Final = "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BLOCKS_FROM: Final = """
    SELECT partition, first_offset, events, enqueued_us, times, size_bytes, columns, payload, checksum
    FROM block
    WHERE partition = ?1 AND first_offset >= (
        SELECT max(first_offset) FROM block WHERE partition = ?1 AND first_offset <= ?2)
    ORDER BY first_offset
"""
_TIME_AT: Final = """
    SELECT first_offset, first_offset + events, enqueued_us FROM block
    WHERE partition = ? AND first_offset <= ? ORDER BY first_offset DESC LIMIT 1
"""
_OLDEST_BLOCKS: Final = """
    SELECT first_offset, length(payload) FROM block
    WHERE partition = ?1 AND first_offset < ?2 AND first_offset + events <= ?2
    ORDER BY first_offset LIMIT ?3
"""
_DELETE_BLOCKS: Final = "DELETE FROM block WHERE partition = ? AND first_offset <= ?"
_MOVE_BEGIN: Final = "UPDATE partition SET begin = ? WHERE id = ?"


@dataclass(slots=True)
class Partition:
    """The bounds of one partition: `begin` may be read, `next` is written next."""

    id: int
    begin: int
    next: int
    enqueued_us: int


def partitions(connection: apsw.Connection) -> list[Partition]:
    """Return all partitions in their order."""
    return [Partition(*row) for row in _rows(connection, _PARTITIONS)]


def partition_with(connection: apsw.Connection, number: int) -> Partition:
    """Return one partition."""
    return Partition(*_rows(connection, _PARTITION, number)[0])


def last_sequence(connection: apsw.Connection, producer: str) -> int | None:
    """Return the sequence of the producer's last call, None if it made none."""
    found: int | None = connection.execute(_LAST_SEQUENCE, (producer,)).get
    return found


def append(connection: apsw.Connection, calls: Sequence[Call], now_us: int) -> list[Published]:
    """Store the calls in turn, all stamped with one time, but no event earlier than its predecessor."""
    ends = partitions(connection)
    before = [end.next for end in ends]
    results = [_append_call(connection, call, ends, now_us) for call in calls]
    for end, next_before in zip(ends, before, strict=True):
        if end.next != next_before:
            connection.execute(_ADVANCE, (end.next, end.enqueued_us, end.id))
    return results


def _append_call(
    connection: apsw.Connection, call: Call, ends: Sequence[Partition], now_us: int
) -> Published:
    if call.producer is not None:
        last = last_sequence(connection, call.producer)
        if last is not None and call.sequence <= last:
            return Published(call.events, (), duplicate=True)
        connection.execute(_KEEP_SEQUENCE, (call.producer, call.sequence))
    firsts: dict[int, int] = {}
    for block in call.blocks:
        end = ends[block.partition]
        firsts.setdefault(end.id, end.next)
        connection.execute(_ADD_BLOCK, _row(block, end, now_us))
    ranges = [Range(number, first, ends[number].next - first) for number, first in firsts.items()]
    return Published(call.events, tuple(ranges))


def _row(block: Block, end: Partition, now_us: int) -> tuple[int | bytes | None, ...]:
    """Return the row of a block at the end of its partition, and move that end behind it."""
    sealed, first_offset, times = block.sealed, end.next, None
    now_us = max(now_us, end.enqueued_us)
    if block.given_us is None:
        end.enqueued_us = now_us
    else:
        given_us = np.maximum.accumulate(np.clip(block.given_us, end.enqueued_us, now_us))
        end.enqueued_us = int(given_us[-1])
        times = given_us.astype("<i8").tobytes()
    end.next += sealed.events
    return (
        end.id,
        first_offset,
        sealed.events,
        end.enqueued_us,
        times,
        sealed.size_bytes,
        sealed.columns,
        sealed.payload,
        sealed.checksum(end.id, first_offset, end.enqueued_us, times),
    )


def raise_floors(connection: apsw.Connection, offsets: Mapping[int, int], now_us: int) -> dict[int, int]:
    """Let no later event of a partition that ends at its offset be earlier than now; return their floors."""
    floors = {}
    for end in partitions(connection):
        if offsets.get(end.id) == end.next:
            floors[end.id] = max(now_us, end.enqueued_us)
            connection.execute(_ADVANCE, (end.next, floors[end.id], end.id))
    return floors


def blocks_from(
    connection: apsw.Connection, partition: int, offset: int, *, max_events: int, max_bytes: int
) -> list[Stored]:
    """Return the block that holds `offset`, which must lie in the partition, and those after it.

    They end where they hold `max_events` from `offset` on, or before they make more than `max_bytes`.
    """
    found: list[Stored] = []
    expected, size_bytes = offset, 0
    for row in connection.execute(_BLOCKS_FROM, (partition, offset)):
        block = Stored(*row)
        if found and size_bytes + block.size_bytes > max_bytes:
            break
        if block.first_offset > expected or block.next_offset <= expected:
            raise DamagedBlock(partition, expected, "a block is missing")
        found.append(block)
        size_bytes += block.size_bytes
        expected = block.next_offset
        if expected - offset >= max_events:
            break
    if not found:
        raise DamagedBlock(partition, offset, "a block is missing")
    return found


def contents_from(
    blocks: Sequence[Stored], offset: int, *, max_events: int, max_bytes: int
) -> list[Contents]:
    """Open the blocks that `blocks_from` found and cut away what was not asked for."""
    parts: list[Contents] = []
    wanted = max(1, max_events)
    for block in blocks:
        skipped = max(0, offset - block.first_offset)
        part = open_block(block).cut(skipped, skipped + wanted)
        parts.append(part)
        wanted -= part.events
    if len(parts) == 1 and len(parts[0].payload) > max_bytes:
        parts[0] = parts[0].cut(0, parts[0].fitting(max_bytes))
    return parts


def offset_at(connection: apsw.Connection, partition: Partition, time_us: int) -> int:
    """Return the first offset enqueued at or after the time, the partition's end if there is none."""
    # Times never go back, so a search by halves needs no index over them.
    low, high = partition.begin, partition.next
    while low < high:
        middle = (low + high) // 2
        rows = _rows(connection, _TIME_AT, partition.id, middle)
        first_offset, next_offset, enqueued_us = rows[0] if rows else (middle, middle, 0)
        if next_offset <= middle:
            raise DamagedBlock(partition.id, middle, "a block is missing")
        if enqueued_us < time_us:
            low = next_offset
        else:
            high = first_offset
    if low >= partition.next:
        return partition.next
    block = blocks_from(connection, partition.id, low, max_events=1, max_bytes=1)[0]
    times = open_block(block).times
    if times is None:
        return low
    return max(low, block.first_offset + int(np.count_nonzero(times < time_us)))


def expire_some(connection: apsw.Connection, before_us: int) -> tuple[int, bool]:
    """Delete some events enqueued before the time; return how many, and whether there are more."""
    room, expired = _Room(_EXPIRE_BLOCKS, _EXPIRE_BYTES), 0
    for partition in partitions(connection):
        removed, more = _drop_some(connection, partition, offset_at(connection, partition, before_us), room)
        expired += removed
        if more:
            return expired, True
    return expired, False


def forget_some(connection: apsw.Connection, number: int, before_offset: int) -> bool:
    """Delete some events of a partition before an offset; tell whether there are more."""
    partition = partition_with(connection, number)
    room = _Room(_EXPIRE_BLOCKS, _EXPIRE_BYTES)
    return _drop_some(connection, partition, min(before_offset, partition.next), room)[1]


@dataclass(slots=True)
class _Room:
    """What a transaction may still delete."""

    blocks: int
    size_bytes: int


def _drop_some(
    connection: apsw.Connection, partition: Partition, target: int, room: _Room
) -> tuple[int, bool]:
    """Let a partition begin at the offset `target`, or as far on as there is room for."""
    begin, chosen, last = target, 0, None
    oldest = _rows(connection, _OLDEST_BLOCKS, partition.id, target, room.blocks + 1)
    for first_offset, size_bytes in oldest:
        if chosen == room.blocks or room.size_bytes <= 0:
            begin = first_offset
            break
        chosen, last = chosen + 1, first_offset
        room.size_bytes -= size_bytes
    room.blocks -= chosen
    if last is not None:
        connection.execute(_DELETE_BLOCKS, (partition.id, last))
    removed = max(0, begin - partition.begin)
    if removed:
        connection.execute(_MOVE_BEGIN, (begin, partition.id))
    return removed, begin < target


def _rows(connection: apsw.Connection, sql: str, *values: int) -> list[Any]:
    return connection.execute(sql, values).fetchall()
