"""Queues as inputs and outputs: instances compete for messages, outputs are part of the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import msgspec
import numpy as np

from headrace.connect.sink import Prepared, Rows, too_large
from headrace.connect.source import Poll
from headrace.events.formats.csv import Delimiter
from headrace.events.formats.decoders import Format
from headrace.events.formats.json import encode_rows
from headrace.limits import MAX_DELIVERIES, MAX_VISIBILITY_TIMEOUT_S
from headrace.local.namespace import Namespace, Transaction
from headrace.local.queue import Message, Queue


class QueueSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="queue", tag_field="kind"):
    """``kind = "queue"``: `queue` names it (by default the name in the settings).

    A leased message that is not finished within `visibility_timeout_s` seconds goes to another instance; one
    that was handed out `max_deliveries` times becomes a dead letter. An input's messages are in `format`: a
    CSV, Avro or Parquet body is a whole file, whose CSV fields `delimiter` separates.
    """

    queue: str | None = None
    visibility_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=MAX_VISIBILITY_TIMEOUT_S)] = 60
    max_deliveries: Annotated[int, msgspec.Meta(ge=1)] = MAX_DELIVERIES
    format: Format = "json"
    delimiter: Delimiter = ","


class QueueSource:
    """Leases a queue's messages for one instance, named `owner`."""

    kind = "queue"

    def __init__(
        self, input_name: str, queue: Queue, owner: str, form: Format = "json", delimiter: Delimiter = ","
    ) -> None:
        self.input, self.place, self.visibility_timeout_s = input_name, queue.name, queue.visibility_timeout_s
        self._queue, self._owner = queue, owner
        self._format, self._delimiter = form, delimiter

    def lease(self, max_events: int, max_bytes: int) -> Poll | None:
        """Return messages that nobody else holds, None when there are none."""
        messages = self._queue.claim(limit=max_events, owner=self._owner, max_bytes=max_bytes)
        if not messages:
            return None
        arrival_us = np.array([message.enqueued_us for message in messages], np.int64)
        return Poll(
            input=self.input,
            bodies=[message.body for message in messages],
            chunks=None,
            arrival_us=arrival_us,
            partition=0,
            offsets=[message.id for message in messages],
            leases=messages,
            tenant=messages[0].tenant,
            format=self._format,
            delimiter=self._delimiter,
        )

    def renew(self, poll: Poll) -> None:
        """Keep the messages of `poll` invisible to others for another while."""
        self._queue.renew(_messages(poll))

    def finish(self, tx: Transaction, poll: Poll) -> None:
        """Delete the messages within the commit; raises LostLease if one is no longer ours."""
        self._queue.delete(tx, _messages(poll))

    def release(self, poll: Poll) -> None:
        """Give the messages back at once."""
        self._queue.release(_messages(poll))

    def reclaim(self) -> None:
        """Give back what an earlier process of this instance still held when it died."""
        self._queue.reclaim(self._owner)

    def exhausted(self) -> bool:
        """Tell whether nothing waits and nothing is leased."""
        depth = self._queue.depth()
        return depth.visible + depth.leased + depth.delayed == 0

    def close(self) -> None:
        """Do nothing: the namespace is closed by whoever opened it."""


class QueueSink:
    """Sends each row as a message with a JSON body, within the commit."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def prepare(self, rows: Rows) -> Prepared[object]:
        """Encode each row as JSON; one that is too large for a message fails."""
        texts = encode_rows(rows.batch)
        bodies = [text.encode() for text in texts.to_list()]
        return Prepared(bodies, len(bodies), too_large(texts))

    def write(self, tx: Transaction, prepared: Prepared[object]) -> None:
        """Send the messages."""
        self._queue.send(tx, cast("Sequence[bytes]", prepared.payload))

    def close(self) -> None:
        """Do nothing: the namespace is closed by whoever opened it."""


def open_queue(namespace: Namespace, name: str, settings: QueueSettings) -> Queue:
    """Return the queue that `settings` describe."""
    return Queue(
        namespace,
        settings.queue or name,
        visibility_timeout_s=settings.visibility_timeout_s,
        max_deliveries=settings.max_deliveries,
    )


def _messages(poll: Poll) -> Sequence[Message]:
    return cast("Sequence[Message]", poll.leases)
