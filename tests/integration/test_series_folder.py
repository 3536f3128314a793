"""The folder of a series output is one output's, and nothing that counts is ever removed from it."""

import pytest

pytest.importorskip("pyarrow")

from headrace.errors import Fatal, Transient, UserError
from headrace.local.database import Database
from headrace.local.namespace import Namespace
from headrace.series.compaction import compact
from headrace.series.store import MARK, Store
from tests.integration.test_dataset_job import PASSED, Tenants, namespace

__all__ = ["namespace"]


def stored(tmp_path, namespace, files=2, **more):
    tenants = Tenants(tmp_path, **more)
    tenants.made("acme", files=files, points=50)
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    return tenants


def segments(folder):
    return sorted(folder.glob("history/acme/*.parquet"))


def test_a_folder_that_another_project_writes_is_refused_and_left_as_it_is(tmp_path, namespace):
    tenants = stored(tmp_path, namespace)
    before = segments(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with Namespace.open(other / ".headrace") as second:
        theirs = Tenants(other, history='folder = "../history"')
        theirs.made("acme", files=2, points=50, seed=1)
        theirs.enqueue_all(second)
        with pytest.raises(UserError, match="another project"):
            theirs.run(second)
    assert segments(tmp_path) == before
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}


def test_two_outputs_of_a_job_cannot_write_one_folder(tmp_path, namespace):
    more = '[outputs.twice]\nkind = "series"\nfolder = "history"\n'
    with pytest.raises(UserError, match=r"outputs.twice"):
        stored(
            tmp_path, namespace, sql=f"{PASSED};\nSELECT tag, time, value INTO twice FROM readings",
            history=more,
        )  # fmt: skip


def test_a_job_does_not_begin_anew_in_place_of_a_folder_that_is_gone(tmp_path, namespace):
    tenants = stored(tmp_path, namespace)
    (tmp_path / "history").rename(tmp_path / "moved")
    tenants.enqueue_all(namespace)
    with pytest.raises(Fatal, match="was moved"):
        tenants.run(namespace)
    assert not (tmp_path / "history").exists()
    (tmp_path / "moved").rename(tmp_path / "history")
    tenants.run(namespace)
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}


def test_a_folder_that_lost_its_mark_on_the_way_is_known_by_its_segments(tmp_path, namespace):
    tenants = stored(tmp_path, namespace)
    (tmp_path / "history" / MARK).unlink()
    tenants.enqueue_all(namespace)
    tenants.run(namespace)
    assert (tmp_path / "history" / MARK).exists()
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}


def test_compaction_says_which_segments_are_missing_and_changes_nothing(tmp_path, namespace):
    stored(tmp_path, namespace, files=4)
    gone = segments(tmp_path)[0]
    gone.rename(tmp_path / "elsewhere")
    store = Store(namespace, "history", tmp_path / "history")
    with pytest.raises(Fatal, match="missing"):
        compact(store, "acme", everything=True)
    (tmp_path / "elsewhere").rename(gone)
    assert compact(store, "acme", everything=True).written == 1


def test_segments_of_a_commit_that_fails_behind_its_end_stay(tmp_path, namespace, monkeypatch):
    tenants = Tenants(tmp_path)
    tenants.made("acme", files=2, points=50)
    tenants.enqueue_all(namespace)
    tend = Database._tend_log

    def failing(database):
        tend(database)
        if segments(tmp_path) and not failed:
            with namespace.reading() as connection:
                if connection.execute("SELECT count(*) FROM series_segment").get:
                    failed.append(True)
                    raise Transient("the disk is full")

    failed = []
    monkeypatch.setattr(Database, "_tend_log", failing)
    with pytest.raises(Transient):
        tenants.run(namespace)
    tenants.run(namespace)
    assert tenants.stored(namespace) == {key: values[-1] for key, values in tenants.points.items()}
