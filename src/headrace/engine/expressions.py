"""Evaluating bound expressions over a batch.

An expression compiles to Polars expressions once for each set of types that its columns come with (see
`compiler`, and `values` for how types are kept apart), and all that a SELECT list computes runs in one call
of Polars. Paths into records and arrays are read before, because the data tell what type is found there
(see `functions.records`).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from headrace.engine.evaluation import Evaluation, Planes
from headrace.engine.row_error import RowError
from headrace.events.batch import DTYPES, Batch, ValueType
from headrace.sql.plan import Expression

__all__ = ["Planes", "RowError", "evaluate", "evaluate_as", "record_fields", "satisfied"]


def evaluate(expressions: Sequence[Expression], batch: Batch, script: str) -> list[Planes]:
    """Return the values of each of `expressions` in every row of `batch`.

    `script` is the text that their spans are of. Raises RowError for the first row that one of them cannot be
    computed for.
    """
    if batch.height == 0:
        return [{} for _ in expressions]
    return Evaluation(batch, script).planes(tuple(expressions))


def evaluate_as(type_: ValueType, expression: Expression, batch: Batch, script: str) -> pl.Series:
    """Return the values of `expression` as `type_`, converted as where a function wants that type.

    Raises RowError like `evaluate`.
    """
    if batch.height == 0:
        return pl.Series([], dtype=DTYPES[type_])
    return Evaluation(batch, script).plane(expression, type_)


def satisfied(predicate: Expression, batch: Batch, script: str) -> pl.Series | pl.Expr:
    """Return what to filter the frame of `batch` by to keep the rows where `predicate` is true.

    Raises RowError like `evaluate`.
    """
    if batch.height == 0:
        return pl.Series([], dtype=pl.Boolean)
    return Evaluation(batch, script).mask(predicate)


def record_fields(record: Expression, batch: Batch, script: str) -> Batch:
    """Return the fields of `record` in every row of `batch`; a row where it is no record has none.

    Raises RowError like `evaluate`.
    """
    return Evaluation(batch, script).fields(record)
