"""Rows that suites write, and what holds for every sink however it writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import polars as pl

from headrace.connect.sink import Prepared, Rows
from headrace.events.batch import Batch
from headrace.events.formats.json import from_rows
from headrace.local.namespace import Transaction
from headrace.testing.conformance.events import check_numbers
from headrace.testing.conformance.running import check_nothing_stays_open, skip_unless

Row = Mapping[str, Any]

#: A row of each extreme: the first of plain values, the last of the largest.
TYPED_ROWS: Final[tuple[Row, ...]] = (
    {
        "n": 1,
        "flag": True,
        "whole": 42,
        "real": 0.1,
        "text": 'naïve "☃" 𝄞, it\'s; \\ \t end',
        "moment": datetime(2026, 3, 2, 9, 30, 1, 123456, UTC),
        "record": {"a": {"b": [1, None, "☃"]}, "empty": {}},
        "list": [1, "x", [True, None], {"k": 1.5}],
        "mixed": 1,
    },
    {
        "n": 2,
        "flag": False,
        "whole": -(2**63),
        "real": -1.5e300,
        "text": "two\nlines",
        "moment": datetime(1, 1, 1, tzinfo=UTC),
        "record": {},
        "list": [],
        "mixed": "one",
    },
    {"n": 3} | dict.fromkeys(("flag", "whole", "real", "text", "moment", "record", "list", "mixed")),
    {
        "n": 4,
        "flag": True,
        "whole": 2**63 - 1,
        "real": 5e-324,
        "text": "",
        "moment": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        "record": {"very": {"deep": {"down": [[["☃"]]]}}},
        "list": [2**63 - 1, 0.5],
        "mixed": True,
    },
)


class SinkHarness(Protocol):
    """What reads back what a sink wrote; the members with values are to be set where they differ."""

    #: Whether rows stay in the order in which they were written.
    keeps_order: bool = True

    #: A row that `prepare` is to refuse, None if there is none.
    refused: Row | None = None

    def read(self) -> Sequence[Row]:
        """Return all rows of the target that count, with values as JSON or Python has them."""
        ...

    def expected(self, column: str, value: Any) -> Any:
        """Return what a value becomes in the target, if it cannot hold the value itself; docs say so."""
        return value


Opened_co = TypeVar("Opened_co", covariant=True)


class CommitHarness(SinkHarness, Protocol[Opened_co]):
    """Opens a sink that writes within the commit, or stages for it, and commits."""

    def open(self) -> Opened_co:
        """Open the sink as a process that starts would; the suite resumes and closes it."""
        ...

    def commit(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction of the namespace: it stands when the block ends, and is undone if it raises."""
        ...


def rows_of(rows: Iterable[Row], *, closed: bool = False) -> Rows:
    """Return rows for a sink; with `closed` a query named the columns, so that NULLs are written as such."""
    batch = from_rows([dict(row) for row in rows])
    if closed:
        batch = Batch(batch.frame, tuple(replace(column, open=False) for column in batch.columns))
    ids = pl.select(pl.format("rows/0/{}", pl.Series(batch.frame["bigint:n"]))).to_series()
    return Rows(batch, lambda: ids)


def numbered_rows(first: int, count: int) -> Rows:
    """Return plain rows with the numbers from `first` on."""
    return rows_of({"n": number, "text": f"row {number} ☃"} for number in range(first, first + count))


def check_written(harness: SinkHarness, expected: Iterable[int], when: str) -> None:
    """Fail unless the target has the rows of these numbers, each once."""
    found = [int(row["n"]) for row in harness.read()]
    numbers = list(expected)
    if not harness.keeps_order:
        found.sort()
        numbers.sort()
    check_numbers(found, numbers, when)


def check_types(harness: SinkHarness) -> None:
    """Fail unless the values of `TYPED_ROWS` come back as they were."""
    found = {int(row["n"]): row for row in harness.read()}
    for row in TYPED_ROWS:
        assert row["n"] in found, f"row {row['n']} is lost"
        for column, value in row.items():
            expected = harness.expected(column, value)
            got = found[row["n"]].get(column)
            assert _is_same(got, expected), f"row {row['n']}, {column}: wrote {expected!r}, found {got!r}"


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, datetime) and isinstance(found, str):
        found = datetime.fromisoformat(found)
    return bool(found == expected) and isinstance(found, bool) == isinstance(expected, bool)


def check_failures(harness: SinkHarness, prepare: Callable[[Rows], Prepared[Any]]) -> None:
    """Fail unless a row that cannot be written is named, by its place, with a reason."""
    skip_unless(harness.refused, "a row that cannot be written")
    assert harness.refused is not None
    good: list[Row] = [{**harness.refused, "n": n, **_plain(harness.refused)} for n in (0, 2)]
    prepared = prepare(rows_of([good[0], harness.refused, good[1]], closed=True))
    assert set(prepared.failures) == {1}, f"row 1 of 3 cannot be written; named are {dict(prepared.failures)}"
    assert len(prepared.failures[1]) > 10, f"the reason says little: {prepared.failures[1]!r}"


def _plain(refused: Row) -> Row:
    """Return a good value for each column of a row that is refused."""
    return {column: "plain" for column in refused if column != "n"}


def check_closes(open_sink: Callable[[], Any], write: Callable[[Any, Rows], None]) -> None:
    """Fail unless closing, twice, leaves nothing open, and a sink that was never used closes, too."""
    first = 0

    def use() -> object:
        nonlocal first
        sink = open_sink()
        write(sink, numbered_rows(first, 1))
        first += 1
        sink.close()
        sink.close()
        return sink

    check_nothing_stays_open(use)
    open_sink().close()
