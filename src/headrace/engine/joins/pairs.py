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
from headrace.engine.joins.keys import Keys, Reading, meetings
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
_KNOWN: Final = "@known"

_PLACES: Final = {"begin": pl.Int64, "end": pl.Int64}

#: Up to so many candidates for each row, looking at the time of each is cheaper than searching by time.
_LOOSE: Final = 4

#: Candidates that are made and tested in one go.
_CHUNK_PAIRS: Final = 1_000_000

#: More than this share of a frame's rows is gathered faster after the frame has been put into one piece.
_FEW: Final = 8

NO_PAIRS: Final = pl.DataFrame(schema={LEFT: pl.UInt32, RIGHT: pl.UInt32})


@dataclass(frozen=True, slots=True)
class Times:
    """When partners must be: for each left row from `first` to `last`, NULL for never; `right` is sorted.

    All are microseconds since 1970 UTC. The first `kept_left` and `kept_right` rows have been paired before.
    """

    first: pl.Series
    last: pl.Series
    right: pl.Series
    kept_left: int
    kept_right: int

    def fits(self) -> pl.Expr:
        """Return whether the right row of a pair is at a fitting time."""
        time = pl.lit(self.right).gather(pl.col(RIGHT))
        first, last = (pl.lit(end).gather(pl.col(LEFT)) for end in (self.first, self.last))
        return (time >= first) & (time <= last)

    def places(self) -> pl.DataFrame:
        """Return the place of the first right row to pair each left row with, and that behind the last."""
        begin = self.right.search_sorted(self.first.fill_null(0), side="left")
        end = self.right.search_sorted(self.last.fill_null(-1), side="right")
        known = pl.int_range(pl.len()) < self.kept_left
        return pl.DataFrame({"begin": begin, "end": end}, schema_overrides=_PLACES).with_columns(
            pl.when(known).then(pl.max_horizontal("begin", self.kept_right)).otherwise("begin").alias("begin")
        )


class Groups:
    """The rows of a side grouped by key columns; rows where one of these is NULL are in no group.

    `kept` is how many of the rows are from earlier slices, see `Times`.
    """

    def __init__(self, columns: Sequence[pl.Series], height: int, kept: int) -> None:
        self._height = height
        keys = _keyed(columns, height)
        by = keys.columns
        rows = keys.lazy().with_row_index(RIGHT)
        if any(column.null_count() for column in columns):
            rows = rows.drop_nulls()
        known = (pl.col(RIGHT) < kept).sum().cast(pl.Int64).alias(_KNOWN)
        found = rows.group_by(by).agg(RIGHT, known).collect()
        self._rows = found.get_column(RIGHT).explode(empty_as_null=False)
        count = pl.col(RIGHT).list.len().cast(pl.Int64)
        self._groups = found.select(
            *by, _KNOWN, count.alias(_COUNT), (count.cum_sum() - count).alias(_START)
        ).with_row_index(_GROUP)

    def candidates(
        self, columns: Sequence[pl.Series], height: int, times: Times | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the pairs of `height` left rows with keys `columns` that have equal keys and fit in time.

        A frame holds about `_CHUNK_PAIRS`, or all pairs of one left row.
        """
        left = _keyed(columns, height)
        joined_rows = left.lazy().with_row_index(LEFT).join(self._groups.lazy(), on=left.columns)
        # Sorting is cheaper than a join that keeps the order.
        partners = joined_rows.select(LEFT, _GROUP, _KNOWN, _START, _COUNT).sort(LEFT).collect()
        if times is not None:
            known = pl.when(pl.col(LEFT) < times.kept_left).then(_KNOWN).otherwise(0)
            partners = partners.with_columns(pl.col(_START) + known, pl.col(_COUNT) - known)
            if partners[_COUNT].sum() > _LOOSE * (height + self._height):
                partners, times = self._narrowed(partners, times), None
        for chunk in _chunks(partners):
            yield self._pairs(chunk, times)

    def _pairs(self, partners: pl.DataFrame, times: Times | None) -> pl.DataFrame:
        start = pl.col(_START)
        places = pl.int_ranges(start, start + pl.col(_COUNT)).alias(RIGHT)
        pairs = partners.lazy().select(LEFT, places).explode(RIGHT, empty_as_null=False)
        pairs = pairs.select(LEFT, pl.lit(self._rows).gather(pl.col(RIGHT)).alias(RIGHT))
        return (pairs if times is None else pairs.filter(times.fits())).collect()

    def _narrowed(self, partners: pl.DataFrame, times: Times) -> pl.DataFrame:
        """Return the partners whose times fit: rows are in order of time, so in a group they adjoin."""
        places = times.places()[partners[LEFT]]
        base = partners[_GROUP].cast(pl.Int64) * (self._height + 1)
        start = self._order.search_sorted(base + places["begin"], side="left").cast(pl.Int64)
        stop = self._order.search_sorted(base + places["end"], side="left").cast(pl.Int64)
        narrowed = partners.with_columns(start.alias(_START), (stop - start).alias(_COUNT))
        return narrowed.filter(pl.col(_COUNT) > 0)

    @cached_property
    def _order(self) -> pl.Series:
        """A number for each grouped row, ascending by group and then by row."""
        group = self._groups.select(pl.col(_GROUP).cast(pl.Int64).repeat_by(_COUNT)).to_series()
        return group.explode(empty_as_null=False) * (self._height + 1) + self._rows


def _keyed(columns: Sequence[pl.Series], height: int) -> pl.DataFrame:
    """Return key columns as a frame; without keys all rows have the same."""
    same = [pl.repeat(0, height, dtype=pl.Int8, eager=True)]
    return pl.DataFrame([column.alias(f"@key{number}") for number, column in enumerate(columns or same)])


def _chunks(partners: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield left rows in parts with about as many candidates each, at least a row."""
    ends = partners[_COUNT].cum_sum()
    start = done = 0
    while start < partners.height:
        stop = max(start + 1, int(ends.search_sorted(done + _CHUNK_PAIRS, side="right")))
        yield partners.slice(start, stop - start)
        start, done = stop, int(ends.item(stop - 1))


@dataclass(frozen=True, slots=True)
class Grouped:
    """The keys of the right side, grouped once for each way in which they are read; `kept` as in `Groups`."""

    keys: Keys
    kept: int = 0
    _groups: dict[tuple[Reading, ...], Groups] = field(default_factory=dict)

    def by(self, readings: tuple[Reading, ...]) -> Groups:
        """Return the rows grouped by what `readings` make of the keys."""
        if readings not in self._groups:
            self._groups[readings] = Groups(self.keys.columns(readings), self.keys.height, self.kept)
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
            condition = self._decided if meeting.decided else self._undecided
            columns = left_keys.columns(meeting.left)
            for pairs in grouped.by(meeting.right).candidates(columns, left_keys.height, times):
                if condition is None:
                    parts.append(pairs)
                else:
                    parts.append(self._passed(condition, left_rows, right_rows, pairs))
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
    if not names:
        return []
    rows = frame.select(names)
    if len(places) > rows.height // _FEW:
        rows = rows.rechunk()
    return rows[places].get_columns()


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
