"""From results to what an epoch commits: rows made ready for their outputs, and what is set aside.

An event counts as a whole: if one of its rows cannot be scored or written, none of its rows is written and
the event goes to the dead letters, so that a retry doubles nothing. In a script with state that holds for the
rows which come of an event in its own epoch; what it left in a window stays there, and a row that comes of
several events, or of an event read before, fails alone and is itself the dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from headrace.connect.sink import Prepared, Rows, Sink
from headrace.engine.arrivals import Arrivals
from headrace.engine.program import Results
from headrace.events.batch import ORIGIN, TIME, Batch
from headrace.events.formats.json import encode_rows

#: The ids of an output's rows.
RowIds = Callable[[str, Batch], pl.Series]


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A row that failed and comes from no event of its epoch, as JSON, and why."""

    body: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """What an epoch's events came to: rows for each output; the events and the rows that failed, and why."""

    prepared: dict[str, Prepared[Any]] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)
    dead_rows: list[DeadRow] = field(default_factory=list)


def prepare(
    results: Results, first: int, sinks: Mapping[str, Sink], row_ids: RowIds, from_us: int | None = None
) -> Outcome:
    """Encode the outputs; events that failed anywhere are taken out of all of them.

    Events are numbered from `first`. Rows before the time `from_us` are left out.
    """
    outcome = Outcome()
    for failure in results.failures:
        if failure.origin is not None and failure.origin >= first:
            outcome.dead[failure.origin] = failure.reason
        else:
            outcome.dead_rows.append(DeadRow(failure.row or "{}", failure.reason))
    outputs = results.outputs
    if from_us is not None:
        outputs = {name: _since(batch, from_us) for name, batch in outputs.items()}
    while True:
        outputs = {name: _without(batch, outcome.dead) for name, batch in outputs.items()}
        outcome.prepared = {}
        failed = False
        for name, batch in outputs.items():
            if batch.height:
                prepared = sinks[name].prepare(_rows(name, batch, row_ids))
                outcome.prepared[name] = prepared
                if prepared.failures:
                    failed = True
                    outputs[name] = _note_failures(outcome, name, batch, prepared.failures, first)
        if not failed:
            return outcome


def _rows(name: str, batch: Batch, row_ids: RowIds) -> Rows:
    return Rows(batch, lambda: row_ids(name, batch))


def _note_failures(
    outcome: Outcome, name: str, batch: Batch, failures: Mapping[int, str], first: int
) -> Batch:
    """Note the events of rows that cannot be written; rows without one are noted and taken out."""
    alone = []
    for row, why in failures.items():
        origin = batch.frame[ORIGIN][row] if ORIGIN in batch.frame.columns else None
        if origin is not None and origin >= first:
            outcome.dead[origin] = f"output '{name}': {why}"
        else:
            alone.append(row)
            text = encode_rows(Batch(batch.frame.slice(row, 1), batch.columns)).item()
            outcome.dead_rows.append(DeadRow(text, f"output '{name}': {why}"))
    return _without_rows(batch, alone) if alone else batch


def _since(batch: Batch, from_us: int) -> Batch:
    return batch.filter(batch.frame[TIME].to_physical() >= from_us)


def _without_rows(batch: Batch, rows: Iterable[int]) -> Batch:
    return batch.filter(~pl.int_range(batch.height, eager=True).is_in(list(rows)))


def _without(batch: Batch, dead: Mapping[int, str]) -> Batch:
    if not dead or ORIGIN not in batch.frame.columns:
        return batch
    return batch.filter(~batch.frame[ORIGIN].is_in(list(dead)).fill_null(value=False))


def position_ids(batch: Batch, arrivals: Arrivals) -> pl.Series:
    """Return ``input/partition/offset`` for each row, ``/n`` behind it for an event's n-th further row."""
    origins = batch.frame[ORIGIN]
    offsets = pl.concat(
        [
            pl.select(pl.format("{}/{}/{}", pl.lit(p.input), p.partition, pl.Series(p.offsets))).to_series()
            for p in arrivals.polls
        ]
    )
    ordinal = batch.frame.select(pl.int_range(pl.len()).over(ORIGIN)).to_series()
    ids = offsets.gather(origins)
    numbered = pl.select(pl.when(ordinal > 0).then(pl.format("{}/{}", ids, ordinal)).otherwise(ids))
    return numbered.to_series()


def time_ids(task: str, output: str, batch: Batch) -> pl.Series:
    """Return ``task/output/time/n`` for each row: the n-th from 0 of its time in microseconds since 1970 UTC.

    Rows of windows and joins have no position. All rows of one time come at once and in an order of their
    own, so that these ids are the same whenever the events are read again.
    """
    ordinal = pl.int_range(pl.len()).over(TIME)
    ids = pl.format("{}/{}/{}/{}", pl.lit(task), pl.lit(output), pl.col(TIME).to_physical(), ordinal)
    return batch.frame.select(ids).to_series()
