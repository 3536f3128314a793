"""Which tasks an instance takes and gives back, by number and by who is there."""

import pytest

from headrace.clock import ManualClock
from headrace.engine.shares import TAKE_OVER_AFTER_S, Shares
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def progress(tmp_path, clock):
    with Namespace.open(tmp_path / "data", clock=clock) as namespace:
        yield Progress(namespace)


def chosen(choose, tasks=6):
    return [task for task in range(tasks) if choose(task)]


def test_every_nth_task_is_an_instances_own(progress, clock):
    shares = Shares(progress, "job", 1, 3, clock)
    shares.refresh()
    assert chosen(shares.takes) == [1, 4]


def test_tasks_of_an_instance_that_is_not_heard_of_are_taken_over_after_a_while(progress, clock):
    shares = Shares(progress, "job", 0, 2, clock)
    clock.sleep(TAKE_OVER_AFTER_S - 0.1)
    progress.beat("job", "instance-1", {})
    clock.sleep(0.2)
    shares.refresh()
    assert chosen(shares.takes) == [0, 2, 4]
    clock.sleep(TAKE_OVER_AFTER_S)
    shares.refresh()
    assert chosen(shares.takes) == [0, 1, 2, 3, 4, 5]
    assert chosen(shares.gives) == []


def test_what_was_taken_over_is_given_back_to_an_instance_that_returns(progress, clock):
    shares = Shares(progress, "job", 0, 2, clock)
    clock.sleep(TAKE_OVER_AFTER_S)
    progress.beat("job", "instance-1", {})
    shares.refresh()
    assert chosen(shares.gives) == [1, 3, 5]


def test_a_job_that_is_asked_to_run_as_more_or_fewer_is_shared_anew(progress, clock):
    first, second = (Shares(progress, "job", number, 2, clock) for number in range(2))
    progress.set_scale("job", 3)
    for shares in (first, second):
        shares.refresh()
    assert (chosen(first.takes), chosen(second.takes)) == ([0, 3], [1, 4])
    progress.set_scale("job", 1)
    for shares in (first, second):
        shares.refresh()
    assert (chosen(first.takes), first.wanted, second.wanted) == ([0, 1, 2, 3, 4, 5], True, False)
    progress.set_scale("job", None)
    second.refresh()
    assert second.wanted
