"""Avro: rows with their types, block by block, and values that have no place."""

import datetime as dt
from decimal import Decimal
from io import BytesIO
from uuid import UUID

import fastavro
import pytest

from headrace.errors import UserError
from headrace.events.batch import ORIGIN
from headrace.events.formats.avro import AvroRows, encode_avro
from headrace.events.formats.json import encode_rows, from_rows, rows

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def written(type_, values, **settings):
    schema = {"type": "record", "name": "Row", "fields": [{"name": "x", "type": type_}]}
    file = BytesIO()
    fastavro.writer(file, schema, [{"x": value} for value in values], **settings)
    return file


def logical(type_, name, **more):
    return {"type": type_, "logicalType": name, **more}


@pytest.mark.parametrize(
    ("type_", "value", "found"),
    [
        ("boolean", True, True),
        ("int", -1, -1),
        ("double", 0.5, 0.5),
        ("string", "é", "é"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "A", "A"),
        (logical("long", "timestamp-millis"), NOON, NOON),
        (logical("long", "timestamp-micros"), NOON, NOON),
        (logical("int", "date"), dt.date(2026, 1, 2), NOON.replace(hour=0)),
        (logical("string", "uuid"), UUID(int=1), str(UUID(int=1))),
        (logical("bytes", "decimal", precision=6, scale=2), Decimal("1.25"), 1.25),
        ({"type": "array", "items": ["null", "long"]}, [1, None], [1, None]),
        ({"type": "map", "values": "double"}, {"a": 1.5}, {"a": 1.5}),
        (["null", "long", "string"], "1", "1"),
    ],
)
def test_each_type_has_its_place(type_, value, found):
    decoded = AvroRows(written(type_, [value])).read(0, 1)
    assert rows(decoded.batch) == [{"x": found}]
    assert type(rows(decoded.batch)[0]["x"]) is type(found)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (["null", "bytes"], b"\xff"),
        (["null", "double"], float("nan")),
        (["null", logical("int", "time-millis")], dt.time(1)),
        (["null", logical("bytes", "decimal", precision=30, scale=11)], Decimal("1234567890.12345678901")),
    ],
)
def test_a_value_without_a_place_rejects_its_row_and_is_shown(type_, value):
    file = AvroRows(written(type_, [value, None]))
    found = file.read(0, 2)
    assert [reject.origin for reject in found.rejects] == [0]
    assert "in 'x'" in found.rejects[0].reason
    assert found.batch.frame[ORIGIN].to_list() == [1]
    assert file.body(0).startswith(b'{"x":')


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_rows_are_read_from_any_place_across_blocks(codec):
    file = AvroRows(written("long", range(1_000), codec=codec, sync_interval=100))
    assert file.rows == 1_000
    assert [row["x"] for row in rows(file.read(95, 300).batch)] == list(range(95, 395))
    assert file.read(995, 20).batch.height == 5
    assert file.body(421) == str(encode_rows(file.read(421, 1).batch)[0]).encode() == b'{"x":421}'


def test_a_file_that_is_cut_or_damaged_is_a_users_error_with_its_name(tmp_path):
    path = tmp_path / "data.avro"
    whole = written("string", ["text"] * 10_000, codec="deflate").getvalue()
    for size in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"data\.avro is no sound Avro file"):
            AvroRows(path)
    path.write_bytes(whole[:-60] + b"\xff" * 40 + whole[-20:])
    with pytest.raises(UserError, match="no sound Avro file"):
        AvroRows(path).read(0, 10_000)
    with pytest.raises(UserError, match="cannot read"):
        AvroRows(tmp_path / "none.avro")


def test_a_block_that_unpacks_to_too_much_is_refused():
    file = written("string", ["\0" * (65 << 20)], codec="deflate")
    with pytest.raises(UserError, match="unpacks to more than"):
        AvroRows(file).read(0, 1)


def test_a_file_of_other_values_than_records_is_refused():
    file = BytesIO()
    fastavro.writer(file, "long", [1, 2])
    with pytest.raises(UserError, match="no records"):
        AvroRows(file)


def test_several_types_are_a_union_and_nested_values_json():
    batch = from_rows([{"x": 1, "a b": [1]}, {"x": True, "a b": None}, {"x": 1.0, "a b": {"k": None}}])
    data = encode_avro(batch, ["a b", "x", "none"])
    found = list(fastavro.reader(BytesIO(data)))
    assert [(row["x"], type(row["x"])) for row in found] == [(1, int), (True, bool), (1.0, float)]
    assert [row["a_b"] for row in found] == ["[1]", None, '{"k":null}']
    assert [row["a b"] for row in rows(AvroRows(BytesIO(data)).read(0, 3).batch)] == [
        "[1]",
        None,
        '{"k":null}',
    ]


def test_datetimes_beside_bigints_are_text():
    data = encode_avro(from_rows([{"x": NOON}, {"x": 1}]), ["x"])
    assert [row["x"] for row in fastavro.reader(BytesIO(data))] == ["2026-01-02T12:00:00.0000000Z", 1]
