"""Paths of outputs: which files they stand for, and which inputs read them."""

import pytest

from headrace.connect.file_places import check_output_path, glob_of, numbered_path, overlap
from headrace.errors import UserError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("rows.jsonl", "rows-00000007.jsonl"),
        ("a.b/rows.jsonl.gz", "a.b/rows-00000007.jsonl.gz"),
        ("v1.2/x.parquet", "v1.2/x-00000007.parquet"),
        ("rows", "rows-00000007"),
        (".rows", ".rows-00000007"),
    ],
)
def test_a_number_stands_before_the_suffixes(path, expected):
    assert numbered_path(path, 7) == expected


@pytest.mark.parametrize("path", ["{", "a}", "{}/a", "{{date}}/a"])
def test_braces_that_make_no_sense_are_refused(path):
    with pytest.raises(UserError, match=r"outputs\.rows\.path: expected placeholders such as"):
        check_output_path("rows", path)


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("rows-*.csv", "rows-*.csv", True),
        ("rows-*.csv", "*.csv", True),
        ("rows-*.csv", "rows-00000001.csv", True),
        ("rows-*.csv", "*.json", False),
        ("*", "kind=[a-z]*", True),
        ("a*", "[!a]*", False),
        ("rows", "row?", True),
        ("rows", "row", False),
        ("", "*", True),
        ("*-*", "x", False),
    ],
)
def test_an_input_reads_an_output_if_some_name_matches_both(path, pattern, expected):
    assert overlap(path, pattern) is expected


def test_placeholders_and_numbers_stand_for_any_name():
    assert glob_of("{date}/{kind}.csv", numbered=True) == "*/*-*.csv"
