"""TopOne and CollectTop: the first values, or whole events, in an order.

Values that are NULL are left out: all aggregates but COUNT take no notice of NULL.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.aggregates.json_texts import json_texts
from headrace.engine.aggregates.ranking import Among, Ranking
from headrace.engine.evaluation import Planes
from headrace.engine.functions.whole_row import read_whole_row
from headrace.engine.planes import named, occurring, planes_among
from headrace.engine.sources import has_row_of, rows_of
from headrace.events import batch as batches
from headrace.events.batch import Batch, ValueType
from headrace.sql.plan import AggregateCall, WholeRow

_VALUE: Final = "value"


class TopOne:
    """TopOne: the first value, with its type.

    Of whole events the columns are kept, and made a record in the end.
    """

    ordered = True

    def __init__(self, call: AggregateCall, prefix: str, script: str) -> None:
        (self._expression,) = call.arguments
        self._argument = Argument(self._expression, script)
        self._ranking = Ranking(call.order, prefix, script)
        self._value, self._absent = f"{prefix}value:", f"{prefix}absent"

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the order, the value or columns, and where there is no value."""
        if isinstance(self._expression, WholeRow):
            source = self._expression.source
            values = [series.alias(f"{self._value}{series.name}") for series in rows_of(batch, source).frame]
            absent = None if source is None else ~has_row_of(batch, source)
        else:
            planes = self._argument.values(batch)
            values = named(self._value, planes)
            absent = pl.Series([True]).new_from_index(0, batch.height)
            for plane in planes.values():
                absent &= plane.is_null()
        marks = [absent.alias(self._absent)] if absent is not None and absent.any() else []
        return [*self._ranking.lift(batch), *values, *marks]

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the same of the first row that has a value."""
        present = self._present(columns)
        first = self._ranking.first(columns, present)
        names = [*self._ranking.names(columns), *(name for name in columns if name.startswith(self._value))]
        marks = [pl.col(self._absent).fill_null(value=False).all()] if self._absent in columns else []
        return [*(first(name) for name in names), *marks]

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the same of the first row of all."""
        return self.first(columns)

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the values."""
        if not isinstance(self._expression, WholeRow):
            names = planes_among(self._value, partials.columns)
            return occurring({type_: partials.get_column(name) for type_, name in names.items()})
        records = read_whole_row(self._kept_columns(partials), None)
        if self._absent in partials.columns:
            absent = partials.get_column(self._absent).fill_null(value=False)
            records = records.zip_with(~absent, records.clear(len(records)))
        return occurring({ValueType.RECORD: records})

    def _present(self, columns: Collection[str]) -> Among:
        """Return what gives an expression in the rows of a group that have a value."""
        if self._absent not in columns:
            return lambda values: values
        return lambda values: values.filter(~pl.col(self._absent).fill_null(value=False))

    def _kept_columns(self, partials: pl.DataFrame) -> Batch:
        """Return the columns of whole events as they were."""
        names = [name for name in partials.columns if name.startswith(self._value)]
        frame = partials.select(pl.col(name).alias(name.removeprefix(self._value)) for name in names)
        planes: dict[str, list[ValueType]] = {}
        for name in frame.columns:
            type_, _, column = name.partition(":")
            planes.setdefault(column, []).append(ValueType[type_.upper()])
        columns = tuple(batches.Column(name, tuple(types)) for name, types in planes.items())
        return Batch(frame if names else pl.DataFrame(height=partials.height), columns)


class CollectTop:
    """CollectTop: an array of records of rank, from 1, and value. NULL where there is no value."""

    ordered = True

    def __init__(self, call: AggregateCall, prefix: str, script: str) -> None:
        (argument,) = call.arguments
        (count,) = call.parameters
        self._count = int(count)
        self._argument = Argument(argument, script)
        self._ranking = Ranking(call.order, prefix, script)
        self._json, self._rows = f"{prefix}json", f"{prefix}rows"

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the order, and the value as JSON text."""
        texts = json_texts(self._argument.values(batch), batch.height)
        return [*self._ranking.lift(batch), texts.alias(self._json)]

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return a list of the first rows, each a record of value and order."""
        present = pl.col(self._json).is_not_null()
        rows = pl.struct(pl.col(self._json).alias(_VALUE), *self._ranking.fixed(columns))
        top = self._ranking.top(rows, columns, lambda values: values.filter(present), self._count)
        return [top.alias(self._rows)]

    def merge(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return a list of the first rows of all lists."""
        # Polars sorts an exploded column within a group wrongly, a list of its own rightly.
        together = pl.col(self._rows).explode().drop_nulls().implode()
        return [self._ranking.top_of_list(together, self._count)]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the arrays."""
        rank = pl.int_range(1, pl.len() + 1).cast(pl.String)
        value = pl.element().struct.field(_VALUE)
        record = pl.concat_str(pl.lit('{"rank":'), rank, pl.lit(',"value":'), value, pl.lit("}"))
        members = pl.col(self._rows).list.eval(record).list.join(",")
        array = pl.concat_str(pl.lit("["), members, pl.lit("]"))
        some = pl.when(pl.col(self._rows).list.len() > 0).then(array)
        return occurring({ValueType.ARRAY: partials.select(some).to_series()})
