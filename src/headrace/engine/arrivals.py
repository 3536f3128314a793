"""From polls to batches: payloads decoded, numbered by the event they came from, and timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from headrace.connect.source import Poll
from headrace.events.batch import DTYPES, ORIGIN, TIME, Batch, Column, ValueType, concat
from headrace.events.formats.json import JsonDecoder

#: Columns that the service adds to the events of a hub, as the language's inputs do.
ENQUEUED, PROCESSED, PARTITION = "EventEnqueuedUtcTime", "EventProcessedUtcTime", "PartitionId"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that could not be decoded: its number in the epoch, and why."""

    origin: int
    reason: str


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The events of one epoch: a batch per input, and where each event stands.

    Events are numbered through all polls; `polls[i]` begins at number `starts[i]`.
    """

    batches: dict[str, Batch]
    rejected: list[Rejected]
    polls: Sequence[Poll]
    starts: Sequence[int]

    @property
    def events(self) -> int:
        """The number of events."""
        return self.starts[-1] + len(self.polls[-1].bodies)

    def place(self, origin: int) -> tuple[Poll, int]:
        """Return the poll that holds event number `origin`, and its index there."""
        index = max(i for i, start in enumerate(self.starts) if start <= origin)
        return self.polls[index], origin - self.starts[index]


class Arranger:
    """Decodes polls, with one decoder an input, since the events of one input look alike."""

    def __init__(self) -> None:
        self._decoders: dict[str, JsonDecoder] = {}

    def arrange(self, polls: Sequence[Poll], now_us: int) -> Arrivals:
        """Decode `polls`; the result holds every row that could be decoded and every event that could not."""
        by_input: dict[str, list[Batch]] = {}
        rejected: list[Rejected] = []
        starts: list[int] = []
        number = 0
        for poll in polls:
            starts.append(number)
            decoder = self._decoders.setdefault(poll.input, JsonDecoder())
            decoded = decoder.decode(poll.bodies, poll.joined)
            rejected += [Rejected(number + reject.origin, reject.reason) for reject in decoded.rejects]
            if decoded.batch.height:
                by_input.setdefault(poll.input, []).append(_arrived(decoded.batch, poll, number, now_us))
            number += len(poll.bodies)
        batches = {name: concat(parts) for name, parts in by_input.items()}
        return Arrivals(batches, rejected, polls, starts)


def _arrived(batch: Batch, poll: Poll, first_number: int, now_us: int) -> Batch:
    """Return the decoded rows with their event's arrival time as TIME and the columns of the service."""
    arrival = poll.arrival_us.gather(batch.frame[ORIGIN]).cast(DTYPES[ValueType.DATETIME])
    frame = batch.frame.with_columns(arrival.alias(TIME), pl.col(ORIGIN) + first_number)
    batch = Batch(frame, batch.columns)
    if not poll.leases:
        processed = pl.lit(now_us, dtype=pl.Int64).cast(DTYPES[ValueType.DATETIME])
        batch = _with_default(batch, PROCESSED, ValueType.DATETIME, processed)
        batch = _with_default(batch, PARTITION, ValueType.BIGINT, pl.lit(poll.partition, dtype=pl.Int64))
    return _with_default(batch, ENQUEUED, ValueType.DATETIME, pl.col(TIME))


def _with_default(batch: Batch, name: str, type_: ValueType, value: pl.Expr) -> Batch:
    """Return the batch with a column that has `value` where the event itself says nothing."""
    said = [column.physical(plane) for column in batch.named(name) for plane in column.planes]
    if said:
        value = pl.when(pl.all_horizontal(pl.col(said).is_null())).then(value)
    own = batch.named(name)[0] if said else Column(name, ())
    if said and not batch.frame.select(value.is_not_null().any()).item():
        return batch
    merged = Column(own.name, tuple(dict.fromkeys((*own.planes, type_))), own.open)
    physical = merged.physical(type_)
    if type_ in own.planes:
        value = pl.coalesce(pl.col(physical), value)
    columns = tuple(merged if column is own else column for column in batch.columns)
    if own not in batch.columns:
        columns = (*columns, merged)
    return Batch(batch.frame.with_columns(value.alias(physical)), columns)
