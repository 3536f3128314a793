"""Jobs in two stages: an input repartitioned by the job's key gives what one task over all of it gives."""

import contextlib
import json
import random

import pytest

from headrace.clock import ManualClock
from headrace.connect.exchange import ExchangeSink, ExchangeSource, pack, rows_behind
from headrace.engine import passing
from headrace.engine.job import Instance
from headrace.engine.letters import KILLER
from headrace.engine.passing import Passing
from headrace.engine.starting import Start
from headrace.errors import Transient, UserError
from headrace.local.dead_letters import DEAD_ROW, DeadLetters
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.table import Table
from headrace.names import stage_name
from headrace.project import Project
from headrace.project.opening import opened_job
from headrace.project.stages import stages_of
from headrace.project.starting import start_jobs
from headrace.project.status import looking

SETTINGS = """
[inputs.clicks]
kind = "hub"
partitions = 3

[inputs.views]
kind = "hub"
partitions = 2

[outputs.one]
kind = "table"
[outputs.spread]
kind = "table"

[jobs.one]
query = "one.sql"

[jobs.spread]
query = "spread.sql"
instances = 3
"""

START_US = ManualClock().now_us()
SECOND_US = 1_000_000

#: Each in order of time, within a key or within the rows of one instant.
QUERIES = {
    "a tumbling count by key": """
        SELECT user, COUNT(*) AS n, SUM(id) AS total, System.Timestamp() AS at INTO {to}
        FROM clicks {timed} {clicks} GROUP BY user, TumblingWindow(second, 10)
    """,
    "sessions by key": """
        SELECT user, COUNT(*) AS n, MIN(id) AS first, System.Timestamp() AS at INTO {to}
        FROM clicks {timed} {clicks}
        GROUP BY user, SessionWindow(second, 3, 20) OVER (PARTITION BY user)
    """,
    "a join of two inputs": """
        SELECT c.id, v.id AS view_id, c.user, System.Timestamp() AS at INTO {to}
        FROM clicks c {timed} {clicks} JOIN views v {timed} {views}
        ON c.user = v.user AND DATEDIFF(second, c, v) BETWEEN 0 AND 4
    """,
    "the row before by key": """
        SELECT id, user, LAG(id) OVER (PARTITION BY user LIMIT DURATION(second, 30)) AS before,
            System.Timestamp() AS at, EventEnqueuedUtcTime, PartitionId,
            GetMetadataPropertyValue(clicks, 'EventId') AS event INTO {to}
        FROM clicks {timed} {clicks}
    """,
}


class Dies(BaseException):
    """What ends an instance as a kill would: nothing is saved."""


class Bench:
    """A project whose two jobs read the same hubs: `one` as one task, `spread` repartitioned."""

    def __init__(self, folder, query=QUERIES["a tumbling count by key"], into=4, timed=True, partitions=3):
        self.folder, self.clock = folder, ManualClock()
        (folder / "headrace.toml").write_text(SETTINGS)
        self.timed = "TIMESTAMP BY t" if timed else ""
        self.query("one", query)
        self.query("spread", query, f"PARTITION BY user INTO {into}")
        self.namespace = Namespace.open(folder / ".headrace", clock=self.clock)
        self.progress = Progress(self.namespace)
        hubs = self.namespace.hubs_folder
        self.hubs = {
            "clicks": Hub.ensure(hubs, "clicks", partitions=partitions, clock=self.clock),
            "views": Hub.ensure(hubs, "views", partitions=2, clock=self.clock),
        }
        self.events = 0

    def query(self, job, query, partition=""):
        text = query.format(to=job, timed=self.timed, clicks=partition, views=partition)
        (self.folder / f"{job}.sql").write_text(text)

    def publish(self, hub, second, user, partition):
        """Publish an event whose time is `second`; it arrives now."""
        event = {"id": self.events, "user": user, "t": at(second)}
        self.events += 1
        self.hubs[hub].publish_bodies([json.dumps(event).encode()], partition=partition)

    @property
    def second(self):
        return (self.clock.us - START_US) / SECOND_US

    @property
    def project(self):
        return Project.load(self.folder)

    def stages(self):
        return [stage_name("spread", name) for name in stages_of(self.project, "spread")]

    def run(self, job, number=0, instances=1, wanted=None):
        """Run an instance of a job or stage to the end of its inputs, or while it is `wanted`."""
        self.progress.clear_stop(job)
        if wanted is None:
            self.progress.request_stop(job, "end")
        with opened_job(self.project, self.namespace, job, number) as opened:
            Instance(
                opened,
                self.namespace,
                instance=number,
                instances=instances,
                clock=self.clock,
                wanted=wanted or (lambda: True),
            ).run()

    def run_for(self, job, seconds, *, number=0, instances=1, dies=False):
        end_us = self.clock.us + int(seconds * SECOND_US)

        def wanted():
            if dies and self.clock.us >= end_us:
                raise Dies
            return self.clock.us < end_us

        with contextlib.suppress(Dies):
            self.run(job, number, instances, wanted)

    def run_to_end(self):
        for job in ("one", *self.stages(), "spread"):
            self.run(job)

    def finish(self):
        """Publish what tells that all time before has passed, and run both jobs to the end."""
        self.clock.us += 60 * SECOND_US
        for hub, partitions in (("clicks", 3), ("views", 2)):
            for partition in range(partitions):
                self.publish(hub, self.second, "last", partition)
        self.run_to_end()

    def rows(self, table):
        found = [json.loads(entity.properties) for entity in Table(self.namespace, table).read()]
        return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))

    def close(self):
        for hub in self.hubs.values():
            hub.close()
        self.namespace.close()


def at(second):
    return f"2026-01-01T00:{int(second) // 60:02}:{second % 60:09.6f}0Z"


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_the_input_is_repartitioned_and_each_window_counted_once(bench):
    for second, user in enumerate(["ann", "bob", "ann", "cy", "ann", "bob"], start=1):
        bench.clock.us += SECOND_US
        bench.publish("clicks", second, user, second % 3)
    bench.finish()
    assert bench.stages() == ["spread~clicks"]
    counts = {row["user"]: row["n"] for row in bench.rows("spread") if row["at"] == at(10)}
    assert counts == {"ann": 3, "bob": 2, "cy": 1}
    assert bench.rows("spread") == bench.rows("one")


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(("instances", "timed"), [(1, True), (3, True), (3, False)])
def test_whatever_the_cuts_and_restarts_the_rows_are_those_of_one_task(tmp_path, query, instances, timed):
    chance = random.Random(f"{query} {instances} {timed}")
    bench = Bench(tmp_path, QUERIES[query], into=chance.choice([2, 5]), timed=timed)
    # Joined values must be of one type; 7 and 7.0 are equal.
    users = [7, 7.0, 7.5, None, 8, -1]
    users += [] if "join" in query else ["ann", "bob", "7", {"a": 1}]
    try:
        for _ in range(7):
            for _ in range(chance.randint(1, 30)):
                bench.clock.us += chance.randint(0, 1_500_000)
                # Some come late, some out of order, some early.
                second = max(0, bench.second - chance.choice([0, 0, 0, 0, 1, 2, 8, -3]))
                hub = chance.choice(["clicks", "views"])
                partition = chance.randrange(bench.hubs[hub].partitions)
                bench.publish(hub, second, chance.choice(users), partition)
            for job in chance.sample(["one", *bench.stages(), "spread"], k=2):
                number = chance.randrange(instances)
                bench.run_for(
                    job,
                    chance.choice([0.1, 1.2, 4]),
                    number=number if job != "one" else 0,
                    instances=instances if job != "one" else 1,
                    dies=chance.random() < 0.5,
                )
        bench.finish()
        found = bench.rows("spread")
        assert found == bench.rows("one")
        assert len(found) > 10
        counts = bench.progress.counts("spread")
        assert counts == bench.progress.counts("one")
    finally:
        bench.close()


# --- starts, and changes of the query ----------------------------------------------------------------------


def click(bench, *seconds, user="ann", partition=0):
    for second in seconds:
        bench.clock.us = max(bench.clock.us, START_US + int(second * SECOND_US))
        bench.publish("clicks", second, user, partition)


def start(bench, job, where):
    start_jobs(bench.project, bench.namespace, [job], Start.read(where))


def counts(bench, table="spread"):
    return {(row["user"], row["at"][17:19]): row["n"] for row in bench.rows(table) if "n" in row}


@pytest.mark.parametrize(("where", "first_s"), [("beginning", 0), ("now", 51), ("2026-01-01T00:00:25Z", 25)])
def test_a_start_elsewhere_moves_both_stages_and_drops_what_is_between_them(bench, where, first_s):
    for second in range(1, 40):
        click(bench, second, user=f"user {second % 5}", partition=second % 3)
    bench.run("one")
    bench.run_for("spread~clicks", 0.3)
    bench.run_for("spread", 0.3)
    # This is passed on and never read, that has not even been delivered.
    click(bench, 40)
    bench.run_for("spread~clicks", 0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passing, "deliver", lambda _: None)
        click(bench, 41)
        bench.run_for("spread~clicks", 0.3, dies=True)
    before = bench.progress.counts("spread")["events_in"]
    for job in ("one", "spread"):
        start(bench, job, where)
    for second in range(42, 60):
        click(bench, second, user=f"user {second % 5}", partition=second % 3)
    bench.finish()
    found, expected = (
        [row for row in bench.rows(job) if row["at"] >= at(first_s)] for job in ("spread", "one")
    )
    assert found == expected
    assert len(found) >= 5
    again = bench.progress.counts("spread")["events_in"] - before
    assert again == (18 + 3 if where == "now" else 41 + 18 + 3)


@pytest.mark.parametrize("partition", ["", "PARTITION BY user INTO 3", "PARTITION BY page, user INTO 4"])
def test_another_partition_by_does_not_go_on_from_the_state_of_the_one_before(bench, partition):
    click(bench, 1, 12, 30)
    bench.run_to_end()
    bench.query("spread", QUERIES["a tumbling count by key"].replace("GROUP BY", "GROUP BY page,"), partition)
    click(bench, 40)
    with pytest.raises(UserError, match=r"job 'spread'.*--from now"):
        bench.run_to_end()
    start(bench, "spread", "now")
    old = list((bench.namespace.exchanges_folder / "spread").glob("*"))
    assert len(old) == (1 if partition else 0)
    click(bench, 41, 42)
    bench.finish()
    assert sum(row["n"] for row in bench.rows("spread") if row["at"] == at(50)) == 2


def test_events_that_were_passed_on_for_a_query_are_not_read_by_another(bench):
    click(bench, 1, 2)
    bench.run("spread~clicks")
    query = QUERIES["a tumbling count by key"].replace("SUM(id)", "SUM(value)")
    bench.query("spread", query, "PARTITION BY user INTO 4")
    with pytest.raises(UserError, match=r"job 'spread'.*--from now"):
        bench.run("spread~clicks")


def test_what_a_query_without_state_has_read_is_not_read_again_by_a_first_stage_unasked(bench):
    (bench.folder / "spread.sql").write_text("SELECT id INTO spread FROM clicks")
    click(bench, 1, 2)
    bench.run("spread")
    bench.query("spread", QUERIES["a tumbling count by key"], "PARTITION BY user INTO 4")
    bench.run("spread~clicks")
    with pytest.raises(UserError, match="input 'clicks' was read before, not repartitioned"):
        bench.run("spread")
    start(bench, "spread", "now")
    click(bench, 11)
    bench.finish()
    assert counts(bench) == {("ann", "20"): 1}


# --- what is between the stages -----------------------------------------------------------------------------


def exchange(bench):
    [folder] = (bench.namespace.exchanges_folder / "spread").glob("*")
    return Hub.open(folder, "clicks")


def waiting(bench):
    with looking(bench.project, ["spread"]) as look:
        [status] = look.look()
    return status, status.waiting()


def test_the_status_tells_how_many_rows_wait_between_the_stages_and_since_when(bench):
    assert waiting(bench)[1] == {"events": 0}
    for second in range(1, 31):
        click(bench, second, user=f"user {second % 7}", partition=second % 3)
    assert waiting(bench)[1] == {"events": 30}
    bench.run_for("spread~clicks", 60)
    status, found = waiting(bench)
    assert found == {"events": 0, "rows": 30}
    between = [lag for lag in status.lags if lag.unit == "rows"]
    assert [lag.partition for lag in between] == [0, 1, 2, 3]
    assert {lag.label for lag in between} == {"clicks, repartitioned"}
    assert all(lag.oldest_us for lag in between if lag.waiting)
    bench.run_for("spread", 0.3)
    assert waiting(bench)[1] == {"events": 0, "rows": 0}


def test_of_a_pack_that_was_read_in_part_the_rest_waits(tmp_path, monkeypatch):
    with Hub.create(tmp_path, "clicks", partitions=1) as hub:
        sink, source = ExchangeSink(hub), ExchangeSource("clicks", hub, places=1, rule="", ends=False)
        sink.deliver(sink.block([(0, pack(5, b"a")), (0, pack(0, b"b")), (0, pack(9, b"c"))]), "p", 1)
        at = source.poll(0, 0, 3, 1 << 20).next_offset
        assert [rows_behind(hub, 0, place)[0] for place in (0, at, source.end(0))] == [14, 11, 0]
        monkeypatch.setattr("headrace.connect.exchange._COUNTED_BYTES", 1)
        monkeypatch.setattr("headrace.connect.exchange._COUNTED_AT_ONCE_BYTES", 1)
        assert rows_behind(hub, 0, 0)[0] == 15  # the first of three, three times


def test_what_a_saved_state_knows_is_dropped_from_between_the_stages(bench):
    for second in range(1, 60):
        click(bench, second, partition=second % 3)
        if second % 6 == 0:
            bench.run_for("spread~clicks", 0.2)
            bench.run_for("spread", 6, dies=second % 12 == 0)
    with exchange(bench) as hub:
        assert sum(hub.begins()) > sum(hub.ends()) / 2
    bench.finish()
    assert bench.rows("spread") == bench.rows("one")


def test_the_first_stage_waits_for_the_second_when_it_is_far_ahead(bench, monkeypatch):
    monkeypatch.setattr(passing, "MAX_WAITING_ROWS", 40)
    monkeypatch.setattr(passing, "MAX_BATCH_ROWS", 10)
    click(bench, *(second / 10 for second in range(1, 600)))
    for partition in (1, 2):
        click(bench, 60, partition=partition)
    bench.run_for("spread~clicks", 3)
    read = bench.progress.counts("spread")["events_in"]
    assert read < 200
    bench.run_for("spread~clicks", 3)
    for _ in range(20):
        bench.run_for("spread", 0.05)
        bench.run_for("spread~clicks", 0.05)
    assert bench.progress.counts("spread")["events_in"] == 601
    bench.finish()
    assert bench.rows("spread") == bench.rows("one")


@pytest.mark.parametrize("sent", [True, False])
def test_what_was_not_delivered_when_a_first_stage_died_comes_before_what_its_heir_passes_on(bench, sent):
    click(bench, 1, 2, 3)
    deliver = Passing.deliver

    def dies(stage):
        if sent:
            deliver(stage)
        raise Dies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passing, "deliver", dies)
        bench.run_for("spread~clicks", 1, number=0, instances=2)
    click(bench, 4, 15, 27)
    # Its heir takes over once it is long gone, and passes on what comes later.
    bench.run_for("spread~clicks", 10, number=1, instances=2)
    bench.run_for("spread", 1)
    bench.run_for("spread~clicks", 1, number=0, instances=2)
    bench.finish()
    assert counts(bench) == counts(bench, "one")
    assert counts(bench)["ann", "10"] == 4


# --- dead letters -------------------------------------------------------------------------------------------


def letters(bench):
    return [letter for letter in DeadLetters(bench.namespace).find() if letter.job == "spread"]


def test_an_event_that_the_first_stage_refuses_is_a_dead_letter_of_the_job(bench):
    click(bench, 1)
    bench.hubs["clicks"].publish_bodies([b"{"], partition=1)
    bench.hubs["clicks"].publish_bodies([b'{"user":"ann","t":"never"}'], partition=1)
    bench.finish()
    found = [(letter.source, letter.partition, letter.position, letter.body) for letter in letters(bench)]
    assert found == [("clicks", 1, 0, b"{"), ("clicks", 1, 1, b'{"user":"ann","t":"never"}')]
    assert bench.progress.counts("spread") == bench.progress.counts("one")
    assert bench.progress.counts("spread")["dead"] == 2


FAILING = """
    SELECT user, COUNT(*) AS n, System.Timestamp() AS at INTO {to}
    FROM clicks {timed} {clicks} WHERE refuse(id) = 0 GROUP BY user, TumblingWindow(second, 10)
"""

REFUSE = """
def refuse(number):
    if number == 2:
        raise {error}
    return 0
"""


def with_function(bench, error):
    (bench.folder / "functions.py").write_text(REFUSE.format(error=error))
    settings = SETTINGS + '\n[functions.refuse]\npython = "functions.py:refuse"\n'
    (bench.folder / "headrace.toml").write_text(settings)
    bench.query("spread", FAILING, "PARTITION BY user INTO 4")
    bench.query("one", FAILING)


def test_a_row_that_fails_in_the_second_stage_is_a_dead_letter_with_what_is_known_of_it(bench):
    with_function(bench, 'ValueError("two is refused")')
    click(bench, 1, 2, 3, 4)
    bench.finish()
    [letter] = letters(bench)
    assert (letter.source_kind, json.loads(letter.body)) == (DEAD_ROW, {"id": 2, "user": "ann"})
    assert "two is refused" in letter.reason
    assert counts(bench)["ann", "10"] == 3


def test_an_event_that_kills_the_second_stage_is_found_and_its_neighbours_are_counted(tmp_path):
    bench = Bench(tmp_path, partitions=1)
    with_function(bench, "GeneratorExit")
    click(bench, *range(1, 10))
    bench.run("spread~clicks")
    deaths = 0
    for _ in range(20):
        try:
            bench.run("spread")
        except GeneratorExit:
            deaths += 1
    assert 3 < deaths < 12
    click(bench, 30)
    bench.run("spread~clicks")
    bench.run("spread")
    [letter] = letters(bench)
    assert (letter.source_kind, json.loads(letter.body)) == (DEAD_ROW, {"id": 2, "user": "ann"})
    assert letter.reason == KILLER
    assert counts(bench) == {("ann", "10"): 8}
    bench.close()


# --- files -------------------------------------------------------------------------------------------------


FILES = SETTINGS.replace(
    '[inputs.clicks]\nkind = "hub"\npartitions = 3', '[inputs.clicks]\nkind = "file"\npath = "in/*.jsonl"'
)


def test_files_are_repartitioned_and_time_runs_out_at_their_end(tmp_path):
    bench = Bench(tmp_path)
    (tmp_path / "headrace.toml").write_text(FILES)
    (tmp_path / "in").mkdir()
    for number in range(3):
        lines = [{"id": n, "user": f"user {n % 7}", "t": at(number * 60 + n)} for n in range(50)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "in" / f"{number}.jsonl").write_text(text)
        bench.run_to_end()
        assert bench.rows("spread") == bench.rows("one")
    assert sum(row["n"] for row in bench.rows("spread")) == 150
    bench.close()


def test_at_the_end_of_files_no_task_is_left_whose_instance_is_gone(tmp_path):
    bench = Bench(tmp_path)
    (tmp_path / "headrace.toml").write_text(FILES)
    (tmp_path / "in").mkdir()
    lines = [{"id": n, "user": f"user {n % 7}", "t": at(n)} for n in range(50)]
    (tmp_path / "in" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for job in ("one", *bench.stages()):
        bench.run(job)
    bench.run_for("spread", 1, number=1, instances=2)
    bench.run_for("spread", 0.1, number=0, instances=2)
    bench.run("spread", number=0, instances=2)
    assert bench.rows("spread") == bench.rows("one")
    bench.close()


# --- commits that fail --------------------------------------------------------------------------------------


def dies(*_):
    raise Dies


def test_a_commit_that_failed_leaves_no_saved_state_behind(bench, monkeypatch):
    """Or the epochs after it would be taken for known to that state, and what they read for counted."""
    click(bench, *range(1, 9))
    bench.run_for("spread~clicks", 20)
    add, failing = Passing.add, True

    def refuses(*args):
        if failing:
            raise Transient("the disk is full")
        add(*args)

    monkeypatch.setattr(Passing, "add", refuses)
    bench.clock.us += SECOND_US
    with pytest.raises(Transient):
        bench.run_for("spread~clicks", 1)
    failing = False
    click(bench, 30, 31, 32)
    with monkeypatch.context() as patch:
        patch.setattr(Passing, "deliver", dies)
        bench.run_for("spread~clicks", 1)
    bench.finish()
    assert bench.rows("spread") == bench.rows("one")
