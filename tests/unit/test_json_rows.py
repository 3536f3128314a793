"""Python rows to batches and back."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import pytest

from headrace.errors import DataError
from headrace.events.batch import HIDDEN, ORIGIN, Batch, ValueType
from headrace.events.formats.json import JsonDecoder, from_rows, rows


class Level(IntEnum):
    HIGH = 3


class Colour(StrEnum):
    RED = "red"


NOON = datetime(2024, 5, 1, 12, 0, 0, 5)

VALUES = [
    (True, ValueType.BIT, True),
    (1, ValueType.BIGINT, 1),
    (-(2**63), ValueType.BIGINT, -(2**63)),
    (Level.HIGH, ValueType.BIGINT, 3),
    (np.int32(7), ValueType.BIGINT, 7),
    (2.0, ValueType.FLOAT, 2.0),
    (np.float32(0.5), ValueType.FLOAT, 0.5),
    (Decimal("1.25"), ValueType.FLOAT, 1.25),
    ("1", ValueType.TEXT, "1"),
    (Colour.RED, ValueType.TEXT, "red"),
    (NOON, ValueType.DATETIME, NOON.replace(tzinfo=UTC)),
    (
        NOON.replace(tzinfo=timezone(timedelta(hours=2))),
        ValueType.DATETIME,
        datetime(2024, 5, 1, 10, 0, 0, 5, UTC),
    ),
    (date(2024, 5, 1), ValueType.DATETIME, datetime(2024, 5, 1, tzinfo=UTC)),
    ({"b": 1.0, "a": [None, True]}, ValueType.RECORD, {"b": 1.0, "a": [None, True]}),
    (OrderedDict(t=NOON), ValueType.RECORD, {"t": "2024-05-01T12:00:00.0000050Z"}),
    ([1, (2.5,)], ValueType.ARRAY, [1, [2.5]]),
    (np.array([1.5, 2.0]), ValueType.ARRAY, [1.5, 2.0]),
]


@pytest.mark.parametrize(("value", "type_", "read"), VALUES, ids=[repr(value) for value, _, _ in VALUES])
def test_a_python_value_has_one_type_and_is_read_back_as_plain_python(
    value: Any, type_: ValueType, read: Any
) -> None:
    batch = from_rows([{"x": value}, {}])
    assert batch.columns[0].planes == (type_,)
    assert repr(rows(batch)) == repr([{"x": read}, {"x": None}])


def test_rows_keep_their_order_and_index() -> None:
    batch = from_rows([{"b": 1}, {"a": "x", "b": 2.5}, {"c": None}])
    assert batch.frame[ORIGIN].to_list() == [0, 1, 2]
    assert [column.name for column in batch.columns] == ["b", "a"]
    assert rows(batch) == [{"b": 1, "a": None}, {"b": 2.5, "a": "x"}, {"b": None, "a": None}]


def test_open_columns_are_left_out_where_null_and_hidden_ones_everywhere() -> None:
    batch = from_rows([{"a": 1, "b": None, HIDDEN + "x": 1}, {"b": False}])
    opened = Batch(batch.frame, tuple(replace(column, open=True) for column in batch.columns))
    assert rows(opened) == [{"a": 1}, {"b": False}]
    assert rows(batch) == [{"a": 1, "b": None}, {"a": None, "b": False}]
    assert rows(from_rows([{}, {}])) == [{}, {}]


def test_python_rows_are_typed_as_the_same_rows_in_json() -> None:
    given: list[dict[str, Any]] = [
        {"a": 1, "b": 2.0},
        {"b": "x", "a": None, "c": [1, {"d": "é"}]},
        {"c": True},
    ]
    bodies = [b'{"a":1,"b":2.0}', '{"b":"x","a":null,"c":[1,{"d":"é"}]}'.encode(), b'{"c":true}']
    decoded = JsonDecoder().decode(bodies).batch
    assert from_rows(given).frame.equals(decoded.frame)
    assert from_rows(given).columns == decoded.columns


def test_numbers_in_records_that_no_float_holds_are_read_as_decimals() -> None:
    batch = JsonDecoder().decode([b'{"r":{"big":1e400,"long":1' + b"0" * 2000 + b',"a":1.5}}']).batch
    assert rows(batch)[0]["r"] == {"big": Decimal("1e400"), "long": Decimal(10**2000), "a": 1.5}


LOOP: list[Any] = []
LOOP.append(LOOP)

BAD: list[tuple[list[Any], str]] = [
    ([{"a": 1}, {"a": 2**63}], "row 1, column 'a': 9223372036854775808 is out of bigint range"),
    ([{"a": float("nan")}], "row 0, column 'a': nan is no float of the language; use None"),
    ([{"a": 1.0}, {"a": float("inf")}], "row 1, column 'a': inf is no float"),
    ([{"a": Decimal("NaN")}], "row 0, column 'a': NaN is no float"),
    ([{"a": {"b": [float("nan")]}}], "row 0, column 'a': nan is no float"),
    ([{"a": "\ud800"}], "row 0, column 'a': text with half a surrogate pair at character 0"),
    ([{"a": {"\ud800": 1}}], "row 0, column 'a': text with half a surrogate pair"),
    ([{"a": b"x"}], "row 0, column 'a': a value of type bytes has no counterpart; make it text"),
    ([{"a": {1: 2}}], "row 0, column 'a': the key 1 is no text"),
    ([{"a": LOOP}], "row 0, column 'a': nested deeper than 128"),
    ([{1: 2}], "the key 1 is no text"),
    ([{"\ud800": 1}], "half a surrogate pair"),
    ([{"a": 1}, "row"], "row 1 is a str; a row is a dict"),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=[message for _, message in BAD])
def test_a_value_without_a_counterpart_is_named_with_its_row_and_column(
    given: list[Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        from_rows(given)
    assert message in str(caught.value)
