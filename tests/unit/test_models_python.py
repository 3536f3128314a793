"""Python functions as scorers: what they see, what may come back, and what becomes of a failure."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Transient, UserError
from headrace.events.batch import DTYPES, ValueType
from headrace.models.python import PythonFunction
from headrace.models.scorer import Argument
from headrace.models.storage import load_model


def argument(type_, *values):
    return Argument.of({type_: pl.Series(values, dtype=DTYPES[type_])}, len(values))


def bigints(*values):
    return argument(ValueType.BIGINT, *values)


def results(scored, height):
    """The results row by row as (type, stored value), None where NULL or failed."""
    rows = [None] * height
    for type_, plane in scored.planes.items():
        assert plane.dtype == DTYPES[type_]
        assert len(plane) == height
        for row, value in enumerate(plane.to_list()):
            if value is not None:
                assert rows[row] is None
                rows[row] = (type_, value)
    return rows


def returned(value):
    """What one row's result becomes: (type, stored value), or the error."""
    scored = PythonFunction("f", lambda _: value).score([bigints(1)])
    return scored.errors[0] if scored.errors else results(scored, 1)[0]


@pytest.mark.parametrize(
    ("value", "type_", "stored"),
    [
        (True, ValueType.BIT, True),
        (2**63 - 1, ValueType.BIGINT, 2**63 - 1),
        (-(2**63), ValueType.BIGINT, -(2**63)),
        (0.5, ValueType.FLOAT, 0.5),
        ("é\0'", ValueType.TEXT, "é\0'"),
        (datetime(1, 1, 1), ValueType.DATETIME, datetime(1, 1, 1)),
        (
            datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            ValueType.DATETIME,
            datetime(2026, 1, 1),
        ),
        ({}, ValueType.RECORD, "{}"),
        ({"b": [1, None], "a": {"x": 1.0}}, ValueType.RECORD, '{"b":[1,null],"a":{"x":1.0}}'),
        ({"t": datetime(2026, 1, 1, tzinfo=UTC)}, ValueType.RECORD, '{"t":"2026-01-01T00:00:00.0000000Z"}'),
        ((1, "x"), ValueType.ARRAY, '[1,"x"]'),
        (np.int32(7), ValueType.BIGINT, 7),
        (np.float32(0.5), ValueType.FLOAT, 0.5),
        (np.array([1, 2]), ValueType.ARRAY, "[1,2]"),
        ({"p": np.array([0.5])}, ValueType.RECORD, '{"p":[0.5]}'),
    ],
)
def test_the_type_of_a_result_is_that_of_its_python_value(value, type_, stored):
    assert returned(value) == (type_, stored)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (10**9999, "64 bits"),
        (float("nan"), "NULL"),
        (float("-inf"), "NULL"),
        ({"a": [float("nan")]}, "NULL"),
        ({"a": 2**64}, "64 bits"),
        ({1: 2}, "no text"),
        ("half \ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (object(), "object"),
        ([object()], "object"),
        (nested(1000), "deeper"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))), "years 1 to 9999"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_query_value_can_hold_is_the_error_of_its_row(value, says):
    assert says in returned(value)


def test_a_function_sees_python_values():
    seen = []
    arguments = [
        argument(ValueType.BIT, True),
        bigints(2**53 + 1),
        argument(ValueType.FLOAT, 0.5),
        argument(ValueType.TEXT, "é"),
        argument(ValueType.DATETIME, datetime(2026, 1, 1)),
        argument(ValueType.RECORD, '{"a":[1,{"b":null}]}'),
        argument(ValueType.ARRAY, "[1]"),
        Argument.of({}, 1),
    ]
    PythonFunction("f", lambda *values: seen.append(values)).score(arguments)
    wanted = (True, 2**53 + 1, 0.5, "é", datetime(2026, 1, 1, tzinfo=UTC), {"a": [1, {"b": None}]}, [1], None)
    assert seen == [wanted]


def test_an_argument_of_mixed_types_reaches_each_row_as_what_it_is():
    planes = {
        ValueType.BIGINT: pl.Series([1, None, None], dtype=pl.Int64),
        ValueType.TEXT: pl.Series([None, "x", None]),
    }
    scored = PythonFunction("f", lambda value: [value]).score([Argument.of(planes, 3)])
    assert results(scored, 3) == [(ValueType.ARRAY, text) for text in ("[1]", '["x"]', "[null]")]


def test_a_record_whose_number_python_cannot_read_is_the_error_of_its_row():
    documents = argument(ValueType.RECORD, '{"a":1e999}', '{"a":1}')
    for batch, function in (
        (False, lambda record: record["a"]),
        (True, lambda rows: [r["a"] for [r] in rows]),
    ):
        scored = PythonFunction("f", function, batch=batch).score([documents])
        assert results(scored, 2) == [None, (ValueType.BIGINT, 1)]
        assert "cannot be read" in scored.errors[0]


def test_results_of_different_types_stand_in_planes():
    values = [1, "x", None, 2.5, {"a": 1}, 3]
    scored = PythonFunction("f", lambda index: values[index]).score([bigints(*range(6))])
    assert results(scored, 6) == [
        (ValueType.BIGINT, 1),
        (ValueType.TEXT, "x"),
        None,
        (ValueType.FLOAT, 2.5),
        (ValueType.RECORD, '{"a":1}'),
        (ValueType.BIGINT, 3),
    ]


def inverse(number):
    return 1 / number


def test_an_exception_is_its_rows_error_and_the_others_go_on():
    scored = PythonFunction("inverse", inverse).score([bigints(2, 0, 4)])
    assert results(scored, 3) == [(ValueType.FLOAT, 0.5), None, (ValueType.FLOAT, 0.25)]
    assert scored.errors == {1: "inverse failed: ZeroDivisionError: division by zero"}


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "error", [Unprintable(), SystemExit(3), RecursionError("deep"), KeyError("\ud800" * 999)], ids=range(4)
)
def test_no_exception_of_a_row_ends_the_job(error):
    def fail(_):
        raise error

    [reason] = PythonFunction("f", fail).score([bigints(1)]).errors.values()
    assert type(error).__name__ in reason
    assert len(reason.encode()) < 2000


def test_something_outside_that_is_down_is_not_the_fault_of_a_row():
    def fail(_):
        raise Transient("the service is away")

    for batch in (False, True):
        with pytest.raises(Transient):
            PythonFunction("f", fail, batch=batch).score([bigints(1)])


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=40))
def test_a_batch_function_gives_what_the_row_function_gives(numbers):
    calls = []

    def inverses(rows):
        calls.append(len(rows))
        return [inverse(number) for [number] in rows]

    by_row = PythonFunction("f", inverse).score([bigints(*numbers)])
    by_batch = PythonFunction("f", inverses, batch=True).score([bigints(*numbers)])
    assert results(by_batch, len(numbers)) == results(by_row, len(numbers))
    assert by_batch.errors == by_row.errors
    if not by_row.errors:
        assert calls == [len(numbers)]


@pytest.mark.parametrize("answer", [[1], [1, 2, 3], 5, "ab", {"a": 1, "b": 2}, None])
def test_a_batch_function_that_does_not_answer_row_by_row_is_refused(answer):
    with pytest.raises(UserError, match=r"batch function f .*for 2 rows"):
        PythonFunction("f", lambda rows: answer, batch=True).score([bigints(1, 2)])


def doubled(rows):
    for [number] in rows:
        yield number * 2


def test_a_batch_function_may_answer_with_an_array_or_generator():
    for function in (
        lambda rows: np.array(rows)[:, 0] * 2,
        doubled,
        lambda rows: pl.Series([number * 2 for [number] in rows]),
    ):
        scored = PythonFunction("f", function, batch=True).score([bigints(1, 2)])
        assert results(scored, 2) == [(ValueType.BIGINT, 2), (ValueType.BIGINT, 4)]


def test_a_generator_that_fails_half_way_costs_only_the_row_it_failed_on():
    scored = PythonFunction("f", lambda rows: (1 / number for [number] in rows), batch=True).score(
        [bigints(1, 0, 2)]
    )
    assert list(scored.errors) == [1]
    assert results(scored, 3) == [(ValueType.FLOAT, 1.0), None, (ValueType.FLOAT, 0.5)]


def test_a_batch_result_that_no_value_can_hold_costs_only_its_row():
    scored = PythonFunction("f", lambda rows: [1, float("nan"), 3], batch=True).score([bigints(1, 2, 3)])
    assert list(scored.errors) == [1]
    assert results(scored, 3) == [(ValueType.BIGINT, 1), None, (ValueType.BIGINT, 3)]


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda a: a, 1),
        (lambda a, b: a, 2),
        (lambda a, b=1: a, None),
        (lambda *a: a, None),
        (lambda a, *, b=1: a, 1),
        (max, None),
        (str.upper, 1),
    ],
)
def test_the_number_of_arguments_is_read_off_the_function(function, count):
    assert PythonFunction("f", function).arguments == count


async def asynchronous(a):
    return a


def generator(a):
    yield a


@pytest.mark.parametrize(
    "function", [lambda: 1, lambda a, *, b: a, asynchronous, generator, "text", None], ids=range(6)
)
def test_a_function_that_a_query_cannot_call_is_refused_at_once(function):
    with pytest.raises(UserError, match=r"^f: "):
        PythonFunction("f", function)


def test_a_call_with_another_number_of_arguments_is_the_querys_fault():
    with pytest.raises(UserError, match="f takes 2 arguments, the query gives 1"):
        PythonFunction("f", lambda a, b: a).score([bigints(1)])
    with pytest.raises(UserError, match="papers takes 1 argument, the query gives 2"):
        load_model("papers").score([bigints(1), bigints(1)])


def test_a_function_without_arguments_in_the_call_is_refused():
    with pytest.raises(UserError, match="at least one argument"):
        PythonFunction("f", max).score([])


finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | finite | st.text()


def containers(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)


@given(st.recursive(scalars, containers, max_leaves=12))
def test_a_record_comes_back_from_a_function_that_hands_it_on(value):
    document = argument(ValueType.RECORD, json.dumps({"value": value}))
    scored = PythonFunction("f", lambda record: record).score([document])
    assert scored.errors == {}
    assert json.loads(scored.planes[ValueType.RECORD][0]) == {"value": value}
