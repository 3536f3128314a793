"""`headrace demo papers`, as a newcomer runs it, on fewer papers."""

import json

import polars as pl

from headrace.cli import demo_papers, main
from headrace.errors import UserError
from headrace.models.evaluate import held_out, share_held_out
from headrace.models.generator import generate_documents
from headrace.models.storage import load_model


def shown(capsys, folder, *options):
    assert main(["demo", "papers", "--folder", str(folder), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_paper_is_stored_and_the_result_says_how_well(tmp_path, capsys):
    folder = tmp_path / "demo"
    result = shown(capsys, folder, "--limit", "300")
    assert (result["published"], result["stored"], result["dead"]) == (300, 300, 0)
    assert result["accuracy"] > 0.8
    assert result["top2"] > 0.9
    assert {stage["job"] for stage in result["stages"]} == {"pass", "classify"}
    assert result["bottleneck"]
    assert (folder / "papers.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_of_papers_is_judged_only_on_those_the_model_was_not_trained_on(tmp_path, capsys):
    model = load_model("papers").model
    papers = generate_documents(model, 400, seed=7)
    papers.write_parquet(tmp_path / "papers.parquet")
    kept = held_out(papers["id"], share_held_out(model)).sum()
    result = shown(capsys, tmp_path / "demo", "--data", str(tmp_path / "papers.parquet"), "--instances", "1")
    assert 0 < result["published"] == result["stored"] == kept < 400


def test_without_a_plotting_library_there_is_still_a_result(tmp_path, capsys, monkeypatch):
    def missing(*_):
        raise UserError("drawing needs matplotlib: pip install 'headrace[plot]'")

    monkeypatch.setattr(demo_papers, "plot_run", missing)
    assert main(["demo", "papers", "--folder", str(tmp_path / "demo"), "--limit", "50"]) == 0
    printed = capsys.readouterr()
    assert "50 of 50 papers stored" in printed.out
    assert "who was taken for whom" in printed.out
    assert "drawing needs matplotlib" in printed.err


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["demo", "papers", "--folder", str(tmp_path)]) == 2
    assert "choose another with --folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_a_file_without_the_columns_of_papers_is_refused_by_name(tmp_path, capsys):
    pl.DataFrame({"id": ["a"], "doc": ["b"]}).write_parquet(tmp_path / "papers.parquet")
    words = ["demo", "papers", "--folder", str(tmp_path / "demo"), "--data", str(tmp_path / "papers.parquet")]
    assert main(words) == 2
    assert "has no column 'class'" in capsys.readouterr().err
