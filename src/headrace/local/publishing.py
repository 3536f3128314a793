"""One publish call: what may be published, which partition it goes to, and how it is cut into blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.errors import HeadraceError, UserError
from headrace.limits import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_EVENTS,
    MAX_EVENT_BYTES,
    MAX_KEY_CHARS,
    MAX_PRODUCER_CHARS,
    MAX_PROPERTIES_BYTES,
    MAX_PUBLISH_BYTES,
)
from headrace.local.blocks import Properties, Sealed, Times, seal

_MAX_SEQUENCE: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """What a publisher hands over; events of one `key` share a partition, in the order published."""

    body: bytes
    key: str | None = None
    properties: Properties | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """A call whose events are given by partition; a sequence that the hub has is not stored again."""

    bodies: Mapping[int, Sequence[bytes]]
    producer: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive events of one publish call in one partition."""

    partition: int
    first_offset: int
    events: int


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish call did; `ranges` is empty when the hub had the call already."""

    events: int
    ranges: tuple[Range, ...]
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """The events of one call, column by column; a column has an entry for each event or is None."""

    bodies: Sequence[bytes]
    keys: Sequence[str | None] | None = None
    properties: Sequence[Properties | None] | None = None
    enqueued_us: Sequence[int] | None = None

    def trimmed(self) -> Columns:
        """Return the same without columns that hold nothing."""
        return Columns(
            self.bodies,
            self.keys if self.keys and any(key is not None for key in self.keys) else None,
            self.properties if self.properties and any(self.properties) else None,
            self.enqueued_us,
        )

    def pick(self, places: Sequence[int]) -> Columns:
        """Return the events at these places."""
        return Columns(
            [self.bodies[place] for place in places],
            self.keys and [self.keys[place] for place in places],
            self.properties and [self.properties[place] for place in places],
            None if self.enqueued_us is None else [self.enqueued_us[place] for place in places],
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block on its way to a partition, with the times it asks for."""

    partition: int
    sealed: Sealed
    given_us: Times | None


@dataclass(slots=True)
class Call:
    """A checked publish call waiting for its commit; `published` or `error` says how that went."""

    events: int
    blocks: list[Block]
    producer: str | None
    sequence: int
    published: Published | None = None
    error: HeadraceError | None = None


def check(columns: Columns, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
    """Raise `UserError` for what no hub takes, naming the event by its place in the call."""
    bodies = columns.bodies
    if not len(bodies):
        raise UserError("there is nothing to publish: a call needs at least one event")
    if set(map(type, bodies)) != {bytes}:
        place, body = next((i, body) for i, body in enumerate(bodies) if type(body) is not bytes)
        raise UserError(f"event {place} is {type(body).__name__}, not bytes: encode it, for text in UTF-8")
    sizes = list(map(len, bodies))
    if max(sizes) > max_event_bytes:
        place = next(i for i, size in enumerate(sizes) if size > max_event_bytes)
        raise UserError(
            f"event {place} has {sizes[place]:,} bytes, more than the {max_event_bytes:,} of one event. "
            "Publish what it refers to elsewhere, or split it"
        )
    if sum(sizes) > MAX_PUBLISH_BYTES:
        raise UserError(
            f"{sum(sizes):,} bytes in one call, more than {MAX_PUBLISH_BYTES:,}. Publish in several calls"
        )
    for name in ("keys", "properties", "enqueued_us"):
        column = getattr(columns, name)
        if column is not None and len(column) != len(bodies):
            raise UserError(f"{len(column)} {name} for {len(bodies)} events: give one for each event")
    _check_keys(columns.keys or ())
    _check_properties(columns.properties or ())


def _check_keys(keys: Sequence[str | None]) -> None:
    for place, key in enumerate(keys):
        if key is not None and not (isinstance(key, str) and len(key) <= MAX_KEY_CHARS and _is_unicode(key)):
            raise UserError(
                f"the partition key of event {place} must be Unicode text of at most {MAX_KEY_CHARS} "
                "characters"
            )


def _check_properties(properties: Sequence[Properties | None]) -> None:
    for place, one in enumerate(properties):
        if not one:
            continue
        texts = [*one.keys(), *one.values()]
        if not all(isinstance(text, str) and _is_unicode(text) for text in texts):
            raise UserError(f"the properties of event {place} must map Unicode text to Unicode text")
        size_bytes = sum(len(text.encode()) for text in texts)
        if size_bytes > MAX_PROPERTIES_BYTES:
            raise UserError(
                f"the properties of event {place} have {size_bytes:,} bytes, more than "
                f"{MAX_PROPERTIES_BYTES:,}. Put long values into the body"
            )


def check_producer(producer: str | None, sequence: int | None) -> None:
    """Raise `UserError` unless both or neither are given and fit to be kept."""
    if producer is None and sequence is None:
        return
    if producer is None or sequence is None:
        raise UserError("give a producer and a sequence together, or neither")
    if not (0 < len(producer) <= MAX_PRODUCER_CHARS and _is_unicode(producer)):
        raise UserError(f"a producer must be Unicode text of 1 to {MAX_PRODUCER_CHARS} characters")
    if not 0 <= sequence <= _MAX_SEQUENCE:
        raise UserError(f"sequence {sequence} of producer {producer!r} is not between 0 and {_MAX_SEQUENCE}")


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def partition_of(key: str, partitions: int) -> int:
    """Return the partition that `key` belongs to, the same for ever and everywhere."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % partitions


def blocks(columns: Columns, *, partition: int | None, spare: int, partitions: int) -> list[Block]:
    """Cut a call into sealed blocks.

    `partition` takes all events if it is given; else each goes by its key, and those without one to `spare`.
    """
    if partition is not None or columns.keys is None:
        places = [(spare if partition is None else partition, columns)]
    else:
        picked: dict[int, list[int]] = {}
        for place, key in enumerate(columns.keys):
            target = spare if key is None else partition_of(key, partitions)
            picked.setdefault(target, []).append(place)
        places = [(target, columns.pick(chosen).trimmed()) for target, chosen in picked.items()]
    return [
        Block(target, seal(cut.bodies, cut.keys, cut.properties), _times(cut.enqueued_us))
        for target, of_partition in places
        for cut in _block_sized(of_partition)
    ]


def _block_sized(columns: Columns) -> Iterator[Columns]:
    if len(columns.bodies) <= MAX_BLOCK_EVENTS and sum(map(len, columns.bodies)) <= MAX_BLOCK_BYTES:
        yield columns
        return
    start, size_bytes = 0, 0
    for place, body in enumerate(columns.bodies):
        if place - start == MAX_BLOCK_EVENTS or (place > start and size_bytes + len(body) > MAX_BLOCK_BYTES):
            yield columns.pick(range(start, place))
            start, size_bytes = place, 0
        size_bytes += len(body)
    yield columns.pick(range(start, len(columns.bodies)))


def _times(given_us: Sequence[int] | None) -> Times | None:
    if given_us is None:
        return None
    try:
        return np.asarray(given_us, dtype=np.int64)
    except (OverflowError, TypeError, ValueError):
        raise UserError("enqueued_us must be whole microseconds since 1970") from None
