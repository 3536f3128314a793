"""A query over the points of files: each file is a finite stream, and its time runs out at its end.

A query that keeps nothing runs piece by piece, so that a file may have any size; one with windows takes a
file whole, up to a stated number of points. Nothing of one file is known in the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import numpy as np
import polars as pl

from headrace.connect.sink import Prepared, Rows, Sink
from headrace.engine.finite import Feed, feeds, run
from headrace.engine.operators.effect import Failure
from headrace.engine.orderer import Orderer
from headrace.engine.program import Program, Results
from headrace.engine.row_error import RowError
from headrace.engine.writing import Outcome, prepare, time_ids
from headrace.errors import DataError, UserError
from headrace.events.batch import DTYPES, HIDDEN, ORIGIN, TIME, Batch, Column, ValueType
from headrace.series.points import Codes, Points, TagTable, Times, Values, guid_of, guid_text
from headrace.sql.plan import ColumnRef, Script, scans

#: What the rows of a dataset, and those of a series output, consist of.
COLUMNS: Final = ("tag", "time", "value")

_TAG, _TIME, _VALUE = (
    Column(name, (type_,))
    for name, type_ in zip(COLUMNS, (ValueType.TEXT, ValueType.DATETIME, ValueType.FLOAT), strict=True)
)
_TAG_TEXT: Final = _TAG.physical(ValueType.TEXT)
_TIME_VALUE: Final = _TIME.physical(ValueType.DATETIME)
_VALUE_FLOAT: Final = _VALUE.physical(ValueType.FLOAT)

#: Points that a query which keeps nothing takes at a time.
_PIECE_POINTS: Final = 100_000


class FileTooLargeError(DataError):
    """A file that has more points than a query takes at once."""


class Numbered:
    """Points of a query's rows, whose tags are numbered by the table `tags`."""

    def __init__(self, codes: Codes, times_us: Times, values: Values) -> None:
        self.codes, self.times_us, self.values = codes, times_us, values


class SeriesRows:
    """A series output as the sink of a query's rows: what it makes of them are points."""

    def __init__(self, name: str, tags: TagTable) -> None:
        self._name, self._tags = name, tags

    def prepare(self, rows: Rows) -> Prepared[object]:
        """Return the rows as `Numbered` points; one without a tag, a time or a finite number fails."""
        batch = rows.batch
        self._check_columns(batch)
        texts = _plane(batch, "tag", (ValueType.TEXT,))
        times = _plane(batch, "time", (ValueType.DATETIME,))
        values = _plane(batch, "value", (ValueType.FLOAT, ValueType.BIGINT))
        failures = self._failures(texts, times, values)
        if failures:
            return Prepared(None, batch.height, failures)
        distinct = texts.unique()
        known = {text: self._code(text) for text in distinct.to_list()}
        codes = texts.replace_strict(known, return_dtype=pl.UInt32).to_numpy()
        numbered = Numbered(codes, times.to_physical().to_numpy(), values.to_numpy())
        return Prepared(numbered, batch.height)

    def _code(self, text: str) -> int:
        return self._tags.code(guid_of(text))

    def _check_columns(self, batch: Batch) -> None:
        found = [column.name for column in batch.columns if not column.name.startswith(HIDDEN)]
        if sorted({name.casefold() for name in found}) != sorted(COLUMNS):
            raise UserError(wrong_columns(self._name, found))

    def _failures(self, texts: pl.Series, times: pl.Series, values: pl.Series) -> dict[int, str]:
        wrong = texts.is_null() | times.is_null() | values.is_null() | ~values.is_finite().fill_null(True)
        bad_texts = [text for text in texts.drop_nulls().unique().to_list() if not _is_guid(text)]
        if bad_texts:
            wrong |= texts.is_in(bad_texts).fill_null(True)
        failures = {}
        for row in wrong.arg_true().to_list():
            if texts[row] is None or texts[row] in bad_texts:
                failures[row] = f"the row's tag {texts[row]!r:.60} is no GUID"
            elif times[row] is None:
                failures[row] = "the row has no time"
            else:
                failures[row] = "the row's value is no finite number"
        return failures

    def write(self, tx: object, prepared: Prepared[object]) -> None:
        """Do nothing: points are written before the commit."""

    def close(self) -> None:
        """Do nothing."""


def wrong_columns(output: str, found: list[str]) -> str:
    """Return what a user is told whose query does not write a series output's columns."""
    return (
        f"series output '{output}' takes the columns tag, time and value, and the query writes "
        f"{', '.join(found) or 'none'}. Name the others in a SELECT of their own, INTO another output"
    )


def _is_guid(text: str) -> bool:
    try:
        guid_of(text)
    except ValueError:
        return False
    return True


def _plane(batch: Batch, name: str, types: tuple[ValueType, ...]) -> pl.Series:
    """Return what rows have in a column, as the first of `types`; NULL where it is of another type."""
    dtype = DTYPES[types[0]]
    planes = [
        pl.col(column.physical(type_)).cast(dtype)
        for column in batch.named(name)
        for type_ in types
        if type_ in column.planes
    ]
    found = pl.coalesce(planes) if planes else pl.repeat(None, batch.height, dtype=dtype)
    return batch.frame.select(found.alias(name)).to_series()


class FileQuery:
    """A query for the files of a job, one after the other; one thread uses it.

    `made` makes a new program; `sinks` has every output, those of kind series as `SeriesRows`. A file may
    have `most_points` points where the query has to see it whole.
    """

    def __init__(
        self,
        script: Script,
        made: Callable[[], Program],
        sinks: Mapping[str, Sink],
        guids: Callable[[int], list[bytes]],
        most_points: int,
    ) -> None:
        self._script, self._made, self._sinks = script, made, sinks
        self._guids, self._most_points = guids, most_points
        self._program = made()
        self._input = script.inputs[0]
        scan = next(iter(scans(script)))
        self._by_time = not script.tables and all(_is_time(s.timestamp) for s in scans(script))
        self._over = scan.over
        self._in_pieces = self._program.stateless and self._by_time
        self._texts = pl.Series(dtype=pl.String)
        self._waiting: list[pl.DataFrame] = []

    def begin_file(self, source: str) -> None:
        """Begin with a file, which `source` stands for in the ids of rows."""
        self._source, self._read = source, 0
        self._waiting.clear()

    def add(self, points: Points) -> Iterator[Outcome]:
        """Take points of the file over; yields what comes of them already."""
        for at in range(0, len(points), _PIECE_POINTS):
            end = at + _PIECE_POINTS
            frame = self._frame(points.codes[at:end], points.times_us[at:end], points.values[at:end])
            if self._in_pieces:
                with _told(self._source):
                    results = self._program.run({self._input: _batch(frame)})
                yield self._outcome(results)
                continue
            if self._read > self._most_points:
                raise FileTooLargeError(
                    f"the file has more than {self._most_points:,} points, which is all that a query with "
                    "windows takes of one file. Cut it into smaller ones, or raise the job's memory_megabytes"
                )
            self._waiting.append(frame)

    def end_file(self) -> Iterator[Outcome]:
        """Let the time of the file run out; yields what comes of it."""
        if not self._waiting:
            return
        batch = _batch(pl.concat(self._waiting))
        self._waiting.clear()
        with _told(self._source):
            if self._by_time:
                ordered = Batch(batch.frame.sort(TIME, maintain_order=True), batch.columns)
                streams = [self._feed(ordered)]
            else:
                bare = Batch(batch.frame.drop(TIME, ORIGIN), batch.columns)
                streams = feeds(self._script, {self._input: bare}, None, {})
            finished = run(self._fresh, streams)
        dropped = [Failure(drop.event, drop.reason) for drop in finished.dropped]
        finished.results.failures += dropped
        yield self._outcome(finished.results)

    def _fresh(self) -> Program:
        return self._program.fresh()

    def _feed(self, batch: Batch) -> Feed:
        over, text = self._over, self._script.text
        arrival_us = batch.frame[TIME].to_physical()
        return Feed(self._input, batch, arrival_us, 0, lambda: Orderer(None, over, text))

    def _outcome(self, results: Results) -> Outcome:
        ids = _position_ids if self._program.stateless else time_ids
        return prepare(results, 0, self._sinks, lambda output, batch: ids(self._source, output, batch))

    def _frame(self, codes: Codes, times_us: Times, values: Values) -> pl.DataFrame:
        first = self._read
        self._read += len(codes)
        times = pl.Series(TIME, times_us.copy()).cast(pl.Datetime("us"))
        return pl.DataFrame(
            {
                _TAG_TEXT: self._tags().gather(pl.Series(codes)),
                _TIME_VALUE: times,
                _VALUE_FLOAT: values.copy(),
                TIME: times,
                ORIGIN: np.arange(first, self._read, dtype=np.int64),
            }
        )

    def _tags(self) -> pl.Series:
        """Return the texts of the tags that were ever met, by their numbers."""
        new = self._guids(len(self._texts))
        if new:
            self._texts = pl.concat([self._texts, pl.Series(list(map(guid_text, new)))], rechunk=True)
        return self._texts


def _is_time(timestamp: object) -> bool:
    return timestamp is None or (isinstance(timestamp, ColumnRef) and timestamp.name.casefold() == "time")


def _batch(frame: pl.DataFrame) -> Batch:
    return Batch(frame, (_TAG, _TIME, _VALUE))


def _position_ids(source: str, _output: str, batch: Batch) -> pl.Series:
    """Return ``source/row`` for each row, ``/n`` behind it for a row's n-th further one."""
    ordinal = pl.int_range(pl.len()).over(ORIGIN)
    ids = pl.format("{}/{}", pl.lit(source), pl.col(ORIGIN))
    numbered = pl.when(ordinal > 0).then(pl.format("{}/{}", ids, ordinal)).otherwise(ids)
    return batch.frame.select(numbered.alias("id")).to_series()


@contextlib.contextmanager
def _told(source: str) -> Iterator[None]:
    """Say of which file a row is that makes the job stop."""
    try:
        yield
    except RowError as error:
        raise DataError(f"{error}\nThe job stopped at file {source}; nothing of it was written.") from None


def points_of(prepared: Prepared[Any]) -> Numbered | None:
    """Return the points that `SeriesRows` made of rows."""
    return cast("Numbered | None", prepared.payload)
