"""What every local sink must do: rows are there if and only if the commit stands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from headrace.connect.sink import LocalSink, Rows
from headrace.testing.conformance.competing_source import UndoneError
from headrace.testing.conformance.sinking import (
    TYPED_ROWS,
    CommitHarness,
    check_closes,
    check_failures,
    check_types,
    check_written,
    numbered_rows,
    rows_of,
)


class LocalSinkSuite:
    """The tests of a local sink; subclass it with a fixture `harness`."""

    def test_what_commits_wrote_is_there_once_and_in_order(self, harness: CommitHarness[LocalSink]) -> None:
        """Each row of each commit, once, also of a large batch and after the sink was opened anew."""
        for first, count in ((0, 3), (3, 1), (4, 2_500)):
            with _opened(harness) as sink:
                _write(harness, sink, numbered_rows(first, count))
        check_written(harness, range(2_504), "after three commits")

    def test_rows_of_all_types_come_back(self, harness: CommitHarness[LocalSink]) -> None:
        """Values of all types, NULLs, nested ones, all letters and the ends of ranges."""
        with _opened(harness) as sink:
            _write(harness, sink, rows_of(TYPED_ROWS, closed=True))
        check_types(harness)

    def test_preparing_writes_nothing(self, harness: CommitHarness[LocalSink]) -> None:
        """What was prepared and not written is not there."""
        with _opened(harness) as sink:
            assert sink.prepare(numbered_rows(0, 3)).rows == 3, "it counts the rows that it was given"
        check_written(harness, [], "after prepare alone")

    def test_a_commit_that_is_undone_leaves_nothing(self, harness: CommitHarness[LocalSink]) -> None:
        """Not a row of it; and the same may be written again by the next."""
        with _opened(harness) as sink:
            _write(harness, sink, numbered_rows(0, 2))
            prepared = sink.prepare(numbered_rows(2, 2))
            with contextlib.suppress(UndoneError), harness.commit() as tx:
                sink.write(tx, prepared)
                raise UndoneError
            check_written(harness, range(2), "after a commit that was undone")
            with harness.commit() as tx:
                sink.write(tx, prepared)
        check_written(harness, range(4), "written again after the commit was undone")

    def test_two_instances_write_side_by_side(self, harness: CommitHarness[LocalSink]) -> None:
        """What one writes does not replace what another wrote."""
        with _opened(harness) as one, _opened(harness) as other:
            for first, sink in ((0, one), (2, other), (4, one)):
                _write(harness, sink, numbered_rows(first, 2))
        check_written(harness, range(6), "by two that have it open")

    def test_a_row_that_cannot_be_written_is_named(self, harness: CommitHarness[LocalSink]) -> None:
        """By its place in the batch, and with the reason."""
        with _opened(harness) as sink:
            check_failures(harness, sink.prepare)

    def test_closing_leaves_nothing_open(self, harness: CommitHarness[LocalSink]) -> None:
        """Neither files nor threads stay; a second close does nothing."""
        check_closes(harness.open, lambda sink, rows: _write(harness, sink, rows))


@contextlib.contextmanager
def _opened(harness: CommitHarness[LocalSink]) -> Iterator[LocalSink]:
    with contextlib.closing(harness.open()) as sink:
        yield sink


def _write(harness: CommitHarness[LocalSink], sink: LocalSink, rows: Rows) -> None:
    prepared = sink.prepare(rows)
    assert prepared.rows == rows.batch.height, f"{rows.batch.height} rows, counted as {prepared.rows}"
    assert not prepared.failures, f"rows that can be written are refused: {dict(prepared.failures)}"
    with harness.commit() as tx:
        sink.write(tx, prepared)
