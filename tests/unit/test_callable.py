"""Python functions as outputs: what they are called with, and what becomes of what they raise."""

import functools
from datetime import UTC, datetime

import pytest

from headrace.connect.callable import CallableSink, PythonSettings
from headrace.connect.sink import Refused, Rows
from headrace.connect.topic import (
    Subscription,
    TopicInputSettings,
    TopicOutputSettings,
    subscriptions_of,
)
from headrace.errors import DataError, Fatal, Transient, UserError
from headrace.events.formats.json_rows import from_rows

ROWS = [
    {"id": 2**60, "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "record": {"ü": [1, None, 0.5]}},
    {"id": -1, "at": datetime(1, 1, 1, tzinfo=UTC), "record": {"at": "2026-01-01T00:00:00.0000000Z"}},
]


def delivered(function, rows=ROWS, sequence=3):
    sink = CallableSink("mine", function, "source")
    prepared = sink.prepare(Rows(from_rows(rows), lambda: None))
    sink.deliver(prepared.payload, "job:a", sequence)
    sink.close()


def test_a_function_gets_the_rows_as_python_holds_them():
    got = []
    delivered(got.append)
    assert got == [ROWS]
    assert got[0][0]["at"].tzinfo is UTC


def test_a_function_that_takes_the_delivery_id_gets_the_same_for_the_same_block():
    got = []

    def keep(rows, delivery_id="none"):
        got.append(delivery_id)

    delivered(keep)
    delivered(keep)
    delivered(functools.partial(keep), sequence=4)
    assert got == ["source:job:a:3", "source:job:a:3", "source:job:a:4"]


@pytest.mark.parametrize("error", [ValueError("bad day"), SystemExit(1)])
def test_an_exception_of_the_function_is_to_be_tried_again_and_shown_without_a_traceback(error):
    def fail(rows):
        raise error

    with pytest.raises(Transient, match=f"failed: {type(error).__name__}"):
        delivered(fail)


def test_data_error_refuses_the_block_and_refused_names_the_rows():
    def refuse(rows):
        raise DataError("no such customer")

    with pytest.raises(Refused, match="no such customer") as refused:
        delivered(refuse)
    assert list(refused.value.rows) == [0, 1]

    def refuse_one(rows):
        raise Refused("one", {1: "odd"})

    with pytest.raises(Refused) as refused:
        delivered(refuse_one)
    assert refused.value.rows == {1: "odd"}


def test_data_error_refuses_all_rows_though_the_function_took_them_out_of_its_list():
    def empty(rows):
        rows.clear()
        raise DataError("no such customer")

    with pytest.raises(Refused) as refused:
        delivered(empty)
    assert list(refused.value.rows) == [0, 1]


@pytest.mark.parametrize("named", [{}, {2: "odd"}, {-1: "odd"}, {"1": "odd"}, {0: "odd", 1: 5}])
def test_rows_that_are_refused_must_be_of_the_block(named):
    def refuse(rows):
        raise Refused("odd", named)

    with pytest.raises(UserError, match=r"'mine': its function raised Refused .* of a block of 2\. Expected"):
        delivered(refuse)


def test_errors_of_headrace_pass_through():
    def end(rows):
        raise Fatal("stop")

    with pytest.raises(Fatal):
        delivered(end)


async def later(rows):
    """Does nothing."""


@pytest.mark.parametrize("function", [later, lambda: None, lambda rows, more: None, lambda rows, *, x: None])
def test_a_function_that_cannot_be_called_with_rows_is_refused_before_the_job_runs(function):
    with pytest.raises(UserError, match=r"outputs\.mine\.python"):
        CallableSink("mine", function, "source")


@pytest.mark.parametrize("python", [None, "", "mine.py", ":store"])
def test_settings_name_a_file_and_a_function(python):
    with pytest.raises(ValueError, match="python is missing"):
        PythonSettings(python)


def test_a_topic_has_the_subscriptions_that_its_outputs_and_inputs_name():
    inputs = [TopicInputSettings("rows", "few", {"kind": "a"}), object()]
    outputs = {"rows": TopicOutputSettings(None, ["all", "few"]), "other": TopicOutputSettings()}
    assert subscriptions_of(inputs, outputs) == {
        "rows": [Subscription("few", {"kind": "a"}), Subscription("all")],
        "other": [],
    }
    with pytest.raises(UserError, match="two filters"):
        subscriptions_of([*inputs, TopicInputSettings("rows", "few")], outputs)


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (b'{"kind": "a", "n": 1}', True),
        (b'{"Kind": "a", "n": 1.0}', True),
        (b'{"kind": "a", "n": true}', False),
        (b'{"kind": "A", "n": 1}', False),
        (b'{"n": 1}', False),
        (b"[]", False),
        (b"nonsense", False),
    ],
)
def test_a_filter_compares_fields_by_value_and_names_in_any_case(body, taken):
    assert Subscription("few", {"kind": "a", "N": 1}).takes(body) is taken


@pytest.mark.parametrize("settings", [{}, {"topic": "t"}, {"subscription": "s"}])
def test_an_input_names_a_topic_and_a_subscription(settings):
    with pytest.raises(ValueError, match="are needed"):
        TopicInputSettings(**settings)
    with pytest.raises(ValueError, match="each once"):
        TopicOutputSettings("t", ["a", "a"])
