"""Exported files: whole or not at all, and nothing in them is changed on the way."""

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import DataError, UserError
from headrace.local import export as export_module
from headrace.local.export import export_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
NAMES = TEXT | st.sampled_from(
    ["a", "A", "=a", "partition_key", "row_key", "properties.row_key", "properties.properties.row_key"]
)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.dictionaries(NAMES, VALUES, max_size=3)), max_size=6)

UNIFORM = {
    "texts": (["a", "", None], pl.String),
    "booleans": ([True, None, False], pl.Boolean),
    "integers": ([1, None, -(2**63)], pl.Int64),
    "floats": ([0.1, None, 2], pl.Float64),
    "nulls": ([None, None, None], pl.String),
}

MIXED = {
    "text and number": ([1, "1", None], ["1", '"1"', None]),
    "a number beyond 64 bits": ([1, 2**64, None], ["1", str(2**64), None]),
    "a float beside a number it would round": ([0.5, 2**53 + 1, None], ["0.5", str(2**53 + 1), None]),
    "records and lists": ([{"b": [1]}, [], None], ['{"b": [1]}', "[]", None]),
}


def encoded(rows):
    return [(partition, row, json.dumps(properties)) for partition, row, properties in rows]


def column_of(values):
    return [("p", str(number), json.dumps({"x": value})) for number, value in enumerate(values)]


def unformula(text):
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_holds_the_keys_and_properties_of_every_row(tmp_path_factory, suffix, rows):
    path = tmp_path_factory.mktemp("export") / f"rows.{suffix}"
    assert export_rows(encoded(rows), path) == len(rows)
    text = path.read_text()
    found = json.loads(text) if suffix == "json" else [json.loads(line) for line in text.split("\n")[:-1]]
    assert [(row["partition_key"], row["row_key"], row["properties"]) for row in found] == rows


def test_json_keeps_the_text_of_numbers_and_escapes(tmp_path):
    properties = '{"n":1.10,"big":123456789012345678901234567890,"e":1e400,"s":"\\ud800","d":1,"d":2}'
    export_rows([("p", "r", properties)], tmp_path / "rows.jsonl")
    assert f'"properties":{properties}' in (tmp_path / "rows.jsonl").read_text()


def test_line_breaks_between_tokens_do_not_break_json_lines(tmp_path):
    export_rows([("p\n", "r\r\n", '{\n"a":\r\n"\\n"}')], tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0]) == {"partition_key": "p\n", "row_key": "r\r\n", "properties": {"a": "\n"}}


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, page_rows=st.integers(1, 3))
def test_csv_and_parquet_hold_every_value_in_the_column_of_its_name(tmp_path_factory, rows, page_rows):
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "MAX_PAGE_ROWS", page_rows)
        for suffix in ("csv", "parquet"):
            assert export_rows(encoded(rows), folder / f"rows.{suffix}") == len(rows)
    names = list(dict.fromkeys(name for row in rows for name in row[2]))
    frame = pl.read_parquet(folder / "rows.parquet")
    assert len(frame.columns) == len(set(frame.columns)) == 2 + len(names)
    assert frame["partition_key"].to_list() == [row[0] for row in rows]
    assert frame["row_key"].to_list() == [row[1] for row in rows]
    with (folder / "rows.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == [unformula(name) for name in frame.columns]
    for place, name in enumerate(names, start=2):
        cells = frame[frame.columns[place]].to_list()
        for (_, _, properties), cell, line in zip(rows, cells, lines, strict=True):
            value = properties.get(name)
            if value is None:
                assert (cell, line[place]) == (None, "")
                continue
            assert cell == value or json.loads(cell) == value
            assert (
                line[place] == unformula(value)
                if isinstance(value, str)
                else json.loads(line[place]) == value
            )


@pytest.mark.parametrize("kind", UNIFORM)
def test_a_parquet_column_has_the_type_of_its_values(tmp_path, kind):
    values, type_ = UNIFORM[kind]
    export_rows(column_of(values), tmp_path / "rows.parquet")
    column = pl.read_parquet(tmp_path / "rows.parquet")["x"]
    assert (column.dtype, column.to_list()) == (type_, values)


@pytest.mark.parametrize("kind", MIXED)
def test_a_parquet_column_of_mixed_values_is_json_text(tmp_path, kind):
    values, texts = MIXED[kind]
    export_rows(column_of(values), tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet")["x"].to_list() == texts


def test_a_number_that_no_float_holds_stays_text(tmp_path):
    export_rows([("p", "r", '{"x":1e400}')], tmp_path / "rows.parquet")
    assert pl.read_parquet(tmp_path / "rows.parquet")["x"].to_list() == ["1e400"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_text_that_a_spreadsheet_would_run_is_defused(tmp_path, start):
    attack = start + 'cmd|"/c calc"!A0'
    export_rows([(attack, attack, json.dumps({attack: attack, "n": -5}))], tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        header, line = csv.reader(file)
    assert header == ["partition_key", "row_key", "'" + attack, "n"]
    assert line == ["'" + attack, "'" + attack, "'" + attack, "-5"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_property_named_like_a_key_column_gets_a_column_beside_it(tmp_path, suffix):
    properties = '{"row_key":"mine","properties.row_key":"too"}'
    export_rows([("p", "r", properties)], tmp_path / f"rows.{suffix}")
    read = pl.read_csv if suffix == "csv" else pl.read_parquet
    assert read(tmp_path / f"rows.{suffix}").to_dicts() == [
        {
            "partition_key": "p",
            "row_key": "r",
            "properties.row_key": "mine",
            "properties.properties.row_key": "too",
        }
    ]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [("csv", b"partition_key,row_key\n"), ("json", b"[\n]\n"), ("jsonl", b""), ("parquet", None)],
)
def test_no_rows_make_a_file_that_says_so(tmp_path, suffix, content):
    path = tmp_path / f"rows.{suffix}"
    assert export_rows([], path) == 0
    if content is None:
        assert pl.read_parquet(path).columns == ["partition_key", "row_key"]
    else:
        assert path.read_bytes() == content


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "parquet"])
def test_an_export_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    path.write_text("old")

    def rows():
        yield ("p", "r", "{}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_rows(rows(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_synced_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    done = []
    sync, rename = os.fsync, Path.replace

    def synced(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def renamed(source, target):
        done.append("name")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    export_rows([("p", "r", "{}")], tmp_path / "rows.jsonl")
    assert done == ["file", "name", "folder"]


def test_the_format_can_be_given_apart_from_the_suffix(tmp_path):
    export_rows([("p", "r", "{}")], tmp_path / "rows.txt", "jsonl")
    assert json.loads((tmp_path / "rows.txt").read_text())["row_key"] == "r"


@pytest.mark.parametrize("name", ["rows.xlsx", "rows"])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(UserError, match="not one of csv, json, jsonl, parquet"):
        export_rows([], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_folder_that_is_not_there_is_a_user_error(tmp_path, suffix):
    with pytest.raises(UserError, match=r"cannot write .*Check that the folder"):
        export_rows([], tmp_path / "none" / f"rows.{suffix}")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path, suffix):
    export_under_a_limit = (
        "import json, pathlib, resource, signal, sys\n"
        "from headrace.errors import Transient\n"
        "from headrace.local.export import export_rows\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "rows = (('p', str(n), json.dumps({'text': str(n) * 100})) for n in range(10_000))\n"
        "try: export_rows(rows, pathlib.Path(sys.argv[1]))\n"
        "except Transient as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", export_under_a_limit, str(tmp_path / f"rows.{suffix}")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path / 'rows'}.{suffix} may not grow any more" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "properties", ['{"a":', "[1]", '{"a":"\\ud800"}', '{"a":' + "[" * 5000 + "]" * 5000 + "}"]
)
def test_properties_that_are_no_columns_are_named_with_a_way_out(tmp_path, properties):
    with pytest.raises(DataError, match=r"row 'r' of partition 'p'.*Export to \.jsonl"):
        export_rows([("p", "r", properties)], tmp_path / "rows.csv")


def test_more_columns_than_a_reader_can_take_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "MAX_EXPORT_COLUMNS", 3)
    export_rows([("p", "r", '{"a":1}')], tmp_path / "rows.csv")
    with pytest.raises(UserError, match="more than 3 different properties"):
        export_rows([("p", "r", '{"a":1,"b":2}')], tmp_path / "rows.csv")
