"""What every staged sink must do: what was staged counts from the commit on that publishes it, else never."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from headrace.connect.sink import Rows, StagedSink
from headrace.errors import HeadraceError
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

#: Far more than the rows of a test make.
_MOST_FILES: Final = 100


class StagedSinkSuite:
    """The tests of a staged sink; subclass it with a fixture `harness`.

    What its `read` returns is what readers of the target see once the sink has been resumed.
    """

    def test_what_commits_published_is_there_once_and_in_order(
        self, harness: CommitHarness[StagedSink]
    ) -> None:
        """Each row of each commit, once, also of a large batch and after a restart between commits."""
        for first, count in ((0, 3), (3, 1), (4, 2_500)):
            with _resumed(harness) as sink:
                _write(harness, sink, numbered_rows(first, count))
                _write(harness, sink, numbered_rows(first + 10_000, 1))
        _resume(harness)
        expected = [*range(3), 10_000, 3, 10_003, *range(4, 2_504), 10_004]
        check_written(harness, expected, "after six commits and three starts")

    def test_rows_of_all_types_come_back(self, harness: CommitHarness[StagedSink]) -> None:
        """Values of all types, NULLs, nested ones, all letters and the ends of ranges."""
        with _resumed(harness) as sink:
            _write(harness, sink, rows_of(TYPED_ROWS, closed=True))
        _resume(harness)
        check_types(harness)

    def test_what_was_staged_and_not_published_is_swept(self, harness: CommitHarness[StagedSink]) -> None:
        """A process that dies before its commit leaves nothing, the next goes on behind what counts."""
        with _resumed(harness) as sink:
            _write(harness, sink, numbered_rows(0, 2))
            sink.stage(_payload(sink, numbered_rows(2, 5)))
        _resume(harness)
        check_written(harness, range(2), "after a process that died before its commit")
        with _resumed(harness) as sink:
            _write(harness, sink, numbered_rows(7, 2))
        _resume(harness)
        check_written(harness, [0, 1, 7, 8], "written after a process that died before its commit")

    def test_a_first_commit_that_never_came_leaves_nothing(self, harness: CommitHarness[StagedSink]) -> None:
        """What the very first process staged is swept as well."""
        with _resumed(harness) as sink:
            sink.stage(_payload(sink, numbered_rows(0, 2)))
        _resume(harness)
        check_written(harness, [], "after a first process that died before its commit")

    def test_a_commit_that_is_undone_publishes_nothing(self, harness: CommitHarness[StagedSink]) -> None:
        """What is staged next takes its place, also a shorter payload."""
        with _resumed(harness) as sink:
            staged = sink.stage(_payload(sink, numbered_rows(0, 50)))
            with contextlib.suppress(UndoneError), harness.commit() as tx:
                sink.publish(tx, staged)
                raise UndoneError
            _write(harness, sink, numbered_rows(50, 2))
        _resume(harness)
        check_written(harness, [50, 51], "after a commit that was undone")

    def test_what_is_staged_again_takes_the_place_of_the_first(
        self, harness: CommitHarness[StagedSink]
    ) -> None:
        """Only what was staged last is published."""
        with _resumed(harness) as sink:
            payload = _payload(sink, numbered_rows(0, 3))
            sink.stage(payload)
            staged = sink.stage(payload)
            with harness.commit() as tx:
                sink.publish(tx, staged)
        _resume(harness)
        check_written(harness, range(3), "staged twice, published once")

    def test_a_process_that_was_overtaken_changes_nothing(self, harness: CommitHarness[StagedSink]) -> None:
        """One that wakes after its heir has written is refused, or has no effect."""
        with _resumed(harness) as overtaken:
            _write(harness, overtaken, numbered_rows(0, 1))
            with _resumed(harness) as heir:
                _write(harness, heir, numbered_rows(1, 1))
                with contextlib.suppress(HeadraceError):
                    overtaken.stage(_payload(overtaken, numbered_rows(90, 3)))
                _write(harness, heir, numbered_rows(2, 1))
        _resume(harness)
        check_written(harness, range(3), "with a process that was overtaken")

    def test_a_row_that_cannot_be_written_is_named(self, harness: CommitHarness[StagedSink]) -> None:
        """By its place in the batch, and with the reason."""
        with _resumed(harness) as sink:
            check_failures(harness, sink.prepare)

    def test_closing_leaves_nothing_open(self, harness: CommitHarness[StagedSink]) -> None:
        """Neither files nor threads stay; a second close does nothing."""

        def open_sink() -> StagedSink:
            sink = harness.open()
            sink.resume()
            return sink

        check_closes(open_sink, lambda sink, rows: _write(harness, sink, rows))


@contextlib.contextmanager
def _resumed(harness: CommitHarness[StagedSink]) -> Iterator[StagedSink]:
    with contextlib.closing(harness.open()) as sink:
        sink.resume()
        yield sink


def _resume(harness: CommitHarness[StagedSink]) -> None:
    """Start once more and end: what nobody published is swept by that, and files that are whole appear."""
    with _resumed(harness) as sink:
        for _ in range(_MOST_FILES):
            settled = sink.settle(ending=True)
            if settled is None:
                return
            with harness.commit() as tx:
                sink.publish(tx, settled)
    raise AssertionError(f"after {_MOST_FILES} times there is still something to settle")


def _payload(sink: StagedSink, rows: Rows) -> bytes:
    prepared = sink.prepare(rows)
    assert prepared.rows == rows.batch.height, f"{rows.batch.height} rows, counted as {prepared.rows}"
    assert not prepared.failures, f"rows that can be written are refused: {dict(prepared.failures)}"
    return prepared.payload


def _write(harness: CommitHarness[StagedSink], sink: StagedSink, rows: Rows) -> None:
    staged = sink.stage(_payload(sink, rows))
    with harness.commit() as tx:
        sink.publish(tx, staged)
