"""VAR, VARP, STDEV and STDEVP, by counts, means and sums of squared differences from the mean.

Groups are put together by Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
Sample Variances" (1979). Equal values have no spread at all, whatever rounding makes of their mean.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.aggregates.ranges import check_finite
from headrace.engine.evaluation import Planes
from headrace.engine.planes import occurring
from headrace.events.batch import Batch, ValueType
from headrace.sql.plan import AggregateCall


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a sample or of a population, or its root: NULL for too few values."""

    prefix: str
    argument: Argument
    call: AggregateCall
    script: str
    sample: bool
    root: bool
    ordered: bool = False

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values as floats."""
        planes = self.argument.numbers(batch)
        floats = planes.get(ValueType.FLOAT)
        if ValueType.BIGINT in planes:
            wholes = planes[ValueType.BIGINT].cast(pl.Float64)
            floats = wholes if floats is None else floats.zip_with(floats.is_not_null(), wholes)
        return [] if floats is None else [floats.alias(self.prefix)]

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return count, mean and sum of squares."""
        if self.prefix not in columns:
            return []
        value = pl.col(self.prefix)
        equal = value.min() == value.max()
        return [
            value.count().cast(pl.Int64).alias(self._count),
            pl.when(equal).then(value.min()).otherwise(value.mean()).alias(self._mean),
            pl.when(equal).then(0.0).otherwise(value.var(ddof=0) * value.count()).alias(self._squares),
        ]

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return count, mean and sum of squares of all."""
        if self._count not in columns:
            return []
        count, mean, squares = (pl.col(name) for name in (self._count, self._mean, self._squares))
        some = mean.drop_nulls().first()
        total = pl.when(count.sum() > 0).then(count.sum())
        together = some + (count * (mean - some)).sum() / total
        return [
            count.sum(),
            together.alias(self._mean),
            (squares.sum() + (count * (mean - together) ** 2).sum()).alias(self._squares),
        ]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the spread."""
        if self._count not in partials.columns:
            return {}
        count = pl.col(self._count)
        divisor = count - 1 if self.sample else count
        spread = pl.when(divisor > 0).then(pl.col(self._squares) / divisor)
        values = partials.select(spread.sqrt() if self.root else spread).to_series()
        check_finite(values, self.call, self.script)
        return occurring({ValueType.FLOAT: values})

    @property
    def _count(self) -> str:
        return f"{self.prefix}count"

    @property
    def _mean(self) -> str:
        return f"{self.prefix}mean"

    @property
    def _squares(self) -> str:
        return f"{self.prefix}squares"
