"""Jobs that read and write files, as a user runs them: to the end, again, in a row, and over odd files."""

import json

import pytest

from tests.integration.command import Commands

PROJECT = """
[inputs.lines]
kind = "file"
path = "in/*.jsonl"

[outputs.rows]
kind = "file"
path = "out/rows.jsonl"

[jobs.double]
sql = "SELECT n, n * 2 AS twice INTO rows FROM lines"
"""

CHAIN = (
    PROJECT
    + """
[inputs.again]
kind = "file"
path = "out/rows*.jsonl"

[outputs.counts]
kind = "file"
path = "out/counts.jsonl"

[jobs.count]
sql = "SELECT COUNT(*) AS rows INTO counts FROM again GROUP BY TumblingWindow(day, 7)"
"""
)


@pytest.fixture
def headrace(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    return Commands(tmp_path, capsys, PROJECT)


def rows(headrace, path="out/rows.jsonl"):
    text = (headrace.folder / path).read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def run(headrace):
    answer = headrace("run", "--until-end")
    assert answer.exit_code == 0, answer.err
    return answer.err


def test_a_job_reads_files_to_their_end_and_goes_on_there_in_the_next_run(headrace):
    headrace.write("in/a.jsonl", '{"n":1}\r\n\r\n{"n":2}\r\n')
    headrace.write("in/b.jsonl", '{"n":3}')
    assert "events in 3, rows out 3" in run(headrace)
    assert rows(headrace) == [{"n": n, "twice": 2 * n} for n in (1, 2, 3)]
    headrace.write("in/c.jsonl", '{"n":4}\n')
    assert "events in 1, rows out 1" in run(headrace)
    assert [row["n"] for row in rows(headrace)] == [1, 2, 3, 4]


def test_lines_that_are_no_events_are_dead_letters_with_their_place(headrace):
    headrace.write("in/a.jsonl", '{"n":1}\n')
    headrace.write("in/b.jsonl", '{"n":2}\n{"n":\n')
    run(headrace)
    assert [row["n"] for row in rows(headrace)] == [1, 2]
    answer = headrace("dead-letters")
    assert "file 'in/*.jsonl', in/b.jsonl, byte 8; 1 attempt" in answer.out
    answer = headrace("dead-letters", "retry", "--all")
    assert "a line of a file cannot be put back" in answer.err
    assert headrace("dead-letters", "--json").document["total"] == 1


def test_a_job_that_reads_what_another_writes_ends_behind_it(headrace):
    headrace.write("headrace.toml", CHAIN)
    headrace.write("in/a.jsonl", "".join(f'{{"n":{n}}}\n' for n in range(2000)))
    run(headrace)
    assert len(rows(headrace)) == 2000
    assert sum(row["rows"] for row in rows(headrace, "out/counts.jsonl")) == 2000


# --- check ------------------------------------------------------------------------------------------------


def test_check_tells_how_files_are_read_and_that_none_is_there_yet(headrace):
    answer = headrace("check")
    assert answer.exit_code == 0
    assert answer.out.splitlines()[:5] == [
        "job double",
        "  reads   lines (file 'in/*.jsonl')",
        "  writes  rows (file 'out/rows.jsonl')",
        "  runs    as 1 task, files in/*.jsonl in order of their names, owned by 1 instance",
        "  note    no file matches in/*.jsonl yet: the job waits for one, --until-end reads nothing",
    ]


def test_check_finds_a_single_file_that_is_not_there_unless_a_job_writes_it(headrace):
    headrace.write("headrace.toml", PROJECT.replace("in/*.jsonl", "in/a.jsonl"))
    answer = headrace("check")
    assert answer.exit_code == 2
    assert f"inputs.lines.path: there is no file {headrace.folder / 'in/a.jsonl'}" in answer.out
    assert headrace("run", "--until-end").exit_code == 2
    headrace.write("headrace.toml", CHAIN.replace("rows*.jsonl", "rows-3.jsonl"))
    assert headrace("check").exit_code == 0


def test_a_folder_as_the_path_of_an_input_is_told_as_such(headrace):
    (headrace.folder / "in").mkdir(exist_ok=True)
    headrace.write("headrace.toml", PROJECT.replace("in/*.jsonl", "in"))
    problem = f"{headrace.folder / 'in'} is a folder: write which of its files are read, as 'in/*.csv'"
    answer = headrace("check")
    assert answer.exit_code == 2
    assert problem in answer.out
    assert headrace("run", "--until-end").exit_code == 2


def test_check_finds_paths_that_cannot_be_written(headrace):
    headrace.write("file", "")
    other = '[outputs.other]\nkind = "file"\npath = "{}"\n'
    for path, problem in {
        "in": f"{headrace.folder / 'in'} is no file",
        "file/out.jsonl": f"{headrace.folder / 'file'} is no folder",
        "out/*.jsonl": "expected one file",
        "in/../out/rows.jsonl": "output 'rows' writes in/../out/rows.jsonl; give each a file of its own",
    }.items():
        headrace.write("headrace.toml", PROJECT + other.format(path))
        answer = headrace("check")
        assert answer.exit_code == 2
        assert f"problem outputs.other.path: {problem}" in answer.out


def test_a_database_of_the_projects_own_data_is_no_output(headrace):
    sqlite = 'kind = "sqlite"\npath = ".headrace/namespace.db"'
    headrace.write("headrace.toml", PROJECT.replace('kind = "file"\npath = "out/rows.jsonl"', sqlite))
    answer = headrace("check")
    assert answer.exit_code == 2
    assert f"is in {headrace.folder / '.headrace'}, which is Headrace's own" in answer.out
    assert headrace("run", "--until-end").exit_code == 2


def test_check_notes_a_job_that_reads_what_it_writes(headrace):
    headrace.write("headrace.toml", PROJECT.replace("in/*.jsonl", "out/**/*.jsonl"))
    assert "it reads and writes file 'out/**/*.jsonl': what it writes comes back" in headrace("check").out


def test_a_path_that_is_missing_and_a_format_that_is_unknown_are_named(headrace):
    headrace.write("headrace.toml", PROJECT.replace('path = "in/*.jsonl"', 'format = "xml"'))
    answer = headrace("check")
    assert answer.exit_code == 2
    assert "problem inputs.lines" in answer.out
    headrace.write("headrace.toml", PROJECT.replace('path = "in/*.jsonl"', ""))
    assert "problem inputs.lines: path is missing: expected a file" in headrace("check").out


# --- other commands ---------------------------------------------------------------------------------------


def test_sample_takes_the_last_lines_and_preview_runs_on_them(headrace):
    headrace.write("in/a.jsonl", '{"n":1}\n{"n":2}\n')
    headrace.write("in/b.jsonl", '{"n":3}')
    answer = headrace("sample", "lines", "-n", "2")
    assert answer.exit_code == 0
    headrace("sample", "lines", "-n", "2", "-o", headrace.folder / "sample.jsonl")
    assert (headrace.folder / "sample.jsonl").read_text() == '{"n":2}\n{"n":3}\n'
    answer = headrace("preview", "double")
    assert answer.exit_code == 0
    assert "output rows: 3 rows" in answer.out


def test_commands_for_hubs_and_tables_say_that_it_is_a_file(headrace):
    headrace.write("in/a.jsonl", '{"n":1}\n')
    for words in (("send", "lines", headrace.folder / "in/a.jsonl"), ("peek", "rows")):
        answer = headrace(*words)
        assert answer.exit_code == 2
        assert "is the file '" in answer.err
