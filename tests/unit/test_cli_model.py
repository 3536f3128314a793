"""The verb `model`, called as the command line calls it."""

import argparse
import json

import polars as pl
import pytest

from headrace.cli import model as verb
from headrace.errors import DataError, UserError
from headrace.models.generator import generate_documents
from headrace.models.storage import load_model


def run(*words):
    parser = argparse.ArgumentParser()
    verb.add(parser.add_subparsers())
    parsed = parser.parse_args(["model", *map(str, words)])
    return parsed.run(parsed)


@pytest.fixture(scope="module")
def frame():
    return generate_documents(load_model("papers").model, 400, 6).rename(
        {"doc": "abstract", "class": "field"}
    )


@pytest.fixture
def papers(tmp_path, frame):
    path = tmp_path / "papers.parquet"
    frame.write_parquet(path)
    return path


COLUMNS = ("--text", "abstract", "--label", "field", "--id", "id")


def test_train_evaluate_and_score_follow_one_another(tmp_path, papers, capsys):
    pytest.importorskip("sklearn")
    model = tmp_path / "mine.model"
    assert run("train", papers, *COLUMNS, "-o", model, "--json") == 0
    trained = json.loads(capsys.readouterr().out)
    held = trained["held_out"]
    assert trained["command"] == (
        "headrace model train papers.parquet --text abstract --label field --id id --holdout 0.2"
        " -o mine.model"
    )
    assert trained["trained_on"]["documents"] + held["documents"] == 400

    assert run("evaluate", model, papers, "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["held_out_only"] is True
    assert judged["evaluation"]["documents"] == held["documents"]
    assert judged["evaluation"]["accuracy"] == pytest.approx(held["accuracy"], abs=1e-4)

    assert run("evaluate", model, papers, "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out)["evaluation"]["documents"] == 400

    out = tmp_path / "out.parquet"
    assert run("score", model, papers, "-o", out) == 0
    scored = pl.read_parquet(out)
    assert scored.height == 400
    assert {"best", "second", "score_math", "abstract"} <= set(scored.columns)
    assert (scored["best"] == scored["field"]).mean() > 0.8


def test_people_read_a_table(papers, capsys):
    assert run("evaluate", "papers", papers, "--text", "abstract", "--label", "field", "--all") == 0
    out = capsys.readouterr().out
    assert "judged on 400 documents: every row" in out
    assert "best guess right" in out
    assert "compsci" in out


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".ndjson", ".parquet"])
def test_any_kind_of_file_is_scored_into_any_other(tmp_path, suffix):
    path = tmp_path / f"in{suffix}"
    rows = pl.DataFrame({"id": ["007", "8"], "doc": ['a "theorem" on\ncohomology, é', None]})
    {".csv": rows.write_csv, ".parquet": rows.write_parquet}.get(suffix, rows.write_ndjson)(path)
    out = tmp_path / "out.jsonl"
    assert run("score", "papers", path, "-o", out) == 0
    first, second = (json.loads(line) for line in out.read_text("utf-8").splitlines())
    assert (first["id"], first["doc"], first["best"]) == ("007", 'a "theorem" on\ncohomology, é', "math")
    assert second["best"] is None


def test_rows_without_text_or_label_are_left_out(tmp_path):
    pytest.importorskip("sklearn")
    rows = {"d": ["a cat", "a dog", None, "a cat", "a dog", "x"], "c": ["1", "2", "1", "1", "2", None]}
    path, model = tmp_path / "in.csv", tmp_path / "pets.model"
    pl.DataFrame(rows).write_csv(path)
    assert run("train", path, "--text", "d", "--label", "c", "--holdout", 0, "-o", model) == 0
    loaded = load_model(model).model
    assert (loaded.name, loaded.documents.tolist()) == ("pets", [2, 2])
    assert run("evaluate", model, path) == 0, "a model that kept nothing back is judged on every row"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["train", "{papers}", "--text", "abstrakt", "--label", "field", "--id", "id", "-o", "m.model"],
            "'abstract'",
        ),
        (
            ["train", "{papers}", *COLUMNS[:4], "-o", "m.model", "--holdout", "0.1"],
            "--id",
        ),
        (["train", "{papers}", *COLUMNS, "-o", "m.pkl"], "m.model"),
        (["train", "{papers}", *COLUMNS, "-o", "m.model", "--holdout", "1"], "less than 1"),
        (["train", "{papers}", *COLUMNS, "-o", "m.model", "--holdout", "nan"], "less than 1"),
        (["train", "{papers}", *COLUMNS, "-o", "m.model", "--name", "../x"], "cannot name a model"),
        (["train", "missing.csv", *COLUMNS, "-o", "m.model"], "cannot read missing.csv"),
        (["train", "papers.txt", *COLUMNS, "-o", "m.model"], "should end in"),
        (["evaluate", "papers", "{papers}"], "no column 'doc'"),
        (["evaluate", "paper", "{papers}"], "Did you mean 'papers'"),
        (["score", "papers", "{papers}", "--text", "abstract", "-o", "out.xls"], "should end in"),
        (["score", "papers", "{papers}", "--text", "abstract", "-o", "missing/out.csv"], "cannot write"),
        (["score", "papers", "{again}", "--text", "abstract", "-o", "out.csv"], "'best' already"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(words, says, papers, frame, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    again = tmp_path / "again.parquet"
    frame.with_columns(best=pl.lit("")).write_parquet(again)
    with pytest.raises(UserError) as caught:
        run(*(word.format(papers=papers, again=again) for word in words))
    assert says in str(caught.value)


def test_a_file_that_is_not_what_its_name_says_is_a_fault_of_the_data(tmp_path):
    for suffix in (".parquet", ".csv", ".jsonl"):
        path = tmp_path / f"in{suffix}"
        path.write_bytes(b'\xff\xfe{"a": [}\n"\xff')
        with pytest.raises((DataError, UserError)) as caught:
            run("score", "papers", path, "-o", tmp_path / "out.csv")
        assert str(path) in str(caught.value)


def test_a_file_without_a_held_out_document_says_how_to_judge_all_the_same(papers, tmp_path, frame):
    path = tmp_path / "few.parquet"
    frame.head(0).write_parquet(path)
    with pytest.raises(DataError, match="--all"):
        run("evaluate", "papers", path, "--text", "abstract", "--label", "field")
