"""Pairs of the rows of two sides: found by their keys and times, tested, and put together.

The rows of the right side are grouped by their keys, so that the partners of a left row stand together, in
order, and it is known how many there are before any pair is made. Pairs come in order of the left row, then
of the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import polars as pl

from headrace.engine.expressions import RowError, satisfied
from headrace.engine.join_keys import Keys, Reading, meetings
from headrace.errors import DataError, Span
from headrace.events.batch import ORIGIN, TIME, Batch
from headrace.limits import MAX_JOIN_ROWS
from headrace.sql.logic import joined
from headrace.sql.plan import Binary, ColumnRef, Expression, Relation, WholeRow, children

#: The places of a pair's rows in their sides; RIGHT is NULL for a left row that comes alone.
LEFT: Final = "@left"
RIGHT: Final = "@right"

_START: Final = "@start"
_COUNT: Final = "@count"
_GROUP: Final = "@group"

#: Up to so many candidates for each row, looking at the time of each is cheaper than searching by time.
_LOOSE: Final = 4

#: Candidates that are made and tested in one go.
_CHUNK_PAIRS: Final = 1_000_000

NO_PAIRS: Final = pl.DataFrame(schema={LEFT: pl.UInt32, RIGHT: pl.UInt32})


@dataclass(frozen=True, slots=True)
class Times:
    """When partners must be: for each left row from `first` to `last`, NULL for never; `right` is sorted.

    All are microseconds since 1970 UTC.
    """

    first: pl.Series
    last: pl.Series
    right: pl.Series

    def within(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Return the pairs whose right row is at a fitting time."""
        time = self.right.gather(pairs[RIGHT])
        return pairs.filter(
            (time >= self.first.gather(pairs[LEFT])) & (time <= self.last.gather(pairs[LEFT]))
        )

    def places(self) -> tuple[pl.Series, pl.Series]:
        """Return, for each left row, the place of the first right row that fits and that behind the last."""
        begin = self.right.search_sorted(self.first.fill_null(0), side="left")
        end = self.right.search_sorted(self.last.fill_null(-1), side="right")
        return begin.cast(pl.Int64), end.cast(pl.Int64)


class Groups:
    """The rows of a side grouped by key columns; rows where one of these is NULL are in no group."""

    def __init__(self, columns: Sequence[pl.Series], height: int) -> None:
        self._names = [f"@key{number}" for number in range(len(columns))]
        self._height = height
        keys = self._frame(columns) if columns else pl.DataFrame(height=height)
        rows = keys.with_row_index(RIGHT).drop_nulls()
        groups = rows.group_by(self._names or [pl.lit(0).alias(_GROUP)]).agg(RIGHT)
        count = pl.col(RIGHT).list.len().cast(pl.Int64)
        self._rows = groups.get_column(RIGHT).explode(empty_as_null=False)
        self._starts = groups.select(
            *self._names,
            pl.int_range(pl.len(), dtype=pl.Int64).alias(_GROUP),
            (count.cum_sum() - count).alias(_START),
            count.alias(_COUNT),
        )

    def partners(self, columns: Sequence[pl.Series], height: int, times: Times | None) -> Partners:
        """Return the candidates of `height` left rows with these key columns."""
        if columns:
            left = self._frame(columns).with_row_index(LEFT)
            found = left.join(self._starts, on=self._names, how="inner", maintain_order="left")
        else:
            left = pl.select(pl.int_range(height, dtype=pl.UInt32).alias(LEFT))
            found = left.join(self._starts, how="cross", maintain_order="left")
        if times is None or found[_COUNT].sum() <= _LOOSE * (height + self._height):
            return Partners(found, times)
        return Partners(self._narrowed(found, times), None)

    def pairs(self, partners: pl.DataFrame) -> pl.DataFrame:
        """Return a row for each candidate."""
        start = pl.col(_START)
        places = pl.int_ranges(start, start + pl.col(_COUNT)).alias(RIGHT)
        pairs = partners.select(LEFT, places).explode(RIGHT, empty_as_null=False)
        return pairs.with_columns(self._rows.gather(pairs[RIGHT]).alias(RIGHT))

    def _frame(self, columns: Sequence[pl.Series]) -> pl.DataFrame:
        named = zip(self._names, columns, strict=True)
        return pl.DataFrame([column.alias(name) for name, column in named])

    def _narrowed(self, found: pl.DataFrame, times: Times) -> pl.DataFrame:
        """Return the candidates whose times fit: rows are in order of time, so in a group they adjoin."""
        begin, end = (place.gather(found[LEFT]) for place in times.places())
        base = found[_GROUP] * (self._height + 1)
        start = self._order.search_sorted(base + begin, side="left").cast(pl.Int64)
        stop = self._order.search_sorted(base + end, side="left").cast(pl.Int64)
        narrowed = found.with_columns(start.alias(_START), (stop - start).alias(_COUNT))
        return narrowed.filter(pl.col(_COUNT) > 0)

    @cached_property
    def _order(self) -> pl.Series:
        """A number for each grouped row, ascending by group and then by row."""
        groups = (
            self._starts.select(pl.col(_GROUP).repeat_by(_COUNT)).to_series().explode(empty_as_null=False)
        )
        return groups * (self._height + 1) + self._rows


@dataclass(frozen=True, slots=True)
class Partners:
    """Left rows with candidates, and where these stand in `Groups`; `times` are still to be looked at."""

    frame: pl.DataFrame
    times: Times | None

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Yield the left rows in parts with about as many candidates each, at least a row."""
        ends = self.frame[_COUNT].cum_sum()
        start = done = 0
        while start < self.frame.height:
            stop = max(start + 1, int(ends.search_sorted(done + _CHUNK_PAIRS, side="right")))
            yield self.frame.slice(start, stop - start)
            start, done = stop, int(ends.item(stop - 1))


@dataclass(frozen=True, slots=True)
class Grouped:
    """The keys of the right side, grouped once for each way in which they are read."""

    keys: Keys
    _groups: dict[tuple[Reading, ...], Groups] = field(default_factory=dict)

    def by(self, readings: tuple[Reading, ...]) -> Groups:
        """Return the rows grouped by what `readings` make of the keys."""
        if readings not in self._groups:
            self._groups[readings] = Groups(self.keys.columns(readings), self.keys.height)
        return self._groups[readings]


class Matching:
    """What a join asks of its pairs, besides their times: equal keys, and a condition."""

    def __init__(
        self, equal: Sequence[tuple[Expression, Expression]], condition: Expression | None, script: str
    ) -> None:
        self.left = tuple(left for left, _ in equal)
        self.right = tuple(right for _, right in equal)
        self._script = script
        equations = [_equation(left, right) for left, right in equal]
        self._decided = condition
        undecided = equations if condition is None else [*equations, condition]
        self._undecided = joined("AND", undecided) if undecided else None
        self._names = None if self._undecided is None else _names(self._undecided)

    def pairs(
        self, left: tuple[Batch, Keys], right: tuple[Batch, Grouped], times: Times | None
    ) -> pl.DataFrame:
        """Return the places of all pairs, as LEFT and RIGHT.

        Raises DataError when there are too many, and RowError, about a left row, when a comparison or the
        condition fails.
        """
        (left_rows, left_keys), (right_rows, grouped) = left, right
        parts = [NO_PAIRS]
        ways = list(meetings(left_keys, grouped.keys))
        for meeting in ways:
            groups = grouped.by(meeting.right)
            partners = groups.partners(left_keys.columns(meeting.left), left_keys.height, times)
            condition = self._decided if meeting.decided else self._undecided
            for chunk in partners.chunks():
                pairs = groups.pairs(chunk)
                if partners.times is not None:
                    pairs = partners.times.within(pairs)
                if condition is not None:
                    pairs = self._passed(condition, left_rows, right_rows, pairs)
                parts.append(pairs)
                _check_size(parts)
        found = pl.concat(parts)
        return found.sort(LEFT, RIGHT) if len(ways) > 1 else found

    def _passed(self, condition: Expression, left: Batch, right: Batch, pairs: pl.DataFrame) -> pl.DataFrame:
        rows = pair_rows(_needed(left, self._names), _needed(right, self._names), pairs)
        try:
            passed = satisfied(condition, rows, self._script)
        except RowError as error:
            error.row = pairs[LEFT][error.row]
            raise
        return pairs.hstack(rows.frame).lazy().filter(passed).select(LEFT, RIGHT).collect()


def pair_rows(left: Batch, right: Batch, pairs: pl.DataFrame) -> Batch:
    """Return the columns of both rows of each pair, at their later time, with the left one's origin."""
    own = [name for name in (TIME, ORIGIN) if name in left.frame.columns]
    series = _gathered(left.frame, [*own, *_physicals(left)], pairs[LEFT])
    series += _gathered(right.frame, _physicals(right), pairs[RIGHT])
    frame = pl.DataFrame(series) if series else pl.DataFrame(height=pairs.height)
    if TIME in right.frame.columns:
        other = right.frame[TIME].gather(pairs[RIGHT])
        frame = frame.with_columns(pl.max_horizontal(TIME, other))
    return Batch(frame, (*left.columns, *right.columns))


def _gathered(frame: pl.DataFrame, names: Sequence[str], places: pl.Series) -> list[pl.Series]:
    return frame.select(names)[places].get_columns() if names else []


def _physicals(batch: Batch) -> list[str]:
    return [name for column in batch.columns for name in column.physicals]


def _needed(rows: Batch, names: frozenset[str] | None) -> Batch:
    """Return `rows` with only the columns called so, in folded names; None means all."""
    if names is None:
        return rows
    return Batch(rows.frame, tuple(column for column in rows.columns if column.name.casefold() in names))


def _names(condition: Expression) -> frozenset[str] | None:
    """Return the folded names of the columns that `condition` reads; None means all."""
    nodes = list(_nodes(condition))
    if any(isinstance(node, WholeRow) for node in nodes):
        return None
    return frozenset(node.name.casefold() for node in nodes if isinstance(node, ColumnRef))


def _nodes(node: Expression | Relation) -> Iterator[Expression | Relation]:
    yield node
    for child in children(node):
        yield from _nodes(child)


def _equation(left: Expression, right: Expression) -> Expression:
    """Return the equation that two keys were written as."""
    ends = [left.span.start, left.span.end, right.span.start, right.span.end]
    return Binary("=", left, right, Span(min(ends), max(ends)))


def _check_size(parts: Sequence[pl.DataFrame]) -> None:
    if sum(part.height for part in parts) > MAX_JOIN_ROWS:
        raise DataError(
            f"a join gives more than {MAX_JOIN_ROWS:,} rows at once: too many rows match each other. Let ON "
            "compare more columns, or bound the time more narrowly"
        )
