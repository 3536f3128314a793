"""Reference data that change: which version an event is looked up in, and what a rebuilt state finds."""

import contextlib
import json
import os

import pytest

from headrace.clock import ManualClock
from headrace.engine.job import Instance
from headrace.errors import UserError
from headrace.local.hub import Hub
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.reference_versions import VersionRecord
from headrace.local.table import Table
from headrace.project import Project
from headrace.project.opening import opened_job

SETTINGS = """
[inputs.events]
kind = "hub"
partitions = 1
[inputs.labels]
kind = "reference"
path = "{path}"
{more}
[outputs.rows]
kind = "table"
row_key = "id"
[jobs.job]
query = "job.sql"
"""

COUNTED = """
SELECT r.label AS id, COUNT(*) AS n INTO rows
FROM events e TIMESTAMP BY t JOIN labels r ON r.k = e.k
GROUP BY r.label, TumblingWindow(second, 60)
"""

EACH = "SELECT e.s AS id, r.label AS n INTO rows FROM events e TIMESTAMP BY t JOIN labels r ON r.k = e.k"

START_US = ManualClock().now_us()


class Died(Exception):
    """What no job expects."""


class Bench:
    """A project with one job that looks events up."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = ManualClock()
        self.namespace = Namespace.open(folder / ".headrace", clock=self.clock)
        self.progress = Progress(self.namespace)
        self.settings("labels.json")

    def settings(self, path, more=""):
        (self.folder / "headrace.toml").write_text(SETTINGS.format(path=path, more=more))

    def label(self, label, name="labels.json"):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps([{"k": 1, "label": label}]))
        os.replace(new, file)

    def publish(self, *seconds):
        with Hub.ensure(self.namespace.hubs_folder, "events", partitions=1) as hub:
            for second in seconds:
                time = f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"
                body = json.dumps({"t": time, "s": second, "k": 1}).encode()
                hub.publish_bodies([body], enqueued_us=[START_US + second * 1_000_000])
        self.clock.us = max(self.clock.us, START_US + max(seconds) * 1_000_000)

    def run(self, sql, seconds, at_end=lambda: None):
        """Run the job for so long."""
        (self.folder / "job.sql").write_text(sql)
        end_us = self.clock.now_us() + int(seconds * 1e6)

        def wanted():
            if self.clock.now_us() < end_us:
                return True
            at_end()
            return False

        with opened_job(Project.load(self.folder), self.namespace, "job", 0) as opened:
            Instance(opened, self.namespace, clock=self.clock, wanted=wanted).run()

    def die(self, sql, seconds):
        """Run the job for so long, and let it die with nothing saved."""

        def dies():
            raise Died

        with pytest.raises(Died):
            self.run(sql, seconds, dies)

    def rows(self):
        return {e.row_key: json.loads(e.properties)["n"] for e in Table(self.namespace, "rows").read()}


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.namespace.close()


def test_a_state_is_rebuilt_with_the_data_as_they_were_before_the_crash(bench):
    bench.label("old")
    bench.publish(1, 2, 3)
    bench.die(COUNTED, 3)  # the last one waits: others of its time may come
    bench.label("new")
    bench.publish(20)
    bench.run(COUNTED, 70)
    assert bench.rows() == {"old": 2, "new": 2}


def test_what_is_looked_up_while_only_time_passes_is_rebuilt_so(bench):
    bench.settings("labels.json", "refresh_seconds = 1")
    bench.label("old")
    bench.publish(1, 2)
    bench.run(COUNTED, 8)
    bench.label("new")
    bench.publish(20)
    bench.die(COUNTED, 8)
    bench.label("newer")
    bench.publish(40)
    bench.run(COUNTED, 70)
    assert bench.rows() == {"old": 2, "new": 1, "newer": 1}


def test_data_are_read_again_while_the_job_runs_if_the_settings_say_so(bench):
    for more, expected in (("", "old"), ("refresh_seconds = 2", "new")):
        bench.settings("labels.json", more)
        bench.label("old")
        with opened_job_of(bench, EACH) as (_, instance_for):
            bench.publish(1)
            instance_for(3)
            bench.label("new")
            bench.publish(100)
            instance_for(5)
        assert bench.rows()["100"] == expected
        bench.namespace.close()
        bench.folder = bench.folder / "again"
        bench.folder.mkdir()
        bench.clock = ManualClock()
        bench.namespace = Namespace.open(bench.folder / ".headrace", clock=bench.clock)
        bench.progress = Progress(bench.namespace)


def opened_job_of(bench, sql):
    """Open the job once; each call of what is given runs it on for some seconds with what it has open."""
    (bench.folder / "job.sql").write_text(sql)

    @contextlib.contextmanager
    def opened():
        with opened_job(Project.load(bench.folder), bench.namespace, "job", 0) as job:

            def run(seconds):
                end_us = bench.clock.now_us() + int(seconds * 1e6)
                wanted = lambda: bench.clock.now_us() < end_us  # noqa: E731
                Instance(job, bench.namespace, clock=bench.clock, wanted=wanted).run()

            yield job, run

    return opened()


def test_an_event_is_looked_up_in_the_file_of_its_time(bench):
    bench.settings("labels/{date}/{time}.json", 'time_format = "HH-mm"')
    bench.label("first", "labels/2026-01-01/00-00.json")
    bench.label("second", "labels/2026-01-01/00-01.json")
    bench.label("third", "labels/2026-01-01/00-02.json")
    bench.publish(1, 59, 60, 119, 120)
    bench.run(EACH, 5)
    assert bench.rows() == {"1": "first", "59": "first", "60": "second", "119": "second", "120": "third"}


def test_a_file_of_a_time_that_comes_or_changes_counts_for_what_is_read_from_then_on(bench):
    bench.settings("labels/{date}.json", "refresh_seconds = 1")
    bench.label("first", "labels/2025-12-31.json")
    bench.publish(1)
    bench.run(EACH, 3)
    bench.label("second", "labels/2026-01-01.json")
    bench.publish(10)
    bench.run(EACH, 3)
    bench.label("changed", "labels/2026-01-01.json")
    bench.publish(20)
    bench.run(EACH, 3)
    assert bench.rows() == {"1": "first", "10": "second", "20": "changed"}


def test_files_of_times_are_found_on_record_when_they_are_gone(bench):
    bench.settings("labels/{date}.json")
    bench.label("first", "labels/2025-12-31.json")
    bench.publish(1)
    bench.run(EACH, 3)
    (bench.folder / "labels/2025-12-31.json").unlink()
    bench.publish(10)
    bench.run(EACH, 3)
    assert bench.rows() == {"1": "first", "10": "first"}


def test_a_file_that_cannot_be_read_while_the_job_runs_leaves_the_data_as_they_are(bench):
    bench.settings("labels.json", "refresh_seconds = 1")
    bench.label("old")
    with opened_job_of(bench, EACH) as (_, run):
        (bench.folder / "labels.json").write_text("[{")
        bench.publish(1)
        run(3)
        (bench.folder / "labels.json").unlink()
        bench.publish(5)
        run(3)
        bench.label("new")
        bench.publish(20)
        run(3)
    assert bench.rows() == {"1": "old", "5": "old", "20": "new"}


def test_versions_that_nobody_needs_any_more_are_dropped(bench):
    bench.label("0")
    for number in range(1, 12):
        bench.publish(number)
        bench.run(COUNTED, 2)
        bench.label(str(number))
    versions = VersionRecord(bench.namespace, "job", "labels").read()
    assert versions[-1].number == 10
    assert len(versions) <= 4
    with bench.namespace.reading() as connection:
        assert connection.execute("SELECT count(*) FROM reference_content").get == len(versions)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("labels/*.json", "expected one file"),
        ("{date}/*.json", "expected no"),
        ("{site}.json", "expected one file"),
    ],
)
def test_a_pattern_without_a_time_is_refused(bench, path, problem):
    bench.settings(path)
    with pytest.raises(UserError, match=problem):
        Project.load(bench.folder)


def test_without_any_file_the_job_does_not_start(bench):
    bench.settings("labels/{date}.json")
    with pytest.raises(UserError, match="no file matches"):
        bench.run(EACH, 1)
