"""The ranges of results: over them a job stops, instead of giving a wrong value."""

from __future__ import annotations

import polars as pl

from headrace.engine.row_error import located
from headrace.errors import DataError
from headrace.events.batch import ValueType
from headrace.sql.plan import AggregateCall


def check_bigints(values: pl.Series, call: AggregateCall, script: str) -> None:
    """Raise DataError where one of the whole numbers `values` is no bigint."""
    if values.cast(pl.Int64, strict=False).null_count() > values.null_count():
        raise _out_of_range(ValueType.BIGINT, call, script, "CAST the argument to float")


def check_finite(values: pl.Series, call: AggregateCall, script: str) -> None:
    """Raise DataError where one of `values` is no finite number."""
    if not values.is_finite().all():
        raise _out_of_range(ValueType.FLOAT, call, script, "Leave out the events with such large values")


def _out_of_range(type_: ValueType, call: AggregateCall, script: str, advice: str) -> DataError:
    return DataError(located(f"The result is out of range of {type_}", call, script, advice))
