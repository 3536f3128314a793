"""Papers from files: every text to the byte, in blocks that a hub takes, and clear words for bad files."""

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connect.feeds import files
from headrace.connect.feeds.files import papers_from_file
from headrace.errors import DataError, UserError
from headrace.limits import MAX_EVENT_BYTES

OWN = Path(__file__).parents[1] / "data" / "feeds"
DATA_SET = Path(__file__).parents[3] / "shared" / "data" / "arxiv_public.parquet"

ODD = [
    'a "quote" \\ and $\\alpha<b$',
    "é \U0001f600 \u2028 \x00\x1f\x7f",
    "",
    "line\nbreak\ttab",
    "\U0001d4aa(n)",
]


def papers(path, **settings):
    return [json.loads(event) for block in papers_from_file(path, **settings) for event in block]


def frame():
    return pl.DataFrame({"doc": ODD, "class": ["math"] * 5, "title": ["t"] * 5, "id": list("abcde")})


def test_each_row_of_parquet_is_an_event_to_the_byte(tmp_path):
    path = tmp_path / "papers.parquet"
    frame().write_parquet(path)
    assert papers(path) == frame().to_dicts()


def test_each_row_of_csv_is_an_event_of_texts(tmp_path):
    path = tmp_path / "papers.CSV"
    rows = frame().with_columns(id=pl.lit("0301")).filter(pl.col("doc") != "")
    rows.write_csv(path)
    assert papers(path) == rows.to_dicts()


def test_json_lines_pass_untouched(tmp_path):
    path = tmp_path / "papers.jsonl"
    first, second = b'{"doc": "a", "n": 1.0}', b'{"doc":"\xc3\xa9", "broken'
    path.write_bytes(b"\xef\xbb\xbf" + first + b"\r\n\n  \n" + second)
    assert list(papers_from_file(path)) == [[first, second]]


def test_a_feed_document_gives_the_events_that_polling_it_would():
    found = papers(OWN / "rss2.xml")
    assert [(paper["id"], paper["replaces"], paper["feed"]) for paper in found] == [
        ("3102.00021", False, None),
        ("3102.00022", False, None),
        ("3001.00023", True, None),
        ("math/0301024", True, None),
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_any_text_survives(tmp_path_factory, docs):
    path = tmp_path_factory.mktemp("any") / "papers.parquet"
    pl.DataFrame({"doc": docs}).write_parquet(path)
    assert [paper["doc"] for paper in papers(path)] == docs


@pytest.mark.skipif(not DATA_SET.exists(), reason="the data set is not here")
def test_every_abstract_of_the_data_set_survives():
    events = [event for block in papers_from_file(DATA_SET) for event in block]
    assert len(events) == 36_648
    assert [msgspec.json.decode(event) for event in events] == pl.read_parquet(DATA_SET).to_dicts()


def test_the_limit_is_for_all_blocks_together(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BLOCK_EVENTS", 2)
    path = tmp_path / "papers.parquet"
    frame().write_parquet(path)
    assert [len(block) for block in papers_from_file(path)] == [2, 2, 1]
    assert [len(block) for block in papers_from_file(path, limit=3)] == [2, 1]
    assert list(papers_from_file(path, limit=0)) == []


def test_a_block_is_no_larger_than_one_publish(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_PUBLISH_BYTES", 25)
    path = tmp_path / "papers.jsonl"
    path.write_bytes(b'{"doc":"a"}\n' * 5)
    assert [len(block) for block in papers_from_file(path)] == [2, 2, 1]


def written(folder, name, content):
    path = folder / name
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("papers.txt", b"", UserError, "files ending in .parquet, .csv"),
        ("a.csv", b"docs,id\na,1\n", UserError, "no column 'doc'.*only docs, id. Did you mean 'docs'"),
        ("a.csv", b"", DataError, "damaged or not what its name says"),
        ("a.csv", b"doc\n\xff\xfe\n", DataError, "damaged or not what its name says"),
        ("a.csv", b'doc,id\n"x" y,z\n"a,1\nb,2,3,4\n', DataError, "damaged or not what its name says"),
        ("a.parquet", b"PAR1 nothing", DataError, "damaged or not what its name says"),
        ("a.parquet", pl.DataFrame({"doc": [b"\xff"]}), UserError, "column 'doc' holds bytes"),
        ("a.json", b'[\n{"doc": 1}]', UserError, "not JSON lines"),
        ("a.jsonl", b"\xff\xfe{", UserError, "not JSON lines"),
        ("a.jsonl", b'{"doc":"a"}\n{"doc":"' + b"x" * MAX_EVENT_BYTES, DataError, "paper 2 is larger"),
        ("a.xml", b"<html>", DataError, "web page"),
        ("a.xml", (OWN / "api_error.atom.xml").read_bytes(), UserError, "start must be an integer"),
    ],
)
def test_a_file_that_holds_no_papers_is_answered_clearly(tmp_path, name, content, error, message):
    with pytest.raises(error, match=message):
        papers(written(tmp_path, name, content))


def test_a_file_that_is_not_there_is_the_users(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        papers_from_file(tmp_path / "papers.parquet")
    folder = tmp_path / "papers.csv"
    folder.mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        papers_from_file(folder)
