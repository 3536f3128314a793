"""Aggregates of the user's: all events of a group are kept, and given to the aggregate in the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC
from typing import Final

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.evaluation import Planes
from headrace.engine.row_error import located
from headrace.errors import DataError, QueryError
from headrace.events.batch import DTYPES, TIME, Batch, ValueType
from headrace.models import scorer
from headrace.models.aggregate import AggregateError, UserAggregate
from headrace.models.values import PlaneBuilder, python_rows
from headrace.sql.plan import AggregateCall

_TIME: Final = "time"

#: How values become texts, and back; all others are texts.
_TO_TEXT: Final[Mapping[ValueType, Callable[[pl.Series], pl.Series]]] = {
    ValueType.BIT: lambda plane: plane.cast(pl.Int64).cast(pl.String),
    ValueType.BIGINT: lambda plane: plane.cast(pl.String),
    ValueType.FLOAT: lambda plane: plane.cast(pl.String),
    ValueType.DATETIME: lambda plane: plane.cast(pl.Int64).cast(pl.String),
}
_OF_TEXT: Final[Mapping[ValueType, Callable[[pl.Series], pl.Series]]] = {
    ValueType.BIT: lambda texts: texts.cast(pl.Int64) != 0,
    ValueType.BIGINT: lambda texts: texts.cast(pl.Int64),
    ValueType.FLOAT: lambda texts: texts.cast(pl.Float64),
    ValueType.DATETIME: lambda texts: texts.cast(pl.Int64).cast(DTYPES[ValueType.DATETIME]),
}


class UserAggregation:
    """A call of a user aggregate.

    A partial result is the list of its events: their time and, for each argument, its type and its value as
    text, so that events whose arguments have other types fit into the same list.

    Raises QueryError for a call with another number of values than the aggregate takes.
    """

    ordered = True

    def __init__(self, call: AggregateCall, prefix: str, script: str, aggregate: UserAggregate) -> None:
        self._call, self._script, self._aggregate = call, script, aggregate
        self._check_count(aggregate.arguments, len(call.arguments))
        self._arguments = [Argument(argument, script) for argument in call.arguments]
        self._events = f"{prefix}events"
        self._prefix = prefix

    def _check_count(self, wanted: int | None, given: int) -> None:
        if wanted is not None and wanted != given:
            plural = "" if wanted == 1 else "s"
            problem = f"{self._aggregate.name} takes {wanted} value{plural}, and {given} are given"
            advice = "accumulate has a parameter for each of them, and a last one for the time."
            raise QueryError(problem, self._script, self._call.span, advice=advice)

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the events' times and arguments."""
        columns = [batch.frame.get_column(TIME).alias(f"{self._prefix}{_TIME}")]
        for place, argument in enumerate(self._arguments):
            types = texts = pl.Series([None], dtype=pl.String).new_from_index(0, batch.height)
            for type_, plane in argument.values(batch).items():
                present = plane.is_not_null()
                named = pl.Series([type_.name]).new_from_index(0, batch.height)
                written = _TO_TEXT[type_](plane) if type_ in _TO_TEXT else plane
                types, texts = named.zip_with(present, types), written.zip_with(present, texts)
            columns += [types.alias(f"{self._prefix}type{place}"), texts.alias(f"{self._prefix}text{place}")]
        return columns

    def first(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return lists of events."""
        places = range(len(self._arguments))
        fields = [_TIME, *(f"{part}{place}" for place in places for part in ("type", "text"))]
        event = pl.struct(pl.col(f"{self._prefix}{field}").alias(field) for field in fields)
        return [event.alias(self._events)]

    def merge(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return the lists, one after the other."""
        return [pl.col(self._events).explode()]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the results; raises DataError where the aggregate fails."""
        lists = partials.get_column(self._events)
        events = lists.explode().struct.unnest()
        arguments = [self._argument(events, place) for place in range(len(self._arguments))]
        rows, unreadable = python_rows(arguments)
        if unreadable:
            raise self._error(next(iter(unreadable.values())))
        times = [time.replace(tzinfo=UTC) for time in events.get_column(_TIME).to_list()]
        results = PlaneBuilder(len(lists))
        start = 0
        for row, count in enumerate(lists.list.len().to_list()):
            end = start + count
            try:
                state = self._aggregate.initial()
                state = self._aggregate.accumulate(state, rows[start:end], times[start:end])
                results.put(row, self._aggregate.result(state))
            except AggregateError as error:
                raise self._error(str(error)) from None
            except ValueError as error:
                raise self._error(f"{self._aggregate.name} gave no value of a query: {error}") from None
            start = end
        return results.planes()

    def _argument(self, events: pl.DataFrame, place: int) -> scorer.Argument:
        types, texts = events.get_column(f"type{place}"), events.get_column(f"text{place}")
        planes = {}
        for name in types.drop_nulls().unique().to_list():
            type_ = ValueType[name]
            own = texts.zip_with((types == name).fill_null(value=False), texts.clear(len(texts)))
            planes[type_] = _OF_TEXT[type_](own) if type_ in _OF_TEXT else own
        return scorer.Argument.of(planes, events.height)

    def _error(self, problem: str) -> DataError:
        return DataError(located(problem, self._call, self._script))
