"""From polls to batches: payloads decoded, numbered by the event they came from, and timed.

For a script without state the events of each epoch are numbered from 0 and judged by the policy here. For one
with state they are numbered through the life of the job, since rows wait, and an orderer judges them later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import numpy as np
import polars as pl

from headrace.connect.source import Poll
from headrace.engine.event_times import event_times, timing
from headrace.engine.metadata import Metadata
from headrace.engine.operator import FOREVER_US
from headrace.engine.packs import Pack, packs_in
from headrace.engine.schema import conform
from headrace.engine.service_columns import arrived, arriving_at
from headrace.events.batch import DTYPES, ORIGIN, TIME, Batch, ValueType, concat
from headrace.events.formats.decoded import Decoded, Decoder
from headrace.events.formats.decoders import decoder_of
from headrace.events.texts import chained
from headrace.events.watermark import Judged, Policy, Tally, judged
from headrace.sql.plan import Script, timestamps
from headrace.sql.reading import columns_used

#: What a running job goes by unless its settings say otherwise.
POLICY: Final = Policy()


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that could not be decoded or has no place in time: its number, and why."""

    origin: int
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """The events of one poll, as they arrived; their TIME is what TIMESTAMP BY gives, or NULL.

    Of a poll of packs it is what one `place` sent, in order of time already: the rows, if there are any, and
    the time that nothing will be before.
    """

    poll: Poll
    batch: Batch | None
    arrival_us: pl.Series | None = None
    place: int | None = None
    frontier_us: int | None = None


@dataclass(slots=True)
class Arrivals:
    """The events of one epoch, and where each of them stands: `batches` by input, or `pieces` by poll.

    Events are numbered through all polls; `polls[i]` begins at number `starts[i]` and leaves its partition
    at the watermark `watermarks_us[i]`. They were processed at `processed_us`. `full` says that there was as
    much as had been asked for, `skipped` that the one event was not looked at. `tallies` has, by input, what
    the policy found. An epoch in which only time passed has no polls.
    """

    batches: dict[str, Batch]
    rejected: list[Rejected]
    polls: Sequence[Poll]
    starts: Sequence[int]
    watermarks_us: Sequence[int | None]
    pieces: Sequence[Piece] = ()
    processed_us: int = 0
    full: bool = False
    skipped: bool = False
    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """The size of all events as published."""
        return sum(poll.size_bytes for poll in self.polls)

    @property
    def events(self) -> int:
        """The number of events."""
        return sum(poll.events for poll in self.polls)

    @property
    def first(self) -> int:
        """The number of the first event; above that of any event when there is none."""
        return self.starts[0] if self.starts else FOREVER_US

    @property
    def behind(self) -> int:
        """The number behind that of the last event, as long as there are polls."""
        return self.starts[-1] + _numbers(self.polls[-1])

    def place(self, origin: int) -> tuple[Poll, int]:
        """Return the poll that holds event number `origin`, which is of this epoch, and its index there."""
        index = max(i for i, start in enumerate(self.starts) if start <= origin)
        return self.polls[index], origin - self.starts[index]


#: What has come when only time has passed.
NOTHING: Final = Arrivals({}, [], (), (), ())


class Arranger:
    """Makes batches of polls, with one decoder an input, since the events of one input look alike.

    With a `policy` it judges the times of events, and keeps the watermark of each partition, which `begin`
    sets to where the last commit left it. Without one it leaves that to an orderer, and numbers on and on.
    The events are described as far as `described` asks for it, the script itself if that is None. A thread
    that reads ahead and one that rebuilds the state of a task take turns.
    """

    def __init__(
        self, script: Script, policy: Policy | None = POLICY, *, described: Script | None = None
    ) -> None:
        # Made once: compiled expressions are kept by identity.
        self._timestamps = {name: timing(by) for name, by in timestamps(script).items()}
        self._tables = {table.input: table for table in script.tables}
        self._metadata = Metadata(described or script)
        self._used = columns_used(described or script)
        self._script = script.text
        self._decoders: dict[tuple[str, bytes], Decoder] = {}
        self._watermarks_us: dict[tuple[str, int], int | None] = {}
        self._policy = policy
        self._next_number = 0
        self._turn = threading.Lock()

    def number_from(self, number: int) -> None:
        """Give the next event this number, or a higher one."""
        with self._turn:
            self._next_number = max(number, self._next_number)

    def begin(self, input_name: str, partition: int, watermark_us: int | None) -> None:
        """Go on from the watermark of an earlier commit."""
        self._watermarks_us[input_name, partition] = watermark_us

    def watermark_us(self, poll: Poll) -> int | None:
        """Return the watermark of the partition that `poll` comes from; None before its first timed event."""
        return self._watermarks_us.get((poll.input, poll.partition))

    def killer(self, poll: Poll) -> Arrivals:
        """Return the one event of `poll` without so much as decoding it."""
        with self._turn:
            starts = self._numbered([poll])
            return Arrivals({}, [], [poll], starts, [self.watermark_us(poll)], skipped=True)

    def arrange(self, polls: Sequence[Poll], now_us: int) -> Arrivals:
        """Decode and time `polls`; events that cannot be are in the result's `rejected`."""
        with self._turn:
            return self._arranged(polls, now_us)

    def _arranged(self, polls: Sequence[Poll], now_us: int) -> Arrivals:
        # The events of an input are numbered in a row.
        polls = sorted(polls, key=lambda poll: poll.input)
        starts = self._numbered(polls)
        by_input: dict[str, list[Batch]] = {}
        pieces: list[Piece] = []
        rejected: list[Rejected] = []
        watermarks_us: list[int | None] = []
        tallies: dict[str, Tally] = {}
        for group in self._groups(polls):
            first = starts[len(watermarks_us)]
            if group[0].packed is not None:
                pieces += _unpacked(group[0])
            else:
                decoded = self._decoded(group)
                rejected += [Rejected(first + reject.origin, reject.reason) for reject in decoded.rejects]
                for poll, batch, times in self._arrived(group, first, decoded.batch, now_us):
                    if self._policy is None:
                        pieces.append(_piece(poll, batch, times))
                    else:
                        timed, refused, tally = self._timed(batch, times, poll, self._policy)
                        add_tally(tallies, poll.input, tally)
                        by_input.setdefault(poll.input, []).append(timed)
                        rejected += refused
            watermarks_us += map(self.watermark_us, group)
        batches = {name: concat(parts) for name, parts in by_input.items()}
        return Arrivals(batches, rejected, polls, starts, watermarks_us, pieces, now_us, tallies=tallies)

    def _groups(self, polls: Sequence[Poll]) -> Iterator[list[Poll]]:
        """Yield the polls of one input together, since each call costs as much as hundreds of events do.

        Those whose bodies mean something only beside their poll are yielded one by one.
        """
        if self._metadata.read:
            yield from ([poll] for poll in polls)
            return
        for _, same in groupby(polls, key=lambda poll: poll.input):
            group = list(same)
            yield from [group] if all(map(_together, group)) else ([poll] for poll in group)

    def _arrived(
        self, group: Sequence[Poll], first: int, decoded: Batch, now_us: int
    ) -> Iterator[tuple[Poll, Batch, pl.Series | None]]:
        """Yield the events of each poll that has any, and what TIMESTAMP BY is for them."""
        if decoded.height == 0:
            return
        batch = arrived(self._metadata.added(decoded, group[0]), group, first, now_us, self._used)
        times = self._times(group[0], batch)
        if group[0].arrival_us is None and times is not None:
            batch = arriving_at(batch, times)
        if len(group) == 1:
            yield group[0], batch, times
            return
        begins = np.cumsum([first, *(len(poll.bodies) for poll in group)])
        rows = batch.frame.get_column(ORIGIN).to_numpy().searchsorted(begins).tolist()
        for poll, begin, end in zip(group, rows, rows[1:], strict=False):
            if begin < end:
                part = Batch(batch.frame.slice(begin, end - begin), batch.columns)
                yield poll, part, None if times is None else times.slice(begin, end - begin)

    def _numbered(self, polls: Sequence[Poll]) -> list[int]:
        """Return the number of the first event of each poll."""
        number = 0 if self._policy else self._next_number
        starts = []
        for poll in polls:
            starts.append(number)
            number += _numbers(poll)
        self._next_number = number
        return starts

    def _times(self, poll: Poll, batch: Batch) -> pl.Series | None:
        """Return what TIMESTAMP BY is for each event; None where there is no such thing."""
        timestamp = self._timestamps.get(poll.input)
        return None if timestamp is None else event_times(timestamp, batch, self._script)

    def _decoded(self, group: Sequence[Poll]) -> Decoded:
        """Return the events of an input that can be read and fit their CREATE TABLE, and the others."""
        decoder = self._decoder(group[0])
        if group[0].decoded is not None:
            decoded = group[0].decoded
        else:
            decoded = decoder.decode(chained([poll.bodies for poll in group]), _joined(group))
        table = self._tables.get(group[0].input)
        if table is None or decoded.batch.height == 0:
            return decoded
        fitting = conform(decoded.batch, table)
        return Decoded(fitting.batch, (*decoded.rejects, *fitting.rejects))

    def _decoder(self, poll: Poll) -> Decoder:
        found = self._decoders.get((poll.input, poll.header))
        if found is None:
            found = decoder_of(poll.format, poll.header, poll.delimiter)
            self._decoders[poll.input, poll.header] = found
        return found

    def _timed(
        self, batch: Batch, times: pl.Series | None, poll: Poll, policy: Policy
    ) -> tuple[Batch, list[Rejected], Tally]:
        """Return the batch with what the policy makes of `times` as TIME, without events that have none."""
        if times is None:
            return batch, [], Tally()
        known_us = None if poll.leases else self.watermark_us(poll)
        found = _judged(batch, times, policy, known_us)
        tally = found.tally
        rejected: list[Rejected] = []
        if found.reasons is not None:
            # An event's rows fail or pass together, and one that fails moves no watermark.
            origins = batch.frame[ORIGIN]
            failed = found.reasons.is_not_null()
            bad = dict(zip(origins.filter(failed), found.reasons.filter(failed), strict=True))
            rejected = [Rejected(origin, reason) for origin, reason in bad.items()]
            kept = ~origins.is_in(list(bad))
            batch, times = batch.filter(kept), times.filter(kept)
            found = _judged(batch, times, policy, known_us)
        self.begin(poll.input, poll.partition, None if poll.leases else found.latest_us(known_us))
        time = found.times_us.cast(DTYPES[ValueType.DATETIME]).alias(TIME)
        return Batch(batch.frame.with_columns(time), batch.columns), rejected, tally


def add_tally(tallies: dict[str, Tally], input_name: str, tally: Tally) -> None:
    """Add what a policy found to what it found before of the same input."""
    if any(tally):
        tallies[input_name] = tallies.get(input_name, Tally()).plus(tally)


def _together(poll: Poll) -> bool:
    """Tell whether the bodies of a poll may be decoded with those of others."""
    return poll.packed is None and poll.decoded is None and not poll.header


def _joined(polls: Sequence[Poll]) -> bytes | None:
    """Return the bodies of all polls separated by newlines, None if one of them may hold a newline."""
    if any(poll.chunks is None for poll in polls):
        return None
    return b"\n".join([chunk for poll in polls for chunk in poll.chunks or ()])


def _numbers(poll: Poll) -> int:
    """Return how many events of a poll are numbered: those in packs have been by another job."""
    return len(poll.bodies) if poll.packed is None else 0


def _unpacked(poll: Poll) -> Iterator[Piece]:
    """Yield what each place has sent."""
    by_place: dict[int, list[Pack]] = {}
    for found in packs_in(poll):
        by_place.setdefault(found.place, []).append(found)
    for place, packs in by_place.items():
        batches = [found.batch for found in packs if found.batch is not None]
        frontiers_us = [found.frontier_us for found in packs if found.frontier_us is not None]
        yield Piece(
            poll,
            concat(batches) if batches else None,
            place=place,
            frontier_us=max(frontiers_us, default=None),
        )


def _judged(batch: Batch, times: pl.Series, policy: Policy, seen_us: int | None) -> Judged:
    return judged(times.to_physical(), batch.frame[TIME].to_physical(), policy, seen_us)


def _piece(poll: Poll, batch: Batch, times: pl.Series | None) -> Piece:
    frame = batch.frame if times is None else batch.frame.with_columns(times.alias(TIME))
    return Piece(poll, Batch(frame, batch.columns), batch.frame[TIME].to_physical())
