"""What the service adds to events as they arrive: their times, and columns that say where they come from."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.connect.source import Poll
from headrace.events.batch import ORIGIN, TIME, Batch, Column, ValueType

_Numbers = NDArray[np.int64]

#: Columns that the service adds to the events of a hub, as the language's inputs do.
ENQUEUED, PROCESSED, PARTITION = "EventEnqueuedUtcTime", "EventProcessedUtcTime", "PartitionId"


def arrived(
    batch: Batch, polls: Sequence[Poll], first_number: int, now_us: int, used: Container[str] | None = None
) -> Batch:
    """Return the rows of polls of one input with their event's arrival as TIME and the service's columns.

    ORIGIN, which counts the events of all of `polls`, counts from `first_number` then. Where `used` is given
    only those of the columns are added whose folded names are in it.
    """
    origins = batch.frame.get_column(ORIGIN).to_numpy()
    times = np.full(len(origins), now_us)
    added: dict[str, tuple[ValueType, pl.Series]] = {}
    if not polls[0].leases and _is_used(PROCESSED, used):
        added[PROCESSED] = ValueType.DATETIME, _datetimes(times)
    if not polls[0].leases and _is_used(PARTITION, used):
        added[PARTITION] = ValueType.BIGINT, _partitions(polls, origins)
    arrivals_us = [poll.arrival_us for poll in polls if poll.arrival_us is not None]
    if arrivals_us:
        times = np.concatenate(arrivals_us)[origins]
        if _is_used(ENQUEUED, used):
            added[ENQUEUED] = ValueType.DATETIME, _datetimes(times)
    frame = batch.frame.hstack([_datetimes(times).alias(TIME)])
    frame = frame.replace_column(frame.get_column_index(ORIGIN), pl.Series(ORIGIN, origins + first_number))
    batch = Batch(frame, batch.columns)
    for name, (type_, values) in added.items():
        batch = _with_default(batch, name, type_, values)
    return batch


def _is_used(name: str, used: Container[str] | None) -> bool:
    return used is None or name.casefold() in used


def _datetimes(times_us: _Numbers) -> pl.Series:
    return pl.Series(times_us.view("datetime64[us]"))


def arriving_at(batch: Batch, times: pl.Series) -> Batch:
    """Return a batch in which events arrive at `times`, and those without one as they do now."""
    arrival = pl.coalesce(times, TIME).alias(TIME)
    return Batch(batch.frame.with_columns(arrival), batch.columns)


def _partitions(polls: Sequence[Poll], origins: _Numbers) -> pl.Series:
    of_event = np.repeat([poll.partition for poll in polls], [len(poll.bodies) for poll in polls])
    return pl.Series(of_event[origins], dtype=pl.Int64)


def _with_default(batch: Batch, name: str, type_: ValueType, values: pl.Series) -> Batch:
    """Return the batch with a column that has `values` where the event itself says nothing."""
    own = next(iter(batch.named(name)), None)
    if own is None:  # as nearly always
        column = Column(name, (type_,))
        frame = batch.frame.hstack([values.alias(column.physical(type_))])
        return Batch(frame, (*batch.columns, column))
    said = [column.physical(plane) for column in batch.named(name) for plane in column.planes]
    value: pl.Expr = pl.when(pl.all_horizontal(pl.col(said).is_null())).then(values)
    if not batch.frame.select(value.is_not_null().any()).item():
        return batch
    merged = Column(own.name, tuple(dict.fromkeys((*own.planes, type_))), own.open)
    physical = merged.physical(type_)
    if type_ in own.planes:
        value = pl.coalesce(pl.col(physical), value)
    columns = tuple(merged if column is own else column for column in batch.columns)
    return Batch(batch.frame.with_columns(value.alias(physical)), columns)
