"""COUNT in all its forms: of rows, of values that are not NULL, of distinct values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.equality import canonical
from headrace.engine.evaluation import Planes
from headrace.engine.planes import named, occurring, planes_among
from headrace.events.batch import Batch, ValueType


@dataclass(frozen=True, slots=True)
class CountRows:
    """COUNT(*) and COUNT of a whole event."""

    prefix: str
    ordered: bool = False

    def lift(self, _batch: Batch) -> list[pl.Series]:
        """Return nothing: rows are counted."""
        return []

    def first(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return the number of rows."""
        return [pl.len().cast(pl.Int64).alias(self.prefix)]

    def merge(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return the sum of the numbers."""
        return [pl.col(self.prefix).sum()]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the numbers."""
        return {ValueType.BIGINT: partials.get_column(self.prefix)}


@dataclass(frozen=True, slots=True)
class CountValues:
    """COUNT(x): the values that are not NULL."""

    prefix: str
    argument: Argument
    ordered: bool = False

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return whether there is a value."""
        planes = list(self.argument.values(batch).values())
        if not planes:
            return [pl.repeat(False, batch.height, eager=True).alias(self.prefix)]
        present = planes[0].is_not_null()
        for plane in planes[1:]:
            present = present | plane.is_not_null()
        return [present.alias(self.prefix)]

    def first(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return the number of values."""
        return [pl.col(self.prefix).sum().cast(pl.Int64)]

    def merge(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return the sum of the numbers."""
        return [pl.col(self.prefix).sum()]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the numbers."""
        return {ValueType.BIGINT: partials.get_column(self.prefix)}


@dataclass(frozen=True, slots=True)
class CountDistinct:
    """COUNT(DISTINCT x): the values that are not NULL and not equal (see `equality`)."""

    prefix: str
    argument: Argument
    ordered: bool = False

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values, equal ones in one plane."""
        return named(self.prefix, canonical(self.argument.values(batch)))

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return lists of the distinct values, one a type."""
        return [pl.col(name).drop_nulls().unique() for name in planes_among(self.prefix, columns).values()]

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the union of the lists."""
        names = planes_among(self.prefix, columns).values()
        return [pl.col(name).explode().drop_nulls().unique() for name in names]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the number of values in all lists."""
        names = planes_among(self.prefix, partials.columns).values()
        if not names:
            return {ValueType.BIGINT: pl.repeat(0, partials.height, dtype=pl.Int64, eager=True)}
        counts = [pl.col(name).list.len().fill_null(0).cast(pl.Int64) for name in names]
        return occurring({ValueType.BIGINT: partials.select(pl.sum_horizontal(counts)).to_series()})
