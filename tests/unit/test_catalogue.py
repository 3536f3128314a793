"""The catalogue: every function is described, found, implemented, and its example is true."""

import json
import re
from collections import Counter
from datetime import datetime

import polars as pl
import pytest

import headrace as hr
from headrace.engine.expressions import evaluate
from headrace.engine.functions import KERNELS
from headrace.events.batch import TIME, Batch, ValueType
from headrace.sql.bind import bind
from headrace.sql.catalogue import (
    Group,
    ResultRule,
    aggregates,
    all_entries,
    all_signatures,
    find_entry,
    lookup,
)
from headrace.sql.catalogue.datetimes import DATE_PARTS
from headrace.sql.catalogue.elsewhere import AGGREGATES, ANALYTIC, FOREIGN, ROWS, WINDOWS

SIGNATURES = all_signatures()
ENTRIES = all_entries()
ONE_ROW = Batch(pl.DataFrame({TIME: [datetime(2026, 3, 2)]}, schema={TIME: pl.Datetime("us")}), ())

TYPES = {bool: ValueType.BIT, int: ValueType.BIGINT, float: ValueType.FLOAT, str: ValueType.TEXT}
TYPES |= {datetime: ValueType.DATETIME, dict: ValueType.RECORD, list: ValueType.ARRAY}


def expression(written):
    [output] = bind(f"SELECT {written} AS x FROM src").outputs
    return output.relation.items[0].expression


def result(written):
    """The type and Python value of an expression without columns; None and None for NULL."""
    [planes] = evaluate([expression(written)], ONE_ROW, "")
    found = [(type_, values[0]) for type_, values in planes.items() if values[0] is not None]
    assert len(found) <= 1
    [(type_, value)] = found or [(None, None)]
    return type_, json.loads(value) if type_ in (ValueType.RECORD, ValueType.ARRAY) else value


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.name)
def test_the_example_has_the_value_and_type_that_it_is_said_to_have(signature):
    written, expected = signature.example
    type_, value = result(written)
    assert value == expected
    assert type_ is (None if expected is None else TYPES[type(expected)])
    if isinstance(signature.result, ValueType) and expected is not None:
        assert type_ is signature.result


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.name)
def test_a_function_is_described_for_a_reader(signature):
    assert re.fullmatch(r"Returns [^\n]+[^.\s]\.", signature.doc)
    assert signature.usage.startswith(f"{signature.name}(")
    assert signature.name.upper() in signature.example[0].upper()
    assert isinstance(signature.group, Group)
    assert isinstance(signature.result, ValueType | ResultRule)
    optional = [parameter.optional for parameter in signature.parameters]
    assert optional == sorted(optional)


def test_every_kernel_is_in_the_catalogue():
    assert {signature.kernel for signature in SIGNATURES} >= set(KERNELS)


def test_the_groups_are_whole():
    counts = Counter(function.group for function in (*SIGNATURES, *ENTRIES))
    assert counts == {
        Group.STRING: 23,
        Group.MATHS: 9,
        Group.CONVERSION: 3,
        Group.CONDITIONAL: 2,
        Group.RECORD_ARRAY: 3,
        Group.DATE_TIME: 8,
        Group.GEOSPATIAL: 7,
        Group.AGGREGATE: 14,
        Group.ANALYTIC: 5,
        Group.WINDOW: 6,
        Group.APPLY: 2,
        Group.SYSTEM: 3,
    }


def test_no_name_is_there_twice():
    names = [
        *(signature.name for signature in SIGNATURES),
        *AGGREGATES,
        *ANALYTIC,
        *ROWS,
        *WINDOWS,
        *(entry.name for entry in ENTRIES if entry.group is Group.SYSTEM),
        *FOREIGN,
    ]
    assert [name for name, count in Counter(map(str.upper, names)).items() if count > 1] == []


def test_functions_are_found_whatever_their_case():
    assert lookup("getarrayelement") is lookup("GETARRAYELEMENT") is lookup("GetArrayElement")
    assert lookup("nosuch") is None


def test_usage_shows_what_is_optional_and_what_repeats():
    assert lookup("charindex").usage == "CHARINDEX(find, text [, start])"
    assert lookup("coalesce").usage == "COALESCE(value, value, ...)"
    assert lookup("try_cast").usage == "TRY_CAST(value AS type)"


def test_a_count_of_arguments_is_taken_from_the_needed_to_the_optional_or_repeated():
    assert [count for count in range(6) if lookup("CHARINDEX").takes(count)] == [2, 3]
    assert [count for count in range(6) if lookup("CONCAT").takes(count)] == [2, 3, 4, 5]
    assert [count for count in range(6) if lookup("UPPER").takes(count)] == [1]


def test_every_spelling_of_a_date_part_has_a_full_name():
    assert set(DATE_PARTS.values()) <= DATE_PARTS.keys()
    assert all(DATE_PARTS[part] == part for part in DATE_PARTS.values())
    days = "year yy yyyy quarter qq q month mm m dayofyear dy y day dd d week wk ww weekday dw w"
    times = "hour hh minute mi n second ss s millisecond ms microsecond mcs"
    assert set(f"{days} {times}".split()) <= DATE_PARTS.keys()


# --- what is no scalar function ----------------------------------------------------------------------------


def of_query(example):
    """The rows of an example, its input found by the name after FROM."""
    name = re.search(r"FROM (\w+)", example.query)[1]
    metadata = {name: example.metadata} if example.metadata else None
    return hr.query(example.query, {name: example.events}, metadata=metadata)["output"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_query_of_an_example_gives_the_rows_that_it_is_said_to_give(entry):
    assert repr(of_query(entry.example)) == repr([dict(row) for row in entry.example.rows])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_described_for_a_reader(entry):
    assert re.fullmatch(r"(Returns|Makes|Gives) [^\n]+[^.\s]\.", entry.doc)
    assert f"{entry.name}(" in entry.usage
    assert f"{entry.name.upper()}(" in entry.example.query.upper()
    assert ("ORDER BY" in entry.usage) == entry.ordered
    assert ("DISTINCT" in entry.usage) == entry.distinct
    assert 0 <= entry.least <= (10 if entry.most is None else entry.most)
    optional = [parameter.optional for parameter in entry.parameters]
    assert optional == sorted(optional)


@pytest.mark.parametrize("entry", aggregates.ENTRIES, ids=lambda entry: entry.name)
def test_an_aggregate_looks_back_from_each_event(entry):
    """What the last event sees of the last five minutes is what a window of them would hold."""
    call, events = entry.example.query.partition(" AS ")[0], {"readings": entry.example.events}
    limit = "LIMIT DURATION(minute, 5)"
    over = f"{call[:-1]} {limit})" if entry.ordered else f"{call} OVER ({limit})"
    rows = hr.query(f"{over} AS x FROM readings TIMESTAMP BY t", events)["output"]
    window = "FROM readings TIMESTAMP BY t GROUP BY TumblingWindow(hour, 1)"
    [whole] = hr.query(f"{call} AS x {window}", events)["output"]
    assert len(rows) == len(entry.example.events)
    assert rows[-1]["x"] == (whole["x"] if isinstance(whole["x"], list | dict) else pytest.approx(whole["x"]))


def test_entries_are_found_by_all_their_names_in_any_case():
    assert find_entry("tumbling") is find_entry("TumblingWindow") is find_entry("TUMBLINGWINDOW")
    assert find_entry("topone").kernel == "TOPONE"
    assert find_entry("ABS") is None
