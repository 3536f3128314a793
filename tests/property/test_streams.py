"""The engine against the oracle: random streams, policies and queries, cut in random ways.

Every example is a query, streams with ties, disorder, silence, NULLs and mixed types, a policy, and a way of
cutting them into slices (with or without a restart from a snapshot between any two); all rows are compared.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from headrace.engine.finite import Cuts
from tests.property.chains import chain, joined_window, triple, united
from tests.property.judging import alike, ask, difference, judge
from tests.property.oracle.ordering import Arrival
from tests.property.oracle.stream import Timed, iso, microseconds
from tests.property.pairings import look_up_question, pairing
from tests.property.questions import KINDS, LookingQuestion, looking_question, window_question
from tests.property.streams import Given, streams

seeds = given(st.integers(0, 2**64 - 1).map(Random))


def examples(count: int) -> settings:
    """A number of examples, the same in every run; what fails is made smaller by `judge`."""
    phases = (Phase.explicit, Phase.generate)
    return settings(max_examples=count, deadline=None, derandomize=True, phases=phases)


@pytest.mark.parametrize("kind", KINDS)
@examples(80)
@seeds
def test_windows_of_every_kind_give_the_rows_of_the_oracle(kind: str, random: Random) -> None:
    question = window_question(random, kind)
    sql = question.sql("src TIMESTAMP BY t")
    judge(sql, streams(random), lambda asked: question.answer(asked.ordered()["src"]))


@examples(80)
@seeds
def test_policies_give_the_times_and_the_order_of_the_oracle(random: Random) -> None:
    judge(
        "SELECT id, System.Timestamp() AS ws FROM src TIMESTAMP BY t",
        streams(random, most=24),
        lambda asked: [Timed(time, {"id": row["id"], "ws": time}) for time, row in asked.ordered()["src"]],
        exact=True,
    )


@examples(60)
@seeds
def test_substreams_have_watermarks_of_their_own(random: Random) -> None:
    question = window_question(random)
    over = random.choice([("g",), ("k",), ("g", "k")])
    question = replace(question, keys=tuple(dict.fromkeys((*over, *question.keys))))
    sql = question.sql(f"src TIMESTAMP BY t OVER {', '.join(over)}")
    judge(sql, streams(random), lambda asked: question.answer(asked.ordered(over)["src"]))


@examples(150)
@seeds
def test_looking_back_gives_the_rows_of_the_oracle(random: Random) -> None:
    question = looking_question(random)
    sql = question.sql("src TIMESTAMP BY t")
    judge(sql, streams(random, most=18), lambda asked: question.answer(asked.ordered()["src"]), exact=True)


@examples(150)
@seeds
def test_joins_of_streams_give_the_rows_of_the_oracle(random: Random) -> None:
    question = pairing(random)
    judge(
        question.sql,
        streams(random, ("l", "r"), most=12),
        lambda asked: question.answer(asked.ordered()["l"], asked.ordered()["r"]),
        exact=True,
    )


@examples(40)
@seeds
def test_three_streams_join_one_after_the_other(random: Random) -> None:
    question = triple(random)
    asked = streams(random, ("l", "r", "s"), most=8)
    judge(question.sql, asked, lambda asked: question.answer(asked.ordered()), exact=True)


@examples(40)
@seeds
def test_reference_joins_give_the_rows_of_the_oracle(random: Random) -> None:
    question = look_up_question(random)
    judge(
        question.sql,
        streams(random, ("l",)),
        lambda asked: question.answer(asked.ordered()["l"]),
        reference={"r": question.rows},
        exact=True,
    )


@examples(80)
@seeds
def test_steps_over_windows_work_at_the_ends_of_the_windows(random: Random) -> None:
    question = chain(random)
    judge(
        question.sql,
        streams(random),
        lambda asked: question.answer(asked.ordered()["src"]),
        exact=question.outer is None,
    )


@examples(60)
@seeds
def test_unions_are_streams_like_any_other(random: Random) -> None:
    question = united(random)
    judge(
        question.sql,
        streams(random, ("l", "r"), most=9),
        lambda asked: question.answer(asked.ordered()["l"], asked.ordered()["r"]),
        exact=isinstance(question.question, LookingQuestion),
    )


@examples(50)
@seeds
def test_windows_over_joins_hold_the_pairs_at_their_times(random: Random) -> None:
    question = joined_window(random)
    judge(
        question.sql,
        streams(random, ("l", "r"), most=9),
        lambda asked: question.answer(asked.ordered()["l"], asked.ordered()["r"]),
    )


@pytest.mark.parametrize("restarting", [False, True])
def test_time_does_not_go_back_when_the_input_that_is_ahead_ends_last(restarting: bool) -> None:
    times = [microseconds("2026-03-02T09:00:00Z") + second * 1_000_000 for second in range(4)]
    events = [Arrival(time, time, {"id": 1, "t": iso(time)}) for time in times[:3]]
    found = ask(
        "WITH Both AS (SELECT id FROM l TIMESTAMP BY t UNION SELECT id FROM r TIMESTAMP BY t) "
        "SELECT COUNT(*) AS n, System.Timestamp() AS ws FROM Both GROUP BY SlidingWindow(second, 2)",
        Given({"l": events[1:], "r": events[:1]}, None, Cuts(1, restarting)),
    )
    expected = [{"n": n, "ws": time} for time, n in zip(times, (1, 2, 2, 1), strict=True)]
    assert difference(found, expected, exact=True) is None


def test_the_comparison_finds_a_wrong_a_missing_and_an_extra_row() -> None:
    rows = [{"ws": 1, "a": 1}, {"ws": 1, "a": 2.0}, {"ws": 2, "a": None}]
    turned = [{"ws": 1, "a": 2}, {"ws": 1, "a": 1}, {"ws": 2}]
    assert difference(turned, rows, exact=False) is None
    assert difference(turned, rows, exact=True) is not None
    assert difference(rows[:2], rows, exact=False) is not None
    assert difference([*rows, {"ws": 3}], rows, exact=False) is not None
    assert difference([{"ws": 1, "a": 1}, {"ws": 1, "a": 3}, {"ws": 2}], rows, exact=False) is not None
    assert not alike([1], {"in any order": [1, 1]})
