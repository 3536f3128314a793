"""The word for how a job is: never "running" where it does not get on."""

import pytest

from headrace.engine.health import COMMITTED, IDLE_AFTER_S, STALLED_AFTER_S, health_of
from headrace.local.progress import Condition, InstanceState

NOW_US = 1_800_000_000_000_000
LONG_S = STALLED_AFTER_S + 1


def state(doing="running", *, beat_s=0.1, committed_s=0.2, started_s=100.0, note="", number=0):
    """Return an instance that reported, committed and started so many seconds ago."""
    ago_us = [NOW_US - int(seconds * 1e6) for seconds in (started_s, beat_s, committed_s)]
    condition = Condition(doing, ago_us[0], note)
    counters = {COMMITTED: ago_us[2]}
    return InstanceState("job", f"instance-{number}", 7, ago_us[0], ago_us[1], counters, condition)


@pytest.mark.parametrize(
    ("states", "lag", "held", "word"),
    [
        ([], 0, False, "stopped"),
        ([state("ended", beat_s=1e6)], 9, False, "stopped"),
        ([state("ended", note="cannot divide by zero")], 0, False, "failed"),
        ([state("running", beat_s=1e6)], 0, False, "failed"),
        ([], 5, True, "starting"),
        ([state("ended", beat_s=1e6)], 5, True, "starting"),
        ([state("ended", note="cannot divide by zero")], 5, True, "failed"),
        ([state("starting")], 5, True, "starting"),
        ([state("starting", beat_s=LONG_S)], 5, True, "stalled"),
        ([state()], 5, True, "running"),
        ([state()], 0, True, "running"),
        ([state()], None, True, "running"),
        ([state(committed_s=IDLE_AFTER_S + 1)], 0, True, "idle"),
        ([state(committed_s=IDLE_AFTER_S + 1)], None, True, "idle"),
        ([state(committed_s=IDLE_AFTER_S + 1)], 5, True, "running"),
        ([state(committed_s=LONG_S)], 0, True, "idle"),
        ([state(committed_s=LONG_S)], 5, True, "stalled"),
        ([state(committed_s=LONG_S, started_s=2)], 5, True, "running"),
        ([state(beat_s=LONG_S)], 0, True, "stalled"),
        ([state("retrying", note="output 'hook': it answers 503")], 5, True, "retrying"),
        ([state("retrying", beat_s=LONG_S)], 5, True, "stalled"),
        ([state(), state("retrying", number=1)], 0, True, "retrying"),
        ([state(), state(beat_s=LONG_S, number=1)], 0, True, "stalled"),
        ([state(), state("ended", beat_s=LONG_S, number=1)], 0, True, "running"),
        ([state(), state("starting", number=1)], 0, True, "running"),
    ],
)
def test_what_instances_report_makes_one_word(states, lag, held, word):
    assert health_of(states, lag, NOW_US, held=held) == word


def test_an_instance_that_was_never_counted_as_committing_is_judged_by_its_start():
    young = state(started_s=3)._replace(counters={})
    old = state(started_s=LONG_S)._replace(counters={})
    assert health_of([young], 5, NOW_US) == "running"
    assert health_of([old], 5, NOW_US) == "stalled"
