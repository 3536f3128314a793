"""APPLY gives each row with every element of an array or property of a record, each with its own type."""

import json
import re
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.expressions import RowError, evaluate
from headrace.engine.operators.apply import apply_elements
from headrace.events.batch import ORIGIN, TIME, Batch, Column, ValueType
from headrace.events.formats.json import from_rows, rows
from headrace.sql.plan import NOWHERE, Apply, ColumnRef, Scan, WholeRow, qualified

SCRIPT = "SELECT 1"
NAMES = {
    "GETARRAYELEMENTS": ("ArrayIndex", "ArrayValue"),
    "GETRECORDPROPERTIES": ("PropertyName", "PropertyValue"),
}


def timed(events):
    batch = from_rows(events)
    times = pl.Series(
        TIME, [datetime(2026, 3, 2, 10, i // 60, i % 60) for i in range(len(events))], pl.Datetime("us")
    )
    return Batch(batch.frame.with_columns(times), batch.columns)


def applied(events, function="GETARRAYELEMENTS", *, outer=False, operand="xs"):
    apply = Apply(Scan("src", span=NOWHERE), function, ColumnRef(operand), "f", outer)
    return apply_elements(timed(events), apply, SCRIPT)


def shown(batch, function="GETARRAYELEMENTS", column="id"):
    """The id and the two columns of the elements, as Python values, row by row."""
    names = [column, *(qualified("f", name) for name in NAMES[function])]
    parts = []
    for name in names:
        columns = batch.named(name)
        plain = [Column(f"c{at}", one.planes) for at, one in enumerate(columns)]
        renamed = [
            batch.frame[one.physical(plane)].alias(to.physical(plane))
            for one, to in zip(columns, plain, strict=True)
            for plane in one.planes
        ]
        read = rows(
            Batch(pl.DataFrame(renamed) if renamed else pl.DataFrame(height=batch.height), tuple(plain))
        )
        parts.append([next((value for value in row.values() if value is not None), None) for row in read])
    return list(zip(*parts, strict=True))


def test_each_element_makes_a_row_with_its_index_from_0():
    assert shown(applied([{"id": 1, "xs": ["red", "big"]}, {"id": 2, "xs": [7]}])) == [
        (1, 0, "red"),
        (1, 1, "big"),
        (2, 0, 7),
    ]


EMPTY = [{"id": 1, "xs": [5]}, {"id": 2, "xs": []}, {"id": 3, "xs": None}, {"id": 4}, {"id": 5, "xs": [None]}]


def test_cross_apply_drops_rows_without_elements_and_keeps_elements_that_are_null():
    assert shown(applied(EMPTY)) == [(1, 0, 5), (5, 0, None)]


def test_outer_apply_keeps_rows_without_elements_with_nulls():
    assert shown(applied(EMPTY, outer=True)) == [
        (1, 0, 5),
        (2, None, None),
        (3, None, None),
        (4, None, None),
        (5, 0, None),
    ]


def test_elements_keep_their_types_exactly():
    values = [1, 1.0, 2**63 - 1, "1", True, None, {"a": [1, 2.50]}, [1, [2]], "2026-03-02T10:00:00Z", -0.5]
    found = shown(applied([{"id": 1, "xs": values}]))
    assert [(value, type(value)) for _, _, value in found] == [(value, type(value)) for value in values]


def test_a_number_keeps_its_digits_inside_a_record():
    batch = from_rows([{"id": 1}]).with_column(
        "xs", {ValueType.ARRAY: pl.Series(['[{"n": 1.50},\n{"n":\n2}]'])}
    )
    apply = Apply(Scan("src"), "GETARRAYELEMENTS", ColumnRef("xs"), "f", False)
    found = apply_elements(batch, apply, SCRIPT)
    assert found.frame[f"record:{qualified('f', 'ArrayValue')}"].to_list() == ['{"n": 1.50}', '{"n": 2}']


def test_each_property_makes_a_row_with_its_name():
    events = [{"id": 1, "xs": {"b": 1, "A": "x", "n": None}}, {"id": 2, "xs": {}}, {"id": 3}]
    function = "GETRECORDPROPERTIES"
    assert shown(applied(events, function), function) == [(1, "b", 1), (1, "A", "x"), (1, "n", None)]
    assert shown(applied(events, function, outer=True), function)[3:] == [(2, None, None), (3, None, None)]


@pytest.mark.parametrize(
    ("function", "value", "wanted", "found"),
    [
        ("GETARRAYELEMENTS", {"a": 1}, "array", "record"),
        ("GETARRAYELEMENTS", "[1]", "array", "nvarchar(max)"),
        ("GETARRAYELEMENTS", 5, "array", "bigint"),
        ("GETRECORDPROPERTIES", [1], "record", "array"),
        ("GETRECORDPROPERTIES", "{}", "record", "nvarchar(max)"),
    ],
)
def test_another_type_stops_the_job_at_its_row(function, value, wanted, found):
    with pytest.raises(RowError, match=re.escape(f"of type {found} to type {wanted}")) as caught:
        applied([{"xs": None}, {"id": 1, "xs": value}], function)
    assert caught.value.row == 1
    assert "TRY_CAST" in str(caught.value)


def test_an_element_that_no_type_holds_stops_the_job_at_its_row():
    batch = from_rows([{}, {}, {}])
    batch = batch.with_column(
        "xs", {ValueType.ARRAY: pl.Series(["[1,2]", "[3]", "[4,99999999999999999999]"])}
    )
    with pytest.raises(RowError, match="bigint range") as caught:
        apply_elements(batch, Apply(Scan("src"), "GETARRAYELEMENTS", ColumnRef("xs"), "f", False), SCRIPT)
    assert caught.value.row == 2


def test_a_key_that_stands_twice_stops_the_job_at_its_row():
    batch = from_rows([{}, {}])
    batch = batch.with_column("xs", {ValueType.RECORD: pl.Series(['{"a":{"a":1}}', '{"a":1,"a":2}'])})
    with pytest.raises(RowError, match="duplicate key 'a'") as caught:
        apply_elements(batch, Apply(Scan("src"), "GETRECORDPROPERTIES", ColumnRef("xs"), "f", False), SCRIPT)
    assert caught.value.row == 1


def test_time_and_origin_stay_with_each_row():
    found = applied([{"xs": [1, 2]}, {"xs": []}, {"xs": [3]}], outer=True)
    assert found.frame[ORIGIN].to_list() == [0, 0, 1, 2]
    assert [time.second for time in found.frame[TIME]] == [0, 0, 1, 2]


def test_the_elements_are_a_source_that_is_null_where_there_is_none():
    found = applied([{"xs": [1, {"a": 2}]}, {"xs": []}], outer=True)
    [planes] = evaluate([WholeRow("f")], found, SCRIPT)
    assert planes[ValueType.RECORD].to_list() == [
        '{"ArrayIndex":0,"ArrayValue":1}',
        '{"ArrayIndex":1,"ArrayValue":{"a":2}}',
        None,
    ]


@pytest.mark.parametrize("outer", [False, True])
@pytest.mark.parametrize("events", [[], [{"id": 1}], [{"id": 1, "xs": []}]])
def test_batches_without_any_element(events, outer):
    found = applied(events, outer=outer)
    assert found.height == (len(events) if outer else 0)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.none() | st.lists(VALUES, max_size=5), max_size=40), st.booleans())
def test_elements_are_those_that_python_finds(arrays, outer):
    events = [{"id": at, "xs": xs} for at, xs in enumerate(arrays)]
    expected = [
        (at, *pair)
        for at, xs in enumerate(arrays)
        for pair in (list(enumerate(xs or [])) or ([(None, None)] if outer else []))
    ]
    assert json.dumps(shown(applied(events, outer=outer))) == json.dumps(expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.dictionaries(st.text(max_size=4), VALUES, max_size=5), max_size=40), st.booleans()
)
def test_properties_are_those_that_python_finds(records, outer):
    events = [{"id": at, "xs": record} for at, record in enumerate(records)]
    expected = [
        (at, *pair)
        for at, record in enumerate(records)
        for pair in (list((record or {}).items()) or ([(None, None)] if outer else []))
    ]
    function = "GETRECORDPROPERTIES"
    found = shown(applied(events, function, outer=outer), function)
    assert json.dumps(found) == json.dumps(expected)
