"""Comparing the engine with the oracle: what differs, of which events it takes the fewest to differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from headrace.engine.query import query_in_pieces
from headrace.errors import DataError
from tests.property.oracle.aggregates import Overflow
from tests.property.oracle.stream import EPOCH, MICROSECOND, Row, Timed
from tests.property.streams import Given, smallest


def judge(
    sql: str,
    asked: Given,
    answer: Callable[[Given], list[Timed]],
    *,
    exact: bool = False,
    reference: dict[str, list[Row]] | None = None,
) -> None:
    """Fail if the rows of `sql` are not those of `answer`, with as few events as still show it.

    Rows are compared in the order of time; those of one time in any order, unless it is to be `exact`.
    """

    def wrong(given: Given) -> str | None:
        try:
            expected = [row for _, row in answer(given)]
        except Overflow:
            with pytest.raises(DataError):
                ask(sql, given, reference)
            return None
        return difference(ask(sql, given, reference), expected, exact)

    def fails(given: Given) -> bool:
        try:
            return wrong(given) is not None
        except Exception:  # any fault of the engine is one
            return True

    if fails(asked):
        least = smallest(asked, fails)
        events = "\n".join(f"{name}: {row}" for name, rows in least.events.items() for row in rows)
        told = f"{sql}\n{events}\n{reference or ''}\n{least.policy} {least.cuts}"
        pytest.fail(f"{told}\n{_told(least, wrong)}")


def _told(given: Given, wrong: Callable[[Given], str | None]) -> str | None:
    try:
        return wrong(given)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"


def ask(sql: str, asked: Given, reference: dict[str, list[Row]] | None = None) -> list[Row]:
    """Return the rows that the engine gives."""
    answer = query_in_pieces(
        sql, asked.events, policy=asked.policy, reference=reference or {}, cuts=asked.cuts
    )
    return answer["output"]


def difference(found: Sequence[Row], expected: Sequence[Row], exact: bool) -> str | None:
    """Return where rows differ, None if they are the same; `ws` is their time."""
    one, other = (list(rows) if exact else instants(rows) for rows in (found, expected))
    if len(one) != len(other):
        return f"found    {found}\nexpected {expected}"
    pairs = zip(one, other, strict=True)
    return next(
        (f"found    {some}\nexpected {wanted}" for some, wanted in pairs if not alike(some, wanted)), None
    )


def instants(rows: Sequence[Row]) -> list[Row]:
    """Put the rows of one instant together; rows out of the order of time stay apart."""
    found: list[Row] = []
    for row in rows:
        if not found or not alike(found[-1]["ws"], row["ws"]):
            found.append({"ws": row["ws"], "rows": {"in any order": []}})
        found[-1]["rows"]["in any order"].append(row)
    return found


def alike(found: Any, expected: Any) -> bool:
    """Return whether two values are equal: numbers by value, instants as such, NULL as what is not there."""
    found, expected = _plain(found), _plain(expected)
    if isinstance(expected, dict) and "in any order" in expected:
        return _same_set(found or [], expected["in any order"])
    if isinstance(found, dict) and isinstance(expected, dict):
        names = {name for row in (found, expected) for name, value in row.items() if value is not None}
        return all(alike(found.get(name), expected.get(name)) for name in names)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == expected)


def _plain(value: Any) -> Any:
    return (value - EPOCH) // MICROSECOND if isinstance(value, datetime) else value


def _same_set(found: Any, expected: Sequence[Any]) -> bool:
    rest = list(found["in any order"] if isinstance(found, dict) else found)
    for value in expected:
        place = next((at for at, other in enumerate(rest) if alike(other, value)), None)
        if place is None:
            return False
        rest.pop(place)
    return not rest
