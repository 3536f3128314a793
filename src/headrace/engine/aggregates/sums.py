"""SUM and AVG. Bigints are added in 128 bits where 64 might not do, so nothing wraps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.aggregates.ranges import check_bigints, check_finite
from headrace.engine.evaluation import Planes
from headrace.engine.planes import named, occurring, plane_name
from headrace.events.batch import Batch, ValueType
from headrace.sql.plan import AggregateCall

#: As many bigints below it as a frame can have rows are added in 64 bits without a wrap.
_SMALL: Final = 2**31


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of bigints and that of floats, each with the number of its values; `mean` divides them."""

    prefix: str
    argument: Argument
    call: AggregateCall
    script: str
    mean: bool
    ordered: bool = False

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the bigints, wide ones apart, and the floats."""
        planes = self.argument.numbers(batch)
        whole = planes.get(ValueType.BIGINT)
        if whole is None or _all_small(whole):
            return named(self.prefix, planes)
        del planes[ValueType.BIGINT]
        return [*named(self.prefix, planes), whole.cast(pl.Int128).alias(self._wide)]

    def first(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return sums and counts."""
        wholes = [name for name in (plane_name(self.prefix, ValueType.BIGINT), self._wide) if name in columns]
        parts = []
        if wholes:
            sums = [pl.col(name).sum().cast(pl.Int128) for name in wholes]
            counts = [pl.col(name).count().cast(pl.Int64) for name in wholes]
            parts += [_total(sums).alias(self._whole), _total(counts).alias(self._wholes)]
        real = plane_name(self.prefix, ValueType.FLOAT)
        if real in columns:
            parts += [
                pl.col(real).sum().alias(self._real),
                pl.col(real).count().cast(pl.Int64).alias(self._reals),
            ]
        return parts

    def merge(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return the sums of sums and counts."""
        return [pl.col(name).sum() for name in self._partials if name in columns]

    def finish(self, partials: pl.DataFrame) -> Planes:
        """Return bigints, floats where a float is among the values, or means, which are floats."""
        zeros = [pl.lit(0, pl.Int64).alias(name) for name in self._partials if name not in partials.columns]
        whole, wholes, real, reals = (pl.col(name).fill_null(0) for name in self._partials)
        count = wholes + reals
        total = real + whole.cast(pl.Float64)
        if self.mean:
            found = {ValueType.FLOAT: pl.when(count > 0).then(total / count)}
        else:
            found = {
                ValueType.BIGINT: pl.when((wholes > 0) & (reals == 0)).then(whole),
                ValueType.FLOAT: pl.when(reals > 0).then(total),
            }
        values = partials.with_columns(zeros).select(
            plane.alias(type_.name) for type_, plane in found.items()
        )
        planes = {type_: values.get_column(type_.name) for type_ in found}
        check_finite(planes[ValueType.FLOAT], self.call, self.script)
        if not self.mean:
            check_bigints(planes[ValueType.BIGINT], self.call, self.script)
        return occurring(planes)

    @property
    def _wide(self) -> str:
        return f"{self.prefix}wide"

    @property
    def _partials(self) -> tuple[str, str, str, str]:
        return self._whole, self._wholes, self._real, self._reals

    @property
    def _whole(self) -> str:
        return f"{self.prefix}sum_bigint"

    @property
    def _wholes(self) -> str:
        return f"{self.prefix}count_bigint"

    @property
    def _real(self) -> str:
        return f"{self.prefix}sum_float"

    @property
    def _reals(self) -> str:
        return f"{self.prefix}count_float"


def _all_small(values: pl.Series) -> bool:
    return bool(values.is_between(-_SMALL, _SMALL, closed="none").all())


def _total(parts: list[pl.Expr]) -> pl.Expr:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]
