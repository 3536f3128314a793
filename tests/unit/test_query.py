"""What `headrace.query` does with its inputs before and after the script runs."""

import pytest

import headrace as hr
from headrace.errors import UserError


@pytest.mark.parametrize("taken", [["no time", None], [17, {"at": 1}]])
def test_events_that_timestamp_by_cannot_time_are_dropped_even_if_that_is_all_of_them(taken):
    events = [{"n": number, "taken": value} for number, value in enumerate(taken)]
    assert hr.query("SELECT n FROM readings TIMESTAMP BY taken", {"readings": events})["output"] == []
    timed = [*events, {"n": 9, "taken": "2026-03-02T08:00:00Z"}]
    assert hr.query("SELECT n FROM readings TIMESTAMP BY taken", {"readings": timed})["output"] == [{"n": 9}]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"readings": 5}, "input 'readings': expected a list of dicts, a Polars frame or a path, found int"),
        ({"readings": None}, "found NoneType"),
        ({"readings": {"n": 1}}, "found dict"),
        ([{"n": 1}], "inputs: expected names and their events"),
        ({"readings": "nowhere.jsonl"}, r"cannot read nowhere\.jsonl: No such file or directory$"),
    ],
)
def test_an_input_that_is_no_events_is_told_by_its_name(inputs, message):
    with pytest.raises(UserError, match=message):
        hr.query("SELECT n FROM readings", inputs)


def test_a_function_that_cannot_be_called_is_told_by_its_name():
    with pytest.raises(UserError, match="function 'twice': expected a callable or a model, found int"):
        hr.query("SELECT twice(n) AS n FROM readings", {"readings": []}, functions={"twice": 2})
