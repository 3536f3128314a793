"""The ORDER BY of TopOne and CollectTop: NULL is the least value, ties are in order of arrival."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import polars as pl

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.ordering import FIXED, fixed_columns, sort_columns
from headrace.engine.planes import named, planes_among
from headrace.events.batch import Batch
from headrace.sql.plan import Order

#: An expression in those rows of a group that count. It stands around the whole expression: Polars crashes
#: where what rows are sorted by is made of several columns that were filtered each for itself.
Among = Callable[[pl.Expr], pl.Expr]


class Ranking:
    """The order of rows by columns whose names begin with `prefix`."""

    def __init__(self, order: Sequence[Order], prefix: str, script: str) -> None:
        self._prefixes = [f"{prefix}order{place}:" for place in range(len(order))]
        self._arguments = [Argument(part.expression, script) for part in order]
        self._descending = [part.descending for part in order]

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values that rows are ordered by; raises RowError."""
        parts = zip(self._prefixes, self._arguments, strict=True)
        return [series for prefix, argument in parts for series in named(prefix, argument.ordered(batch))]

    def names(self, columns: Collection[str]) -> list[str]:
        """Return those of `columns` that rows are ordered by."""
        return [name for prefix in self._prefixes for name in planes_among(prefix, columns).values()]

    def first(self, columns: Collection[str], among: Among) -> Callable[[str], pl.Expr]:
        """Return what gives a column's value, by its name, in the first row of a group."""
        keys, descending = self._keys(columns, among)
        if not keys:
            return lambda name: among(pl.col(name)).first()
        # Not arg_max of the key: where Polars knows it to be sorted, that is the last of equal ones.
        return lambda name: self._sorted(among(pl.col(name)), keys, descending).first()

    def top(self, rows: pl.Expr, columns: Collection[str], among: Among, count: int) -> pl.Expr:
        """Return the first `count` of `rows`, which stand in the order of arrival."""
        keys, descending = self._keys(columns, among)
        rows = among(rows)
        return (self._sorted(rows, keys, descending) if keys else rows).head(count)

    def fixed(self, columns: Collection[str]) -> list[pl.Expr]:
        """Return what rows are ordered by as columns that are the same whatever types there are."""
        result = []
        for prefix in self._prefixes:
            names = planes_among(prefix, columns)
            parts = fixed_columns({type_: pl.col(name) for type_, name in names.items()})
            result += [part.alias(f"{prefix}{place}") for place, part in enumerate(parts)]
        return result

    def top_of_list(self, rows: pl.Expr, count: int) -> pl.Expr:
        """Return the first `count` of lists of records with the fields that `fixed` gives."""
        record = pl.element()
        fields = [f"{prefix}{place}" for prefix in self._prefixes for place in range(len(FIXED))]
        keys = [record.struct.field(field) for field in fields]
        descending = [flag for flag in self._descending for _ in FIXED]
        return rows.list.eval(self._sorted(record, keys, descending).head(count))

    def _keys(self, columns: Collection[str], among: Among) -> tuple[list[pl.Expr], list[bool]]:
        keys: list[pl.Expr] = []
        descending: list[bool] = []
        for prefix, flag in zip(self._prefixes, self._descending, strict=True):
            names = planes_among(prefix, columns)
            parts = sort_columns({type_: pl.col(name) for type_, name in names.items()})
            keys += map(among, parts)
            descending += [flag] * len(parts)
        return keys, descending

    @staticmethod
    def _sorted(rows: pl.Expr, keys: list[pl.Expr], descending: list[bool]) -> pl.Expr:
        return rows.sort_by(keys, descending=descending, nulls_last=descending, maintain_order=True)
