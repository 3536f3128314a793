"""`headrace explain`, `preview` and `test`: a query looked at, tried on a sample, and checked."""

import json

import pytest

from headrace.local.hub import Hub
from tests.integration.command import Commands

STEPS = """WITH high AS (SELECT site, n FROM readings TIMESTAMP BY t WHERE n > 1),
counts AS (SELECT site, COUNT(*) AS many FROM high GROUP BY site, TumblingWindow(minute, 1))
SELECT c.site, c.many, LAG(c.many) OVER (PARTITION BY c.site LIMIT DURATION(hour, 1)) AS before INTO alerts
FROM counts c WHERE c.many > 0
"""

EVENTS = [
    {"site": "a", "n": 1, "t": "2026-03-02T09:00:10Z"},
    {"site": "a", "n": 2, "t": "2026-03-02T09:00:20Z"},
    {"site": "a", "n": 3, "t": "2026-03-02T09:00:30Z"},
    {"site": "a", "n": 4, "t": "2026-03-02T09:01:30Z"},
]

CASE = {
    "name": "counts",
    "query": "SELECT COUNT(*) AS n FROM src TIMESTAMP BY t GROUP BY TumblingWindow(minute, 1)",
    "inputs": {"src": EVENTS},
    "expected": {"output": [{"n": 3}, {"n": 1}]},
}


@pytest.fixture
def headrace(tmp_path, capsys):
    return Commands(tmp_path, capsys)


def saved(headrace, name, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (headrace.folder / name).write_text(text, "utf-8")
    return str(headrace.folder / name)


def test_explain_shows_steps_windows_rules_of_time_and_state(headrace):
    answer = headrace("explain", saved(headrace, "q.sql", STEPS))
    assert answer.exit_code == 0
    for words in (
        "step high",
        "step counts",
        "output alerts",
        "read readings",
        "time: t",
        "group by site, tumbling windows of 1 min: COUNT(*)",
        "keeps: partial results of each open window and group",
        "the last 1 of each c.site, of 1 h at most",
        "rows of step counts",
    ):
        assert words in answer.out


def test_explain_in_json_is_a_tree(headrace):
    file = saved(headrace, "q.sql", STEPS)
    document = json.loads(headrace("explain", file, "--json").out)[file]
    assert document["runs"] is None
    trees = document["trees"]
    assert [tree["what"] for tree in trees] == ["step high", "step counts", "output alerts"]
    [select] = trees[1]["sources"]
    assert select["sources"][0]["state"] == "partial results of each open window and group"


def test_explain_takes_the_jobs_of_a_project_and_refuses_a_wrong_query_at_its_place(headrace):
    out = headrace("explain", "copy").out
    assert out.startswith("job copy\n  runs as a task per partition: it keeps nothing\n")
    answer = headrace("explain", saved(headrace, "q.sql", "SELECT a FROM b GROUP BY a"))
    assert answer.exit_code == 2
    assert "GROUP BY needs a time window (line 1, column 17)" in answer.err
    assert headrace("explain", "nosuch.sql").exit_code == 2


COUNTS = """[inputs.clicks]
kind = "hub"
[inputs.work]
kind = "queue"
[outputs.counts]
kind = "console"
[jobs.pages]
sql = "SELECT page, COUNT(*) AS n INTO counts FROM clicks GROUP BY page, TumblingWindow(minute, 1)"
[jobs.drain]
sql = "SELECT id INTO counts FROM work"
"""


def test_explain_tells_how_a_job_runs_why_and_what_would_spread_it(tmp_path, capsys):
    headrace = Commands(tmp_path, capsys, COUNTS)
    why = "GROUP BY (line 1) does not contain a column by which clicks is partitioned"
    advice = "PARTITION BY page behind clicks would spread it"
    assert headrace("explain", "pages").out.splitlines()[1:3] == [
        f"  runs as one task, because {why}",
        f"      advice: {advice}",
    ]
    assert headrace("explain", "pages", "--json").document["pages"]["runs"] == {
        "per_partition": False,
        "reason": f"runs as one task, because {why}",
        "advice": advice,
    }
    assert "  runs on any number of instances, which compete for messages\n" in headrace("explain").out
    headrace.write("headrace.toml", COUNTS.replace('kind = "hub"', 'kind = "hub"\nkey = "page"'))
    by_key = "as 4 tasks, one per partition of clicks: GROUP BY contains page"
    assert f"  runs {by_key}\n" in headrace("explain", "pages").out
    assert f"  runs    {by_key}\n" in headrace("check", "pages").out


def test_explain_says_of_a_query_alone_what_is_certain(headrace):
    window = "TumblingWindow(minute, 1)"
    depends = saved(headrace, "a.sql", f"SELECT a, COUNT(*) AS n FROM b GROUP BY a, {window}")
    assert "  runs as one task or several: that depends on" in headrace("explain", depends).out
    single = saved(headrace, "b.sql", f"SELECT COUNT(*) AS n FROM b GROUP BY {window}")
    assert "  runs as one task, because GROUP BY (line 1)" in headrace("explain", single).out
    spread = saved(headrace, "c.sql", "SELECT a FROM b")
    assert "  runs as a task per partition: it keeps nothing" in headrace("explain", spread).out


def test_preview_shows_the_rows_of_each_step_of_a_file(headrace):
    query, events = saved(headrace, "q.sql", STEPS), saved(headrace, "events.json", EVENTS)
    answer = headrace("preview", query, "--input", f"readings={events}", "--json")
    assert json.loads(answer.out) == {
        "steps": {
            "high": [{"site": "a", "n": n} for n in (2, 3, 4)],
            "counts": [{"site": "a", "many": 2}, {"site": "a", "many": 1}],
        },
        "outputs": {
            "alerts": [
                {"site": "a", "many": 2, "before": None},
                {"site": "a", "many": 1, "before": 2},
            ]
        },
    }
    text = headrace("preview", query, "--input", f"readings={events}", "--rows", "1").out
    assert "step high: 3 rows, the first 1\nsite  n\na     2\n" in text


def test_preview_of_a_job_takes_the_newest_events_and_writes_nothing(headrace):
    with Hub.ensure(headrace.folder / ".headrace" / "hubs", "papers") as hub:
        hub.publish_bodies([b'{"id": 1, "title": "x"}', b'{"id": 2, "title": "y"}'])
        assert headrace("preview", "copy", "--events", "1", "--json").out
        answer = json.loads(headrace("preview", "copy", "--json").out)
    assert answer["outputs"]["titles"] == [{"id": 1, "title": "x"}, {"id": 2, "title": "y"}]
    assert "has no rows yet" in headrace("peek", "titles").err


def test_preview_says_what_is_wrong_with_its_files(headrace):
    query = saved(headrace, "q.sql", STEPS)
    assert "NAME=FILE" in headrace("preview", query, "--input", "readings").err
    answer = headrace("preview", query, "--input", "readings=nosuch.json")
    assert answer.exit_code == 2
    assert "nosuch.json" in answer.err


def test_a_case_that_holds_passes_in_every_way_of_cutting(headrace):
    file = saved(headrace, "case.json", CASE)
    assert headrace.without_project("test", file).out == "1 case: all passed\n"
    assert headrace.without_project("test", file, "--cuts").out == "1 case in 5 runs: all passed\n"


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ([{"n": 3}, {"n": 2}], "output: wrong in n"),
        ([{"n": 3}], "output: extra"),
        ([{"n": 3}, {"n": 1}, {"n": 7}], "output: missing"),
    ],
)
def test_a_wrong_a_missing_and_an_extra_row_fail(headrace, expected, words):
    file = saved(headrace, "case.json", {**CASE, "expected": {"output": expected}})
    answer = headrace.without_project("test", file)
    assert answer.exit_code == 1
    assert answer.out.startswith("FAILED counts")
    assert words in answer.out
    report = json.loads(headrace.without_project("test", file, "--json").out)
    assert (report["ok"], report["runs"], report["failed"]) == (False, 1, 1)
    assert words in report["cases"][0]["differences"][0]


def test_an_expected_error_must_come_and_mention_what_it_should(headrace):
    refused = {**CASE, "query": "SELECT COUNT(*) FROM src", "expected_error": True}
    del refused["expected"]
    folder = headrace.folder / "cases"
    folder.mkdir()
    saved(headrace, "cases/right.json", {**refused, "error_mentions": ["window"]})
    assert headrace.without_project("test", str(folder)).exit_code == 0
    saved(headrace, "cases/wrong.json", {**refused, "name": "other", "error_mentions": ["banana"]})
    saved(headrace, "cases/none.json", {**CASE, "name": "no error", "expected_error": True})
    answer = headrace.without_project("test", str(folder))
    assert answer.exit_code == 1
    assert "3 cases: 2 failed" in answer.out


def test_what_is_no_case_is_said(headrace):
    assert headrace.without_project("test", "nosuch.json").exit_code == 2
    assert "is not JSON" in headrace.without_project("test", saved(headrace, "bad.json", "{")).err
    answer = headrace.without_project("test", saved(headrace, "empty.json", {"name": "empty"}))
    assert answer.exit_code == 1
    assert "query: expected a text" in answer.out
