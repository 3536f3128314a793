"""Feed documents in files: the events that polling would give, and clear words for files that are none."""

import json
from pathlib import Path

import pytest

from headrace.connect.feeds.files import papers_from_file
from headrace.errors import DataError, UserError

OWN = Path(__file__).parents[1] / "data" / "feeds"


def test_a_feed_document_gives_the_events_that_polling_it_would():
    found = [json.loads(event) for event in papers_from_file(OWN / "rss2.xml")]
    assert [(paper["id"], paper["replaces"], paper["feed"]) for paper in found] == [
        ("3102.00021", False, None),
        ("3102.00022", False, None),
        ("3001.00023", True, None),
        ("math/0301024", True, None),
    ]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"<html>", DataError, "web page"),
        (b"\xbc<rss>", DataError, "not in its encoding"),
        ((OWN / "api_error.atom.xml").read_bytes(), UserError, "start must be an integer"),
    ],
)
def test_a_file_that_holds_no_papers_is_told_by_its_name(tmp_path, content, error, message):
    path = tmp_path / "feed.xml"
    path.write_bytes(content)
    with pytest.raises(error, match=rf"feed\.xml: .*{message}"):
        list(papers_from_file(path))


def test_a_file_that_is_not_there_is_the_users(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*feed\.xml: No such file"):
        list(papers_from_file(tmp_path / "feed.xml"))
    with pytest.raises(UserError, match="Is a directory"):
        list(papers_from_file(tmp_path))
