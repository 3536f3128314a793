"""Jobs over files of tenants: what they store is what a plain reading of the files gives."""

import gzip
import random
import threading
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

pytest.importorskip("pyarrow")

from headrace.clock import SystemClock
from headrace.engine.dataset_compaction import Compactor, Compacts
from headrace.engine.dataset_job import DatasetInstance
from headrace.engine.dataset_worker import Worker
from headrace.errors import QueryError, Transient
from headrace.local.dead_letters import DeadLetters
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.series_records import files_done
from headrace.local.table import Table
from headrace.project import Project
from headrace.project.checking import check_project
from headrace.project.dataset_jobs import open_work_queue, opened_dataset_job, series_folder
from headrace.series.dataset import FileMessage, FolderStore
from headrace.series.points import guid_of, guid_text
from headrace.series.store import Store
from headrace.series.tag_files import files_of_tag
from tests.crash.processes import wait_until

SETTINGS = """
[inputs.readings]
kind = "dataset"
stores = {{ main = "in" }}
batch = 3
visibility_timeout_s = 1
max_deliveries = 2
[outputs.history]
kind = "series"
{history}
[outputs.alarms]
kind = "table"
[outputs.todo]
kind = "queue"
[jobs.histories]
{job}
sql = '''
{sql}
'''
"""

PASSED = "SELECT tag, time, value INTO history FROM readings"
START = datetime(2024, 1, 1, tzinfo=UTC)


class Tenants:
    """A project with files, and what a plain reading of them says."""

    def __init__(self, folder, sql=PASSED, job="", history=""):
        self.folder = folder
        (folder / "headrace.toml").write_text(SETTINGS.format(sql=sql, job=job, history=history))
        self.project = Project.load(folder)
        self.points = {}

    def file(self, tenant, name, lines):
        path = self.folder / "in" / tenant / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)

    def made(self, tenant, files, points, tags=7, seed=0):
        """Make files whose points may come late, and more than once."""
        chance = random.Random(seed)
        guids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(tags)]
        for number in range(files):
            lines = []
            for _ in range(points):
                at = START + timedelta(seconds=chance.randrange(200))
                lines.append((chance.choice(guids), at, chance.randrange(1000) / 10))
            self.file(tenant, f"{number:03}.csv", [f"{g},{t:%Y-%m-%dT%H:%M:%S}Z,{v}" for g, t, v in lines])
            for guid, at, value in lines:
                self.points.setdefault((tenant, guid, at), []).append(value)

    def enqueue(self, namespace, tenant, *names):
        queue = open_work_queue(self.project, namespace, "readings")
        with namespace.transaction() as tx:
            for name in names:
                body = FileMessage(tenant, "main", name, 0, "").encode()
                queue.send(tx, [body], tenant=tenant)

    def enqueue_all(self, namespace):
        for folder in sorted((self.folder / "in").iterdir()):
            self.enqueue(namespace, folder.name, *sorted(path.name for path in folder.iterdir()))

    def run(self, namespace, instances=1):
        Progress(namespace).request_stop("histories", "end")
        failures = []

        def instance(number):
            try:
                with (
                    Namespace.open(self.project.data) as own,
                    opened_dataset_job(self.project, own, "histories", number) as job,
                ):
                    DatasetInstance(job, own, instance=number, instances=instances, say=said.append).run()
            except BaseException as error:
                failures.append(error)

        said = []
        threads = [threading.Thread(target=instance, args=(number,)) for number in range(instances)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return said

    def stored(self, namespace, output="history"):
        store = Store(namespace, output, series_folder(self.project, output))
        found = {}
        for tenant in store.catalogue.tenants():
            for code, guid in enumerate(store.catalogue.guids(store.catalogue.known_tenant(tenant))):
                points = store.read(tenant, code)
                for time_us, value in zip(points.times_us.tolist(), points.values.tolist(), strict=True):
                    at = datetime.fromtimestamp(time_us / 1e6, UTC)
                    found[tenant, guid_text(guid), at] = value
        store.close()
        return found

    def letters(self, namespace):
        return DeadLetters(namespace).find()


@pytest.fixture
def namespace(tmp_path):
    with Namespace.open(tmp_path / ".headrace") as opened:
        yield opened


def test_points_pass_through_to_their_histories_and_messages_are_gone(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=8, points=300)
    tenants.made("zeta", files=3, points=50, seed=1)
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}
    assert open_work_queue(tenants.project, namespace, "readings").depth().finished == 11
    done = files_done(namespace, "histories")
    assert [(file.tenant, file.points) for file in done].count(("acme", 300)) == 8
    for file in done:
        times = file[8:]
        assert list(times) == sorted(times), "stages are in order"
        assert min(file.gaps_us) >= 0


def test_two_instances_of_two_threads_store_what_one_does(tmp_path, namespace):
    tenants = Tenants(tmp_path, job="instances = 2\nthreads = 2")
    tenants.made("acme", files=30, points=40, tags=3)
    tenants.made("zeta", files=9, points=40, tags=3, seed=1)
    tenants.enqueue_all(namespace)
    tenants.run(namespace, instances=2)
    stored = tenants.stored(namespace)
    assert stored.keys() == tenants.points.keys()
    # Of points with one tag and time that several files have, that of the file stored last counts.
    assert all(stored[key] in values for key, values in tenants.points.items())


def test_a_file_that_is_enqueued_twice_changes_nothing(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=2, points=100)
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}


A, B = "302fbaac-0107-438a-84d9-252ea87ec34f", "0a2fbaac-0107-438a-84d9-252ea87ec340"
FEW = [
    f"{A},2024-01-01T00:00:00Z,1",
    f"{B},2024-01-01T00:00:10Z,20",
    f"{A},2024-01-01T00:00:20Z,3",
    f"{A},2024-01-01T00:01:20Z,5",
]


def few(tmp_path, namespace, sql, **more):
    tenants = Tenants(tmp_path, sql, **more)
    tenants.file("acme", "few.csv", FEW)
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    return tenants


def at(seconds):
    return START + timedelta(seconds=seconds)


def test_a_filter_and_a_conversion_run_over_each_file(tmp_path, namespace):
    sql = "SELECT value * 1.8 + 32 AS value, time, tag INTO history FROM readings WHERE value < 10"
    tenants = few(tmp_path, namespace, sql)
    assert tenants.stored(namespace) == {
        ("acme", A, at(0)): 33.8,
        ("acme", A, at(20)): 37.4,
        ("acme", A, at(80)): 41.0,
    }


def test_windows_are_over_the_rows_of_a_file_and_close_at_its_end(tmp_path, namespace):
    sql = (
        "SELECT tag, System.Timestamp() AS time, AVG(value) AS value INTO history FROM readings "
        "GROUP BY tag, TumblingWindow(minute, 1)"
    )
    tenants = few(tmp_path, namespace, sql)
    assert tenants.stored(namespace) == {
        ("acme", A, at(0)): 1.0,  # a window holds its end, and not its beginning
        ("acme", A, at(60)): 3.0,
        ("acme", B, at(60)): 20.0,
        ("acme", A, at(120)): 5.0,
    }


def test_several_outputs_are_written_in_one_commit_and_not_doubled(tmp_path, namespace):
    sql = f"{PASSED}; SELECT tag, value INTO alarms FROM readings WHERE value > 4; " + (
        "SELECT COUNT(*) AS n INTO todo FROM readings GROUP BY TumblingWindow(hour, 1)"
    )
    tenants = few(tmp_path, namespace, sql)
    assert len(tenants.stored(namespace)) == 4
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    rows = list(Table(namespace, "alarms").read())
    assert sorted(row.properties for row in rows) == [
        f'{{"tag":"{B}","value":20.0}}',
        f'{{"tag":"{A}","value":5.0}}',
    ]
    assert all(row.row_key.startswith("acme/main/few.csv/alarms/") for row in rows)


def test_bad_lines_are_dead_letters_and_the_good_ones_are_stored(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    bad = ["nonsense", f"{A},yesterday,1", f"{A},2024-01-01T00:00:00Z,x"]
    tenants.file("acme", "mixed.csv", [*FEW[:2], *bad, *FEW[2:]])
    tenants.file("acme", "packed.csv.gz", FEW)
    tenants.file("acme", "empty.csv", [])
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    assert len(tenants.stored(namespace)) == 4
    letters = tenants.letters(namespace)
    assert [(letter.source, letter.position, letter.tenant) for letter in letters] == [
        ("acme/main/mixed.csv", line, "acme") for line in (3, 4, 5)
    ]
    assert letters[0].body == b"nonsense"
    assert "columns" in letters[0].reason


def test_only_so_many_letters_are_kept_of_a_file_and_the_rest_is_counted(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    tenants.file("acme", "mixed.csv", [*(FEW * 100), *["bad"] * 250])
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    letters = tenants.letters(namespace)
    assert len(letters) == 101
    assert letters[-1].reason.startswith("150 further lines")


def test_a_file_with_too_many_bad_lines_is_set_aside_whole(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    tenants.file("acme", "bad.csv", [*FEW, *["bad"] * 5])
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    assert tenants.stored(namespace) == {}
    [letter] = tenants.letters(namespace)
    assert letter.position == 0
    assert "5 of its 9 lines are bad (56%)" in letter.reason
    assert open_work_queue(tenants.project, namespace, "readings").depth().finished == 1


def test_files_that_can_never_be_read_are_set_aside_and_others_go_on(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    tenants.file("acme", "few.csv", FEW)
    (tmp_path / "in/acme/broken.csv.gz").write_bytes(b"\x1f\x8b no gzip")
    (tmp_path / "in/acme/rubbish.csv").write_bytes(bytes(range(256)) * 50)
    tenants.enqueue_all(namespace)
    tenants.enqueue(namespace, "acme", "gone.csv", "../zeta/few.csv")
    tenants.run(namespace)
    assert len(tenants.stored(namespace)) == 4
    sources = sorted(letter.source for letter in tenants.letters(namespace))
    assert sources == [
        "acme/main/broken.csv.gz",
        "acme/main/gone.csv",
        "acme/main/rubbish.csv",
        "readings",
    ]


def test_a_file_larger_than_memory_takes_is_cut_into_segments_of_one_commit(tmp_path, namespace, monkeypatch):
    monkeypatch.setattr("headrace.engine.dataset_job.points_at_once", lambda *_: 64)
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=4, points=200)
    tenants.file("acme", "bad.csv", [*(FEW * 50), *["bad"] * 500])
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}
    store = Store(namespace, "history", tmp_path / "history")
    named = store.catalogue.names(store.catalogue.known_tenant("acme"))
    assert len(named) > 4
    assert {path.name for path in store.folder("acme").iterdir()} == named, "nothing of the bad file is left"


def test_a_thread_that_has_lost_its_lease_stores_nothing_and_leaves_no_segment(
    tmp_path, namespace, monkeypatch
):
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=5, points=20)
    tenants.enqueue_all(namespace)
    commit, lost = Worker._commit, []

    def late(worker, poll, hand):
        if not lost:
            lost.append(open_work_queue(tenants.project, namespace, "readings").reclaim("histories/0"))
        commit(worker, poll, hand)

    monkeypatch.setattr(Worker, "_commit", late)
    said = tenants.run(namespace)
    assert lost == [3]
    assert any("is lost" in text for text in said)
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}
    store = Store(namespace, "history", tmp_path / "history")
    named = store.catalogue.names(store.catalogue.known_tenant("acme"))
    assert {path.name for path in store.folder("acme").iterdir()} == named


def test_a_disk_that_is_full_while_a_file_is_read_is_not_the_files_fault(tmp_path, namespace, monkeypatch):
    monkeypatch.setattr("headrace.engine.dataset_job.points_at_once", lambda *_: 64)
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=2, points=200)
    tenants.enqueue_all(namespace)

    def full(*_, **__):
        raise Transient("the disk is full")

    for _ in range(3):  # more often than a message is delivered
        with monkeypatch.context() as patch:
            patch.setattr("headrace.series.arriving.write_segment", full)
            with pytest.raises(Transient):
                tenants.run(namespace)
    tenants.run(namespace)
    assert tenants.letters(namespace) == []
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}


def test_a_store_that_does_not_answer_for_a_file_is_asked_again(tmp_path, namespace, monkeypatch):
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=2, points=20)
    tenants.enqueue_all(namespace)
    opened, asked = FolderStore.open, []

    def once(store, tenant, file):
        asked.append(file)
        if len(asked) == 1:
            raise Transient("the store does not answer")
        return opened(store, tenant, file)

    monkeypatch.setattr(FolderStore, "open", once)
    said = tenants.run(namespace)
    assert any("is tried again later: the store does not answer" in text for text in said)
    assert asked == ["000.csv", "001.csv", "000.csv"]
    assert tenants.stored(namespace).keys() == tenants.points.keys()


def test_a_file_of_another_tenant_than_its_message_is_refused(tmp_path, namespace):
    tenants = Tenants(tmp_path)
    tenants.file("acme", "few.csv", FEW)
    queue = open_work_queue(tenants.project, namespace, "readings")
    with namespace.transaction() as tx:
        queue.send(tx, [FileMessage("acme", "main", "few.csv", 0, "").encode()], tenant="zeta")
    tenants.run(namespace)
    assert tenants.stored(namespace) == {}
    [letter] = tenants.letters(namespace)
    assert (letter.source_kind, letter.tenant) == ("queue", "zeta")


def test_rows_without_a_tag_or_a_number_are_dead_letters(tmp_path, namespace):
    sql = "SELECT CASE WHEN value > 4 THEN 'x' ELSE tag END AS tag, time, value INTO history FROM readings"
    tenants = few(tmp_path, namespace, sql)
    assert len(tenants.stored(namespace)) == 2
    letters = tenants.letters(namespace)
    assert [(letter.partition, letter.position) for letter in letters] == [(1, 1), (1, 3)]
    assert "is no GUID" in letters[0].reason


def test_the_layout_files_appends_a_line_for_each_point_to_a_file_for_each_tag(tmp_path, namespace):
    tenants = few(tmp_path, namespace, PASSED, history='layout = "files"')
    [file] = files_of_tag(tmp_path / "history/acme", guid_of(A))
    assert file.read_text().splitlines() == [
        "2024-01-01T00:00:00.000000Z,1.0",
        "2024-01-01T00:00:20.000000Z,3.0",
        "2024-01-01T00:01:20.000000Z,5.0",
    ]
    assert tenants.letters(namespace) == []


def test_compaction_in_the_background_drops_what_is_too_old(tmp_path, namespace, monkeypatch):
    monkeypatch.setattr("headrace.engine.dataset_compaction._EVERY_S", 0.01)
    tenants = Tenants(tmp_path, history="retention_days = 1")
    tenants.file("acme", "old.csv", FEW)
    now = f"{A},{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}Z,1"
    for number in range(60):
        tenants.file("acme", f"{number:02}.csv", [now])
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    with opened_dataset_job(tenants.project, namespace, "histories", 0) as job:
        place = job.series["history"]
    opened = partial(Store, namespace, "history", place.folder)
    compactor = Compactor(
        [Compacts(opened, place.retention_days, place.of_tenants)], 10**8, SystemClock(), print
    )
    compactor.start()
    wait_until(lambda: len(tenants.stored(namespace)) == 1)
    compactor.stop()
    assert compactor.failed is None


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT tag, value INTO history FROM readings", "takes the columns tag, time and value"),
        ("SELECT *, 1 AS more INTO history FROM readings", "takes the columns tag, time and value"),
        (
            "SELECT r.tag, r.time, r.value INTO history FROM readings r JOIN events e "
            "ON DATEDIFF(minute, r, e) BETWEEN 0 AND 1",
            "reads no other stream",
        ),
        ("SELECT tag, time, value INTO history FROM events", "only jobs that read a dataset write"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(tmp_path, sql, problem):
    tenants = Tenants(tmp_path, sql)
    settings = tmp_path / "headrace.toml"
    settings.write_text(settings.read_text() + '[inputs.events]\nkind = "hub"\n')
    with pytest.raises(QueryError, match=problem):
        Project.load(tmp_path).runnable_script("histories")
    assert tenants.project


@pytest.mark.parametrize("setting", ['on_bad = "stop"', "max_bad_share = 0.1"])
def test_settings_of_bad_events_that_files_would_not_follow_are_refused(tmp_path, setting):
    Tenants(tmp_path, job=setting)
    [job] = check_project(tmp_path).jobs
    key = setting.split()[0]
    assert [problem.split(":")[0] for problem in job.problems] == [f"jobs.histories.{key}"]
    assert "max_bad_share of its input" in job.problems[0]


def test_check_says_how_a_job_over_files_runs(tmp_path):
    Tenants(tmp_path, job="instances = 2\nthreads = 3")
    [job] = check_project(tmp_path).jobs
    assert job.problems == []
    assert job.runs == [
        "6 threads in 2 processes take files from queue 'readings', 3 at a time, tenants in turn",
        "points go to 'history' as they are: the query costs nothing",
    ]


def test_points_that_a_rule_leaves_out_are_told_by_the_others_and_on_record(tmp_path, namespace):
    rule = 'compress = [{ tags = "*", method = "deadband", error = 0.5 }]'
    tenants = Tenants(tmp_path, history=rule)
    lines = [f"{_STEPPING},2024-01-01T00:{minute:02}:00Z,{minute // 20}.25" for minute in range(60)]
    tenants.file("acme", "steps.csv", lines)
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    kept = {at.minute: value for (_, _, at), value in tenants.stored(namespace).items()}
    assert kept == {0: 0.25, 20: 1.25, 40: 2.25, 59: 2.25}
    with namespace.reading() as connection:
        rows = list(connection.execute("SELECT method, bound, largest, points, kept FROM series_compression"))
    assert rows == [("deadband", 0.5, 0.0, 60, 4)]


_STEPPING = str(uuid.UUID(int=7))
