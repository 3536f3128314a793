"""SELECT: the columns of a SELECT list.

Where two columns have one name, ignoring case, the left one wins. A column that came through ``*`` stands
to the left only in the rows in which it has a value: whether another event in the batch has the field does
not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

import polars as pl

from headrace.engine.expressions import Planes, evaluate, record_fields
from headrace.engine.sources import rows_of
from headrace.events.batch import ORIGIN, TIME, Batch, Column
from headrace.sql.plan import AllColumns, Item


@dataclass(frozen=True, slots=True)
class _Result:
    """A column of the result: its name, its values, and whether the data named it."""

    name: str
    planes: Planes
    open: bool

    @property
    def column(self) -> Column:
        return Column(self.name, tuple(self.planes), self.open)

    def series(self) -> Iterator[pl.Series]:
        """Yield its planes under their names in a frame."""
        column = self.column
        for type_, values in self.planes.items():
            yield values.alias(column.physical(type_))


def project(batch: Batch, items: Sequence[Item | AllColumns], script: str) -> Batch:
    """Return `batch` with the columns of a SELECT list; raises RowError.

    Columns of ``*``, ``source.*`` and ``record.*`` are open. The engine's own columns TIME and ORIGIN stay,
    its others go.
    """
    computed = [item.expression for item in items if isinstance(item, Item)]
    values = iter(evaluate(computed, batch, script))
    results: list[_Result] = []
    for item in items:
        if isinstance(item, Item):
            results.append(_Result(item.name, next(values), open=False))
        elif item.record is not None:
            results.extend(_open(rows_of(record_fields(item.record, batch, script), None)))
        else:
            for source in item.sources or (None,):
                results.extend(_open(rows_of(batch, source)))
    kept = _leftmost(results)
    own = [batch.frame.get_column(name) for name in (TIME, ORIGIN) if name in batch.frame.columns]
    series = [*own, *(values for result in kept for values in result.series())]
    frame = pl.DataFrame(series) if series else pl.DataFrame(height=batch.height)
    return Batch(frame, tuple(result.column for result in kept))


def _open(batch: Batch) -> Iterator[_Result]:
    """Yield the columns of `batch`, which the data named."""
    for column in batch.columns:
        planes = {type_: batch.frame.get_column(column.physical(type_)) for type_ in column.planes}
        yield _Result(column.name, planes, open=True)


def _leftmost(results: Sequence[_Result]) -> list[_Result]:
    """Return the results with each name taken by the left one, row by row where that one is open."""
    by_fold: dict[str, list[_Result]] = {}
    for result in results:
        _add(by_fold.setdefault(result.name.casefold(), []), result)
    return [result for same in by_fold.values() for result in same]


def _add(same: list[_Result], result: _Result) -> None:
    """Add a result to those with its name that stand to its left."""
    if any(not left.open for left in same):
        return
    if same:
        result = replace(result, planes=_where_free(same, result.planes))
    for place, left in enumerate(same):
        if left.name == result.name:
            same[place] = _together(left, result)
            return
    same.append(result)


def _where_free(same: Sequence[_Result], planes: Planes) -> Planes:
    """Return `planes` in the rows where all of `same` are NULL."""
    taken = [values.is_not_null() for left in same for values in left.planes.values()]
    if not taken:
        return planes
    free = ~reduce(or_, taken)
    return {type_: values.zip_with(free, values.clear(len(values))) for type_, values in planes.items()}


def _together(left: _Result, right: _Result) -> _Result:
    planes = dict(left.planes)
    for type_, values in right.planes.items():
        known = planes.get(type_)
        planes[type_] = values if known is None else known.zip_with(known.is_not_null(), values)
    return _Result(left.name, planes, open=left.open and right.open)
