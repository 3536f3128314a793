"""The hub between two stages of a job: packs of events, spread by key and in order of time.

A job whose input is to be repartitioned is two jobs. The first puts the events of each partition of the input
in order and divides them by key; the second reads them here. A body is a *pack*: how many events it holds,
and the events, written by the first job and read by the second. Every partition of the hub gets the packs of
all partitions of the input, those of each in order. An offset names an event in a pack, so that one which
kills its reader can be told from its neighbours.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from headrace.connect.source import Poll
from headrace.errors import Fatal
from headrace.limits import MAX_PUBLISH_BYTES
from headrace.local.hub import Apart, Hub

#: The kind of the source.
EXCHANGE: Final = "exchange"

_EVENTS: Final = struct.Struct("<I")

#: An offset is that of a pack times this, plus the number of an event in it, of which there are fewer.
_OFFSETS: Final = 1 << 20

#: How much to read for so many events: a pack of a few takes half a kilobyte, one of many this for each.
_FEW_PACKS_BYTES: Final = 64 * 1024
_EVENT_BYTES: Final = 32

#: Of packs that wait so much is looked through to tell how many rows are in them: some 50 ms.
_COUNTED_BYTES: Final = 64 * 1024 * 1024
_COUNTED_AT_ONCE_BYTES: Final = 8 * 1024 * 1024


def pack(events: int, content: bytes) -> bytes:
    """Return a pack of so many events."""
    return _EVENTS.pack(events) + content


def content_of(body: bytes) -> bytes:
    """Return what `pack` was given. Raises Fatal for what is no pack."""
    events_of(body)
    return body[_EVENTS.size :]


def events_of(body: bytes) -> int:
    """Return as how many events a pack counts: an empty one, which says how far time has come, as one."""
    if len(body) < _EVENTS.size:
        raise Fatal("a pack of events between two stages of a job is damaged: it has no head")
    events: int = _EVENTS.unpack_from(body)[0]
    return max(1, events)


def rows_behind(hub: Hub, partition: int, offset: int) -> tuple[int, int | None]:
    """Return how many rows of packs stand behind an offset, and when the first of them was passed on.

    Of very many packs the first are counted, and the others taken to be like them.
    """
    number, skipped = divmod(offset, _OFFSETS)
    end, rows, oldest_us, begin, counted_bytes = hub.ends()[partition], 0, None, None, 0
    while number < end:
        found = hub.read(partition, number, max_events=end - number, max_bytes=_COUNTED_AT_ONCE_BYTES)
        skipped = skipped if found.first_offset == number else 0
        begin = found.first_offset if begin is None else begin
        number = found.next_offset
        for place, body in enumerate(found.bodies):
            there = max(0, _EVENTS.unpack_from(body)[0] - skipped)
            rows, skipped, counted_bytes = rows + there, 0, counted_bytes + len(body)
            if there and oldest_us is None:
                oldest_us = int(found.enqueued_us[place])
        if counted_bytes >= _COUNTED_BYTES:
            return rows * (end - begin) // (number - begin), oldest_us
    return rows, oldest_us


class ExchangeSource:
    """Reads packs of `places` partitions of an input, spread as `rule` says; it `ends` if the input does."""

    kind = EXCHANGE

    def __init__(self, input_name: str, hub: Hub, *, places: int, rule: str, ends: bool) -> None:
        self._input, self._hub = input_name, hub
        self.place, self.identity, self.partitions = hub.name, hub.identity, hub.partitions
        self.places, self.rule, self.ends = places, rule, ends

    def begin(self, partition: int) -> int:
        """Return the offset of the oldest event that is still there."""
        return self._hub.begins()[partition] * _OFFSETS

    def end(self, partition: int) -> int:
        """Return the offset that the next event will get."""
        return self._hub.ends()[partition] * _OFFSETS

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        """Return packs from `offset` on, None when there are none yet.

        The first may have been read up to an event within, and the last may be cut.
        """
        number, skipped = divmod(offset, _OFFSETS)
        if number == self._hub.ends()[partition]:
            return None
        size_bytes = min(max_bytes, _FEW_PACKS_BYTES + (skipped + max_events) * _EVENT_BYTES)
        found = self._hub.read(partition, number, max_events=max_events, max_bytes=size_bytes)
        # What was read of a pack that is gone means nothing for the one that is first now.
        skipped = skipped if found.first_offset == number else 0
        at = found.first_offset * _OFFSETS + skipped
        offsets, bodies, events = (at,), list[bytes](), 0
        for number, body in enumerate(found.bodies, found.first_offset):
            if events == max_events:
                break
            bodies.append(body)
            there = number * _OFFSETS + events_of(body) - at
            taken = min(there, max_events - events)
            at = at + taken if taken < there else (number + 1) * _OFFSETS
            events += taken
        return Poll(
            self._input,
            bodies,
            chunks=None,
            arrival_us=None,
            partition=partition,
            offsets=offsets,
            behind=at,
            packed=events,
            skipped=skipped,
        )

    def offset_at(self, partition: int, time_us: int) -> int:
        """Return the end: packs of before are not what a job starts from."""
        return self.end(partition)

    def quiet_since(self, offsets: Mapping[int, int], now_us: int) -> dict[int, int]:
        """Return nothing: how far time has come is in the packs."""
        return {}

    def forget(self, partition: int, before_offset: int) -> None:
        """Delete packs that nobody will read again."""
        self._hub.forget(partition, before_offset // _OFFSETS)

    def close(self) -> None:
        """Close the hub."""
        self._hub.close()


class ExchangeSink:
    """Publishes packs, each to its partition."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self.identity = hub, hub.identity

    def block(self, packs: Iterable[tuple[int, bytes]]) -> bytes:
        """Return packs, each with its partition, as one block for the outbox."""
        return msgspec.msgpack.encode(list(packs))

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Publish the packs of a block; see `deliver_all`."""
        self.deliver_all([(block, producer, sequence)])

    def deliver_all(self, blocks: Iterable[tuple[bytes, str, int]]) -> None:
        """Publish the packs of blocks, each with its producer and sequence, in as few transactions as can be.

        What the hub has already is not stored again. What is too much for one call goes in several, cut at
        the same places each time, and each a producer of its own.
        """
        calls: list[Apart] = []
        left_bytes = MAX_PUBLISH_BYTES
        for block, producer, sequence in blocks:
            packs = msgspec.msgpack.decode(block, type=list[tuple[int, bytes]])
            for part, some in enumerate(_calls(packs)):
                calls.append(Apart(some, f"{producer}:{part}" if part else producer, sequence))
            left_bytes -= len(block)
            if left_bytes <= 0:
                self._hub.publish_apart(calls)
                calls, left_bytes = [], MAX_PUBLISH_BYTES
        self._hub.publish_apart(calls)

    def close(self) -> None:
        """Close the hub."""
        self._hub.close()


def _calls(packs: Sequence[tuple[int, bytes]]) -> Iterator[dict[int, list[bytes]]]:
    """Yield what goes in one publish call, by partition."""
    call: dict[int, list[bytes]] = {}
    size_bytes = 0
    for partition, body in packs:
        if call and size_bytes + len(body) > MAX_PUBLISH_BYTES:
            yield call
            call, size_bytes = {}, 0
        call.setdefault(partition, []).append(body)
        size_bytes += len(body)
    if call:
        yield call


def open_exchange(folder: Path, name: str, partitions: int) -> Hub:
    """Open the hub of packs in `folder`, making it when it is missing."""
    return Hub.ensure(folder, name, partitions=partitions)


def forget_exchanges(folder: Path, kept: Iterable[Path]) -> None:
    """Delete the hubs of packs in the folders below `folder` but for those `kept`; nobody has them open."""
    for path in set(folder.glob("*")) - set(kept):
        shutil.rmtree(path, ignore_errors=True)
