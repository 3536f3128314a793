"""The newest events of a hub, and the last lines of files, read without moving anybody's offset."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from headrace.connect.file_lines import Piece
from headrace.connect.file_opening import Opener
from headrace.connect.files import FileSettings
from headrace.events.formats.csv import CsvDecoder
from headrace.events.formats.json import encode_lines
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
            times_us = found.enqueued_us.tolist()
            for place, (body, enqueued_us) in enumerate(zip(found.bodies, times_us, strict=True)):
                yield HubEvent(enqueued_us, partition, found.first_offset + place, body)
            offset = found.next_offset


def last_lines(folder: Path, files: FileSettings, count: int) -> list[bytes]:
    """Return the last events of files, in the order of reading, as they are or as lines of JSON.

    At most MAX_BATCH_BYTES of each file are looked at.
    """
    lines: list[bytes] = []
    for name in reversed(files.pattern.matching(folder)):
        if len(lines) >= count:
            break
        with contextlib.suppress(FileNotFoundError):
            lines = _last_lines(folder / name, files.opener, count - len(lines)) + lines
    return lines


def _last_lines(path: Path, opener: Opener, count: int) -> list[bytes]:
    with contextlib.closing(opener.open(path, str(path))) as file:
        end = file.behind_text(file.size())
        at = max(0, end - MAX_BATCH_BYTES)
        if not file.begins_line(at):
            at = file.rest_of_line(at, end, whole=True).behind
        lines: list[bytes] = []
        while at < end:
            piece = file.read(at, end, whole=True, max_events=end, max_bytes=MAX_BATCH_BYTES)
            found = piece.bodies if file.format == "json" else _as_json(piece, file.delimiter)
            lines = [*lines, *found[-count:]][-count:]
            at = piece.behind
        return lines


def _as_json(piece: Piece, delimiter: str) -> list[bytes]:
    if not piece.events:
        return []
    decoded = CsvDecoder(piece.header, delimiter).decode(piece.bodies)
    return encode_lines(decoded.batch).splitlines()
