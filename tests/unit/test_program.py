"""A program over slices of time: each step once, relations that lag, what it keeps and how it goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import polars as pl
import pytest

from headrace.engine.alignment import align
from headrace.engine.fingerprint import fingerprint
from headrace.engine.operator import FOREVER_US, Slice
from headrace.engine.program import Program
from headrace.engine.row_error import RowError
from headrace.errors import Fatal, UserError
from headrace.events.batch import ORIGIN, TIME, Batch
from headrace.events.formats.json import from_rows, rows
from headrace.models.python import PythonFunction
from headrace.sql.bind import bind

SECOND = 1_000_000


def timed(*events, first=0):
    """Return events given as (second, fields)."""
    made = from_rows([fields for _, fields in events])
    times = pl.Series(TIME, [int(time * SECOND) for time, _ in events], dtype=pl.Int64).cast(
        pl.Datetime("us")
    )
    numbers = pl.Series(ORIGIN, range(first, first + len(events)), dtype=pl.Int64)
    return Batch(made.frame.with_columns(times, numbers), made.columns)


def part(until, *events, first=0):
    return Slice(
        timed(*events, first=first) if events else None, until if until > 1e6 else int(until * SECOND)
    )


def program(sql, **functions):
    called = {name: PythonFunction(name, function) for name, function in functions.items()}
    return Program(bind(sql, functions=called), called)


def out(results, name="output"):
    return rows(results.outputs[name]) if name in results.outputs else []


def test_a_step_is_computed_once_a_slice_however_many_statements_read_it():
    seen = []

    def noted(value):
        seen.append(value)
        return value

    ran = program(
        """WITH s AS (SELECT noted(n) AS n FROM src)
        SELECT n INTO a FROM s SELECT n + 1 AS n INTO b FROM s SELECT x.n INTO c FROM s x""",
        noted=noted,
    )
    results = ran.advance({"src": part(9, (1, {"n": 1}), (2, {"n": 2}))})
    assert seen == [1, 2]
    assert [out(results, name) for name in "abc"] == [
        [{"n": 1}, {"n": 2}],
        [{"n": 2}, {"n": 3}],
        [{"n": 1}, {"n": 2}],
    ]


def test_statements_that_write_one_output_give_their_rows_in_order_of_time():
    sql = "SELECT n INTO o FROM src WHERE n > 0 SELECT -n AS n INTO o FROM src"
    found = program(sql).run({"src": timed((1, {"n": 1}), (2, {"n": 2}))})
    assert [row["n"] for row in out(found, "o")] == [1, -1, 2, -2]


JOINED = (
    """SELECT a.n, b.m INTO o FROM a LEFT JOIN b ON DATEDIFF(second, a, b) BETWEEN 0 AND 5 AND a.n = b.m"""
)


def test_rows_of_a_union_wait_for_the_source_that_lags():
    ran = program(f"{JOINED} SELECT n AS n, 0 AS m INTO o FROM a")
    first = ran.advance({"a": part(6.5, (1, {"n": 1}), (6.2, {"n": 2})), "b": part(6.5)})
    assert [(row["n"], row["m"]) for row in out(first, "o")] == [(1, 0)]
    last = ran.advance({"a": part(FOREVER_US), "b": part(FOREVER_US)})
    assert [(row["n"], row["m"]) for row in out(last, "o")] == [(1, None), (2, 0), (2, None)]


def test_aligned_slices_keep_what_is_ahead_and_give_it_later_in_order():
    state, slices = align({}, [part(5, (1, {"n": 1}), (4, {"n": 4})), part(2, (1, {"n": 10}))])
    assert [(rows(s.batch), s.frontier_us) for s in slices] == [
        ([{"n": 1}], 2_000_000),
        ([{"n": 10}], 2_000_000),
    ]
    state, slices = align(state, [part(9, (6, {"n": 6})), part(7, (3, {"n": 30}))])
    assert [rows(s.batch) for s in slices] == [[{"n": 4}, {"n": 6}], [{"n": 30}]]
    assert state == {}


def test_a_program_goes_on_from_a_snapshot_in_another_one():
    first, second = program(JOINED), program(JOINED)
    first.advance({"a": part(3, (1, {"n": 1}), (2, {"n": 2})), "b": part(3)})
    second.restore(first.snapshot())
    slices = {"a": part(FOREVER_US), "b": part(FOREVER_US, (4, {"m": 2}))}
    expected = out(first.advance(slices), "o")
    assert out(second.advance(slices), "o") == expected != []


def test_the_same_query_laid_out_otherwise_takes_the_state_and_another_one_is_refused():
    first = program(JOINED)
    first.advance({"a": part(3, (1, {"n": 1})), "b": part(3)})
    saved = first.snapshot()
    program(f"-- a note\n{JOINED.replace(' INTO', chr(10) + 'INTO')};").restore(saved)
    with pytest.raises(UserError, match=r"query has changed since its state was saved.*let go of the state"):
        program(JOINED.replace("AND 5", "AND 6")).restore(saved)
    with pytest.raises(Fatal, match="is damaged"):
        program(JOINED).restore(saved[:-1])


@pytest.mark.parametrize(
    "other",
    [
        "SELECT n, 1 AS k INTO o FROM src WHERE n > 2",
        "SELECT n, 1.0 AS k INTO o FROM src WHERE n > 1",
        "SELECT n, 1 AS k INTO p FROM src WHERE n > 1",
        "SELECT n, 1 AS k INTO o FROM src TIMESTAMP BY t WHERE n > 1",
        "CREATE TABLE src (n bigint) SELECT n, 1 AS k INTO o FROM src WHERE n > 1",
    ],
)
def test_a_fingerprint_changes_with_what_a_query_means(other):
    one = bind("SELECT n, 1 AS k INTO o FROM src WHERE n > 1")
    assert fingerprint(bind(other)) != fingerprint(one)
    hinted = "select n , 1 as k into o from src partition by n into 4 where n>1"
    assert fingerprint(bind(hinted)) == fingerprint(one)


def test_a_fingerprint_is_the_same_in_another_process():
    sql = "SELECT n, UPPER(t) AS t INTO o FROM src WHERE n IN (1, 2) AND t LIKE 'a%'"
    code = (
        "import sys, json; from headrace.engine.fingerprint import fingerprint; "
        "from headrace.sql.bind import bind; print(fingerprint(bind(json.loads(sys.argv[1]))))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, json.dumps(sql)], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == fingerprint(bind(sql))


def test_after_an_error_nothing_has_changed():
    ran = program(f"WITH j AS ({JOINED.replace('INTO o ', '')}) SELECT 10 / n AS x, m INTO o FROM j")
    ran.advance({"a": part(3, (1, {"n": 5})), "b": part(3)})
    saved = ran.snapshot()
    with pytest.raises(RowError, match="divide"):
        ran.advance({"a": part(9, (4, {"n": 0})), "b": part(9, (4, {"m": 0}))})
    assert ran.snapshot() == saved


def test_a_row_that_stops_the_job_names_the_event_that_it_comes_from():
    ran = program("SELECT 10 / n AS x INTO o FROM src")
    with pytest.raises(RowError) as error:
        ran.advance({"src": part(9, (1, {"n": 1}), (2, {"n": 0}), first=40)})
    assert error.value.origin == 41


def test_a_call_that_fails_on_a_row_of_no_single_event_keeps_the_row():
    def fails(value):
        raise ValueError(f"no {value}")

    ran = program(
        f"WITH j AS ({JOINED.replace('INTO o ', '')}) SELECT fails(n) AS f INTO o FROM j", fails=fails
    )
    results = ran.advance({"a": part(9, (1, {"n": 7})), "b": part(9, (2, {"m": 7}))})
    [failure] = results.failures
    assert failure.origin is None
    assert "no 7" in failure.reason
    assert json.loads(failure.row) == {"n": 7, "m": 7}


def test_an_input_that_is_not_given_has_no_events():
    assert out(program(JOINED).advance({"a": part(FOREVER_US, (1, {"n": 1}))}), "o") == [{"n": 1, "m": None}]


def test_a_script_without_state_may_run_in_the_order_of_arrival():
    ran = program("SELECT n INTO o FROM src UNION SELECT n + 10 AS n FROM src")
    assert ran.stateless
    found = ran.run({"src": timed((5, {"n": 1}), (5, {"n": 2}))})
    assert [row["n"] for row in out(found, "o")] == [1, 11, 2, 12]
    assert not program(JOINED).stateless
