"""The engine against the oracle: random streams, policies and queries, cut in random ways.

Every test draws a query, streams with ties, disorder, silence, NULLs and mixed types, a policy, and a way of
cutting them into slices (with or without a restart from a snapshot between any two), and compares all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine.query import query_in_pieces
from headrace.errors import DataError
from tests.property.chains import CHAINS, JOINED, TRIPLES, UNITED, Chain, JoinedWindow, Triple, United
from tests.property.oracle.aggregates import Overflow
from tests.property.oracle.stream import EPOCH, MICROSECOND, Row, Timed, microseconds
from tests.property.pairings import LOOKUPS, LookUp, Pairing, pairings
from tests.property.questions import LOOKING, LookingQuestion, WindowQuestion, window_questions
from tests.property.streams import Given, given_streams

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=SLOW)


# --- comparing --------------------------------------------------------------------------------------------


def alike(found: Any, expected: Any) -> bool:
    """Return whether two values are equal: numbers by value, instants as such, NULL as what is not there."""
    if isinstance(found, datetime):
        found = (found - EPOCH) // MICROSECOND
    if isinstance(expected, dict) and "in any order" in expected:
        return same_set(found or [], expected["in any order"])
    if isinstance(found, dict) and isinstance(expected, dict):
        names = {name for row in (found, expected) for name, value in row.items() if value is not None}
        return all(alike(found.get(name), expected.get(name)) for name in names)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == expected)


def same_set(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Return whether two lists hold the same, in any order."""
    rest = list(found)
    for value in expected:
        place = next((at for at, other in enumerate(rest) if alike(other, value)), None)
        if place is None:
            return False
        rest.pop(place)
    return not rest


def instants(rows: Sequence[Row]) -> list[tuple[int, list[Row]]]:
    """Put the rows of one instant together; rows out of the order of time stay apart."""
    found: list[tuple[int, list[Row]]] = []
    for row in rows:
        time = row["ws"] if isinstance(row["ws"], int) else microseconds(row["ws"].isoformat())
        if not found or found[-1][0] != time:
            found.append((time, []))
        found[-1][1].append(row)
    return found


def ask(sql: str, asked: Given, reference: dict[str, list[Row]] | None = None) -> list[Row]:
    answer = query_in_pieces(
        sql, asked.events, policy=asked.policy, reference=reference or {}, cuts=asked.cuts
    )
    return answer["output"]


def check(
    sql: str, asked: Given, expected: Sequence[Timed], reference: Any = None, exact: bool = False
) -> None:
    """Compare what the engine says with what is expected: by instant, `exact` in the order of rows too."""
    found = ask(sql, asked, reference)
    rows = [row for _, row in expected]
    if exact:
        assert len(found) == len(rows), f"{sql}\n{found}\n{rows}"
        for one, other in zip(found, rows, strict=True):
            assert alike(one, other), f"{sql}\nfound    {one}\nexpected {other}"
        return
    by_time, wanted = instants(found), instants(rows)
    assert [time for time, _ in by_time] == [time for time, _ in wanted], f"{sql}\n{found}\n{rows}"
    for (_, some), (_, others) in zip(by_time, wanted, strict=True):
        assert same_set(some, others), f"{sql}\nfound    {some}\nexpected {others}"


# --- the tests --------------------------------------------------------------------------------------------


@examples(240)
@given(window_questions(), given_streams())
def test_windows_of_every_kind_give_the_rows_of_the_oracle(question: WindowQuestion, asked: Given) -> None:
    sql = question.sql("src TIMESTAMP BY t")
    try:
        expected = question.answer(asked.streams()["src"])
    except Overflow:
        with pytest.raises(DataError):
            ask(sql, asked)
        return
    check(sql, asked, expected)


@examples(130)
@given(LOOKING, given_streams(most=18))
def test_looking_back_gives_the_rows_of_the_oracle(question: LookingQuestion, asked: Given) -> None:
    check(question.sql("src TIMESTAMP BY t"), asked, question.answer(asked.streams()["src"]), exact=True)


@examples(130)
@given(pairings(), given_streams(("l", "r"), most=9))
def test_joins_of_streams_give_the_rows_of_the_oracle(question: Pairing, asked: Given) -> None:
    streams = asked.streams()
    check(question.sql, asked, question.answer(streams["l"], streams["r"]), exact=True)


@examples(40)
@given(LOOKUPS, given_streams(("l",)))
def test_reference_joins_give_the_rows_of_the_oracle(question: LookUp, asked: Given) -> None:
    check(question.sql, asked, question.answer(asked.streams()["l"]), {"r": question.rows})


@examples(50)
@given(window_questions(), given_streams(), st.sampled_from([("g",), ("k",), ("g", "k")]))
def test_substreams_have_their_own_watermarks(
    question: WindowQuestion, asked: Given, over: tuple[str, ...]
) -> None:
    keys = tuple(dict.fromkeys((*over, *question.keys)))
    grouped = WindowQuestion(
        question.windows, question.named, keys, question.aggregates, question.where, question.having
    )
    sql = grouped.sql(f"src TIMESTAMP BY t OVER {', '.join(over)}")
    try:
        expected = grouped.answer(asked.streams(over)["src"])
    except Overflow:
        return
    check(sql, asked, expected)


@examples(70)
@given(CHAINS, given_streams())
def test_steps_over_windows_work_at_the_ends_of_the_windows(question: Chain, asked: Given) -> None:
    check(question.sql, asked, question.answer(asked.streams()["src"]), exact=question.outer is None)


@examples(60)
@given(UNITED, given_streams(("l", "r"), most=9))
def test_unions_are_streams_like_any_other(question: United, asked: Given) -> None:
    streams = asked.streams()
    try:
        expected = question.answer(streams["l"], streams["r"])
    except Overflow:
        return
    check(question.sql, asked, expected, exact=isinstance(question.question, LookingQuestion))


@examples(50)
@given(JOINED, given_streams(("l", "r"), most=8))
def test_windows_over_joins_hold_the_pairs_at_their_times(question: JoinedWindow, asked: Given) -> None:
    streams = asked.streams()
    check(question.sql, asked, question.answer(streams["l"], streams["r"]))


@examples(40)
@given(TRIPLES, given_streams(("l", "r", "s"), most=7))
def test_three_streams_join_one_after_the_other(question: Triple, asked: Given) -> None:
    check(question.sql, asked, question.answer(asked.streams()), exact=True)
