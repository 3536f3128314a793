"""The newest events of a hub, read without moving anybody's offset."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from headrace.limits import MAX_BATCH_BYTES
from headrace.local.hub import Hub


class HubEvent(NamedTuple):
    """An event and where it stands; events of several partitions sort by time, partition and offset."""

    enqueued_us: int
    partition: int
    offset: int
    body: bytes


def newest_events(hub: Hub, count: int) -> list[HubEvent]:
    """Return the newest events over all partitions, in the order of their enqueued times."""
    ends = hub.ends()
    starts = [max(begin, end - count) for begin, end in zip(hub.begins(), ends, strict=True)]
    return heapq.nlargest(count, events_between(hub, starts, ends))[::-1]


def events_between(hub: Hub, starts: list[int], ends: list[int]) -> Iterator[HubEvent]:
    """Yield the events from one offset of each partition to another, partition by partition."""
    for partition, (start, end) in enumerate(zip(starts, ends, strict=True)):
        offset = start
        while offset < end:
            found = hub.read(partition, offset, max_events=end - offset, max_bytes=MAX_BATCH_BYTES)
            for place, (body, enqueued_us) in enumerate(zip(found.bodies, found.enqueued_us, strict=True)):
                yield HubEvent(enqueued_us, partition, found.first_offset + place, body)
            offset = found.next_offset
