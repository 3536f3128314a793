from __future__ import annotations

import polars as pl
import pytest

from headrace.clock import ManualClock
from headrace.engine.journal import LOGGER, Journal
from headrace.engine.stages import GAUGES, STAGES, StageClocks, memory_bytes
from headrace.engine.stateful import rows_in
from headrace.engine.telemetry import difference, rates
from headrace.events.watermark import Policy, Tally, judged
from headrace.local.progress import Condition, InstanceState


def _state(at_s: float, counters: dict[str, float], pid: int = 7) -> InstanceState:
    return InstanceState("j", "instance-0", pid, 0, int(at_s * 1e6), counters, Condition("running", 0))


def test_a_stage_counts_its_calls_and_the_time_of_its_block() -> None:
    clock = ManualClock()
    clocks = StageClocks(clock)
    with clocks.stage("query") as work:
        clock.sleep(0.25)
        work.rows_in += 10
    counters = clocks.counters()
    assert (counters["query_ms"], counters["query_calls"], counters["query_rows_in"]) == (250.0, 1, 10)
    assert "query_rows_out" not in counters


def test_time_that_a_stage_waits_is_not_time_that_it_is_busy() -> None:
    clock = ManualClock()
    clocks = StageClocks(clock)
    with clocks.stage("commit"):
        asked_ns = clocks.now_ns()
        clock.sleep(0.2)
        clocks.waited("lock_wait", asked_ns, within="commit")
        clock.sleep(0.1)
    counters = clocks.counters()
    assert (counters["commit_ms"], counters["lock_wait_ms"], counters["wall_ms"]) == (100.0, 200.0, 300.0)


def test_time_and_rows_of_calls_go_from_the_query_to_the_score() -> None:
    clock = ManualClock()
    clocks = StageClocks(clock)
    with clocks.stage("query"):
        clock.sleep(0.5)
    clocks.move("query", "score", 400_000_000, 2, 30)
    counters = clocks.counters()
    assert (counters["query_ms"], counters["score_ms"], counters["score_calls"]) == (100.0, 400.0, 2)
    assert counters["score_rows_in"] == counters["score_rows_out"] == 30


def test_every_stage_and_the_process_itself_are_among_the_counters() -> None:
    counters = StageClocks(ManualClock(), lambda: {"state_rows": 3}).counters()
    assert {f"{stage}_ms" for stage in STAGES} <= counters.keys()
    assert counters["cpu_ms"] > 0
    assert counters["memory_bytes"] > 1_000_000
    assert counters["state_rows"] == 3


def test_memory_is_that_of_this_process() -> None:
    assert 1_000_000 < memory_bytes() < 100_000_000_000


def test_what_the_policy_finds_is_counted_by_input() -> None:
    clocks = StageClocks(ManualClock())
    clocks.read("readings", events=10)
    clocks.read("readings", events=5, late=2, early=0)
    counters = clocks.counters()
    assert (counters["events/readings"], counters["late/readings"]) == (15, 2)
    assert "early/readings" not in counters


def test_rates_are_the_growth_between_two_reports() -> None:
    before = _state(10, {"events_in": 100, "query_ms": 0, "cpu_ms": 500})
    after = _state(12, {"events_in": 700, "query_ms": 1000, "cpu_ms": 3500, "idle_ms": 500})
    found = rates(before, after)
    assert found is not None
    assert (found.seconds, found.events_in_per_s, found.busy["query"]) == (2.0, 300.0, 0.5)
    assert (found.cpu, found.idle) == (1.5, 0.25)


@pytest.mark.parametrize("after", [_state(10, {}), _state(12, {}, pid=8)])
def test_one_report_or_another_process_gives_no_rate(after: InstanceState) -> None:
    assert rates(_state(10, {}), after) is None


def test_what_may_become_less_has_no_difference() -> None:
    gauges = dict.fromkeys(GAUGES, 5.0)
    assert difference(gauges, gauges | {"epochs": 4}) == {"epochs": 4}


@pytest.mark.parametrize("action", ["adjust", "drop"])
def test_a_policy_counts_what_is_early_late_out_of_order_and_without_a_time(action: str) -> None:
    arrival = pl.Series([1000, 1000, 1000, 1000, 1000]) * 1_000_000
    times = pl.Series([1000, 990, 999, None, 2000], dtype=pl.Int64) * 1_000_000
    found = judged(times, arrival, Policy(5, 0, action))  # type: ignore[arg-type]
    # What is late is moved to 995, which the watermark of 1000 is above.
    behind = 2 if action == "adjust" else 1
    assert found.tally == Tally(early=1, late=1, out_of_order=behind, untimed=1)


def test_where_nothing_is_late_nothing_is_counted() -> None:
    times = pl.Series([1, 2, 3]) * 1_000_000
    assert judged(times, times, Policy()).tally == Tally()


def test_the_rows_of_a_state_are_those_of_all_its_frames() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3]})
    assert rows_in({"one": [frame, {"two": (frame, None, "text", 5)}]}) == 6


def test_the_log_tells_once_what_begins_and_only_changes_of_tasks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=LOGGER.name)
    journal = Journal("j", 1)
    for _ in range(3):
        journal.began("rejected", "some are set aside", input="readings")
        journal.owns({"readings/0": False, "state": True})
    journal.owns({"state": True})
    events = [(record.event, record.fields.get("tasks")) for record in caplog.records]  # type: ignore[attr-defined]
    assert events == [
        ("rejected", None),
        ("tasks_taken", ["readings/0", "state"]),
        ("tasks_given", ["readings/0"]),
    ]
    assert "took readings/0, state with its state" in caplog.text
