"""Jobs over files of tenants are killed at every step and at random, and hold every point once."""

import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("pyarrow")

from headrace.faults import POINTS
from headrace.local.dead_letters import DeadLetters
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Queue
from headrace.series.compaction import compact
from headrace.series.dataset import FileMessage
from headrace.series.store import Store
from tests.crash.processes import TIMEOUT_S, Sandbox

SETTINGS = """
[inputs.readings]
kind = "dataset"
stores = {{ main = "in" }}
batch = 4
max_deliveries = 1000
[outputs.history]
kind = "series"
{more}
[outputs.rows]
kind = "queue"
[jobs.histories]
threads = 2
sql = '''
SELECT tag, time, value INTO history FROM readings;
SELECT time INTO rows FROM readings WHERE value = 0
'''
"""

START = datetime(2024, 1, 1, tzinfo=UTC)
TAGS = [str(uuid.UUID(int=n * 7919 << 64 | n)) for n in range(1, 6)]
POINTS_OF_FILE = 50

#: Where an instance dies, and at which passage; one that is passed less often ends by itself.
WRITING = [point for point in POINTS if point == "series.written" or point.startswith("series.commit.")]

#: Kills at any moment; with HEADRACE_KILLS=300 it is a campaign of some ten minutes.
KILLS = int(os.environ.get("HEADRACE_KILLS", "6"))


class Files:
    """A project whose files have each point once, and one point with the value 0 a file."""

    def __init__(self, folder, more=""):
        folder.mkdir()
        self.sandbox = Sandbox(folder)
        self.sandbox.write(headrace__toml=SETTINGS.format(more=more))
        self.count = 0

    def add(self, count):
        """Write and enqueue files."""
        with Namespace.open(self.sandbox.data) as namespace, namespace.transaction() as tx:
            for number in range(self.count, self.count + count):
                path = self.sandbox.folder / "in/acme" / f"{number}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(f"{line}\n" for line in self._lines(number)))
                body = FileMessage("acme", "main", path.name, 0, "").encode()
                Queue(namespace, "readings").send(tx, [body], tenant="acme")
        self.count += count

    def _lines(self, number):
        for row in range(POINTS_OF_FILE):
            at = START + timedelta(seconds=number * POINTS_OF_FILE + row)
            yield f"{TAGS[row % len(TAGS)]},{at:%Y-%m-%dT%H:%M:%S}Z,{row}"

    def instance(self, point="", hit=1):
        """Run one instance until nothing is left, or to its death; returns its exit code."""
        ended = subprocess.run(
            self._command(),
            env={**os.environ, "HEADRACE_CRASH_AT": f"{point}:{hit}"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        return ended.returncode

    def died(self):
        """Run one instance until nothing is left; tells whether it died of what it read."""
        ended = subprocess.run(
            self._command(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert ended.returncode in (0, -signal.SIGABRT), ended.stderr
        return ended.returncode != 0

    def killed_after(self, seconds):
        """Run one instance and kill it at some moment; tells whether it was running still."""
        process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.kill()
        return process.wait() != 0

    def _command(self):
        with Namespace.open(self.sandbox.data) as namespace:
            Progress(namespace).request_stop("histories", "end")
        return self.sandbox.command("run", "histories", "--instance", "0")

    def check(self):
        """Check that every point is in one segment, once, and that the index and the folder agree."""
        with Namespace.open(self.sandbox.data) as namespace:
            store = Store(namespace, "history", self.sandbox.folder / "history")
            tenant = store.catalogue.known_tenant("acme")
            segments = store.catalogue.segments(tenant)
            points = self.count * POINTS_OF_FILE
            assert sum(segment.points for segment in segments) == points
            stored = [store.read("acme", code) for code in range(len(TAGS))]
            assert sum(map(len, stored)) == points
            times = sorted(time_us for found in stored for time_us in found.times_us.tolist())
            first_us = int(START.timestamp() * 1e6)
            assert times == [first_us + n * 1_000_000 for n in range(points)]
            files = {path.name for path in store.folder("acme").iterdir()}
            assert files == {segment.name for segment in segments}
            store.close()
            assert Queue(namespace, "readings").depth().finished == self.count
            assert Queue(namespace, "rows").depth().sent == self.count, "rows of other outputs, once too"
            assert DeadLetters(namespace).count() == 0


def test_a_job_over_files_that_dies_at_every_step_stores_each_point_once(tmp_path):
    files, deaths = Files(tmp_path / "project", "compact = false"), Counter()
    for point in WRITING:
        for hit in (1, 2):
            files.add(16)
            deaths[point] += files.instance(point, hit) != 0
    assert files.instance() == 0
    assert [point for point in WRITING if not deaths[point]] == []
    files.check()


def test_a_job_over_files_that_dies_at_any_moment_also_of_compaction_stores_each_point_once(tmp_path):
    files, chance = Files(tmp_path / "project"), random.Random(1)
    points = [point for point in POINTS if point.startswith("series.compaction.")]
    kills = compacting = 0
    while kills < KILLS or not compacting:
        files.add(60)
        if chance.random() < 0.5:
            died = files.instance(chance.choice(points)) != 0
            compacting += died
        else:
            died = files.killed_after(0.5 + chance.random())
        kills += died
    assert files.instance() == 0
    # What a killed compaction left is swept by the next one of the tenant.
    files.add(80)
    assert files.instance() == 0
    with Namespace.open(files.sandbox.data) as namespace:
        store = Store(namespace, "history", files.sandbox.folder / "history")
        store.sweep("acme", "compaction history acme")
        store.remove_gone("acme")
    files.check()


def test_what_an_instance_left_behind_that_nobody_runs_any_more_is_swept(tmp_path):
    files = Files(tmp_path / "project", "compact = false")
    files.add(3)
    assert files.instance("series.commit.begin") != 0
    orphans = list((files.sandbox.folder / "history/acme").iterdir())
    assert len(orphans) == 1
    with Namespace.open(files.sandbox.data) as namespace, namespace.transaction() as tx:
        tx.connection.execute("UPDATE series_line SET instance = 'instance-7'")
    ended = files.sandbox.run("run", "histories", "--until-end")
    assert ended.returncode == 0, ended.stderr
    files.check()


def lines(files):
    found = Counter()
    for path in (files.sandbox.folder / "history/acme").glob("*.csv"):
        found.update((path.name[:36], line) for line in path.read_text().splitlines())
    return found


def test_the_layout_of_the_paper_doubles_lines_where_segments_do_not(tmp_path):
    files = Files(tmp_path / "files", 'layout = "files"')
    files.add(4)
    assert files.instance("series.commit.begin") != 0
    assert files.instance() == 0
    found = lines(files)
    assert len(found) == 4 * POINTS_OF_FILE
    assert set(found.values()) == {2}, "what was appended before the death was appended again"

    segments = Files(tmp_path / "segments", "compact = false")
    segments.add(4)
    assert segments.instance("series.commit.begin") != 0
    assert segments.instance() == 0
    segments.check()


def test_points_that_are_too_old_are_dropped_once_also_where_that_is_killed(tmp_path):
    files = Files(tmp_path / "project", "retention_days = 1")
    files.add(4)
    assert files.instance() == 0
    for _ in range(20):  # an instance that has nothing to read may end before it looks for what is too old
        files.add(1)
        if files.instance("series.dropped") != 0:
            break
    with Namespace.open(files.sandbox.data) as namespace:
        store = Store(namespace, "history", files.sandbox.folder / "history")
        tenant = store.catalogue.known_tenant("acme")
        folder = files.sandbox.folder / "history/acme"
        assert store.catalogue.segments(tenant) == []
        gone = store.catalogue.gone(tenant)
        assert gone
        assert {path.name for path in folder.iterdir()} >= set(gone), "left by who died"
    assert files.instance() == 0
    with Namespace.open(files.sandbox.data) as namespace:
        store = Store(namespace, "history", folder.parent)
        compact(store, "acme")
        assert store.catalogue.gone(tenant) == []
        assert {path.name for path in folder.iterdir()} == {s.name for s in store.catalogue.segments(tenant)}


POISON = """
import os

def checked(value):
    if value == 666:
        os.abort()
    return value
"""


def test_a_file_that_kills_the_process_ends_as_a_dead_letter_and_the_others_are_stored(tmp_path):
    files = Files(tmp_path / "project", "compact = false")
    settings = SETTINGS.format(more="compact = false").replace("max_deliveries = 1000", "max_deliveries = 3")
    settings = settings.replace(
        "SELECT tag, time, value INTO history", "SELECT tag, time, udf.checked(value) AS value INTO history"
    )
    settings += """
[functions.checked]
python = "poison.py:checked"
"""
    files.sandbox.write(headrace__toml=settings, poison__py=POISON)
    files.add(9)
    poison = files.sandbox.folder / "in/acme/4.csv"
    poison.write_text(poison.read_text() + f"{TAGS[0]},2024-01-01T00:00:00Z,666\n")
    deaths = 0
    while files.died():
        deaths += 1
        assert deaths <= 3
    with Namespace.open(files.sandbox.data) as namespace:
        [letter] = DeadLetters(namespace).find()
        assert b"4.csv" in letter.body
        assert letter.reason == "too many deliveries"
        assert letter.tenant == "acme"
        store = Store(namespace, "history", files.sandbox.folder / "history")
        assert store.catalogue.totals(store.catalogue.known_tenant("acme")).points == 8 * POINTS_OF_FILE
