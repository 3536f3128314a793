"""What TIMESTAMP BY makes of events. One that it fails on has no time and is dropped; the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import polars as pl

from headrace.engine.expressions import Planes, RowError, evaluate
from headrace.events.batch import DTYPES, Batch, ValueType
from headrace.sql.plan import Cast, Expression

_NEVER: Final = datetime(9999, 1, 1)


def timing(timestamp: Expression) -> Expression:
    """Return the expression whose values are the times of events; keep it: it is compiled once."""
    return Cast(timestamp, ValueType.DATETIME, safe=True)


def event_times(time: Expression, batch: Batch, script: str) -> pl.Series:
    """Return what `time`, made by `timing`, is for each event: a datetime, or NULL where there is none.

    The year 9999 is no time: it stands for "never", and windows and joins end later than their events.
    """
    [planes] = forgiving([time], batch, script)
    times = planes.get(ValueType.DATETIME)
    if times is None:
        return pl.repeat(None, batch.height, dtype=DTYPES[ValueType.DATETIME], eager=True)
    never = times >= _NEVER
    return times.set(never, None) if never.any() else times


def forgiving(expressions: Sequence[Expression], batch: Batch, script: str) -> list[Planes]:
    """Return the values of `expressions`, all NULL in the rows for which one of them cannot be computed."""
    rows = pl.int_range(batch.height, dtype=pl.Int64, eager=True)
    part = batch
    while True:
        try:
            found = evaluate(expressions, part, script)
        except RowError as error:
            good = _good(error, part.height)
            rows, part = rows.filter(good), part.filter(good)
        else:
            break
    if part is batch:
        return found
    places = (
        pl.int_range(batch.height, dtype=pl.Int64, eager=True)
        .to_frame("row")
        .join(
            rows.alias("row").to_frame().with_row_index("place"), on="row", how="left", maintain_order="left"
        )["place"]
    )
    return [{type_: values.gather(places) for type_, values in planes.items()} for planes in found]


def _good(error: RowError, height: int) -> pl.Series:
    """Return the rows that an error says nothing about."""
    if error.failing is None:
        return pl.int_range(height, eager=True) != error.row
    # What fails whatever the event holds fails for all of them.
    return ~error.failing if len(error.failing) == height else pl.repeat(False, height, eager=True)
