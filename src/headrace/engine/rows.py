"""What Polars has no operation for: Python functions of columns, or of each combination that occurs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl


def mapped(
    arguments: Sequence[pl.Expr], function: Callable[[Sequence[pl.Series]], pl.Series], dtype: pl.DataType
) -> pl.Expr:
    """Return `function` of the columns `arguments`; it must give a row for each row, and never raise."""
    constant = not any(argument.meta.root_names() for argument in arguments)
    return pl.map_batches(arguments, function, return_dtype=dtype, returns_scalar=constant)


def quotient(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Return left / right of doubles, rounded once.

    Polars multiplies by the reciprocal where `right` is one value for all rows, which rounds twice: 3.0 / 10
    would be 0.30000000000000004, but not in a batch of one row.
    """
    zeros = left.is_null().cast(pl.Float64) * 0.0
    return left / (zeros + right)


def aligned(arguments: Sequence[pl.Series]) -> pl.DataFrame:
    """Return `arguments` as columns "0", "1", ...; a literal, which comes as one value, is repeated."""
    height = max(len(argument) for argument in arguments)
    columns = [
        argument if len(argument) == height else argument.new_from_index(0, height) for argument in arguments
    ]
    return pl.DataFrame({str(number): column for number, column in enumerate(columns)})


def per_unique(arguments: Sequence[pl.Expr], function: Callable[..., Any], dtype: pl.DataType) -> pl.Expr:
    """Return `function(*arguments)` of each row; NULL, without a call, where an argument is NULL."""

    def over_unique(given: Sequence[pl.Series]) -> pl.Series:
        rows = aligned(given)
        unique = rows.drop_nulls().unique()
        results = pl.Series("result", [function(*row) for row in unique.iter_rows()], dtype=dtype)
        joined = rows.join(unique.with_columns(results), on=rows.columns, how="left", maintain_order="left")
        return joined.get_column("result")

    return mapped(arguments, over_unique, dtype)


def each_pattern(
    text: pl.Expr, pattern: pl.Expr, apply: Callable[[pl.Expr, str], pl.Expr], dtype: pl.DataType
) -> pl.Expr:
    """Return `apply(text, pattern)` where patterns come from the data: once for each that occurs."""

    def over_patterns(given: Sequence[pl.Series]) -> pl.Series:
        rows = aligned(given).with_row_index()
        found = [
            part.select("index", found=apply(pl.col("0"), part.item(0, "1")))
            for part in rows.drop_nulls("1").partition_by("1")
        ]
        if not found:
            return pl.Series([None], dtype=dtype).new_from_index(0, rows.height)
        return rows.join(pl.concat(found), on="index", how="left", maintain_order="left").get_column("found")

    return mapped([text, pattern], over_patterns, dtype)
