"""Hubs as inputs and outputs.

As an input a hub is ordered: a task per partition, an offset per event. As an output its block is delivered
after the commit under the job's producer and sequence, so that a block sent twice is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import msgspec

from headrace.connect.event_files import in_blocks
from headrace.connect.read_ahead import ReadAhead
from headrace.connect.sink import Prepared, Rows
from headrace.connect.source import Poll
from headrace.events.formats.csv import Delimiter
from headrace.events.formats.decoders import Format
from headrace.events.formats.json import encode_block
from headrace.events.texts import Texts
from headrace.limits import MAX_KEY_CHARS, MAX_PARTITIONS, MAX_PUBLISH_BYTES
from headrace.local.hub import Hub
from headrace.local.slices import Slice

#: The share of what was asked for from which on as much is read ahead, before it is asked for.
_ENOUGH: Final = 0.9


class HubSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hub", tag_field="kind"):
    """``kind = "hub"``: `hub` names it (by default the name in the settings); made when missing.

    `partitions` counts only when the hub is made; `retention_hours` 0 keeps events for ever. `key` names the
    column whose value chooses the partition: of an output's rows, and of an input's events, all of which must
    have been published by it. An input's events are in `format`: a CSV, Avro or Parquet body is a whole file,
    whose CSV fields `delimiter` separates.
    """

    hub: str | None = None
    partitions: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTITIONS)] = 4
    retention_hours: Annotated[float, msgspec.Meta(ge=0)] = 0
    key: str | None = None
    format: Format = "json"
    delimiter: Delimiter = ","


class HubSource:
    """Reads a hub's partitions."""

    kind = "hub"
    ends = False

    def __init__(self, input_name: str, hub: Hub, form: Format = "json", delimiter: Delimiter = ",") -> None:
        self._input, self._hub = input_name, hub
        self._format, self._delimiter = form, delimiter
        self.place, self.identity, self.partitions = hub.name, hub.identity, hub.partitions
        self._ahead = ReadAhead[Slice]("hub")

    def begin(self, partition: int) -> int:
        """Return the offset of the oldest event that is still there."""
        return self._hub.begins()[partition]

    def end(self, partition: int) -> int:
        """Return the offset that the next event will get."""
        return self._hub.ends()[partition]

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        """Return events from `offset` on, None when there are none yet."""
        end = self._hub.ends()[partition]
        if offset == end:
            return None
        size = {"max_events": max_events, "max_bytes": max_bytes}
        found = self._ahead.take(partition, (offset, max_events))
        if found is None or found.size_bytes > max_bytes:  # that changes from poll to poll
            found = self._hub.read(partition, offset, **size)
        if len(found) >= max_events * _ENOUGH and found.next_offset + max_events <= end:
            read = partial(self._hub.read, partition, found.next_offset, **size)
            self._ahead.begin(partition, (found.next_offset, max_events), read)
        offsets = range(found.first_offset, found.next_offset)
        return Poll(
            self._input,
            Texts(len(found), lambda number: found.bodies[number]),
            found.chunks,
            found.enqueued_us,
            partition,
            offsets,
            identity=self.identity,
            properties=found.properties,
            format=self._format,
            delimiter=self._delimiter,
        )

    def offset_at(self, partition: int, time_us: int) -> int:
        """Return the first offset enqueued at or after a time, the partition's end if there is none."""
        return self._hub.offset_at(partition, time_us)

    def quiet_since(self, offsets: Mapping[int, int], now_us: int) -> dict[int, int]:
        """Return, for each partition that still ends at its offset, a time that no event will precede."""
        return self._hub.quiet_since(offsets, now_us)

    def close(self) -> None:
        """Close the hub."""
        self._ahead.close()
        self._hub.close()


class HubSink:
    """Publishes rows to a hub as JSON; those with one value in the column `key` share a partition."""

    def __init__(self, hub: Hub, key: str | None = None) -> None:
        self._hub, self._key = hub, key

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as JSON lines; one that is too large for an event fails."""
        block, failures = encode_block(rows.batch)
        return Prepared(block, rows.batch.height, failures)

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Publish the rows; a sequence that the hub has already is acknowledged without being stored.

        What is too much for one call goes in several, cut at the same places each time, and each a producer
        of its own: a crash between two of them loses and doubles nothing.
        """
        bodies = block.split(b"\n")
        for part, some in enumerate(in_blocks(bodies, len(bodies), MAX_PUBLISH_BYTES)):
            keys = None if self._key is None else [self._key_of(body) for body in some]
            name = f"{producer}:{part}" if part else producer
            self._hub.publish_bodies(some, producer=name, sequence=sequence, keys=keys)

    def _key_of(self, body: bytes) -> str | None:
        """Return a row's partition key; equal values stay equal when they are cut to what a key may have."""
        assert self._key is not None
        key = key_of(body, self._key)
        return None if key is None else key[:MAX_KEY_CHARS]

    def close(self) -> None:
        """Close the hub."""
        self._hub.close()


def key_of(body: bytes, column: str) -> str | None:
    """Return the value of a JSON event's column as text, None where it has none; the case is ignored."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    fold = column.casefold()
    raw = fields.get(column) or next((v for name, v in fields.items() if name.casefold() == fold), b"null")
    text = bytes(raw)
    if text == b"null":
        return None
    try:
        return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def open_hub(folder: Path, name: str, settings: HubSettings) -> Hub:
    """Open the hub that `settings` describe in `folder`, making it when it is missing."""
    retention_s = settings.retention_hours * 3600 or None
    return Hub.ensure(folder, settings.hub or name, partitions=settings.partitions, retention_s=retention_s)
