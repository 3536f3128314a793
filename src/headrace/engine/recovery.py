"""What a commit says of a task with state, and how the state is rebuilt from it.

The commit is the log: each epoch has on record what was read, how far time came without events, and what
models answered. A state that was saved, and the epochs behind it, make the state at the last commit; nothing
is written and no model is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from headrace.connect.source import OrderedSource, Poll
from headrace.engine.arrivals import Arranger
from headrace.engine.references import References
from headrace.engine.snapshot import decode, encode
from headrace.engine.timeline import Ticks, Timeline
from headrace.errors import Fatal
from headrace.events.batch import Batch
from headrace.limits import MAX_BATCH_BYTES
from headrace.local.progress import Epoch


class Read(msgspec.Struct, frozen=True, array_like=True):
    """Events that an epoch read: so many of a partition, from one offset to before another."""

    input: str
    partition: int
    first: int
    behind: int
    events: int


class Record(msgspec.Struct, frozen=True):
    """What an epoch changed the state by; the events were processed at `processed_us`.

    With `skipped` the one event that was read kills its reader, and was set aside unseen. Of `references` so
    many versions were known.
    """

    reads: Sequence[Read] = ()
    processed_us: int = 0
    ticks: Mapping[str, Mapping[int, int]] = {}
    skipped: bool = False
    references: Mapping[str, int] = {}

    def encoded(self) -> str:
        """Return the record as JSON."""
        return msgspec.json.encode(self).decode()


def reads_of(polls: Iterable[Poll]) -> list[Read]:
    """Return what is on record of polls."""
    return [
        Read(poll.input, poll.partition, poll.offsets[0], poll.next_offset, poll.events) for poll in polls
    ]


def encoded_answers(answers: Mapping[str, Batch]) -> bytes | None:
    """Return the answers of models as they are kept in a commit."""
    return encode(answers) if answers else None


def rebuild(
    timeline: Timeline,
    epochs: Sequence[Epoch],
    sources: Mapping[str, OrderedSource],
    arranger: Arranger,
    references: References,
) -> None:
    """Bring a timeline from the state it was restored to behind the last of `epochs`.

    Raises Fatal if events that it is rebuilt from are not there any more.
    """
    for epoch in epochs:
        record = msgspec.json.decode(epoch.ranges, type=Record)
        references.use(record.references)
        polls = [poll for read in record.reads for poll in _again(sources[read.input], read)]
        if polls:
            if record.skipped:
                arrivals = arranger.killer(polls[0])
            else:
                arrivals = arranger.arrange(polls, record.processed_us)
            timeline.add(arrivals.pieces, arrivals.behind)
        timeline.pass_time(record.ticks)
        answers: Mapping[str, Any] = {} if epoch.answers is None else decode(epoch.answers)
        if epoch.watermark_us is not None:
            timeline.rebuild(epoch.watermark_us, answers)
    references.use({})


def merged(ticks: Iterable[Ticks]) -> dict[str, dict[int, int]]:
    """Return ticks that one after the other tell as much as all of `ticks`."""
    whole: dict[str, dict[int, int]] = {}
    for some in ticks:
        for name, floors in some.items():
            whole.setdefault(name, {}).update(floors)
    return whole


def _again(source: OrderedSource, read: Read) -> Iterator[Poll]:
    """Read again what an epoch read."""
    offset, events = read.first, read.events
    while events:
        poll = source.poll(read.partition, offset, events, MAX_BATCH_BYTES)
        there = poll is not None and 0 < poll.events <= events
        if poll is None or not there or (offset == read.first and poll.offsets[0] != offset):
            raise Fatal(
                f"the state cannot be rebuilt: events of input '{read.input}', partition {read.partition}, "
                f"from offset {offset} on are not there any more (is the retention shorter than an outage?). "
                "Start from a time, or from now: `headrace run JOB --from now`"
            )
        offset, events = poll.next_offset, events - poll.events
        yield poll
