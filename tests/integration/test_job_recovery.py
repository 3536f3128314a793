"""Where a process that kept state died: the next one rebuilds it from the record, silently and exactly."""

import pytest

from headrace.engine.stateful import SAVE_PAUSE_S, STATE_TASK
from headrace.errors import Fatal, Transient
from headrace.local.hub import Hub
from tests.integration.test_job_state import COUNTS, SECOND_US, START_US, Bench, at

BELOW_A_WINDOW = """
SELECT System.Timestamp() AS id, SUM(double(s)) AS n INTO rows
FROM events TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)
"""


class Death(BaseException):
    """The end of a process, as far as this test can have one."""


class DyingBench(Bench):
    """Its instances die, once a time has come, instead of ending in order."""

    def run_and_die(self, sql, seconds):
        end_us = self.clock.now_us() + int(seconds * SECOND_US)

        def wanted():
            if self.clock.now_us() >= end_us:
                raise Death
            return True

        with pytest.raises(Death):
            self.run(sql, wanted=wanted)

    @property
    def saved_epoch(self):
        return self.progress.state("job", STATE_TASK).epoch

    @property
    def epochs(self):
        return [epoch.number for epoch in self.progress.epochs("job", STATE_TASK)]


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.fixture
def bench(tmp_path):
    bench = DyingBench(tmp_path)
    yield bench
    bench.namespace.close()


def test_what_was_read_since_the_state_was_saved_is_read_again_and_written_once(bench):
    for second in range(1, 60):
        bench.publish(second, partition=second % 3)
        if second % 7 == 0:
            bench.run_and_die(COUNTS, 0.2)
            assert bench.saved_epoch < bench.epochs[-1]
    bench.run_for(COUNTS, 30)
    assert bench.counts() == {at(end): 10 for end in range(10, 60, 10)} | {at(60): 9}
    assert bench.progress.counts("job")["rows_out"] == 6
    assert bench.progress.counts("job")["events_in"] == 59


def test_after_an_orderly_end_nothing_is_read_again(bench):
    bench.publish(1, 2, 3)
    bench.run_for(COUNTS, 0.2)
    assert bench.saved_epoch == bench.epochs[-1]


def test_the_state_is_saved_now_and_then_and_what_it_knows_of_leaves_the_record(bench):
    for second in range(1, 200):
        bench.publish(second)
        bench.clock.us = START_US + second * SECOND_US
    bench.run_and_die(COUNTS, 3 * SAVE_PAUSE_S)
    assert bench.saved_epoch > 0
    assert bench.epochs[0] == bench.saved_epoch


def test_time_that_only_the_clock_told_is_on_record(bench):
    bench.publish(1, 4)
    bench.run_and_die(COUNTS, 13)
    assert bench.counts() == {at(10): 2}
    # It would belong into the window that is closed and written.
    bench.publish_at(25, {"t": at(3), "s": 3})
    bench.run_for(COUNTS, 30)
    assert bench.counts() == {at(10): 2, at(20): 1}


@pytest.mark.parametrize("late_seconds", [5, 600])
def test_what_was_read_under_another_policy_is_not_judged_again_by_a_new_one(bench, late_seconds):
    bench.settings("late_seconds = 60\n")
    bench.publish_at(100, {"t": at(45)})
    bench.publish_at(110, {"t": at(1)}, partition=1)
    for partition in range(3):
        bench.publish_at(115, {"t": at(55)}, partition=partition)
    bench.run_and_die(COUNTS, 0.2)
    assert bench.counts() == {at(50): 2}
    bench.settings(f"late_seconds = {late_seconds}\n")
    bench.publish_at(118, {"t": at(58)})
    bench.run_and_die(COUNTS, 0.2)
    bench.settings("late_seconds = 60\n")
    bench.run_for(COUNTS, 700)
    assert sum(bench.counts().values()) == 6


def test_a_model_whose_answers_state_depends_on_is_not_called_again(bench):
    (bench.folder / "functions.py").write_text(
        "import pathlib\n"
        "calls = pathlib.Path(__file__).with_name('calls')\n"
        "def double(value):\n"
        "    with calls.open('a') as file: file.write(f'{value}\\n')\n"
        "    return value * 2 + (0 if calls.read_text().count(f'{value}\\n') == 1 else 1000)\n"
        "class Spread: pass\n"
    )
    bench.publish(1, 2, 3)
    bench.run_and_die(BELOW_A_WINDOW, 0.2)
    bench.publish(4, 13)
    bench.run_and_die(BELOW_A_WINDOW, 0.2)
    bench.run_for(BELOW_A_WINDOW, 40)
    assert bench.counts() == {at(10): 20, at(20): 26}
    assert (bench.folder / "calls").read_text().split() == ["1", "2", "3", "4", "13"]


def test_an_event_that_failed_below_a_window_stays_out_of_it(bench):
    bench.publish(1, 2, 13)
    bench.publish(5, 12, partition=1)
    bench.run_and_die(BELOW_A_WINDOW, 0.2)
    bench.run_for(BELOW_A_WINDOW, 40)
    assert bench.counts() == {at(10): 2 * (1 + 2 + 5), at(20): 24}


def test_events_that_are_needed_and_gone_are_a_clear_end(bench):
    bench.publish(1, 2, 3)
    bench.run_and_die(COUNTS, 0.2)
    with Hub.open(bench.namespace.hubs_folder, "events") as hub:
        hub.expire(START_US + 60 * SECOND_US)
    for _ in range(2):
        with pytest.raises(Fatal, match=r"partition 0, from offset 0 on are not there any more.*--from now"):
            bench.run(COUNTS)


def test_a_state_that_could_not_be_rebuilt_is_rebuilt_by_the_next_process(bench, monkeypatch):
    bench.publish(1, 2, 3)
    bench.run_and_die(COUNTS, 0.2)
    with monkeypatch.context() as failing:
        failing.setattr(Hub, "read", raising(Transient("too many files are open")))
        with pytest.raises(Transient, match="too many files"):
            bench.run(COUNTS)
    bench.run_for(COUNTS, 30)
    assert bench.counts() == {at(10): 3}
