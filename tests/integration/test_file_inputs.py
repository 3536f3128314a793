"""Jobs that read files of all formats, as a user runs them."""

import gzip
import io
import json

import polars as pl
import pytest
import zstandard

from tests.integration.command import Commands

PROJECT = """
[inputs.lines]
kind = "file"
path = "in/{date}/*"

[outputs.rows]
kind = "file"
path = "out/rows.jsonl"

[jobs.job]
sql = "SELECT n, name INTO rows FROM lines"
"""


@pytest.fixture
def headrace(tmp_path, capsys):
    return Commands(tmp_path, capsys, PROJECT)


def put(headrace, name, content):
    file = headrace.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def rows(headrace):
    text = (headrace.folder / "out/rows.jsonl").read_text("utf-8")
    return [tuple(json.loads(line).values()) for line in text.splitlines()]


def test_files_of_all_formats_are_one_input(headrace):
    parquet = io.BytesIO()
    pl.DataFrame({"n": [4], "name": ["Zoë"]}).write_parquet(parquet)
    put(headrace, "in/2026-03-01/a.jsonl", b'{"n":1,"name":"a"}\n')
    put(headrace, "in/2026-03-01/b.csv", b'name,n\n"b\nb",2\n')
    put(headrace, "in/2026-03-02/a.jsonl.gz", gzip.compress(b'{"n":3,"name":"c"}\n'))
    put(headrace, "in/2026-03-02/b.parquet", parquet.getvalue())
    put(headrace, "in/2026-03-03/a.tsv.zst", zstandard.compress(b"n\tname\n5\te\n"))
    answer = headrace("run", "--until-end")
    assert answer.exit_code == 0, answer.err
    assert rows(headrace) == [(1, "a"), ("2", "b\nb"), (3, "c"), (4, "Zoë"), ("5", "e")]


def test_a_record_that_is_no_record_is_a_dead_letter_that_can_be_read(headrace):
    put(headrace, "in/2026-03-01/a.csv", b"n,name\n1,a\n2\n3,c\n")
    answer = headrace("run", "--until-end")
    assert "dead 1, events in 3, rows out 2" in answer.err
    letters = headrace("dead-letters").out
    assert "in/2026-03-01/a.csv, byte 11" in letters


def test_a_row_that_has_no_counterpart_is_a_dead_letter_of_its_file_and_row(headrace):
    parquet = io.BytesIO()
    pl.DataFrame({"n": [4, 5], "name": [None, b"x"]}).write_parquet(parquet)
    put(headrace, "in/2026-03-01/b.parquet", parquet.getvalue())
    assert headrace("run", "--until-end").exit_code == 0
    assert "file 'in/{date}/*', in/2026-03-01/b.parquet, row 2; 1 attempt" in headrace("dead-letters").out


def test_a_file_that_is_cut_ends_the_run_and_is_read_once_it_is_whole(headrace):
    put(headrace, "in/2026-03-01/a.jsonl", b'{"n":1,"name":"a"}\n')
    put(headrace, "in/2026-03-02/b.jsonl.gz", gzip.compress(b'{"n":2,"name":"b"}\n' * 1000)[:-8])
    answer = headrace("run", "--until-end")
    assert answer.exit_code == 2
    put(headrace, "in/2026-03-02/b.jsonl.gz", gzip.compress(b'{"n":2,"name":"b"}\n'))
    assert headrace("run", "--until-end").exit_code == 0
    assert rows(headrace) == [(1, "a"), (2, "b")]
