"""Batches in hand: side by side, but one that was handed out before is alone in its process."""

import threading
from dataclasses import dataclass

import pytest

pytest.importorskip("pyarrow")

from headrace.engine.dataset_turns import BatchTurns


@dataclass
class Message:
    delivery_count: int


@dataclass
class Poll:
    leases: list


def test_new_batches_are_in_hand_side_by_side():
    turns = BatchTurns()
    with turns.taken(lambda: Poll([Message(1)])), turns.taken(lambda: Poll([Message(1)])) as second:
        assert second is not None


@pytest.mark.parametrize("end", [None, RuntimeError("a file")])
def test_nothing_is_leased_beside_a_batch_that_was_handed_out_before(end):
    turns, leased, asked = BatchTurns(), threading.Event(), threading.Event()

    def other():
        asked.set()
        with turns.taken(leased.set):
            pass

    thread = threading.Thread(target=other)
    try:
        with turns.taken(lambda: Poll([Message(1), Message(2)])):
            thread.start()
            assert asked.wait(5)
            assert not leased.wait(0.05)
            if end is not None:
                raise end
    except RuntimeError:
        assert end is not None
    thread.join(5)
    assert leased.is_set()


def test_a_batch_that_was_handed_out_before_waits_for_those_in_hand():
    turns, leased, begun = BatchTurns(), threading.Event(), threading.Event()

    def lease():
        leased.set()
        return Poll([Message(3)])

    def other():
        with turns.taken(lease):
            begun.set()

    thread = threading.Thread(target=other)
    with turns.taken(lambda: Poll([Message(1)])):
        thread.start()
        assert leased.wait(5)
        assert not begun.wait(0.05)
    assert begun.wait(5)
    thread.join(5)
