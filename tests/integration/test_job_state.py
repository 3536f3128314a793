"""Jobs with windows, joins and OVER: along time, from one process to the next, one owner of the state."""

import json

import pytest

from headrace.clock import ManualClock
from headrace.engine.job import Instance
from headrace.engine.snapshot import decode
from headrace.engine.stateful import STATE_TASK
from headrace.errors import Fatal, QueryError, UserError
from headrace.local.dead_letters import DEAD_ROW, DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from headrace.project import Project
from headrace.project.opening import opened_job

SETTINGS = """
[inputs.events]
kind = "hub"
partitions = 3

[inputs.others]
kind = "hub"
partitions = 1

[inputs.work]
kind = "queue"

[outputs.rows]
kind = "table"
row_key = "id"

[outputs.every]
kind = "table"

[functions.double]
python = "functions.py:double"

[functions.spread]
python = "functions.py:Spread"

[jobs.job]
query = "job.sql"
instances = 2
"""

FUNCTIONS = """
def double(value):
    if value == 13:
        raise ValueError("thirteen is refused")
    return value * 2

class Spread:
    def init(self):
        self.values = []
    def accumulate(self, value, timestamp):
        self.values.append(value)
    def compute_result(self):
        return max(self.values) - min(self.values)
"""

START_US = ManualClock().now_us()
SECOND_US = 1_000_000

COUNTS = """
SELECT System.Timestamp() AS id, COUNT(*) AS n INTO rows
FROM events TIMESTAMP BY t GROUP BY TumblingWindow(second, 10)
"""

BY_ARRIVAL = """
SELECT System.Timestamp() AS id, COUNT(*) AS n INTO rows FROM events GROUP BY TumblingWindow(second, 10)
"""


def at(second):
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.0000000Z"


class Bench:
    """A project with one job; its clock moves only while the job rests."""

    def __init__(self, folder):
        (folder / "functions.py").write_text(FUNCTIONS)
        self.folder = folder
        self.settings()
        self.clock = ManualClock()
        self.namespace = Namespace.open(folder / ".headrace", clock=self.clock)
        self.progress = Progress(self.namespace)

    def settings(self, more=""):
        (self.folder / "headrace.toml").write_text(SETTINGS + more)

    def publish(self, *seconds, partition=0, hub="events", **fields):
        """Publish an event for each second, which is its time and its arrival."""
        for second in seconds:
            event = {"t": at(second), "s": second, **fields}
            self.publish_at(second, event, partition=partition, hub=hub)

    def publish_at(self, second, event, *, partition=0, hub="events"):
        partitions = 3 if hub == "events" else 1
        with Hub.ensure(self.namespace.hubs_folder, hub, partitions=partitions) as opened:
            body = json.dumps(event).encode()
            opened.publish_bodies(
                [body], partition=partition, enqueued_us=[START_US + int(second * SECOND_US)]
            )
        self.clock.us = max(self.clock.us, START_US + int(second * SECOND_US))

    def instance(self, opened, number=0, wanted=lambda: True):
        return Instance(opened, self.namespace, instance=number, instances=2, clock=self.clock, wanted=wanted)

    def run(self, sql, number=0, wanted=None):
        """Run an instance of the job to the end of its inputs, or while it is `wanted`."""
        (self.folder / "job.sql").write_text(sql)
        self.progress.clear_stop("job")
        if wanted is None:
            self.progress.request_stop("job", "end")
        with opened_job(Project.load(self.folder), self.namespace, "job", number) as opened:
            self.instance(opened, number, wanted or (lambda: True)).run()

    def run_for(self, sql, seconds):
        end_us = self.clock.now_us() + int(seconds * SECOND_US)
        self.run(sql, wanted=lambda: self.clock.now_us() < end_us)

    def rows(self, table="rows"):
        return {e.row_key: json.loads(e.properties) for e in Table(self.namespace, table).read()}

    def counts(self):
        return {key: row["n"] for key, row in self.rows().items()}

    def dead(self):
        return list(DeadLetters(self.namespace).find())


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.namespace.close()


def test_a_window_counts_the_events_of_all_partitions_once_time_has_passed_its_end_in_each(bench):
    bench.publish(1, 4, 12, 31)
    bench.publish(2, 13, 32, partition=1)
    bench.publish(5, 33, partition=2)
    bench.run_for(COUNTS, 0.2)
    assert bench.counts() == {at(10): 4, at(20): 2}


def test_where_nothing_comes_the_clock_closes_the_last_window(bench):
    bench.publish(1, 4)
    bench.run_for(COUNTS, 10)
    assert bench.counts() == {}
    # 5 s is how late an event may come.
    bench.run_for(COUNTS, 3)
    assert bench.counts() == {at(10): 2}
    assert bench.progress.counts("job")["rows_out"] == 1


def test_a_quiet_partition_does_not_hold_up_a_busy_one(bench):
    bench.publish(1, partition=1)
    bench.publish(*range(2, 40, 2))
    bench.run_for(COUNTS, 2)
    assert bench.counts() == {at(10): 6, at(20): 5, at(30): 5}


def test_without_timestamp_by_a_window_closes_as_soon_as_the_clock_has_passed_it(bench):
    bench.publish(1, 4)
    bench.run_for(BY_ARRIVAL, 5)
    assert bench.counts() == {}
    bench.run_for(BY_ARRIVAL, 3)
    assert bench.counts() == {at(10): 2}


def test_nothing_is_published_before_a_time_that_the_job_took_for_over(bench):
    bench.publish(1, 4)
    bench.run_for(BY_ARRIVAL, 8)
    bench.publish_at(5, {"late": True})
    bench.run_for(BY_ARRIVAL, 20)
    assert bench.counts() == {at(10): 2, at(20): 1}


def test_a_restart_goes_on_in_the_middle_of_a_window(bench):
    for second in range(1, 60):
        bench.publish(second, partition=second % 3)
        if second % 7 == 0:
            bench.run_for(COUNTS, 0.2)
    bench.run_for(COUNTS, 30)
    assert bench.counts() == {at(end): 10 for end in range(10, 60, 10)} | {at(60): 9}
    assert bench.progress.counts("job")["rows_out"] == 6


def test_at_the_end_of_the_inputs_open_windows_stay_open_and_go_on_in_the_next_run(bench):
    bench.publish(1, 12)
    bench.clock.us = START_US + 15 * SECOND_US
    bench.run(COUNTS)
    assert bench.counts() == {}
    bench.clock.us = START_US + 16 * SECOND_US
    bench.run(COUNTS)
    assert bench.counts() == {at(10): 1}
    bench.publish(17, 40)
    bench.clock.us = START_US + 46 * SECOND_US
    bench.run(COUNTS)
    assert bench.counts() == {at(10): 1, at(20): 2, at(40): 1}


def test_streams_are_joined_over_two_hubs_and_restarts(bench):
    sql = """
    SELECT o.s AS id, e.s AS partner INTO rows
    FROM others o TIMESTAMP BY t LEFT JOIN events e TIMESTAMP BY t
    ON e.s = o.s AND DATEDIFF(second, o, e) BETWEEN -3 AND 3
    """
    for second in range(1, 20):
        bench.publish(second, hub="others")
        if second % 2:
            bench.publish(second, partition=second % 3)
        bench.run_for(sql, 0.3)
    bench.run_for(sql, 30)
    assert {int(key): row["partner"] for key, row in bench.rows().items()} == {
        second: second if second % 2 else None for second in range(1, 20)
    }


def test_looking_back_goes_on_behind_a_restart(bench):
    sql = "SELECT s AS id, LAG(s) OVER (LIMIT DURATION(minute, 1)) AS n INTO rows FROM events TIMESTAMP BY t"
    for second in (1, 2, 3):
        bench.publish(second, partition=second % 3)
        bench.run_for(sql, 8)
        bench.clock.us = START_US + second * SECOND_US
    bench.run_for(sql, 20)
    assert bench.counts() == {"1": None, "2": 1, "3": 2}


def test_an_aggregate_of_the_project_goes_on_behind_a_restart(bench):
    sql = COUNTS.replace("COUNT(*)", "uda.spread(s)")
    for second in (2, 4, 9, 13):
        bench.publish(second)
        bench.run_for(sql, 0.2)
    bench.run_for(sql, 20)
    assert bench.counts() == {at(10): 7, at(20): 0}


def test_rows_without_a_key_are_numbered_by_the_epoch_and_kept_each(bench):
    bench.publish(1, 11, 21)
    bench.run_for(COUNTS.replace("INTO rows", "INTO every"), 30)
    bench.publish(55)
    bench.run_for(COUNTS.replace("INTO rows", "INTO every"), 30)
    rows = bench.rows("every")
    assert sorted(row["id"] for row in rows.values()) == [at(10), at(20), at(30), at(60)]
    assert all(key.startswith("job/") and "/every/" in key for key in rows)


def test_another_query_is_refused_until_the_state_is_let_go(bench):
    bench.publish(1)
    bench.run(COUNTS)
    for other in (COUNTS.replace("10", "20"), "SELECT s AS id INTO rows FROM events"):
        with pytest.raises(UserError, match="headrace run job --from now"):
            bench.run(other)
    bench.publish(12, 40)
    places = {f"events/{p}": bench.progress.positions("job", f"events/{p}") for p in range(3)}
    bench.progress.start_at("job", places, None)
    bench.clock.us = START_US + 50 * SECOND_US
    bench.run(COUNTS.replace("10", "20"))
    assert bench.counts() == {at(20): 1, at(40): 1}


def test_a_query_that_was_refused_is_refused_again_and_the_one_before_it_goes_on(bench):
    bench.publish(1)
    bench.run(COUNTS)
    for _ in range(3):
        with pytest.raises(UserError, match="the query has changed"):
            bench.run(COUNTS.replace("10", "20"))
    bench.clock.us = START_US + 30 * SECOND_US
    bench.run(COUNTS)
    assert bench.counts() == {at(10): 1}


def test_a_query_that_only_looks_different_goes_on(bench):
    bench.publish(1)
    bench.run(COUNTS)
    bench.publish(9)
    bench.clock.us = START_US + 20 * SECOND_US
    bench.run(COUNTS.lower().replace("\n", "  ").replace("timestamp()", "Timestamp()"))
    assert bench.counts() == {at(10): 2}


def test_one_instance_has_the_state_and_another_takes_over_when_it_is_gone(bench):
    bench.publish(1)
    (bench.folder / "job.sql").write_text(COUNTS)
    with opened_job(Project.load(bench.folder), bench.namespace, "job", 0) as opened:
        first = bench.progress.acquire("job", STATE_TASK, "instance-0")
        bench.run_for(COUNTS, 20)
        assert bench.progress.positions("job", "events/0") == {}
        first.release()
        idle_until_us = bench.clock.now_us() + 2 * SECOND_US
        bench.run(COUNTS, number=1, wanted=lambda: bench.clock.now_us() < idle_until_us)
        assert bench.progress.positions("job", "events/0") == {}
        bench.run(COUNTS, number=1, wanted=lambda: bench.clock.now_us() < idle_until_us + 9 * SECOND_US)
        assert bench.counts() == {at(10): 1}
        assert opened.name == "job"


def test_an_instance_that_lost_the_state_can_not_commit(bench, monkeypatch):
    bench.publish(1)
    original = Progress.save_state

    def overtaken(self, tx, *arguments):
        original(self, tx, *arguments)
        tx.connection.execute("UPDATE task SET fence = fence + 1 WHERE task = 'state'")

    monkeypatch.setattr(Progress, "save_state", overtaken)
    for second in range(200):
        bench.publish(second)
    with pytest.raises(Fatal, match="task 'state' of job 'job' was taken over"):
        bench.run(COUNTS)
    assert bench.progress.positions("job", "events/0")[("events", 0)].next_offset == 64


def test_the_policy_of_the_job_drops_and_tolerates_as_its_settings_say(bench):
    bench.settings("late_seconds = 20\nout_of_order_seconds = 5\nout_of_order_action = 'drop'\n")
    for arrival, second in ((1, 1), (12, 12), (13, 8), (14, 2), (50, 50)):
        bench.publish_at(arrival, {"t": at(second)})
    bench.run_for(COUNTS, 40)
    assert bench.counts() == {at(10): 2, at(20): 1, at(50): 1}
    [letter] = bench.dead()
    assert json.loads(letter.body) == {"t": at(2)}
    assert "further out of order" in letter.reason


def test_a_policy_made_more_patient_lets_no_event_in_before_what_was_told(bench):
    bench.publish(1, 12)
    bench.clock.us = START_US + 20 * SECOND_US
    bench.run(COUNTS)
    assert bench.counts() == {at(10): 1}
    bench.settings("late_seconds = 100\nout_of_order_seconds = 50\n")
    bench.publish_at(21, {"t": at(3)})
    bench.clock.us = START_US + 130 * SECOND_US
    bench.run(COUNTS)
    assert bench.counts() == {at(10): 1, at(20): 2}


def test_an_event_without_a_time_is_set_aside_whole_with_all_its_rows(bench):
    bench.publish_at(1, [{"t": at(1)}, {"t": "soon"}])
    bench.publish_at(2, [{"t": at(2)}, {"t": at(2)}])
    bench.run_for(COUNTS, 20)
    assert bench.counts() == {at(10): 2}
    [letter] = bench.dead()
    assert (letter.source, letter.position) == ("events", 0)
    assert "no datetime" in letter.reason


def test_a_row_of_a_window_that_fails_is_itself_the_dead_letter(bench):
    sql = """
    WITH sums AS (
        SELECT System.Timestamp() AS id, SUM(s) AS n FROM events TIMESTAMP BY t
        GROUP BY TumblingWindow(second, 10)
    )
    SELECT id, double(n) AS n INTO rows FROM sums
    """
    bench.publish(6, 7, 18, 26)
    bench.run_for(sql, 20)
    assert bench.counts() == {at(20): 36, at(30): 52}
    [letter] = bench.dead()
    assert (letter.source_kind, letter.source) == (DEAD_ROW, "job")
    assert "thirteen" in letter.reason
    assert json.loads(letter.body)["n"] == 13
    assert bench.progress.counts("job")["dead"] == 1


def test_a_row_that_waited_claims_no_other_event_when_it_fails(bench):
    bench.settings("out_of_order_seconds = 5\n")
    sql = """
    SELECT s AS id, double(s) AS n, LAG(s) OVER (LIMIT DURATION(hour, 1)) AS before INTO rows
    FROM events TIMESTAMP BY t
    """
    bench.publish(13, 14)
    bench.run_for(sql, 0.2)
    bench.publish(30, 40)
    bench.run_for(sql, 20)
    assert bench.counts() == {"14": 28, "30": 60, "40": 80}
    [letter] = bench.dead()
    assert letter.source_kind == DEAD_ROW
    assert json.loads(letter.body)["s"] == 13


def test_a_row_of_a_window_without_its_key_is_set_aside_alone(bench):
    sql = """
    SELECT name AS id, COUNT(*) AS n INTO rows FROM events TIMESTAMP BY t
    GROUP BY name, TumblingWindow(second, 10)
    """
    bench.publish(1, name="a")
    bench.publish(2)
    bench.run_for(sql, 20)
    assert bench.counts() == {"a": 1}
    [letter] = bench.dead()
    assert letter.source_kind == DEAD_ROW
    assert "key is NULL" in letter.reason


def test_the_record_of_an_epoch_says_how_far_time_came_without_events(bench):
    bench.publish(1)
    bench.run_for(COUNTS, 20)
    last = bench.progress.epochs("job", STATE_TASK)[-1]
    ticks = json.loads(last.ranges)["ticks"]["events"]
    assert ticks.keys() == {"0", "1", "2"}
    assert last.watermark_us == min(ticks.values()) - 5 * SECOND_US


def test_what_is_saved_has_no_more_than_what_is_still_needed(bench):
    bench.publish(*range(1, 50))
    bench.run_for(COUNTS, 30)
    saved = bench.progress.state("job", STATE_TASK).parts
    assert saved.keys() == {"inputs", "program"}
    assert len(decode(saved["inputs"])["inputs"]["events"]["partitions"]) == 3
    assert sum(map(len, saved.values())) < 2_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) AS n INTO rows FROM work GROUP BY TumblingWindow(second, 1)",
        "SELECT LAG(n) OVER (LIMIT DURATION(second, 1)) AS m INTO rows FROM work",
        "SELECT a.n INTO rows FROM events a JOIN work b ON DATEDIFF(second, a, b) BETWEEN 0 AND 1",
        "SELECT n INTO rows FROM work TIMESTAMP BY t OVER n",
    ],
)
def test_state_over_the_messages_of_a_queue_is_refused_at_its_place(bench, sql):
    with pytest.raises(
        QueryError, match=r"no messages of a queue, and input 'work' is one.*line 1"
    ) as caught:
        bench.run(sql)
    assert "Publish them to a hub" in str(caught.value)


def test_substreams_are_put_in_order_each_by_itself(bench):
    sql = "SELECT s AS id, System.Timestamp() AS n INTO rows FROM events TIMESTAMP BY t OVER name"
    bench.publish_at(20, {"t": at(20), "s": 1, "name": "fast"})
    bench.publish_at(21, {"t": at(18), "s": 2, "name": "slow"})
    bench.run_for(sql, 30)
    assert bench.counts() == {"1": at(20), "2": at(18)}
