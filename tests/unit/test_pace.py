import statistics

import pytest

from headrace.clock import ManualClock
from headrace.engine.pace import EPOCH_S, LONGEST_REST_S, LONGEST_TICK_S, SHORTEST_TICK_S, Pace, Ticking
from headrace.engine.tasks import FIRST_BATCH_ROWS
from headrace.limits import MAX_BATCH_ROWS


def epoch(pace, clock, rows, took_s):
    with pace.timed(rows, full=rows >= pace.rows):
        clock.sleep(took_s)


def test_batches_grow_while_full_ones_are_quick():
    clock = ManualClock()
    pace = Pace(clock)
    epoch(pace, clock, pace.rows, EPOCH_S / 10)
    assert pace.rows == 8 * FIRST_BATCH_ROWS
    epoch(pace, clock, pace.rows, EPOCH_S / 2)
    assert pace.rows == 16 * FIRST_BATCH_ROWS
    epoch(pace, clock, pace.rows, EPOCH_S / 4)
    assert pace.rows == 64 * FIRST_BATCH_ROWS


def test_batches_stop_growing_at_the_limit():
    clock = ManualClock()
    pace = Pace(clock)
    for _ in range(30):
        epoch(pace, clock, pace.rows, EPOCH_S / 100)
    assert pace.rows == MAX_BATCH_ROWS


def test_batches_that_are_not_full_do_not_grow():
    clock = ManualClock()
    pace = Pace(clock)
    epoch(pace, clock, 1, EPOCH_S / 10)
    assert pace.rows == FIRST_BATCH_ROWS


def test_a_slow_epoch_makes_the_next_batch_smaller_but_never_empty():
    clock = ManualClock()
    pace = Pace(clock)
    epoch(pace, clock, FIRST_BATCH_ROWS, 100 * EPOCH_S)
    assert 1 <= pace.rows < FIRST_BATCH_ROWS
    epoch(pace, clock, pace.rows, 10_000 * EPOCH_S)
    assert pace.rows == 1


@pytest.mark.parametrize("fixed_s", [0.25, 0.6, 1.5])
def test_batches_that_cost_the_same_however_small_they_are_become_large(fixed_s):
    clock = ManualClock()
    pace = Pace(clock)
    rows = []
    for _ in range(200):
        epoch(pace, clock, pace.rows, fixed_s + pace.rows / 100_000)
        rows.append(pace.rows)
    assert statistics.median(rows) >= 10_000


def test_batches_are_small_again_once_they_cost_by_the_row():
    clock = ManualClock()
    pace = Pace(clock)
    for _ in range(30):
        epoch(pace, clock, pace.rows, 0.5 + pace.rows / 100_000)
    for _ in range(60):
        epoch(pace, clock, pace.rows, pace.rows / 10_000)
    assert 400 <= pace.rows <= 3_000


def test_rests_lengthen_while_nothing_comes_and_are_short_again_after_work():
    clock = ManualClock()
    pace = Pace(clock)
    rests = []
    for _ in range(12):
        began = clock.now_us()
        pace.rest()
        rests.append(clock.now_us() - began)
    assert rests == sorted(rests)
    assert rests[-1] == int(LONGEST_REST_S * 1e6)
    epoch(pace, clock, 1, 0.001)
    began = clock.now_us()
    pace.rest()
    assert clock.now_us() - began == rests[0]


def test_time_is_let_pass_soon_behind_events_and_the_more_seldom_the_less_comes_of_it():
    clock = ManualClock()
    ticking = Ticking(clock)
    pauses = []
    for _ in range(8):
        began_ns = clock.monotonic_ns()
        while not ticking.due:
            clock.sleep(0.005)
        pauses.append((clock.monotonic_ns() - began_ns) / 1e9)
        ticking.ticked(fruitful=False)
    assert pauses[0] == 0
    assert pauses[1:] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, LONGEST_TICK_S, LONGEST_TICK_S])
    ticking.wake()
    clock.sleep(SHORTEST_TICK_S)
    assert ticking.due
