"""PERCENTILE_CONT and PERCENTILE_DISC; they keep all values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.evaluation import Planes
from headrace.engine.ordering import sort_columns
from headrace.engine.planes import named, occurring, planes_among
from headrace.events.batch import Batch, ValueType

_ROW: Final = "row"
_BETWEEN: Final = "between"


@dataclass(frozen=True, slots=True)
class Percentile:
    """The value at `share` of the values in order; NULL where there is none.

    Where `continuous` it is interpolated, at place 1 + share (n - 1) of n values; otherwise it is the first
    value at which the share of the values so far is at least `share`.
    """

    prefix: str
    argument: Argument
    share: float
    descending: bool
    continuous: bool
    ordered: bool = False

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values: numbers, where one may lie between them."""
        planes = self.argument.numbers(batch) if self.continuous else self.argument.ordered(batch)
        return named(self.prefix, planes)

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return a list of values for each type."""
        return [pl.col(name).drop_nulls() for name in planes_among(self.prefix, columns).values()]

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the lists, one after the other."""
        return [pl.col(name).explode().drop_nulls() for name in planes_among(self.prefix, columns).values()]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the values at the share."""
        names = planes_among(self.prefix, partials.columns)
        if not names:
            return {}
        lists = partials.select(names.values()).with_row_index(_ROW)
        values = pl.concat(
            [lists.select(_ROW, name).explode(name).drop_nulls() for name in names.values()], how="diagonal"
        )
        found = self._between(values, names) if self.continuous else self._at(values, names)
        placed = lists.select(_ROW).join(found, on=_ROW, how="left", maintain_order="left")
        results = {ValueType.FLOAT: _BETWEEN} if self.continuous else names
        return occurring({type_: placed.get_column(name) for type_, name in results.items()})

    def _between(self, values: pl.DataFrame, names: dict[ValueType, str]) -> pl.DataFrame:
        """Return the interpolated value of each ROW."""
        number = pl.coalesce(pl.col(name).cast(pl.Float64) for name in names.values()).alias("number")
        ranked = values.select(_ROW, number).sort(_ROW, "number", descending=[False, self.descending])
        place = (pl.len() - 1) * self.share
        below, above = (
            pl.col("number").get(index.cast(pl.UInt32)) for index in (place.floor(), place.ceil())
        )
        between = below + (above - below) * (place - place.floor())
        return ranked.group_by(_ROW).agg(between.alias(_BETWEEN))

    def _at(self, values: pl.DataFrame, names: dict[ValueType, str]) -> pl.DataFrame:
        """Return the value of each ROW that is at the share."""
        keys = sort_columns({type_: pl.col(name) for type_, name in names.items()})
        descending = [False, *(self.descending for _ in keys)]
        ranked = values.sort(_ROW, *keys, descending=descending, nulls_last=descending, maintain_order=True)
        count = pl.len().cast(pl.Int64)
        # The product is rounded: the quotients decide, as they do where shares are compared.
        near = (count * self.share).ceil().cast(pl.Int64)
        number = near - ((near - 1) / count >= self.share).cast(pl.Int64)
        number = number + (near / count < self.share).cast(pl.Int64)
        index = number.clip(1, count) - 1
        return ranked.group_by(_ROW).agg(pl.col(name).get(index) for name in names.values())
