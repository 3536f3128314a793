"""What every remote sink must do: a block that was delivered is there, and once if it is delivered again."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from headrace.clock import Clock
from headrace.connect.sink import RemoteSink, Rows
from headrace.errors import DataError, HeadraceError, Transient, UserError
from headrace.testing.conformance.running import check_transient, recovered, skip_unless
from headrace.testing.conformance.sinking import (
    TYPED_ROWS,
    SinkHarness,
    check_closes,
    check_failures,
    check_types,
    check_written,
    numbered_rows,
    rows_of,
)

#: The producers of two instances.
_ONE, _OTHER = "job/instance-0", "job/instance-1"


class RemoteHarness(SinkHarness, Protocol):
    """Opens a sink and stands between it and its target.

    `once` says what the docs of the connector promise: each row once, or at least once where a delivery is
    repeated.
    """

    clock: Clock
    once: bool = True

    #: Whether the target holds equal rows side by side; not where its rows have keys.
    keeps_equal_rows: bool = True

    #: Whether `cut`, `lose_answers`, `refuse` and `heal` do something.
    breaks: bool = False

    def open(self) -> RemoteSink:
        """Open the sink as a process that starts would; the suite closes it."""
        ...

    def cut(self) -> None:
        """From now on the target cannot be reached, and takes nothing."""

    def lose_answers(self) -> None:
        """From now on the target takes what it is given, and the connection breaks before it says so."""

    def refuse(self) -> None:
        """From now on the target says that it will never take the rows."""

    def heal(self) -> None:
        """From now on the target is well."""


class RemoteSinkSuite:
    """The tests of a remote sink; subclass it with a fixture `harness`."""

    def test_what_was_delivered_is_there_in_order(self, harness: RemoteHarness) -> None:
        """Each row of each block, also of a large one and after the sink was opened anew."""
        for sequence, (first, count) in enumerate(((0, 3), (3, 1), (4, 2_500)), start=1):
            with _opened(harness) as sink:
                sink.deliver(_block(sink, numbered_rows(first, count)), _ONE, sequence)
        check_written(harness, range(2_504), "after three blocks")

    def test_rows_of_all_types_come_back(self, harness: RemoteHarness) -> None:
        """Values of all types, NULLs, nested ones, all letters and the ends of ranges."""
        with _opened(harness) as sink:
            sink.deliver(_block(sink, rows_of(TYPED_ROWS, closed=True)), _ONE, 1)
        check_types(harness)

    def test_preparing_delivers_nothing(self, harness: RemoteHarness) -> None:
        """What was prepared and not delivered is not there."""
        with _opened(harness) as sink:
            assert sink.prepare(numbered_rows(0, 3)).rows == 3, "it counts the rows that it was given"
        check_written(harness, [], "after prepare alone")

    def test_a_block_delivered_again_changes_nothing(self, harness: RemoteHarness) -> None:
        """Under the same producer and sequence, by the same process or the next."""
        with _opened(harness) as sink:
            blocks = [_block(sink, numbered_rows(first, 3)) for first in (0, 3)]
            sink.deliver(blocks[0], _ONE, 1)
            sink.deliver(blocks[0], _ONE, 1)
            sink.deliver(blocks[1], _ONE, 2)
        with _opened(harness) as sink:
            sink.deliver(blocks[1], _ONE, 2)
            sink.deliver(_block(sink, numbered_rows(6, 1)), _ONE, 3)
        _check(harness, 7, "delivered again")

    def test_equal_blocks_under_their_own_names_are_all_there(self, harness: RemoteHarness) -> None:
        """Another producer, or the next sequence, is another block, whatever it holds."""
        with _opened(harness) as sink:
            block = _block(sink, numbered_rows(0, 2))
            for producer, sequence in ((_ONE, 1), (_OTHER, 1), (_ONE, 2), (_OTHER, 2)):
                sink.deliver(block, producer, sequence)
        skip_unless(harness.keeps_equal_rows, "equal rows side by side")
        found = Counter(int(row["n"]) for row in harness.read())
        assert found == {0: 4, 1: 4}, f"four blocks with rows 0 and 1 were delivered; found {dict(found)}"

    def test_a_dead_target_is_transient_and_loses_nothing(self, harness: RemoteHarness) -> None:
        """Delivering raises Transient; the same block then goes through, once."""
        skip_unless(harness.breaks, "a target that breaks")
        with _opened(harness) as sink:
            sink.deliver(_block(sink, numbered_rows(0, 2)), _ONE, 1)
            block = _block(sink, numbered_rows(2, 3))
            harness.cut()
            for _ in range(2):
                check_transient(lambda: sink.deliver(block, _ONE, 2), "delivering to a dead target")
            harness.heal()
            recovered(harness.clock, lambda: sink.deliver(block, _ONE, 2))
        check_written(harness, range(5), "with a target that was dead")

    def test_an_answer_that_was_lost_doubles_nothing(self, harness: RemoteHarness) -> None:
        """The target took the block and could not say so: it is delivered again, and is there once."""
        skip_unless(harness.breaks, "a target that breaks")
        with _opened(harness) as sink:
            block = _block(sink, numbered_rows(0, 3))
            harness.lose_answers()
            with contextlib.suppress(Transient):
                sink.deliver(block, _ONE, 1)
        harness.heal()
        with _opened(harness) as sink:
            recovered(harness.clock, lambda: sink.deliver(block, _ONE, 1))
            sink.deliver(_block(sink, numbered_rows(3, 1)), _ONE, 2)
        _check(harness, 4, "after an answer that was lost")

    def test_rows_that_are_refused_for_ever_are_no_transient_error(self, harness: RemoteHarness) -> None:
        """It is a DataError or UserError that says so; asked again once it is well the target takes them."""
        skip_unless(harness.breaks, "a target that refuses")
        with _opened(harness) as sink:
            block = _block(sink, numbered_rows(0, 2))
            harness.refuse()
            try:
                sink.deliver(block, _ONE, 1)
            except (DataError, UserError):
                pass  # as it must
            except HeadraceError as error:
                raise AssertionError(
                    f"{type(error).__name__} would be tried again for ever: {error}"
                ) from error
            else:
                raise AssertionError("the target refused the rows, and they count as delivered")
            harness.heal()
            recovered(harness.clock, lambda: sink.deliver(block, _ONE, 1))
        check_written(harness, range(2), "after the target refused them")

    def test_a_row_that_cannot_be_written_is_named(self, harness: RemoteHarness) -> None:
        """By its place in the batch, and with the reason."""
        with _opened(harness) as sink:
            check_failures(harness, sink.prepare)

    def test_closing_leaves_nothing_open(self, harness: RemoteHarness) -> None:
        """Neither files nor threads stay; a second close does nothing."""
        sequence = 0

        def write(sink: RemoteSink, rows: Rows) -> None:
            nonlocal sequence
            sequence += 1
            sink.deliver(_block(sink, rows), _ONE, sequence)

        check_closes(harness.open, write)


@contextlib.contextmanager
def _opened(harness: RemoteHarness) -> Iterator[RemoteSink]:
    with contextlib.closing(harness.open()) as sink:
        yield sink


def _block(sink: RemoteSink, rows: Rows) -> bytes:
    prepared = sink.prepare(rows)
    assert prepared.rows == rows.batch.height, f"{rows.batch.height} rows, counted as {prepared.rows}"
    assert not prepared.failures, f"rows that can be written are refused: {dict(prepared.failures)}"
    return prepared.payload


def _check(harness: RemoteHarness, count: int, when: str) -> None:
    """Fail unless all rows are there: once, or where no more is promised at least once."""
    if harness.once:
        check_written(harness, range(count), when)
        return
    found = {int(row["n"]) for row in harness.read()}
    assert found == set(range(count)), f"{when}: of {count} rows there are {sorted(found)}"
