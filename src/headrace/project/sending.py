"""Publishing to the hubs and queues of a project, so that sending the same again stores nothing twice.

A send is numbered by *position*: the sequence of a block is the number of events up to its last one, counted
from the beginning of what is sent. The target keeps the last sequence of each producer, in the transaction
that stores the block. Whoever starts again under the same producer therefore goes on behind the last event
that is stored, wherever the first attempt was killed and however its blocks were cut.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import polars as pl

from headrace.connect.event_files import in_blocks
from headrace.connect.hub import HubSettings, key_of, open_hub
from headrace.connect.queue import QueueSettings, open_queue
from headrace.connect.topic import Topic, TopicOutputSettings
from headrace.errors import UserError
from headrace.limits import MAX_BLOCK_BYTES
from headrace.local.hub import Hub, Published
from headrace.local.namespace import Namespace
from headrace.local.progress import Position, Progress
from headrace.local.publishing import check_producer
from headrace.local.queue import Queue
from headrace.names import PROJECT_FILE
from headrace.project.places import find_place
from headrace.project.project import Project
from headrace.project.settings import Place

#: Events of one publish call. A block without keys goes to one partition: small ones spread the work, and
#: larger ones are hardly faster.
BLOCK_EVENTS: Final = 1_000

#: The job under which a queue's senders keep their positions; no job of a project can be called so.
_SENDERS: Final = "@send"

#: One event as a program gives it: bytes and text as they are, a mapping as JSON.
EventValue = bytes | str | Mapping[str, Any]

#: Events in order; a frame is its rows, and one event need not be in a list.
Events = Iterable[EventValue] | EventValue | pl.DataFrame


class Target(Protocol):
    """Where events are published: `HubTarget` or `QueueTarget`."""

    def publish_bodies(
        self, bodies: Sequence[bytes], *, producer: str | None = None, sequence: int | None = None
    ) -> Published:
        """Store events, all or none; a sequence not above the producer's last is only acknowledged."""
        ...

    def last_sequence(self, producer: str) -> int | None:
        """Return the last sequence of a producer that is stored, None if there is none."""
        ...


@dataclass(slots=True)
class HubTarget:
    """A hub: all events go to `partition`, or each by the value of its column `key`, or in turn."""

    hub: Hub
    key: str | None = None
    partition: int | None = None
    #: Events met without a value in the column `key`; they go in turn.
    keyless: int = 0

    def publish_bodies(
        self, bodies: Sequence[bytes], *, producer: str | None = None, sequence: int | None = None
    ) -> Published:
        """Store events in the hub."""
        keys = None
        if self.key is not None:
            keys = [key_of(body, self.key) for body in bodies]
            self.keyless += keys.count(None)
        return self.hub.publish_bodies(
            bodies, partition=self.partition, producer=producer, sequence=sequence, keys=keys
        )

    def last_sequence(self, producer: str) -> int | None:
        """Return the last sequence of a producer that the hub has."""
        return self.hub.last_sequence(producer)


@dataclass(slots=True)
class QueueTarget:
    """A queue or topic that knows its senders, as a hub does: the sequences stand in the same transaction."""

    namespace: Namespace
    queue: Queue | Topic

    def publish_bodies(
        self, bodies: Sequence[bytes], *, producer: str | None = None, sequence: int | None = None
    ) -> Published:
        """Send messages."""
        check_producer(producer, sequence)
        with self.namespace.transaction() as tx:
            if producer is not None and sequence is not None:
                last = self.last_sequence(producer)
                if last is not None and sequence <= last:
                    return Published(len(bodies), (), duplicate=True)
                ranges = json.dumps({self.queue.name: [last or 0, sequence]})
                positions = {(self.queue.name, 0): Position(sequence)}
                Progress(self.namespace).record_epoch(tx, _SENDERS, producer, ranges, positions)
            self.queue.send(tx, bodies)
        return Published(len(bodies), ())

    def last_sequence(self, producer: str) -> int | None:
        """Return the last sequence of a sender that is stored."""
        known = Progress(self.namespace).positions(_SENDERS, producer).get((self.queue.name, 0))
        return None if known is None else known.next_offset


@contextlib.contextmanager
def opened_target(
    project: Project, place: Place, *, key: str | None = None, partition: int | None = None
) -> Iterator[HubTarget | QueueTarget]:
    """Open a hub, queue or topic for publishing, making it when it is missing."""
    if not isinstance(place.settings, HubSettings) and (key is not None or partition is not None):
        raise UserError(f"{place} has no partitions: leave out the key and the partition")
    with Namespace.open(project.data) as namespace:
        match place.settings:
            case HubSettings():
                with open_hub(namespace.hubs_folder, place.name, place.settings) as hub:
                    yield HubTarget(hub, key, partition)
            case QueueSettings():
                yield QueueTarget(namespace, open_queue(namespace, place.name, place.settings))
            case TopicOutputSettings():
                subscriptions = project.subscriptions.get(place.name, [])
                yield QueueTarget(namespace, Topic(namespace, place.name, subscriptions))


@dataclass(slots=True)
class Sending:
    """One stream of events on its way to a target, from its beginning.

    With `producer` it goes on behind what the target has of that producer.
    """

    target: Target
    producer: str | None = None
    #: Events that this object stored, and events that the target had already.
    stored: int = 0
    skipped: int = 0
    #: Events of the stream that have passed here.
    position: int = 0
    _stored_before: int = field(init=False)

    def __post_init__(self) -> None:
        self._stored_before = (self.producer and self.target.last_sequence(self.producer)) or 0

    def publish(self, block: Sequence[bytes]) -> None:
        """Publish the next events of the stream; they are durable when this returns."""
        new = block[max(0, self._stored_before - self.position) :]
        self.position += len(block)
        self.skipped += len(block) - len(new)
        if not new:
            return
        sequence = self.position if self.producer else None
        published = self.target.publish_bodies(new, producer=self.producer, sequence=sequence)
        if published.duplicate:  # another process sends the same
            self.skipped += len(new)
        else:
            self.stored += len(new)

    def publish_all(self, events: Iterable[bytes], tell: Callable[[], None] = lambda: None) -> None:
        """Publish a whole stream block by block; `tell` is called after each."""
        for block in in_blocks(events, BLOCK_EVENTS, MAX_BLOCK_BYTES):
            self.publish(block)
            tell()


def send(
    target: str,
    events: Events,
    *,
    project: str | Path = PROJECT_FILE,
    key: str | None = None,
    producer: str | None = None,
    sequence: int | None = None,
) -> int:
    """Publish events to a hub, queue or topic of a project and return how many it stored.

    `target` is the name of an input or output, or of the hub or queue itself; it is made when it is missing.
    Mappings become JSON; bytes and text are bodies as they are. `key` names the field whose value chooses the
    partition. With `producer` the events are a stream: called again with the same stream it stores only what
    is behind the last event stored. With `sequence` as well they are one block, stored if the number is above
    the producer's last. Raises `UserError` for names and events that cannot be.
    """
    opened = Project.load(project)
    place = find_place(opened, target, ("hub", "queue", "topic"), "to send to")
    bodies = (_body(event, number) for number, event in enumerate(_many(events)))
    with opened_target(opened, place, key=key) as to:
        if sequence is None:
            sending = Sending(to, producer)
            sending.publish_all(bodies)
            return sending.stored
        published = to.publish_bodies(list(bodies), producer=producer, sequence=sequence)
        return 0 if published.duplicate else published.events


def _many(events: Events) -> Iterable[EventValue]:
    if isinstance(events, pl.DataFrame):
        return events.iter_rows(named=True)
    return [events] if isinstance(events, bytes | str | Mapping) else events


def _body(event: EventValue, number: int) -> bytes:
    if isinstance(event, bytes):
        return event
    if not isinstance(event, str | Mapping):
        raise UserError(f"event {number} is {type(event).__name__}: give bytes, text or a mapping")
    try:
        return event.encode() if isinstance(event, str) else msgspec.json.encode(dict(event))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"event {number} cannot be written as UTF-8 JSON: {error}") from None
