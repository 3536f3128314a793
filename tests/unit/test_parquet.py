"""Parquet: rows with their types, and values that have no place."""

import datetime as dt
from decimal import Decimal
from io import BytesIO

import polars as pl
import pytest

from headrace.errors import UserError
from headrace.events.batch import ORIGIN
from headrace.events.formats.json import encode_rows, from_rows, rows
from headrace.events.formats.parquet import ParquetRows, encode_parquet

UTC = dt.UTC
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=UTC)


def opened(frame, **settings):
    file = BytesIO()
    frame.write_parquet(file, **settings)
    return ParquetRows(file)


def test_each_type_has_its_place():
    frame = pl.DataFrame(
        {
            "bit": [True, None],
            "small": pl.Series([1, -1], dtype=pl.Int8),
            "float": pl.Series([0.5, None], dtype=pl.Float32),
            "decimal": pl.Series([Decimal("1.25"), None], dtype=pl.Decimal(10, 2)),
            "long": pl.Series([Decimal("12345678901234567.5"), None], dtype=pl.Decimal(30, 1)),
            "text": ["é", ""],
            "word": pl.Series(["x", None], dtype=pl.Categorical),
            "day": [dt.date(2026, 1, 2), None],
            "zone": pl.Series([NOON, None]).dt.convert_time_zone("Asia/Tokyo"),
            "ns": pl.Series([NOON.replace(tzinfo=None), None], dtype=pl.Datetime("ns")),
            "ms": pl.Series([NOON.replace(tzinfo=None), None], dtype=pl.Datetime("ms")),
            "record": [{"a": 1, "b": [True, None]}, None],
            "array": [[dt.date(2026, 1, 2)], None],
            "none": [None, None],
        }
    ).drop("long")
    found = opened(frame).read(0, 10)
    assert not found.rejects
    assert rows(found.batch)[0] == {
        "bit": True,
        "small": 1,
        "float": 0.5,
        "decimal": 1.25,
        "text": "é",
        "word": "x",
        "day": dt.datetime(2026, 1, 2, tzinfo=UTC),
        "zone": NOON,
        "ns": NOON,
        "ms": NOON,
        "record": {"a": 1, "b": [True, None]},
        "array": ["2026-01-02T00:00:00.0000000Z"],
    }
    assert rows(found.batch)[1]["record"] is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pl.Series([2**63, 1], dtype=pl.UInt64), "9223372036854775808 in 'x' is out of bigint range"),
        (pl.Series([float("nan"), 1.0]), "nan in 'x' is no float"),
        (pl.Series([[float("inf")], [1.0]]), "inf is no float"),
        (pl.Series([b"\xff", None]), "a value of type bytes has no counterpart"),
        (pl.Series([dt.time(1), None]), "a value of type time has no counterpart"),
        (pl.Series([Decimal("1234567890.12345678901"), Decimal(1)]), "no float is exactly"),
        (pl.Series([10**15, 0]).cast(pl.Datetime("ms")), "not in the years 1 to 9999"),
    ],
)
def test_a_value_without_a_place_rejects_its_row_and_is_shown(values, reason):
    file = opened(pl.DataFrame({"x": values, "y": ["a", "b"]}))
    found = file.read(0, 2)
    assert [reject.origin for reject in found.rejects] == [0]
    assert reason in found.rejects[0].reason
    assert found.batch.frame[ORIGIN].to_list() == [1]
    assert file.body(0).startswith(b'{"x":')
    assert file.body(1) == str(encode_rows(found.batch)[0]).encode()


def test_rows_are_read_from_any_place_across_row_groups():
    file = opened(pl.DataFrame({"n": range(100)}), row_group_size=7)
    assert file.rows == 100
    assert [row["n"] for row in rows(file.read(5, 20).batch)] == list(range(5, 25))
    assert file.read(95, 20).batch.height == 5
    assert file.body(42) == b'{"n":42}'


def test_a_file_that_is_cut_or_damaged_is_a_users_error_with_its_name(tmp_path):
    path = tmp_path / "data.parquet"
    pl.DataFrame({"n": range(10_000)}).write_parquet(path)
    whole = path.read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"data\.parquet is no sound Parquet file"):
            ParquetRows(path)
    path.write_bytes(b"PAR1" + b"\xff" * 5_000 + whole[5_004:])
    with pytest.raises(UserError, match="no sound Parquet file"):
        ParquetRows(path).read(0, 10_000)
    with pytest.raises(UserError, match="cannot read"):
        ParquetRows(tmp_path / "none.parquet")


def test_bigint_beside_float_is_float_where_that_is_exact():
    batch = from_rows([{"x": 1}, {"x": 0.5}, {"x": 2**53 + 1}])
    data, failures = encode_parquet(batch, ["x"])
    assert list(failures) == [2]
    assert "9007199254740993 in 'x' is no float" in failures[2]
    assert pl.read_parquet(BytesIO(data))["x"].to_list()[:2] == [1.0, 0.5]


def test_other_mixtures_are_text_and_nested_values_json():
    batch = from_rows([{"x": 1, "r": [1, {"a": None}]}, {"x": NOON, "r": None}, {"x": "1", "r": None}])
    data, failures = encode_parquet(batch, ["x", "r", "none"])
    frame = pl.read_parquet(BytesIO(data))
    assert frame["x"].to_list() == ["1", "2026-01-02T12:00:00.0000000Z", "1"]
    assert frame["r"].to_list() == ['[1,{"a":null}]', None, None]
    assert frame["none"].null_count() == 3
    assert not failures
