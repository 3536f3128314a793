"""CREATE TABLE keeps the events whose columns have the declared types, and converts nothing."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine.schema import conform
from headrace.events.batch import HIDDEN, ORIGIN, TIME, Batch, ValueType
from headrace.events.formats.json import JsonDecoder, from_rows, rows
from headrace.sql.plan import Table

BIGINT, FLOAT, TEXT, DATETIME = ValueType.BIGINT, ValueType.FLOAT, ValueType.TEXT, ValueType.DATETIME


def conformed(events, **columns):
    result = conform(from_rows(events), Table("src", tuple(columns.items())))
    return rows(result.batch), {reject.origin: reject.reason for reject in result.rejects}


def test_only_declared_columns_stay_spelled_and_ordered_as_declared():
    kept, rejects = conformed([{"b": 1, "ID": "x", "c": 2}, {"id": "y", "B": 2}], Id=TEXT, B=BIGINT)
    assert kept == [{"Id": "x", "B": 1}, {"Id": "y", "B": 2}]
    assert list(kept[0]) == ["Id", "B"]
    assert rejects == {}


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        (ValueType.BIT, True, 1),
        (BIGINT, 5, 5.0),
        (BIGINT, 5, "5"),
        (FLOAT, 5.5, "5.5"),
        (TEXT, "5", 5),
        (TEXT, "", True),
        (DATETIME, "2026-03-02T10:00:00Z", 1_767_225_600),
        (DATETIME, "2026-03-02", "yesterday"),
        (ValueType.RECORD, {"a": 1}, "{}"),
        (ValueType.ARRAY, [1], {"a": 1}),
    ],
)
def test_a_value_of_another_type_is_a_data_error(type_, good, bad):
    kept, rejects = conformed([{"x": good}, {"x": bad}, {"x": None}, {}], x=type_)
    assert len(kept) == 1
    assert list(rejects) == [1, 2, 3]
    assert "column 'x' is" in rejects[1]
    assert rejects[1].endswith(f"CREATE TABLE declares it as {type_}")
    assert rejects[2] == rejects[3] == f"column 'x' is missing or NULL; CREATE TABLE declares it as {type_}"


def test_a_bigint_fits_a_float_and_an_iso_text_a_datetime():
    kept, rejects = conformed(
        [{"f": 3, "t": "2026-03-02T10:00:00+01:00"}, {"f": 0.5, "t": datetime(2026, 3, 2)}],
        f=FLOAT,
        t=DATETIME,
    )
    assert kept == [
        {"f": 3.0, "t": datetime(2026, 3, 2, 9, tzinfo=UTC)},
        {"f": 0.5, "t": datetime(2026, 3, 2, tzinfo=UTC)},
    ]
    assert type(kept[0]["f"]) is float
    assert rejects == {}


def test_the_first_column_that_does_not_fit_is_named():
    _, rejects = conformed([{"a": "x", "b": "y"}, {"a": 1, "b": "y"}], a=BIGINT, b=BIGINT)
    assert [reason.split(";")[0] for reason in rejects.values()] == [
        "column 'a' is of type nvarchar(max)",
        "column 'b' is of type nvarchar(max)",
    ]


def test_a_text_that_is_no_datetime_is_told_so():
    _, rejects = conformed([{"t": "2026-02-30"}], t=DATETIME)
    assert rejects[0].startswith("column 't' is a text that is no ISO 8601 date and time;")


def test_time_origin_and_hidden_columns_stay():
    batch = from_rows([{"a": 1}, {"a": "x"}, {"a": 3}])
    batch = Batch(batch.frame.with_columns(pl.Series(TIME, [datetime(2026, 3, 2)] * 3)), batch.columns)
    batch = batch.with_column(f"{HIDDEN}metadata", {ValueType.RECORD: pl.Series(["{}", "{}", '{"x":1}'])})
    result = conform(batch, Table("src", (("a", BIGINT),)))
    assert result.batch.frame[ORIGIN].to_list() == [0, 2]
    assert result.batch.frame[TIME].len() == 2
    assert result.batch.frame[f"record:{HIDDEN}metadata"].to_list() == ["{}", '{"x":1}']


def test_rows_of_one_body_leave_together():
    decoded = JsonDecoder().decode([b'[{"a":1},{"a":"x"}]', b'{"a":2}'])
    result = conform(decoded.batch, Table("src", (("a", BIGINT),)))
    assert rows(result.batch) == [{"a": 2}]
    assert [reject.origin for reject in result.rejects] == [0]


def test_without_origin_a_reject_tells_its_row():
    batch = from_rows([{"a": 1}, {"a": "x"}])
    result = conform(Batch(batch.frame.drop(ORIGIN), batch.columns), Table("src", (("a", BIGINT),)))
    assert [reject.origin for reject in result.rejects] == [1]


@pytest.mark.parametrize("events", [[], [{}], [{"b": 1}]])
def test_a_batch_where_nothing_fits_still_has_the_columns(events):
    result = conform(from_rows(events), Table("src", (("a", BIGINT), ("t", DATETIME))))
    assert result.batch.height == 0
    assert [column.name for column in result.batch.columns] == ["a", "t"]
    assert set(result.batch.frame.columns) >= {"bigint:a", "datetime:t"}
    assert len(result.rejects) == len(events)


CELLS = st.sampled_from([None, 1, 2**60, 0.5, "x", "2026-03-02", True, {"a": 1}, [1]])


def fits(value, type_):
    """The oracle: one value at a time, by its Python type."""
    kinds = {BIGINT: (int,), FLOAT: (int, float), TEXT: (str,), DATETIME: ()}
    if type_ is DATETIME:
        return value == "2026-03-02"
    return type(value) in kinds[type_]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.fixed_dictionaries({}, optional={"a": CELLS, "b": CELLS}), max_size=12),
    st.sampled_from([BIGINT, FLOAT, TEXT, DATETIME]),
    st.sampled_from([BIGINT, FLOAT, TEXT, DATETIME]),
)
def test_rows_are_judged_one_by_one(events, first, second):
    kept, rejects = conformed(events, a=first, b=second)
    good = [event for event in events if fits(event.get("a"), first) and fits(event.get("b"), second)]
    assert len(kept) == len(good)
    assert len(rejects) == len(events) - len(good)
    for row, event in zip(kept, good, strict=True):
        for name, type_ in (("a", first), ("b", second)):
            if type_ is not DATETIME:
                assert row[name] == event[name]
