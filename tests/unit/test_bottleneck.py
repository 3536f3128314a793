"""What limits a job, from counters that are made up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.bottleneck import Ground, find
from headrace.engine.spans import Look
from headrace.engine.stages import STAGES
from headrace.local.progress import Condition, InstanceState

WALL_S = 10.0
PLENTY = {"events": 10**9}


def state(number=0, wall_s=0.0, *, rows=0, batches=0, condition="running", note="", limit=10_000, **seconds):
    """An instance `wall_s` after its start; `seconds` are times by counter, as ``score`` or ``cpu``."""
    counters = {
        "wall_ms": 1e3 * wall_s,
        "events_in": rows,
        "epochs": batches,
        "batch_limit_rows": limit,
        **{f"{name}_ms": 1e3 * spent for name, spent in seconds.items()},
    }
    doing = Condition(condition, 0, note)
    return InstanceState("work", f"instance-{number}", 100 + number, 0, int(1e6 * wall_s), counters, doing)


def found(*instances, cores=8, tasks=8, waiting=PLENTY, waited=None, elsewhere=0.0):
    """What is found of instances, each given by what it did in ten seconds."""
    before = Look([state(number) for number in range(len(instances))], waited or waiting, 0, 0, 0)
    after = [state(number, WALL_S, **does) for number, does in enumerate(instances)]
    cpu_s = sum(does.get("cpu", 0) for does in instances) + elsewhere * WALL_S
    return find("work", before, Look(after, waiting, 3, cpu_s, WALL_S), Ground(cores, tasks))


def works(rows=1_000, batches=20, cpu=1.0, **seconds):
    return {"rows": rows, "batches": batches, "cpu": cpu, **seconds}


def test_a_stage_that_waits_doubles_with_a_second_instance():
    finding = found(works(score=9.0, score_cpu=0.1, decode=0.5))
    assert finding.limit == "score"
    assert finding.rate == pytest.approx(100)
    assert finding.next_rate == pytest.approx(200, rel=0.01)
    assert finding.held_by is None
    assert finding.gain == pytest.approx(2, rel=0.01)
    assert "waiting" in finding.why
    assert "headrace scale work 2" in finding.help


def test_a_stage_that_computes_shares_the_processors():
    finding = found(works(cpu=9.5, score=9.0, score_cpu=8.9), cores=1)
    assert (finding.limit, finding.held_by) == ("score", "cores")
    assert finding.next_rate == pytest.approx(100 / 0.95)
    assert "computing" in finding.why


def test_processors_that_others_use_are_not_there():
    finding = found(works(cpu=9.5, score=9.0, score_cpu=8.9), cores=2, elsewhere=1.0)
    assert finding.held_by == "cores"
    assert finding.next_rate == pytest.approx(100 / 0.95)


@pytest.mark.parametrize("stage", STAGES)
def test_the_stage_that_takes_the_most_of_the_time_is_named(stage):
    times = dict.fromkeys(STAGES, 0.5) | {stage: 6.0}
    assert found(works(rows=100_000, **times)).limit == stage


def test_reading_ahead_limits_only_where_the_loop_waits_for_it():
    # 7 s of decoding beside the loop, which works for 9 s, or for 4 s.
    beside = {"decode": 7.0, "background": 7.0}
    assert found(works(query=9.0, **beside)).limit == "query"
    assert found(works(query=4.0, **beside)).limit == "decode"
    assert found(works(query=4.0, write=5.0, **beside)).limit == "write"


def test_commits_take_turns():
    finding = found(works(rows=200_000, commit=8.0, query=1.0))
    assert (finding.limit, finding.held_by) == ("commit", "commits")
    assert 24_000 < finding.next_rate < 25_000
    two = found(*[works(rows=125_000, batches=10, commit=5.0, lock_wait=4.0, query=0.7)] * 2)
    assert two.limit == "commit"
    assert two.next_rate == pytest.approx(two.rate, rel=0.02)
    assert "turn" in two.why


def test_one_more_instance_than_tasks_brings_nothing():
    finding = found(works(score=9.0), tasks=1)
    assert (finding.limit, finding.held_by) == ("score", "partitions")
    assert finding.next_rate == finding.rate


def test_an_instance_without_work_says_that_partitions_are_few():
    finding = found(works(score=9.5), works(rows=0, batches=0, idle=9.9), tasks=2)
    assert (finding.limit, finding.held_by) == ("partitions", "partitions")
    assert finding.next_rate == finding.rate
    assert "1 of 2 instances" in finding.why


def test_a_job_without_backlog_keeps_up_however_busy_it_is():
    for idle in (0.0, 5.0, 9.5):
        finding = found(works(score=9.9 - idle, idle=idle), waiting={"events": 20})
        assert (finding.limit, finding.held_by) == ("input", "input")
        assert finding.next_rate == finding.rate


def test_a_small_backlog_that_grows_is_no_keeping_up():
    finding = found(works(score=9.9), waited={"events": 0}, waiting={"events": 150})
    assert finding.limit == "score"


def test_where_nobody_can_count_what_waits_idleness_tells():
    unknown = {"events": None}
    assert found(works(score=5.0, idle=4.9), waiting=unknown).limit == "input"
    assert found(works(score=9.5, idle=0.2), waiting=unknown).limit == "score"


def test_batches_that_the_input_keeps_small_are_named():
    few = works(rows=8_000, batches=1_000, commit=7.0, read=1.0, limit=10_000)
    finding = found(few, tasks=None)
    assert finding.limit == "batches"
    assert "8.0 events at a time" in finding.why
    # Leases and commits take turns, and to hand these over takes a tenth of the time.
    assert finding.rate <= finding.next_rate < 8_000 / (7 + 1 + 1)
    assert finding.held_by == "commits"


def test_batches_that_are_wanted_no_larger_are_not():
    assert found(works(rows=8_000, batches=1_000, commit=7.0, limit=8)).limit == "commit"
    assert found(works(rows=8_000, batches=1_000, score=7.0, limit=10_000)).limit == "score"


def test_fewer_partitions_each_make_small_batches_smaller():
    few = works(rows=8_000, batches=1_000, commit=4.0, read=5.0, limit=10_000)
    finding = found(few, tasks=4)
    assert finding.next_rate <= finding.rate


def test_an_output_that_takes_no_rows_limits_before_all_else():
    finding = found({**works(idle=9.0), "condition": "retrying", "note": "output 'to' is not there"})
    assert finding.limit == "output"
    assert "output 'to' is not there" in finding.why
    assert "3 blocks wait" in finding.why


def test_an_instance_that_did_not_report_or_began_anew_is_left_out():
    still = state(0, 5.0)
    assert find("work", Look([still]), Look([still]), Ground(2)) is None
    again = state(0, 2.0, rows=5)._replace(pid=7)
    assert find("work", Look([still]), Look([again]), Ground(2)) is None


def test_stages_that_took_no_time_have_no_bound():
    rates = {rate.stage: rate.rate for rate in found(works(score=5.0)).stages}
    assert rates["score"] == pytest.approx(200)
    assert rates["write"] == math.inf


#: A stage took no time, or as much as a clock can tell.
TIMES = st.fixed_dictionaries({stage: st.just(0.0) | st.floats(1e-9, 5) for stage in STAGES})


@given(TIMES, st.floats(0.01, 40), st.integers(1, 100_000), st.floats(0.5, 4))
def test_a_machine_that_takes_longer_for_all_has_lower_rates_and_the_same_limit(times, cpu, rows, factor):
    def slower(factor):
        spent = {name: spent * factor for name, spent in times.items()}
        before = Look([state()], PLENTY)
        after = state(0, WALL_S * factor, rows=rows, cpu=cpu * factor, **spent)
        return find("work", before, Look([after], PLENTY), Ground(4, 4))

    one, other = slower(1.0), slower(factor)
    assert other.limit == one.limit
    assert other.held_by == one.held_by
    assert other.rate == pytest.approx(one.rate / factor)
    assert other.next_rate == pytest.approx(one.next_rate / factor)
    for a, b in zip(one.stages, other.stages, strict=True):
        assert b.rate == pytest.approx(a.rate / factor)


@given(TIMES, st.floats(0.01, 40), st.integers(1, 4), st.integers(1, 6), st.integers(1, 8))
def test_one_more_instance_adds_at_most_what_each_adds_now(times, cpu, instances, tasks, cores):
    finding = found(*[works(rows=50_000, cpu=cpu, **times)] * instances, cores=cores, tasks=tasks)
    assert finding.rate <= finding.next_rate * (1 + 1e-9)
    assert finding.next_rate <= finding.rate * (instances + 1) / instances * (1 + 1e-9)
    if tasks <= instances:
        assert finding.next_rate == finding.rate
