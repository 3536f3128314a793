"""What a run of the crash tests' project left behind, read plainly: hubs, tables, records of the jobs.

Nothing of the engine is used here: what it says of itself is compared with what stands in the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from headrace.limits import MAX_BATCH_BYTES
from headrace.local.dead_letters import DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Position, Progress
from headrace.local.queue import Depth, Queue
from headrace.local.table import Table
from headrace.testing.numbered import Row, Value

HUB: Final = "papers"
ECHO: Final = "echo"
QUEUE: Final = "work"
ARRIVALS: Final = "arrivals"
RESULTS: Final = "results"
JOBS: Final = ("pass", "classify")
INSTANCES: Final = 2

_OUTBOX: Final = "SELECT count(*) FROM outbox"

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row or an event as it stands: its key ('' where it has none) and the text of a JSON object."""

    key: str
    text: str

    def members(self) -> dict[str, bytes]:
        """Return the JSON text of each column; a text that is damaged is one column without a name."""
        try:
            return {name: bytes(raw) for name, raw in _decode_members(self.text).items()}
        except msgspec.DecodeError:
            return {"": self.text.encode()}

    def row(self) -> Row:
        """Return the value of each column; records, and what is damaged, stay the bytes that they are."""
        return {name: _value(text) if name else text for name, text in self.members().items()}


def _value(text: bytes) -> Value:
    if text.startswith((b"{", b"[")):
        return text
    value: Value = msgspec.json.decode(text)
    return value


@dataclass(slots=True)
class Observed:
    """All that can be seen of a run that has ended.

    `published` has the bodies of the input hub, and `echo` the events of the output hub, by partition.
    `positions` and `ranges` (from, to) are the committed ones of each partition of the input hub.
    """

    published: list[list[bytes]]
    echo: list[StoredRow]
    arrivals: list[StoredRow]
    results: list[StoredRow]
    dead_letters: list[str]
    positions: list[int]
    ranges: list[list[tuple[int, int]]]
    queue: Depth
    outbox: int
    counts: Mapping[str, Mapping[str, int]]


def observe(folder: Path) -> Observed:
    """Read what stands in a namespace."""
    with (
        Namespace.open(folder, create=False) as namespace,
        Hub.open(namespace.hubs_folder, HUB) as hub,
        Hub.open(namespace.hubs_folder, ECHO) as echo,
    ):
        progress = Progress(namespace)
        tasks = [f"{HUB}/{partition}" for partition in range(hub.partitions)]
        positions = [progress.positions(JOBS[0], task) for task in tasks]
        with namespace.reading() as connection:
            outbox: int = connection.execute(_OUTBOX).get
        return Observed(
            published=[list(_bodies(hub, partition)) for partition in range(hub.partitions)],
            echo=[
                StoredRow("", body.decode())
                for partition in range(echo.partitions)
                for body in _bodies(echo, partition)
            ],
            arrivals=_rows(namespace, ARRIVALS),
            results=_rows(namespace, RESULTS),
            dead_letters=[
                f"{letter.source} {letter.partition}/{letter.position}: {letter.reason} {letter.detail}"
                for letter in DeadLetters(namespace).find()
            ],
            positions=[positions[p].get((HUB, p), Position(0)).next_offset for p in range(hub.partitions)],
            ranges=[[_range(epoch.ranges) for epoch in progress.epochs(JOBS[0], task)] for task in tasks],
            queue=Queue(namespace, QUEUE).depth(),
            outbox=outbox,
            counts={job: progress.counts(job) for job in JOBS},
        )


def _bodies(hub: Hub, partition: int) -> Iterator[bytes]:
    offset, end = hub.begins()[partition], hub.ends()[partition]
    while offset < end:
        found = hub.read(partition, offset, max_events=end - offset, max_bytes=MAX_BATCH_BYTES)
        yield from found.bodies
        offset = found.next_offset


def _rows(namespace: Namespace, table: str) -> list[StoredRow]:
    return [StoredRow(entity.row_key, entity.properties) for entity in Table(namespace, table).read()]


def _range(text: str) -> tuple[int, int]:
    (place,) = msgspec.json.decode(text, type=dict[str, tuple[int, int, int]]).values()
    return place[1], place[2]
