"""`headrace demo tags` and `headrace experiment tags`, as a newcomer runs them, on fewer files."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

pytest.importorskip("pyarrow")

from headrace.cli import demo_tags, main
from headrace.errors import UserError
from headrace.experiments import tags, tags_plots, tags_scaling
from headrace.local.series_records import FileDone
from headrace.project import Project
from headrace.series.catalogue import Catalogue

SMALL = ("--tags", "20", "--megabytes", "2")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder of a demonstration, and what it shows as JSON."""
    folder = tmp_path_factory.mktemp("demo") / "tags"
    with pytest.MonkeyPatch.context() as patched:
        lines = []
        patched.setattr(demo_tags, "print_json", lines.append)
        assert main(["demo", "tags", "--folder", str(folder), "--json", *SMALL, "--batch", "2"]) == 0
    return folder, json.loads(json.dumps(lines[0]))


def test_every_point_of_every_tenant_is_stored_once(shown):
    _, result = shown
    assert result["exactly_once"]
    assert list(result["tenants"]) == ["acme", "bolt", "coil"]
    for tenant in result["tenants"].values():
        assert tenant["points_stored"] == tenant["points_made"] > 0
        assert tenant["tags_right"] == tenant["tags"] == 20
        assert 0 < tenant["bytes_per_point_compacted"] <= tenant["bytes_per_point"]
    assert result["points"] == sum(tenant["points_made"] for tenant in result["tenants"].values())


def test_the_times_of_a_message_add_up_to_the_total(shown):
    _, result = shown
    times = result["times_ms"]
    assert list(times) == ["T8-T1", "T2-T1", "T3-T2", "T4-T3", "T5-T4", "T6-T5", "T7-T6", "T8-T7"]
    assert sum(list(times.values())[1:]) == pytest.approx(times["T8-T1"], abs=0.01)
    assert result["tags_per_s"] > 0
    assert result["bottleneck"].split()[0] in {"read", "decode", "query", "write", "commit"}


def test_a_tag_and_the_run_are_drawn(shown):
    folder, result = shown
    assert result["pictures"] == [str(folder / "tag.png"), str(folder / "run.png")]
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in ("tag.png", "run.png"))


def test_what_is_said_to_be_typed_next_can_be_typed(shown, capsys):
    _, result = shown
    for words in result["next"]:
        assert main(words.split()[1:]) == 0, words
    assert result["tag"] in capsys.readouterr().out


def test_the_result_is_shown_to_a_person_without_a_plotting_library(tmp_path, capsys, monkeypatch):
    def missing(*_):
        raise UserError("drawing needs matplotlib: pip install 'headrace[plot]'")

    monkeypatch.setattr(demo_tags, "plot_files", missing)
    assert main(["demo", "tags", "--folder", str(tmp_path / "demo"), *SMALL, "--instances", "1"]) == 0
    printed = capsys.readouterr()
    assert "points that were made is there exactly once" in printed.out
    assert "headrace tags read" in printed.out
    assert "drawing needs matplotlib" in printed.err
    assert "files 3 of 3 (acme 1/1  bolt 1/1  coil 1/1)" in printed.err


def test_without_pyarrow_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo_tags.importlib.util, "find_spec", lambda _: None)
    assert main(["demo", "tags", "--folder", str(tmp_path / "demo"), *SMALL]) == 2
    assert "pip install 'headrace[tags]'" in capsys.readouterr().err


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["demo", "tags", "--folder", str(tmp_path), *SMALL]) == 2
    assert "choose another with --folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


class TestCheck:
    """The checker is checked: each of these plants a fault that it must find."""

    @pytest.fixture
    def made(self, shown):
        own = tags.make_files(shown[0].parent / "again", 20, 2)[0]
        shutil.rmtree(shown[0].parent / "again")
        return own

    def test_a_run_without_fault_is_right(self, shown, made):
        checked = tags.check(Project.load(shown[0]), made)
        assert checked.right
        assert checked.tags == checked.tags_right == 20

    @pytest.mark.parametrize("column", ["points", "times", "values"])
    def test_a_point_that_is_missing_or_differs_is_found(self, shown, made, column):
        wrong = made.sums.with_columns(pl.col(column) + (pl.int_range(20) == 7).cast(pl.Int64))
        made = tags.Made(made.tenant, made.files, made.size_bytes, made.tags_of_files, wrong)
        checked = tags.check(Project.load(shown[0]), made)
        assert (checked.right, checked.tags_right) == (False, 19)

    def test_points_that_are_stored_twice_are_found(self, shown, made, monkeypatch):
        totals = Catalogue.totals
        monkeypatch.setattr(Catalogue, "totals", lambda *a: totals(*a).__class__(*_twice(totals(*a))))
        assert not tags.check(Project.load(shown[0]), made).right

    def test_a_tenant_of_whom_nothing_is_stored_is_found(self, shown, made):
        unknown = tags.Made("nobody", made.files, made.size_bytes, made.tags_of_files, made.sums)
        assert not tags.check(Project.load(shown[0]), unknown).right


def _twice(own):
    return own.tags, own.segments, 2 * own.points, own.size_bytes, own.first_us, own.last_us


def test_what_the_generator_counts_is_what_its_files_hold(tmp_path):
    for made in tags.make_files(tmp_path, 7, 1):
        lines = [
            line.split(",")
            for path in sorted((tmp_path / made.tenant).iterdir())
            for line in path.read_text().splitlines()
        ]
        counted = dict(zip(*np.unique([tag for tag, _, _ in lines], return_counts=True), strict=True))
        assert dict(made.sums.select("tag", "points").iter_rows()) == counted
        assert made.sums["values"].sum() == sum(round(float(value) * 10_000) for _, _, value in lines)


def test_the_picture_of_a_run_names_its_threads(tmp_path):
    done = [
        FileDone("histories", f"histories/instance-0/thread-{number % 2}", "acme", f"main/{number}", number,
                 10, 0, 700, *(number * 100 + stamp for stamp in range(8)))
        for number in range(6)
    ]  # fmt: skip
    assert tags_plots.plot_files(done, tmp_path / "run.svg").read_text().count("thread-") >= 2


def test_both_experiments_of_the_paper_are_measured_and_drawn(tmp_path, capsys):
    words = ["experiment", "tags", *SMALL, "--cores", "2", "--repeats", "1", "--batch", "1", "--json"]
    assert main([*words, "--folder", str(tmp_path / "own")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(run["experiment"], run["instances"], run["threads"]) for run in result["runs"]] == [
        ("constant total cores", 1, 2),
        ("constant total cores", 2, 1),
        ("increasing instances", 1, 1),
        ("increasing instances", 2, 1),
    ]
    assert [run["factor"] is None for run in result["runs"]] == [True, False, True, False]
    assert (tmp_path / "own" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_cores_are_cut_into_instances_without_a_rest():
    layouts = [
        (point.layout.instances, point.layout.threads)
        for point in tags_scaling.points_of(6, 10)
        if point.experiment == tags_scaling.CONSTANT_CORES
    ]
    assert layouts == [(1, 6), (2, 3)]
