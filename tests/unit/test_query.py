"""What `headrace.query` does with its inputs before and after the script runs."""

import uuid
from datetime import UTC, datetime

import pytest

import headrace as hr
from headrace.errors import UserError
from headrace.events.watermark import NO_TIME, TOO_EARLY, TOO_LATE


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


def minute(number, second=0):
    return f"2026-03-02T08:{number:02}:{second:02}Z"


def test_without_a_policy_events_are_taken_in_order_of_time_and_none_is_late():
    events = [{"n": 1, "t": minute(59)}, {"n": 2, "t": minute(1), "EventEnqueuedUtcTime": minute(59)}]
    events += [{"n": 3, "t": minute(1)}]
    found = hr.query("SELECT n, System.Timestamp() AS at FROM src TIMESTAMP BY t", {"src": events})
    assert [row["n"] for row in found["output"]] == [2, 3, 1]
    assert found["output"][0]["at"] == datetime(2026, 3, 2, 8, 1, tzinfo=UTC)


def test_a_policy_judges_events_in_the_order_given_by_their_arrival():
    events = [
        {"n": 1, "t": minute(10), "EventEnqueuedUtcTime": minute(10)},
        {"n": 2, "t": minute(2), "EventEnqueuedUtcTime": minute(10, 30)},
        {"n": 3, "t": minute(20), "EventEnqueuedUtcTime": minute(10, 40)},
        {"n": 4, "t": "never"},
    ]
    sql = "SELECT n, System.Timestamp() AS at FROM src TIMESTAMP BY t"
    dropping = hr.query(sql, {"src": events}, policy=hr.Policy(late_seconds=60, action="drop"))
    assert [row["n"] for row in dropping["output"]] == [1]
    assert {(lost.input, lost.event, lost.reason) for lost in dropping.dropped} == {
        ("src", 1, TOO_LATE),
        ("src", 2, TOO_EARLY),
        ("src", 3, NO_TIME),
    }
    adjusting = hr.query(sql, {"src": events}, policy=hr.Policy(late_seconds=60))
    assert [(row["n"], row["at"].minute) for row in adjusting["output"]] == [(1, 10), (2, 10)]


def test_without_timestamp_by_time_is_the_arrival_and_a_policy_changes_nothing():
    events = [
        {"n": 1, "EventEnqueuedUtcTime": minute(9)},
        {"n": 2},
        {"n": 3, "EventEnqueuedUtcTime": minute(1)},
    ]
    events += [{"n": 4, "EventEnqueuedUtcTime": "later"}]
    sql = "SELECT n, System.Timestamp() AS at FROM src"
    for policy in (None, hr.Policy(late_seconds=0, action="drop")):
        found = hr.query(sql, {"src": events}, policy=policy)
        assert [(row["n"], row["at"].minute) for row in found["output"]] == [(3, 1), (1, 9), (2, 9)]
        assert [(lost.event, lost.reason) for lost in found.dropped] == [(3, NO_TIME)]


def test_an_event_without_a_key_of_over_is_dropped():
    events = [{"t": minute(1), "k": "a"}, {"t": minute(1)}]
    found = hr.query("SELECT k FROM src TIMESTAMP BY t OVER k", {"src": events})
    assert found["output"] == [{"k": "a"}]
    assert [lost.event for lost in found.dropped] == [1]


def test_events_that_do_not_fit_their_create_table_are_dropped_and_keep_their_arrival():
    events = [
        {"n": 1, "x": 2, "EventEnqueuedUtcTime": minute(3)},
        {"n": "one", "EventEnqueuedUtcTime": minute(4)},
    ]
    found = hr.query(
        "CREATE TABLE src (n bigint) SELECT *, System.Timestamp() AS at FROM src", {"src": events}
    )
    assert found["output"] == [{"n": 1, "at": datetime(2026, 3, 2, 8, 3, tzinfo=UTC)}]
    [lost] = found.dropped
    assert (lost.event, "column 'n' is of type nvarchar(max)" in lost.reason) == (1, True)


def test_metadata_is_read_by_path_and_every_event_has_a_stable_id():
    sql = """SELECT GetMetadataPropertyValue(src, 'EventId') AS id,
    GetMetadataPropertyValue(src, '[EventHub].[Offset]') AS at FROM src"""
    told = [{"EventHub": {"Offset": 7}}, {"EventId": "own", "[EventHub].[Offset]": 8}]
    inputs = {"src": [{"n": 1}, {"n": 2}]}
    first, second = (hr.query(sql, inputs, metadata={"src": told})["output"] for _ in range(2))
    assert first == second
    assert uuid.UUID(first[0]["id"])
    assert [(row["at"], row["id"] == "own") for row in first] == [(7, False), (8, True)]
    bare = hr.query(sql, inputs)["output"]
    assert len({row["id"] for row in bare}) == 2
    assert bare[0]["id"] == first[0]["id"]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"srcs": [{}]}, r"metadata: there is no input 'srcs'\. Did you mean 'src'\?"),
        ({"src": []}, "metadata of input 'src': expected one record per event, that is 1, found 0"),
        ({"src": [5]}, "event 1 has 5, which is no record"),
    ],
)
def test_metadata_that_do_not_belong_to_the_events_are_refused(metadata, said):
    with pytest.raises(UserError, match=said):
        hr.query(
            "SELECT GetMetadataPropertyValue(src, 'EventId') AS i FROM src", {"src": [{}]}, metadata=metadata
        )


def test_reference_data_may_be_rows_or_snapshots_by_the_time_from_which_they_are_valid(tmp_path):
    sql = "SELECT s.n, r.name FROM src s TIMESTAMP BY t JOIN ref r ON s.n = r.n"
    inputs = {"src": [{"n": 1, "t": minute(1)}, {"n": 1, "t": minute(5)}]}
    rows = [{"n": 1, "name": "one"}]
    (tmp_path / "ref.csv").write_text("n,name\n1,from a file\n")
    assert [row["name"] for row in hr.query(sql, inputs, reference={"ref": rows})["output"]] == ["one", "one"]
    filed = hr.query(sql, inputs, reference={"ref": tmp_path / "ref.csv"})["output"]
    assert {row["name"] for row in filed} == {"from a file"}
    for start in (minute(3), datetime(2026, 3, 2, 8, 3), datetime(2026, 3, 2, 8, 3, tzinfo=UTC)):
        found = hr.query(sql, inputs, reference={"ref": {start: rows}})
        assert [row["n"] for row in found["output"]] == [1]
    with pytest.raises(UserError, match="reference 'ref': expected rows, or a mapping of the time"):
        hr.query(sql, inputs, reference={"ref": {"n": 1}})


def test_functions_may_be_declared_with_the_prefix_that_calls_them():
    found = hr.query(
        "SELECT udf.twice(n) AS a, twice(n) AS b FROM src",
        {"src": [{"n": 2}]},
        functions={"udf.twice": lambda n: 2 * n},
    )
    assert found["output"] == [{"a": 4, "b": 4}]


def test_a_policy_must_be_one():
    with pytest.raises(UserError, match=r"policy: expected headrace\.Policy"):
        hr.query("SELECT n FROM src", {"src": []}, policy={"late_seconds": 5})


def test_an_event_that_cannot_be_scored_is_named_among_those_of_its_input():
    def strict(value):
        raise ValueError("no")

    inputs = {"a": [{"n": 1}, {"n": 2}], "b": [{"n": 3}, {"m": 4}]}
    with pytest.raises(
        hr.DataError, match="event 2 of input 'b' could not be scored: strict failed: ValueError: no"
    ):
        hr.query(
            "SELECT n FROM a UNION SELECT strict(m) AS n FROM b WHERE m = 4",
            inputs,
            functions={"strict": strict},
        )


def test_events_for_which_timestamp_by_or_a_key_cannot_be_computed_are_dropped_and_the_others_go_on():
    sql = """SELECT n, System.Timestamp() AS at
    FROM src TIMESTAMP BY DATEADD(second, at, CAST(day AS datetime)) OVER 10 / k"""
    good = {"n": 1, "at": 5, "day": "2026-03-02", "k": 5}
    events = [
        {**good, "at": "x"},
        good,
        {**good, "day": "someday"},
        {**good, "k": 0},
        {**good, "n": 2, "at": 4},
    ]
    found = hr.query(sql, {"src": events})
    assert [(row["n"], row["at"].second) for row in found["output"]] == [(2, 4), (1, 5)]
    assert sorted(lost.event for lost in found.dropped) == [0, 2, 3]
    none = hr.query("SELECT n FROM src TIMESTAMP BY DATEADD(second, 1 / 0, '2026-03-02')", {"src": events})
    assert none["output"] == []
