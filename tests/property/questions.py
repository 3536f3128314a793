"""Queries beside the oracle's answer to them: what the property tests ask.

A question is made of parts, each with its text in the language and its meaning as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.property.oracle import aggregates, looking_back
from tests.property.oracle.looking_back import Over
from tests.property.oracle.stream import Row, Timed, microseconds
from tests.property.oracle.windows import Hopping, Session, Sliding, Snapshot, Window, groups

SECOND = 1_000_000

Predicate = Callable[[Row], bool]


def over_number(name: str, holds: Callable[[Any], bool]) -> Predicate:
    """Return a condition on a column that is not true of NULL."""
    return lambda row: row.get(name) is not None and holds(row[name])


#: Conditions on a row: the text of each, and what it means.
CONDITIONS: dict[str, Predicate] = {
    "v > 1": over_number("v", lambda value: value > 1),
    "v IS NOT NULL": over_number("v", lambda value: True),
    "id % 2 = 1": lambda row: row["id"] % 2 == 1,
    "g IN ('x', 'z')": lambda row: row["g"] in ("x", "z"),
    "k IS NULL OR g = 'y'": lambda row: row.get("k") is None or row["g"] == "y",
    "NOT v <= 2": over_number("v", lambda value: not value <= 2),
}


def condition(random: Random) -> str | None:
    """A condition, or none."""
    return random.choice([None, None, *sorted(CONDITIONS)])


def where(text: str | None) -> Predicate:
    """Return the meaning of a condition; of none, that all rows pass."""
    return (lambda row: True) if text is None else CONDITIONS[text]


def clause(word: str, text: str | None) -> str:
    """Return a clause of the language, or nothing."""
    return "" if text is None else f" {word} {text}"


# --- aggregates: text, and meaning over the rows of a group -----------------------------------------------

Meaning = Callable[[list[Row]], Any]


def of(name: str, function: Callable[[list[Any]], Any]) -> Meaning:
    """Return an aggregate over the values of a column that are not NULL."""
    return lambda rows: function(aggregates.values(rows, name))


def number(value: Any) -> Any:
    """Return a value where a number is wanted: a text is read as a float."""
    return float(value) if isinstance(value, str) else value


def least(found: list[Any]) -> Any:
    return min(found, default=None)


def greatest(found: list[Any]) -> Any:
    return max(found, default=None)


def spread(rows: list[Row]) -> Any:
    found = aggregates.values(rows, "v")
    return greatest(found) - least(found) if found else None


def whole(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


AGGREGATES: dict[str, Meaning] = {
    "COUNT(*)": len,
    "COUNT(v)": of("v", len),
    "COUNT(DISTINCT v)": of("v", aggregates.count_distinct),
    "COUNT(DISTINCT k)": of("k", aggregates.count_distinct),
    "SUM(v)": of("v", aggregates.total),
    "SUM(id)": of("id", aggregates.total),
    "SUM(w * 2 + 1)": of("w", lambda found: aggregates.total([value * 2 + 1 for value in found])),
    "AVG(v)": of("v", aggregates.average),
    "AVG(id)": of("id", aggregates.average),
    "MIN(v)": of("v", least),
    "MAX(v)": of("v", greatest),
    "MAX(v) - MIN(v)": spread,
    "SUM(x)": of("x", lambda found: aggregates.total([number(value) for value in found])),
    "AVG(x)": of("x", lambda found: aggregates.average([number(value) for value in found])),
    "MAX(x)": of("x", lambda found: greatest([number(value) for value in found])),
    "COUNT(DISTINCT x)": of("x", aggregates.count_distinct),
    "COLLECT(x)": of("x", lambda found: {"in any order": found}),
    "MIN(CAST(g AS nvarchar(max)))": of("g", least),
    "MAX(CAST(t AS datetime))": of("t", lambda found: greatest([microseconds(text) for text in found])),
    "STDEV(v)": of("v", lambda found: aggregates.deviation(found, sample=True)),
    "STDEVP(w)": of("w", lambda found: aggregates.deviation(found, sample=False)),
    "VAR(w)": of("w", lambda found: aggregates.variance(found, sample=True)),
    "VARP(v)": of("v", lambda found: aggregates.variance(found, sample=False)),
    "PERCENTILE_CONT(0.3) OVER (ORDER BY v)": of("v", lambda found: aggregates.percentile(found, 0.3, True)),
    "PERCENTILE_CONT(0.9) OVER (ORDER BY w DESC)": of(
        "w", lambda found: aggregates.percentile(found, 0.9, True, descending=True)
    ),
    "PERCENTILE_DISC(0.5) OVER (ORDER BY v)": of("v", lambda found: aggregates.percentile(found, 0.5, False)),
    "PERCENTILE_DISC(0.25) OVER (ORDER BY w DESC)": of(
        "w", lambda found: aggregates.percentile(found, 0.25, False, descending=True)
    ),
    "COLLECT(v)": of("v", lambda found: {"in any order": found}),
    "COLLECT()": lambda rows: {"in any order": [whole(row) for row in rows]},
    "CollectTop(2, id) OVER (ORDER BY w DESC, id ASC)": lambda rows: aggregates.top(
        rows, [("w", True), ("id", False)], 2, "id"
    ),
    "CollectTop(3, g) OVER (ORDER BY w ASC, id DESC)": lambda rows: aggregates.top(
        rows, [("w", False), ("id", True)], 3, "g"
    ),
    "TopOne(id) OVER (ORDER BY v DESC, id DESC)": lambda rows: aggregates.ranked(
        rows, [("v", True), ("id", True)]
    )[0]["id"],
    "TopOne() OVER (ORDER BY id DESC)": lambda rows: whole(aggregates.ranked(rows, [("id", True)])[0]),
}

HAVING: dict[str, Predicate] = {
    "COUNT(*) > 1": lambda row: len(row["rows"]) > 1,
    "SUM(v) > 2": lambda row: (aggregates.total(aggregates.values(row["rows"], "v")) or 0) > 2,
    "COUNT(v) = 0 OR MAX(id) < 6": lambda row: (
        not aggregates.values(row["rows"], "v") or max(one["id"] for one in row["rows"]) < 6
    ),
}


# --- windows ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windowed:
    """A window function: its text and its meaning."""

    text: str
    window: Window


def tumbling(random: Random) -> Windowed:
    """A tumbling window, perhaps with an offset."""
    size, offset = random.choice([500, 1000, 2000, 5000, 10_000]), random.choice([0, 0, -1, 300])
    moved = f", {offset}" if offset else ""
    return Windowed(f"TumblingWindow(ms, {size}{moved})", Hopping(size * 1000, size * 1000, offset * 1000))


def hopping(random: Random) -> Windowed:
    """A hopping window; its windows overlap, touch, or leave gaps."""
    size, hop, offset = (
        random.choice([1, 3, 5, 10]),
        random.choice([1, 2, 5, 10]),
        random.choice([0, 0, -1, 1500]),
    )
    moved = f", Offset(ms, {offset})" if offset else ""
    text = f"HoppingWindow(Duration(second, {size}), Hop(second, {hop}){moved})"
    return Windowed(text, Hopping(size * SECOND, hop * SECOND, offset * 1000))


def sliding(random: Random) -> Windowed:
    """A sliding window."""
    size = random.choice([1, 2, 5, 10])
    return Windowed(f"SlidingWindow(second, {size})", Sliding(size * SECOND))


def session(random: Random) -> Windowed:
    """A session window, for all rows or for keys of its own."""
    timeout, longest = random.randint(1, 5), random.choice([2, 3, 5, 6, 10, 60])
    over = random.choice([(), (), ("k",), ("g", "k")])
    keys = f" OVER (PARTITION BY {', '.join(over)})" if over else ""
    text = f"SessionWindow(second, {timeout}, {longest}){keys}"
    return Windowed(text, Session(timeout * SECOND, longest * SECOND, over))


def snapshot(random: Random) -> Windowed:
    """The snapshot window."""
    return Windowed("System.Timestamp()", Snapshot())


MAKERS = (tumbling, hopping, sliding, session, snapshot)


def window(random: Random) -> Windowed:
    """A window of any kind."""
    return random.choice(MAKERS)(random)


def plain_window(random: Random) -> Windowed:
    """A window whose rows of one time are in the order of their keys.

    Sessions with keys of their own may end together, and the order of their rows is then free.
    """
    made = window(random)
    return plain_window(random) if "PARTITION" in made.text else made


@dataclass(frozen=True)
class WindowQuestion:
    """Aggregates over windows and groups of one relation."""

    windows: tuple[Windowed, ...]
    named: bool
    keys: tuple[str, ...]
    aggregates: tuple[str, ...]
    where: str | None
    having: str | None

    def sql(self, source: str) -> str:
        """Return the SELECT that asks it of `source`."""
        items = [*self.keys, *(f"{text} AS a{place}" for place, text in enumerate(self.aggregates))]
        if self.named:
            items.append("System.Window().Id AS win")
        parts = ", ".join([*self.keys, self._windows()])
        return (
            f"SELECT {', '.join(items)}, System.Timestamp() AS ws FROM {source}{clause('WHERE', self.where)} "
            f"GROUP BY {parts}{clause('HAVING', self.having)}"
        )

    def _windows(self) -> str:
        texts = [window.text for window in self.windows]
        if len(texts) == 1:
            return texts[0]
        if self.named:
            texts = [f"Window('w{place}', {text})" for place, text in enumerate(texts)]
        return f"Windows({', '.join(texts)})"

    def answer(self, rows: list[Timed]) -> list[Timed]:
        """Return the rows that it gives, in order of time and of the windows."""
        passed = [timed for timed in rows if where(self.where)(timed.row)]
        found: list[Timed] = []
        for place, windowed in enumerate(self.windows):
            for end, held in groups(passed, windowed.window, self.keys):
                if self.having is not None and not HAVING[self.having]({"rows": held}):
                    continue
                row: Row = {name: held[0].get(name) for name in self.keys}
                row |= {f"a{n}": AGGREGATES[text](held) for n, text in enumerate(self.aggregates)}
                found.append(Timed(end, {**row, "win": f"w{place}" if self.named else None, "ws": end}))
        return sorted(found, key=lambda timed: timed.time)


KINDS = (*(maker.__name__ for maker in MAKERS), "several")


def window_question(random: Random, kind: str | None = None) -> WindowQuestion:
    """A question over one window of a kind, or over several."""
    maker = {maker.__name__: maker for maker in MAKERS}.get(kind or random.choice(KINDS))
    windows = [maker(random)] if maker else [window(random) for _ in range(random.randint(2, 3))]
    return WindowQuestion(
        windows=tuple(windows),
        named=len(windows) > 1 and random.random() < 0.5,
        keys=random.choice([(), ("k",), ("g",), ("k", "g")]),
        aggregates=tuple(random.sample(sorted(AGGREGATES), random.randint(1, 4))),
        where=condition(random),
        having=random.choice([None, None, *sorted(HAVING)]),
    )


# --- looking back -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Looking:
    """A function with OVER: its text, and its meaning for the row at a place."""

    text: str
    meaning: Callable[[list[Timed], int], Any]


LIMITED: dict[str, Meaning] = {
    name: AGGREGATES[name]
    for name in (
        "COUNT(*)",
        "COUNT(v)",
        "SUM(v)",
        "AVG(v)",
        "MIN(v)",
        "MAX(v)",
        "SUM(id)",
        "SUM(x)",
        "COLLECT(v)",
    )
}
RANKED: dict[str, Meaning] = {
    # Decided: over no rows it is NULL, as every aggregate but COUNT is.
    "CollectTop(2, id)": lambda rows: aggregates.top(rows, [("w", True), ("id", False)], 2, "id") or None,
    "TopOne(id)": lambda rows: next(
        (row["id"] for row in aggregates.ranked(rows, [("w", True), ("id", False)])), None
    ),
}


def _parts(limit: int | None, keys: tuple[str, ...], when: str | None, order: str = "") -> str:
    partition = f"PARTITION BY {', '.join(keys)} " if keys else ""
    limited = f"LIMIT DURATION(ms, {limit})" if limit is not None else ""
    return f"OVER ({partition}{order}{limited}{clause('WHEN', when)})"


def looking(random: Random) -> Looking:
    """LAG, LAST, ISFIRST or an aggregate over the rows before."""
    limit = random.choice([500, 1000, 3000, 10_000, 60_000])
    keys = random.choice([(), ("k",), ("g", "k")])
    when = condition(random)
    over = Over(limit * 1000, keys, where(when))
    text = _parts(limit, keys, when)
    kind = random.choice(["lag", "lag", "default", "last", "first", "aggregate", "aggregate", "ranked"])
    if kind == "first":
        return _first(random.choice([1, 5, 10]), keys, when)
    if kind == "aggregate":
        asked = random.choice(sorted(LIMITED))
        return Looking(f"{asked} {text}", lambda rows, at: LIMITED[asked](over.seen(rows, at, itself=True)))
    if kind == "ranked":
        asked = random.choice(sorted(RANKED))
        ordered = _parts(limit, keys, when, "ORDER BY w DESC, id ASC ")
        return Looking(f"{asked} {ordered}", lambda rows, at: RANKED[asked](over.seen(rows, at, itself=True)))
    name, offset = random.choice("vkgwx"), random.randint(1, 3)
    if kind == "last":
        return Looking(f"LAST({name}) {text}", lambda rows, at: looking_back.last(rows, at, over, name))
    if kind == "default":
        return Looking(
            f"LAG(v, {offset}, -7) {text}",
            lambda rows, at: looking_back.lag(rows, at, over, "v", offset, -7),
        )
    written = f"LAG({name}) " if offset == 1 else f"LAG({name}, {offset}) "
    return Looking(written + text, lambda rows, at: looking_back.lag(rows, at, over, name, offset))


def _first(size: int, keys: tuple[str, ...], when: str | None) -> Looking:
    over = f" {_parts(None, keys, when)}" if keys or when else ""
    return Looking(
        f"ISFIRST(second, {size}){over}",
        lambda rows, at: looking_back.is_first(rows, at, size * SECOND, keys, where(when)),
    )


@dataclass(frozen=True)
class LookingQuestion:
    """A row for each row that passes, with what is seen by looking back over all of them."""

    items: tuple[Looking, ...]
    where: str | None
    first_of: int | None

    def sql(self, source: str) -> str:
        """Return the SELECT that asks it of `source`."""
        items = ", ".join(f"{item.text} AS a{place}" for place, item in enumerate(self.items))
        first = f"ISFIRST(second, {self.first_of}) OVER (PARTITION BY g) = 1" if self.first_of else None
        passes = " AND ".join(f"({text})" for text in (self.where, first) if text)
        return f"SELECT id, {items}, System.Timestamp() AS ws FROM {source}{clause('WHERE', passes or None)}"

    def answer(self, rows: list[Timed]) -> list[Timed]:
        """Return the rows that it gives, in order."""
        return [
            Timed(
                time,
                {"id": row["id"], "ws": time}
                | {f"a{place}": item.meaning(rows, at) for place, item in enumerate(self.items)},
            )
            for at, (time, row) in enumerate(rows)
            if where(self.where)(row) and self._is_first(rows, at)
        ]

    def _is_first(self, rows: list[Timed], at: int) -> bool:
        if not self.first_of:
            return True
        first = looking_back.is_first(rows, at, self.first_of * SECOND, ("g",), lambda row: True)
        return first == 1


def looking_question(random: Random) -> LookingQuestion:
    """A question that looks back, in several ways at once."""
    return LookingQuestion(
        items=tuple(looking(random) for _ in range(random.randint(1, 4))),
        where=condition(random),
        first_of=random.choice([None, None, None, 5]),
    )
