"""Batches to JSON text: exact values, open columns, hidden columns, one line a row."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest import mock

import polars as pl
import pytest

from headrace.events.batch import HIDDEN, ORIGIN, Batch, Column, ValueType
from headrace.events.formats import json_encode
from headrace.events.formats.json import JsonDecoder, encode_block, encode_lines, encode_rows, from_rows


def encoded(batch: Batch) -> list[str]:
    return encode_rows(batch).to_list()


def opened(batch: Batch) -> Batch:
    return Batch(batch.frame, tuple(replace(column, open=True) for column in batch.columns))


def test_a_named_column_is_null_and_an_open_one_is_left_out() -> None:
    batch = from_rows([{"a": 1, "b": "x"}, {"b": None}, {"a": 2}])
    assert encoded(batch) == ['{"a":1,"b":"x"}', '{"a":null,"b":null}', '{"a":2,"b":null}']
    assert encoded(opened(batch)) == ['{"a":1,"b":"x"}', "{}", '{"a":2}']
    named_and_open = Batch(batch.frame, (replace(batch.columns[0], open=True), batch.columns[1]))
    assert encoded(named_and_open) == ['{"a":1,"b":"x"}', '{"b":null}', '{"a":2,"b":null}']


def test_each_value_is_written_from_the_plane_that_holds_it() -> None:
    mixed: list[dict[str, Any]] = [
        {"x": 1}, {"x": 1.0}, {"x": "1"}, {"x": True}, {"x": {"y": 1.0}}, {"x": [1, None]}, {"x": None},
    ]  # fmt: skip
    batch = from_rows([*mixed, {"x": datetime(2024, 5, 1, 12, 0, 0, 123456)}])
    assert encoded(batch) == [
        '{"x":1}', '{"x":1.0}', '{"x":"1"}', '{"x":true}', '{"x":{"y":1.0}}', '{"x":[1,null]}', '{"x":null}',
        '{"x":"2024-05-01T12:00:00.1234560Z"}',
    ]  # fmt: skip
    assert encoded(opened(batch))[6] == "{}"


def test_a_datetime_has_seven_digits_and_a_zone_in_the_first_year_and_the_last() -> None:
    batch = from_rows([{"t": datetime(1, 1, 1)}, {"t": datetime(9999, 12, 31, 23, 59, 59, 999999)}])
    assert encoded(batch) == ['{"t":"0001-01-01T00:00:00.0000000Z"}', '{"t":"9999-12-31T23:59:59.9999990Z"}']


def test_a_float_stays_a_float_to_the_last_bit() -> None:
    random_ = random.Random(3)
    floats = [struct.unpack("<d", random_.randbytes(8))[0] for _ in range(5000)]
    floats = [value for value in floats if abs(value) < float("inf")]
    floats += [0.0, -0.0, 2.0, 1e15, 1e16, 1e17, 1e21, 1e22, 1e300, 5e-324, 0.1, 2.0**53, 123456789.0, 1e-7]
    batch = from_rows([{"f": value, "g": value} for value in floats])
    texts = encoded(batch)
    read = JsonDecoder().decode([text.encode() for text in texts]).batch
    assert read.columns == batch.columns
    for name in ("float:f", "float:g"):
        values = read.frame[name].to_list()
        assert [struct.pack("<d", value) for value in values] == [
            struct.pack("<d", value) for value in floats
        ]
    assert texts[-14:][:3] == ['{"f":0.0,"g":0.0}', '{"f":-0.0,"g":-0.0}', '{"f":2.0,"g":2.0}']


def test_what_is_no_number_is_null_rather_than_bad_json() -> None:
    values = pl.Series("float:f", [float("nan"), float("inf"), 1.5])
    plain = Batch(pl.DataFrame([values]), (Column("f", (ValueType.FLOAT,)),))
    assert encoded(plain) == ['{"f":null}', '{"f":null}', '{"f":1.5}']
    assert encoded(opened(plain))[2] == '{"f":1.5}'


def test_text_and_names_are_escaped_exactly() -> None:
    every = "".join(map(chr, range(0x300))) + '\u2028\u2029😀"\\'
    batch = from_rows([{every: every, "r": {every: every}}])
    for each in (batch, opened(batch)):
        text = encoded(each)[0]
        assert json.loads(text) == {every: every, "r": {every: every}}
        assert "\n" not in text


def test_a_record_is_written_as_it_was_read_on_one_line() -> None:
    body = b'{"r":{ "b" : 1.0,\n  "a":[1e2, 12345678901234567890123]},"a":[ ],"x":1}'
    batch = JsonDecoder().decode([body]).batch
    assert encode_lines(batch) == b'{"r":{ "b" : 1.0,   "a":[1e2, 12345678901234567890123]},"a":[ ],"x":1}'


def test_hidden_columns_are_not_written_and_chosen_ones_in_their_order() -> None:
    batch = from_rows([{"a": 1, HIDDEN + "call1": 2, "b": 3}])
    assert encoded(batch) == ['{"a":1,"b":3}']
    hidden, a, b = batch.columns[1], batch.columns[0], batch.columns[2]
    assert encode_rows(batch, [b, hidden, a]).to_list() == ['{"b":3,"a":1}']
    assert encode_rows(batch, []).to_list() == ["{}"]


@pytest.mark.parametrize("height", [0, 1, 3])
def test_rows_whose_columns_are_null_throughout_are_as_many_texts(height: int) -> None:
    batch = Batch(pl.DataFrame({ORIGIN: range(height)}), (Column("a", ()), Column("b", ())))
    assert encoded(batch) == ['{"a":null,"b":null}'] * height
    assert encode_lines(batch).count(b"\n") == max(0, height - 1)


PLAIN_ROWS: list[dict[str, Any]] = [
    {
        "i": -(2**63), "f": 1e300, "s": "a\u2028\x00\n\"é😀", "b": True, 'na"me\n': 1,
        "t": datetime(1, 1, 1), "whole": 2.0, "sometimes": None,
    },
    {
        "i": None, "f": -0.0, "s": "", "b": None, 'na"me\n': None,
        "t": datetime(9999, 12, 31, 23, 59, 59, 999999), "whole": -1e16, "sometimes": 5,
    },
]  # fmt: skip


def test_lines_written_at_once_are_the_rows() -> None:
    """Plain columns take a way of their own, by Polars; so do open ones that are NULL in no row."""
    many: list[dict[str, Any]] = [{"f": float(n) / 7, "n": n} for n in range(3000)]
    for plain in (PLAIN_ROWS, PLAIN_ROWS[:1], many):
        batch = from_rows(plain)
        for each in (batch, opened(batch)):
            texts = encoded(each)
            assert encode_lines(each) == "\n".join(texts).encode()
            assert all(set(json.loads(text)) <= set(plain[0]) for text in texts)
    no_number = Batch(
        pl.DataFrame({"float:f": [float("nan"), float("inf"), None]}), (Column("f", (ValueType.FLOAT,)),)
    )
    assert encode_lines(no_number) == b'{"f":null}\n{"f":null}\n{"f":null}'


def test_a_block_names_the_rows_that_are_too_large_for_an_event() -> None:
    batch = from_rows([{"a": "x" * size} for size in (1, 13, 12, 20, 0)])
    assert encode_block(batch) == (encode_lines(batch), {})
    with mock.patch.object(json_encode, "MAX_EVENT_BYTES", 20):
        block, failures = encode_block(batch)
        assert block == encode_lines(batch)
        assert failures == {
            1: "the row has 21 bytes, more than the 20 of one event",
            3: "the row has 28 bytes, more than the 20 of one event",
        }
    assert encode_block(from_rows([])) == (b"", {})


def test_rows_are_separated_by_newlines() -> None:
    assert encode_lines(from_rows([])) == b""
    assert encode_lines(from_rows([{}, {}])) == b"{}\n{}"
    assert encode_lines(from_rows([{"a": 1}, {"a": 2}])) == b'{"a":1}\n{"a":2}'
