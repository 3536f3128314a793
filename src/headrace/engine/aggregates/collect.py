"""COLLECT: an array of the values in order of time, then of arrival; NULL where there is none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.aggregates.json_texts import json_texts
from headrace.engine.evaluation import Planes
from headrace.engine.planes import occurring
from headrace.events.batch import Batch, ValueType


@dataclass(frozen=True, slots=True)
class Collect:
    """COLLECT(x), or of whole events; a partial result is the inside of the array."""

    prefix: str
    argument: Argument
    ordered: bool = True

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values as JSON texts."""
        return [json_texts(self.argument.values(batch), batch.height).alias(self.prefix)]

    def first(self, _columns: Collection[str]) -> list[pl.Expr]:
        """Return the texts with commas between them."""
        members = pl.col(self.prefix).str.join(",")
        return [pl.when(members != "").then(members).alias(self.prefix)]

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the texts with commas between them."""
        return self.first(columns)

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return the arrays."""
        array = pl.concat_str(pl.lit("["), self.prefix, pl.lit("]"))
        return occurring({ValueType.ARRAY: partials.select(array.alias(self.prefix)).to_series()})
