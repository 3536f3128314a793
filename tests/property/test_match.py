"""MATCH_RECOGNIZE against a matcher that tries every way, on random patterns, conditions, events and cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine.finite import Cuts
from headrace.engine.query import query_in_pieces
from tests.property.oracle.stream import EPOCH, MICROSECOND, Row, iso

SECOND = 1_000_000
VARIABLES = "ABC"

#: What an event is taken for so far: pairs of a variable, None for any event, and the event.
Taken = tuple[tuple[str | None, Row], ...]

#: Whether an event fits, given what is taken, itself included; None is unknown.
Test = Callable[[Taken], bool | None]


@dataclass(frozen=True)
class Condition:
    sql: str
    test: Test


# --- conditions ------------------------------------------------------------------------------------------


def of(taken: Taken, variable: str) -> list[Any]:
    return [row.get("v") for name, row in taken if name == variable]


def present(taken: Taken, variable: str) -> list[Any]:
    return [value for value in of(taken, variable) if value is not None]


def compared(symbol: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    return {"<": left < right, ">=": left >= right, "=": left == right, "<>": left != right}[symbol]


AGGREGATES: dict[str, Callable[[Taken, str], Any]] = {
    "FIRST": lambda taken, name: of(taken, name)[0] if of(taken, name) else None,
    "LAST": lambda taken, name: of(taken, name)[-1] if of(taken, name) else None,
    "MIN": lambda taken, name: min(present(taken, name), default=None),
    "MAX": lambda taken, name: max(present(taken, name), default=None),
    "SUM": lambda taken, name: sum(present(taken, name)) if present(taken, name) else None,
    "AVG": lambda taken, name: (
        sum(present(taken, name)) / len(present(taken, name)) if present(taken, name) else None
    ),
    "COUNT": lambda taken, name: len(present(taken, name)),
}

SYMBOLS = st.sampled_from(["<", ">=", "=", "<>"])


def simple(own: str) -> st.SearchStrategy[Condition]:
    return st.builds(
        lambda symbol, bound: Condition(
            f"{own}.v {symbol} {bound}", lambda taken: compared(symbol, taken[-1][1].get("v"), bound)
        ),
        SYMBOLS,
        st.integers(0, 3),
    )


def aggregated(own: str) -> st.SearchStrategy[Condition]:
    earlier = VARIABLES[: VARIABLES.index(own) + 1]

    def build(symbol: str, function: str, variable: str, plus: int, against_event: bool) -> Condition:
        right = f"{own}.v + {plus}" if against_event else str(plus)

        def test(taken: Taken) -> bool | None:
            here = taken[-1][1].get("v")
            bound = plus if not against_event else None if here is None else here + plus
            return compared(symbol, AGGREGATES[function](taken, variable), bound)

        return Condition(f"{function}({variable}.v) {symbol} {right}", test)

    return st.builds(
        build,
        SYMBOLS,
        st.sampled_from(sorted(AGGREGATES)),
        st.sampled_from(earlier),
        st.integers(-1, 3),
        st.booleans(),
    )


def negated(inner: Condition) -> Condition:
    def test(taken: Taken) -> bool | None:
        found = inner.test(taken)
        return None if found is None else not found

    return Condition(f"NOT ({inner.sql})", test)


def connected(left: Condition, right: Condition, word: str) -> Condition:
    settled = word == "OR"

    def test(taken: Taken) -> bool | None:
        both = (left.test(taken), right.test(taken))
        return settled if settled in both else None if None in both else not settled

    return Condition(f"({left.sql} {word} {right.sql})", test)


def conditions(own: str) -> st.SearchStrategy[Condition]:
    return st.recursive(
        st.one_of(simple(own), aggregated(own)),
        lambda inner: st.one_of(
            st.builds(negated, inner), st.builds(connected, inner, inner, st.sampled_from(["AND", "OR"]))
        ),
        max_leaves=3,
    )


# --- patterns --------------------------------------------------------------------------------------------

#: A pattern in tuples: ("take", variable), ("then", ..), ("either", ..), ("repeat", part, least, most).
Tree = tuple[Any, ...]

REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1), "{2}": (2, 2), "{2,}": (2, None), "{1,3}": (1, 3)}


def trees() -> st.SearchStrategy[tuple[str, Tree]]:
    atoms = st.sampled_from([*VARIABLES, "."]).map(
        lambda name: (name, ("take", None if name == "." else name))
    )

    def grow(inner: st.SearchStrategy[tuple[str, Tree]]) -> st.SearchStrategy[tuple[str, Tree]]:
        several = st.lists(inner, min_size=2, max_size=3)
        return st.one_of(
            several.map(lambda parts: (" ".join(p[0] for p in parts), ("then", *(p[1] for p in parts)))),
            several.map(
                lambda parts: (
                    "(" + " | ".join(p[0] for p in parts) + ")",
                    ("either", *(p[1] for p in parts)),
                )
            ),
            st.tuples(inner, st.sampled_from(sorted(REPEATS))).map(
                lambda pair: (f"({pair[0][0]}){pair[1]}", ("repeat", pair[0][1], *REPEATS[pair[1]]))
            ),
        )

    return st.recursive(atoms, grow, max_leaves=5)


# --- trying every way ------------------------------------------------------------------------------------


def ways(tree: Tree, rows: Sequence[Row], at: int, taken: Taken, tests: dict[str, Test]) -> Iterator[Taken]:
    """Yield what `rows` from `at` on can be taken for, the preferred first; not all rows need be taken."""
    kind, *parts = tree
    if kind == "take":
        if at < len(rows):
            after = (*taken, (parts[0], rows[at]))
            test = tests.get(parts[0])
            if test is None or test(after) is True:
                yield after
    elif kind == "either":
        for part in parts:
            yield from ways(part, rows, at, taken, tests)
    elif kind == "then":
        yield from in_turn(parts, rows, at, taken, tests)
    else:
        part, least, most = parts
        if most != 0:
            rest = ("repeat", part, max(least - 1, 0), None if most is None else most - 1)
            for found in ways(part, rows, at, taken, tests):
                # Going round without an event leads nowhere new.
                if found != taken or least > 0:
                    yield from ways(rest, rows, at + len(found) - len(taken), found, tests)
        if least == 0:
            yield taken


def in_turn(
    parts: Sequence[Tree], rows: Sequence[Row], at: int, taken: Taken, tests: dict[str, Test]
) -> Iterator[Taken]:
    if not parts:
        yield taken
        return
    for found in ways(parts[0], rows, at, taken, tests):
        yield from in_turn(parts[1:], rows, at + len(found) - len(taken), found, tests)


def matches(
    rows: Sequence[tuple[int, Row]], tree: Tree, tests: dict[str, Test], limit: int
) -> Iterator[tuple[int, int, Taken]]:
    """Yield the time of the last event of each match, the place of the first, and what its events are."""
    for start, (first, _) in enumerate(rows):
        for end in range(start, len(rows)):
            if first <= rows[end][0] - limit:
                break
            stretch = [row for _, row in rows[start : end + 1]]
            found = next((w for w in ways(tree, stretch, 0, (), tests) if len(w) == len(stretch)), None)
            if found is not None:
                yield rows[end][0], stretch[0]["id"], found
                break


MEASURES = [f"{function}({name}.v) AS {function}_{name}" for function in AGGREGATES for name in VARIABLES]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("xy"), st.none() | st.integers(0, 3) | st.just(1.5)),
        max_size=12,
    ),
    trees(),
    st.data(),
)
def test_the_matches_are_those_found_by_trying_every_way(
    steps: list[tuple[int, str, Any]], pattern: tuple[str, Tree], data: st.DataObject
) -> None:
    defined = data.draw(st.lists(st.sampled_from(VARIABLES), unique=True).map(sorted), label="defined")
    # Conditions and measures may only name variables of the pattern.
    text = " ".join([pattern[0], "|", *VARIABLES])
    tree: Tree = ("either", pattern[1], ("then", *(("take", name) for name in VARIABLES)))
    chosen = {name: data.draw(conditions(name), label=name) for name in defined}
    partitioned = data.draw(st.booleans(), label="partitioned")
    limit = data.draw(st.integers(1, 8), label="limit")

    time, events = 0, []
    for number, (gap, key, value) in enumerate(steps):
        time += gap * SECOND
        events.append((time, {"id": number, "k": key, "v": value, "t": iso(time)}))
    tests = {name: condition.test for name, condition in chosen.items()}
    expected = []
    for key in "xy" if partitioned else [None]:
        rows = [(at, row) for at, row in events if key is None or row["k"] == key]
        expected += list(matches(rows, tree, tests, limit * SECOND))
    expected.sort(key=lambda match: match[:2])

    define = ", ".join(f"{name} AS {condition.sql}" for name, condition in chosen.items())
    query = f"""SELECT *, System.Timestamp() AS ended FROM src TIMESTAMP BY t MATCH_RECOGNIZE (
        LIMIT DURATION(second, {limit})
        {"PARTITION BY k" if partitioned else ""}
        MEASURES Classifier() AS names, COUNT(*) AS events, {", ".join(MEASURES)}
        AFTER MATCH SKIP TO NEXT ROW
        PATTERN ({text})
        {"DEFINE " + define if define else ""}) AS T"""
    rows = [row for _, row in events]
    found = query_in_pieces(query, {"src": rows})["output"]
    assert [row["ended"] for row in found] == [EPOCH + ended * MICROSECOND for ended, _, _ in expected]
    assert [row["names"] for row in found] == [[name or "." for name, _ in taken] for _, _, taken in expected]
    for row, (_, _, taken) in zip(found, expected, strict=True):
        assert row["events"] == len(taken)
        assert row.get("k") == (taken[-1][1]["k"] if partitioned else None)
        for function, compute in AGGREGATES.items():
            for name in VARIABLES:
                assert row.get(f"{function}_{name}") == compute(taken, name), (function, name)
    cuts = Cuts(
        data.draw(st.integers(1, 5), label="cut"), restarting=data.draw(st.booleans(), label="restarting")
    )
    assert query_in_pieces(query, {"src": rows}, cuts=cuts)["output"] == found
