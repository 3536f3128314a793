"""The examples run as their first lines say."""

import json
import shutil

import pytest

import headrace as hr
from headrace.cli.main import main
from tests.docs.pages import ROOT
from tests.docs.reader import captured

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/headrace.toml"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Copy an example, do what its settings say at the top, and return what the last commands print."""

    def follow(name):
        shutil.copytree(ROOT / "examples" / name, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        lines = (tmp_path / name / "headrace.toml").read_text("utf-8").splitlines()
        commands = [line.removeprefix("#").split() for line in lines if line.startswith("#   headrace ")]
        printed = {}
        for words in commands:
            code, printed[" ".join(words[1:])] = captured(lambda words=words: main(words[1:]))
            assert code == 0, printed
        return printed

    return follow


def test_the_examples_are_these():
    assert [folder.name for folder in EXAMPLES] == ["papers", "sensors"]


def test_papers_are_classified_by_two_instances(run):
    printed = run("papers")
    assert "job classify: 2 instances started" in printed["run --until-end"]
    assert {row["RowKey"]: row["best"] for row in hr.read_table("guesses")} == {
        "e1": "math",
        "e2": "compsci",
        "e3": "Physics",
        "e4": "bio",
        "e5": "finance",
    }


def test_readings_are_sorted_and_bad_ones_set_aside(run):
    printed = run("sensors")
    latest = {(row["PartitionKey"], row["RowKey"]): row for row in hr.read_table("latest")}
    assert latest["north", "boiler"]["fahrenheit"] == 145.4
    assert latest["north", "hall"]["celsius"] == 19.5
    assert latest["south", "cellar"]["taken"] == "2026-03-02T08:00:00Z"
    assert len(latest) == 3
    _, alerts = captured(lambda: main(["peek", "alerts", "--json"]))
    assert [json.loads(found["body"])["sensor"] for found in json.loads(alerts)["latest"]] == ["boiler"]
    assert "below absolute zero" in printed["dead-letters"]
    assert "not JSON" in printed["dead-letters"]
