"""MIN and MAX."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.evaluation import Planes
from headrace.engine.ordering import sort_columns
from headrace.engine.planes import named, occurring, planes_among
from headrace.events.batch import Batch, ValueType


@dataclass(frozen=True, slots=True)
class Extreme:
    """The greatest or least value; of equal numbers the bigint."""

    prefix: str
    argument: Argument
    greatest: bool
    ordered: bool = False

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values."""
        return named(self.prefix, self.argument.ordered(batch))

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the extreme of each type."""
        names = planes_among(self.prefix, columns).values()
        return [pl.col(name).max() if self.greatest else pl.col(name).min() for name in names]

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the extreme of each type."""
        return self.first(columns)

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the extremes over all types."""
        names = planes_among(self.prefix, partials.columns)
        planes = occurring({type_: partials.get_column(name) for type_, name in names.items()})
        return planes if len(planes) < 2 else self._over_types(planes)

    def _over_types(self, planes: Planes) -> Planes:
        """Return the extreme of each row of several planes, in the plane of its type."""
        order = [ValueType.BIGINT, ValueType.FLOAT, ValueType.BIT]
        types = sorted(planes, key=lambda type_: order.index(type_) if type_ in order else len(order))
        rows = [
            planes[type_].alias(type_.name).to_frame().with_row_index("row").drop_nulls() for type_ in types
        ]
        candidates = pl.concat(rows, how="diagonal")
        by = sort_columns({type_: pl.col(type_.name) for type_ in types})
        best = candidates.sort(
            by, descending=self.greatest, nulls_last=self.greatest, maintain_order=True
        ).unique("row", keep="first", maintain_order=True)
        height = len(planes[types[0]])
        every = pl.int_range(height, dtype=pl.UInt32, eager=True).alias("row").to_frame()
        found = every.join(best, on="row", how="left", maintain_order="left")
        return occurring({type_: found.get_column(type_.name) for type_ in types})
