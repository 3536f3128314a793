"""A whole row is a record of what a star shows, exactly, whatever other rows its batch holds."""

import json
from datetime import datetime

import polars as pl
import pytest

from headrace.engine.expressions import evaluate
from headrace.events.batch import DTYPES, HIDDEN, TIME, Batch, Column, ValueType, concat
from headrace.events.formats.json import from_rows
from headrace.sql.plan import (
    METADATA,
    SOURCE_TIME,
    Binary,
    Call,
    ColumnRef,
    FieldRef,
    Literal,
    WholeRow,
    qualified,
)


def texts(batch, source=None):
    [planes] = evaluate([WholeRow(source)], batch, "")
    assert set(planes) <= {ValueType.RECORD}
    return planes[ValueType.RECORD].to_list() if planes else [None] * batch.height


def joined(**sources):
    """A batch with a qualified column for each field of each source's rows; None is no row."""
    height = len(next(iter(sources.values())))
    columns, series = [], [pl.Series(TIME, [datetime(2026, 3, 2)] * height, DTYPES[ValueType.DATETIME])]
    for name, rows in sources.items():
        made = from_rows([row or {} for row in rows])
        for column in made.columns:
            renamed = Column(qualified(name, column.name), column.planes)
            columns.append(renamed)
            series += [made.frame[column.physical(p)].alias(renamed.physical(p)) for p in column.planes]
        time = Column(qualified(name, SOURCE_TIME), (ValueType.DATETIME,))
        columns.append(time)
        values = [None if row is None else datetime(2026, 3, 2) for row in rows]
        series.append(pl.Series(time.physicals[0], values, DTYPES[ValueType.DATETIME]))
    return Batch(pl.DataFrame(series), tuple(columns))


def test_every_type_stands_in_the_record_as_in_output():
    row = {
        "bit": True,
        "whole": 2**63 - 1,
        "float": 0.1,
        "round": 3.0,
        "text": 'é "quoted" \\ \n',
        "when": datetime(2026, 3, 2, 10, 0, 0, 125_000),
        "record": {"b": [1, 2.50], "a": None},
        "array": [1, "x"],
    }
    [text] = texts(from_rows([row]))
    assert '"whole":9223372036854775807' in text
    assert '"round":3.0' in text
    assert '"when":"2026-03-02T10:00:00.1250000Z"' in text
    assert json.loads(text) == {**row, "when": "2026-03-02T10:00:00.1250000Z"}


def test_fields_that_are_null_are_left_out():
    assert texts(from_rows([{"a": 1, "b": None}, {"b": "x"}, {}])) == ['{"a":1}', '{"b":"x"}', "{}"]


def test_a_column_of_several_types_keeps_each_value():
    assert texts(from_rows([{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": {"x": 1}}])) == [
        '{"a":1}',
        '{"a":1.0}',
        '{"a":"1"}',
        '{"a":{"x":1}}',
    ]


def test_one_row_makes_one_text_whatever_its_batch_holds():
    row = {"b": 1, "a": "x"}
    alone = texts(from_rows([row]))
    others = [{"a": 1.5, "c": 2}, {"b": {"z": 1}}, {}]
    assert texts(from_rows([*others, row]))[-1:] == texts(from_rows([row, *others]))[:1] == alone
    assert texts(concat([from_rows(others), from_rows([row])]))[-1:] == alone


def test_the_engines_own_columns_are_no_fields():
    batch = from_rows([{"a": 1}])
    hidden = batch.with_column(f"{HIDDEN}key", {ValueType.BIGINT: pl.Series([7])})
    hidden = hidden.with_column(METADATA, {ValueType.RECORD: pl.Series(["{}"])})
    assert texts(hidden) == ['{"a":1}']


def test_a_source_of_a_join_has_its_own_fields_only():
    batch = joined(l=[{"id": 1, "x": "a"}], R=[{"id": 2}])
    assert texts(batch, "l") == ['{"id":1,"x":"a"}']
    assert texts(batch, "r") == ['{"id":2}']


def test_a_row_that_an_outer_join_did_not_find_is_null_and_an_empty_event_is_not():
    batch = joined(l=[{"id": 1}, {"id": 2}, {"id": 3}], r=[{"id": 9}, {}, None])
    assert texts(batch, "r") == ['{"id":9}', "{}", None]


def test_a_source_without_time_is_null_where_all_its_columns_are():
    column = Column(qualified("ref", "v"), (ValueType.BIGINT,))
    batch = Batch(pl.DataFrame({column.physicals[0]: [1, None]}), (column,))
    assert texts(batch, "ref") == ['{"v":1}', None]
    assert texts(batch, "nowhere") == [None, None]


def test_an_event_without_columns_is_an_empty_record():
    assert texts(from_rows([{}, {}])) == ["{}", "{}"]


def test_expressions_go_on_from_a_whole_row():
    batch = from_rows([{"Speed": 3}, {"x": 1}])
    speed = FieldRef(WholeRow(), "speed")
    kind = Call("GETTYPE", (WholeRow(),))
    found = evaluate([Binary("+", speed, Literal(1, ValueType.BIGINT)), kind], batch, "")
    assert [next(iter(planes.values())).to_list() for planes in found] == [[4, None], ["record", "record"]]


@pytest.mark.parametrize("name", ["device", "DEVICE"])
def test_metadata_is_read_by_dots_ignoring_case(name):
    """What GetMetadataPropertyValue becomes: properties of the hidden record."""
    metadata = pl.Series(
        ['{"EventHub":{"Offset":5,"Device":"d1"},"User":{"a b":1.5}}', None, '{"EventId":"x"}']
    )
    batch = from_rows([{}, {}, {}]).with_column(METADATA, {ValueType.RECORD: metadata})
    hub = FieldRef(ColumnRef(METADATA), "eventhub")
    expressions = [FieldRef(hub, name), FieldRef(hub, "offset"), hub]
    expressions += [
        FieldRef(FieldRef(ColumnRef(METADATA), "User"), "A B"),
        FieldRef(ColumnRef(METADATA), "EVENTID"),
    ]
    device, offset, record, spaced, event = evaluate(expressions, batch, "")
    assert device == {ValueType.TEXT: device[ValueType.TEXT]}
    assert device[ValueType.TEXT].to_list() == ["d1", None, None]
    assert offset[ValueType.BIGINT].to_list() == [5, None, None]
    assert record[ValueType.RECORD].to_list() == ['{"Offset":5,"Device":"d1"}', None, None]
    assert spaced[ValueType.FLOAT].to_list() == [1.5, None, None]
    assert event[ValueType.TEXT].to_list() == [None, None, "x"]


def test_metadata_that_no_source_gave_is_null():
    assert evaluate([FieldRef(ColumnRef(METADATA), "EventHub")], from_rows([{"a": 1}]), "") == [{}]
