"""Finite inputs as streams: every event with its time and its arrival, in order, up to the end of time."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from headrace.engine.event_times import event_times, timing
from headrace.engine.operator import FOREVER_US, NEVER_US
from headrace.engine.orderer import Orderer
from headrace.engine.program import Program, Results
from headrace.engine.schema import conform
from headrace.engine.snapshot import decode, encode
from headrace.errors import UserError
from headrace.events.batch import DTYPES, ORIGIN, TIME, Batch, ValueType, concat
from headrace.events.formats import json
from headrace.events.watermark import Policy
from headrace.sql.plan import (
    METADATA,
    ColumnRef,
    Expression,
    Output,
    Relation,
    Script,
    Step,
    children,
    scans,
)

#: The arrival time of an event, where it carries one; the timestamp of queries without TIMESTAMP BY.
ARRIVAL: Final = "EventEnqueuedUtcTime"

_ARRIVAL: Final = "@arrival"

_DATETIME: Final = DTYPES[ValueType.DATETIME]

#: The steps of a path like ``[EventHub].[Offset]``.
_STEPS: Final = re.compile(r"\[([^\]]+)\]")

#: Names made of it are the same in every run.
_EVENT_IDS: Final = uuid.UUID("6d9f1b52-6d4b-5c0c-8f0b-6a5a3f9f7d11")


@dataclass(frozen=True, slots=True)
class Cuts:
    """How a finite stream is cut: a slice after every `rows` events, `restarting` from a snapshot each time.

    What comes out must not depend on it; tests see to that.
    """

    rows: int
    restarting: bool = False


@dataclass(frozen=True, slots=True)
class Dropped:
    """An event that no statement saw: its index among those given to its input, and why."""

    input: str
    event: int
    reason: str


@dataclass(frozen=True, slots=True)
class Feed:
    """The events of one input in the order of their arrival, numbered from `first` on in ORIGIN.

    TIME is what TIMESTAMP BY gives, or NULL. Where no policy judges them they come in the order of TIME.
    `refused` do not fit the input's CREATE TABLE.
    """

    input: str
    batch: Batch
    arrival_us: pl.Series
    first: int
    orderer: Callable[[], Orderer]
    refused: Sequence[Dropped] = ()


def feeds(
    script: Script,
    batches: Mapping[str, Batch],
    policy: Policy | None,
    metadata: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[Feed]:
    """Return the events of each input of `script`; `batches` and `metadata` are by its name.

    Without a policy, or without TIMESTAMP BY, they are taken in order of their times, none late.
    """
    described = _reads_metadata(script)
    found: list[Feed] = []
    first = 0
    for name, batch in batches.items():
        numbers = pl.int_range(first, first + batch.height, dtype=pl.Int64, eager=True).alias(ORIGIN)
        numbered = Batch(batch.frame.with_columns(numbers), batch.columns)
        if described:
            numbered = _with_metadata(name, numbered, metadata.get(name))
        found.append(_feed(script, name, numbered, first, policy))
        first += batch.height
    return found


def _feed(script: Script, name: str, batch: Batch, first: int, policy: Policy | None) -> Feed:
    scan = next(scan for scan in scans(script) if scan.input == name)
    table = next((table for table in script.tables if table.input == name), None)
    arrivals = event_times(timing(ColumnRef(ARRIVAL)), batch, script.text)
    if scan.timestamp is None:
        policy, arrivals = None, _arrived(arrivals, batch)
    batch = Batch(batch.frame.with_columns(arrivals.alias(TIME)), batch.columns)
    refused: list[Dropped] = []
    if table is not None:
        fitting = conform(batch, table)
        refused = [Dropped(name, reject.origin - first, reject.reason) for reject in fitting.rejects]
        batch = fitting.batch
    frame = batch.frame.with_columns(pl.col(TIME).alias(_ARRIVAL))
    if scan.timestamp is not None:
        times = event_times(timing(scan.timestamp), batch, script.text)
        frame = frame.with_columns(times.alias(TIME), pl.col(_ARRIVAL).fill_null(times))
    if policy is None:
        frame = frame.sort(TIME, maintain_order=True)
    arrival_us = frame[_ARRIVAL].to_physical()
    clock = arrival_us.drop_nulls().is_sorted()

    def orderer() -> Orderer:
        return Orderer(policy, scan.over, script.text, clock=clock)

    return Feed(name, Batch(frame.drop(_ARRIVAL), batch.columns), arrival_us, first, orderer, refused)


def _arrived(arrivals: pl.Series, batch: Batch) -> pl.Series:
    """Return the arrival of every event: one that does not say so came with the one before it, or now."""
    said = [
        pl.col(physical).is_not_null() for column in batch.named(ARRIVAL) for physical in column.physicals
    ]
    if not said:
        now = datetime.now(UTC).replace(tzinfo=None)
        return pl.repeat(now, batch.height, dtype=_DATETIME, eager=True)
    near = arrivals.fill_null(strategy="forward").fill_null(strategy="backward")
    unreadable = arrivals.is_null() & batch.frame.select(pl.any_horizontal(said)).to_series()
    return near.zip_with(~unreadable, arrivals)


# --- metadata ---------------------------------------------------------------------------------------------


def _reads_metadata(script: Script) -> bool:
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    return any(_mentions_metadata(part.relation) for part in parts)


def _mentions_metadata(node: Expression | Relation) -> bool:
    if isinstance(node, ColumnRef):
        return node.name.endswith(METADATA)
    return any(map(_mentions_metadata, children(node)))


def _with_metadata(name: str, batch: Batch, records: Sequence[Mapping[str, Any]] | None) -> Batch:
    """Return the events with what is known of them as a hidden record; each has an EventId."""
    if records is not None and len(records) != batch.height:
        raise UserError(
            f"metadata of input {name!r}: expected one record per event, that is {batch.height}, "
            f"found {len(records)}"
        )
    described = []
    for number in range(batch.height):
        own = {} if records is None else records[number]
        if not isinstance(own, Mapping):
            raise UserError(f"metadata of input {name!r}: event {number + 1} has {own!r}, which is no record")
        record = _by_path(own)
        if not any(key.casefold() == "eventid" for key in record):
            record["EventId"] = str(uuid.uuid5(_EVENT_IDS, f"{name}/{number}"))
        described.append({"record": record})
    made = json.from_rows(described)
    planes = {type_: made.frame[column.physical(type_)] for column in made.columns for type_ in column.planes}
    return batch.with_column(METADATA, planes)


def _by_path(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record whose keys may be paths as queries write them: ``[User].[site]`` is in ``User``."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        *above, last = _STEPS.findall(key) or [key]
        place = found
        for step in above:
            inner = place.get(step)
            place[step] = place = dict(inner) if isinstance(inner, Mapping) else {}
        place[last] = value
    return found


# --- running ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finished:
    """The rows of each output in order of time, what failed, and the events that no statement saw."""

    results: Results
    dropped: list[Dropped]


def run(made: Callable[[], Program], streams: Sequence[Feed], cuts: Cuts | None = None) -> Finished:
    """Run the events of `streams` through the program that `made` makes, until time has run to infinity."""
    return _Run(made, streams, cuts).finished()


class _Run:
    def __init__(self, made: Callable[[], Program], streams: Sequence[Feed], cuts: Cuts | None) -> None:
        self._made, self._streams, self._cuts = made, streams, cuts
        self._program = made()
        self._orderers = [feed.orderer() for feed in streams]
        self._left = [feed.batch.height for feed in streams]
        self._frontier_us = NEVER_US
        self._parts: dict[str, list[Batch]] = {}
        self._finished = Finished(Results(), [refused for feed in streams for refused in feed.refused])

    def finished(self) -> Finished:
        for chunk in _chunks(self._streams, self._cuts):
            self._add(chunk)
            if self._cuts is not None:
                self._advance(self._known_us())
                if self._cuts.restarting:
                    self._restart()
        self._advance(FOREVER_US)
        results = self._finished.results
        results.outputs = {name: concat(parts) for name, parts in self._parts.items()}
        return self._finished

    def _add(self, chunk: Mapping[int, tuple[int, int]]) -> None:
        for number, (start, rows) in chunk.items():
            feed = self._streams[number]
            batch = Batch(feed.batch.frame.slice(start, rows), feed.batch.columns)
            gone = self._orderers[number].add(batch, feed.arrival_us.slice(start, rows))
            self._left[number] -= rows
            if gone is not None:
                self._finished.dropped.extend(
                    Dropped(feed.input, origin - feed.first, reason) for origin, reason in gone.iter_rows()
                )

    def _known_us(self) -> int:
        """Return the time below which nothing more will come; an input that has ended holds nothing back."""
        going_on = [orderer for orderer, left in zip(self._orderers, self._left, strict=True) if left]
        known_us = min(orderer.frontier_us() for orderer in going_on or self._orderers)
        return max(known_us, self._frontier_us)  # the last input to end may have been ahead of the others

    def _advance(self, frontier_us: int) -> None:
        if frontier_us == self._frontier_us:
            return
        self._frontier_us = frontier_us
        slices = {
            feed.input: orderer.take(frontier_us)
            for feed, orderer in zip(self._streams, self._orderers, strict=True)
        }
        results = self._program.advance(slices)
        self._finished.results.failures += results.failures
        for name, batch in results.outputs.items():
            self._parts.setdefault(name, []).append(batch)

    def _restart(self) -> None:
        """Go on as another process would, from what was saved."""
        saved = self._program.snapshot()
        self._program = self._made()
        self._program.restore(saved)
        states = [decode(encode(orderer.state)) for orderer in self._orderers]
        self._orderers = [feed.orderer() for feed in self._streams]
        for orderer, state in zip(self._orderers, states, strict=True):
            orderer.restore(state)


def _chunks(streams: Sequence[Feed], cuts: Cuts | None) -> Iterator[dict[int, tuple[int, int]]]:
    """Yield which rows of each stream come next, as a start and a number, by the number of the stream."""
    whole = {number: feed.batch.height for number, feed in enumerate(streams)}
    if cuts is None:
        yield {number: (0, rows) for number, rows in whole.items()}
        return
    # All streams together in the order of arrival, each in its own.
    numbers = [
        pl.DataFrame({"stream": pl.repeat(n, rows, dtype=pl.Int64, eager=True)}) for n, rows in whole.items()
    ]
    arrivals = [
        feed.arrival_us.cum_max().fill_null(strategy="forward").fill_null(NEVER_US) for feed in streams
    ]
    every = pl.concat(
        part.with_columns(at.alias("at")) for part, at in zip(numbers, arrivals, strict=True)
    ).sort("at", maintain_order=True)
    starts = dict.fromkeys(whole, 0)
    for place in range(0, every.height, cuts.rows):
        chunk = {}
        for number, rows in every["stream"].slice(place, cuts.rows).value_counts().iter_rows():
            chunk[number] = (starts[number], rows)
            starts[number] += rows
        yield chunk
