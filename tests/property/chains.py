"""Queries of several steps beside the oracle's answer: windows over windows, unions and joins."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from tests.property.oracle import aggregates, looking_back
from tests.property.oracle.joins import Bound
from tests.property.oracle.looking_back import Over
from tests.property.oracle.stream import UNITS_US, Row, Timed
from tests.property.oracle.windows import groups
from tests.property.pairings import Pairing, pairing
from tests.property.questions import (
    LookingQuestion,
    Windowed,
    WindowQuestion,
    looking_question,
    plain_window,
    window_question,
)

SECOND = 1_000_000


@dataclass(frozen=True)
class Chain:
    """Groups of one window, and over their rows another window, or a look back."""

    inner: Windowed
    outer: Windowed | None
    limit: int

    @property
    def sql(self) -> str:
        """The query, with a step of the inner window."""
        step = (
            "WITH A AS (SELECT g, COUNT(*) AS n, SUM(id) AS s, MAX(w) AS m "
            f"FROM src TIMESTAMP BY t GROUP BY g, {self.inner.text}) "
        )
        if self.outer is not None:
            return step + (
                "SELECT COUNT(*) AS c, SUM(n) AS n, MAX(s) AS s, AVG(m) AS m, System.Timestamp() AS ws "
                f"FROM A GROUP BY {self.outer.text}"
            )
        limit = f"LIMIT DURATION(ms, {self.limit})"
        return step + (
            f"SELECT g, n, n - LAG(n) OVER (PARTITION BY g {limit}) AS c, SUM(s) OVER ({limit}) AS s, "
            f"LAST(g) OVER ({limit} WHEN n > 1) AS m, System.Timestamp() AS ws FROM A"
        )

    def answer(self, rows: list[Timed]) -> list[Timed]:
        """Return the rows that it gives, in order."""
        step = [
            Timed(
                end,
                {
                    "g": held[0]["g"],
                    "n": len(held),
                    "s": sum(row["id"] for row in held),
                    "m": max(aggregates.values(held, "w"), default=None),
                },
            )
            for end, held in groups(rows, self.inner.window, ("g",))
        ]
        step.sort(key=lambda timed: (timed.time, timed.row["g"]))
        return self._window(step, self.outer) if self.outer else self._look(step)

    def _window(self, step: list[Timed], outer: Windowed) -> list[Timed]:
        found = [
            Timed(
                end,
                {
                    "c": len(held),
                    "n": sum(row["n"] for row in held),
                    "s": max(row["s"] for row in held),
                    "m": aggregates.average(aggregates.values(held, "m")),
                    "ws": end,
                },
            )
            for end, held in groups(step, outer.window, ())
        ]
        return sorted(found, key=lambda timed: timed.time)

    def _look(self, step: list[Timed]) -> list[Timed]:
        found = []
        own, all_rows = Over(self.limit * 1000, ("g",)), Over(self.limit * 1000)
        several = Over(self.limit * 1000, when=lambda row: row["n"] > 1)
        for at, (time, row) in enumerate(step):
            before = looking_back.lag(step, at, own, "n")
            summed = aggregates.total([other["s"] for other in all_rows.seen(step, at, itself=True)])
            latest = looking_back.last(step, at, several, "g")
            change = None if before is None else row["n"] - before
            found.append(
                Timed(time, {"g": row["g"], "n": row["n"], "c": change, "s": summed, "m": latest, "ws": time})
            )
        return found


def chain(random: Random) -> Chain:
    """A window over the rows of a window, or a look back over them."""
    outer = plain_window(random) if random.random() < 0.5 else None
    return Chain(plain_window(random), outer, random.choice([1000, 5000, 20_000]))


COLUMNS = ("id", "g", "k", "v", "w", "x", "t")


@dataclass(frozen=True)
class United:
    """A question that is asked of two streams together."""

    question: WindowQuestion | LookingQuestion

    @property
    def sql(self) -> str:
        """The query, with a step of the union."""
        columns = ", ".join(COLUMNS)
        selects = " UNION ".join(f"SELECT {columns} FROM {name} TIMESTAMP BY t" for name in ("l", "r"))
        return f"WITH Both AS ({selects}) {self.question.sql('Both')}"

    def answer(self, left: list[Timed], right: list[Timed]) -> list[Timed]:
        """Return the rows that it gives; of one time the rows of the first stream come first."""
        both = [Timed(time, {name: row.get(name) for name in COLUMNS}) for time, row in (*left, *right)]
        return self.question.answer(sorted(both, key=lambda timed: timed.time))


def united(random: Random) -> United:
    """A question of any kind, asked of a union."""
    return United(random.choice([window_question, looking_question])(random))


@dataclass(frozen=True)
class JoinedWindow:
    """Counts in a window over a join."""

    pairing: Pairing
    windowed: Windowed

    @property
    def sql(self) -> str:
        """The query; the join is a step, and its rows are grouped."""
        return (
            f"WITH J AS ({self.pairing.sql}) SELECT COUNT(*) AS n, COUNT(b) AS m, SUM(a) AS s, "
            f"COUNT(DISTINCT a) AS d, System.Timestamp() AS ws FROM J GROUP BY {self.windowed.text}"
        )

    def answer(self, left: list[Timed], right: list[Timed]) -> list[Timed]:
        """Return the rows that it gives, in order of time."""
        found = [
            Timed(
                end,
                {
                    "n": len(held),
                    "m": len(aggregates.values(held, "b")),
                    "s": sum(row["a"] for row in held),
                    "d": len({row["a"] for row in held}),
                    "ws": end,
                },
            )
            for end, held in groups(self.pairing.answer(left, right), self.windowed.window, ())
        ]
        return sorted(found, key=lambda timed: timed.time)


def joined_window(random: Random) -> JoinedWindow:
    """A window over a join."""
    return JoinedWindow(pairing(random), plain_window(random))


@dataclass(frozen=True)
class Triple:
    """An inner join of three streams, the third bounded to the first or the second."""

    bounds: tuple[Bound, Bound]
    keyed: tuple[bool, bool]
    to_second: bool

    @property
    def sql(self) -> str:
        """The query."""
        names = ("l", "r", "r" if self.to_second else "l", "s")
        first, second = (
            f"DATEDIFF(second, {one}, {other}) BETWEEN {bound.low} AND {bound.high}"
            + (f" AND {one}.g = {other}.g" if keyed else "")
            for bound, keyed, one, other in zip(self.bounds, self.keyed, names[::2], names[1::2], strict=True)
        )
        return (
            "SELECT l.id AS a, r.id AS b, s.id AS c, System.Timestamp() AS ws FROM l TIMESTAMP BY t "
            f"JOIN r TIMESTAMP BY t ON {first} JOIN s TIMESTAMP BY t ON {second}"
        )

    def answer(self, streams: dict[str, list[Timed]]) -> list[Timed]:
        """Return the triples at the latest of their times; in order of time, of the pair, of the third."""
        found: list[tuple[Any, Row]] = []
        for a, left in enumerate(streams["l"]):
            for b, right in enumerate(streams["r"]):
                if not self._meet(0, left, right):
                    continue
                for c, third in enumerate(streams["s"]):
                    if self._meet(1, right if self.to_second else left, third):
                        pair = max(left.time, right.time)
                        time = max(pair, third.time)
                        row = {"a": left.row["id"], "b": right.row["id"], "c": third.row["id"], "ws": time}
                        found.append(((time, pair, a, b, c), row))
        return [Timed(order[0], row) for order, row in sorted(found, key=lambda triple: triple[0])]

    def _meet(self, place: int, one: Timed, other: Timed) -> bool:
        return self.bounds[place].holds(one.time, other.time) and (
            not self.keyed[place] or one.row["g"] == other.row["g"]
        )


def triple(random: Random) -> Triple:
    """A join of three streams."""
    bounds = []
    for _ in range(2):
        low = random.randint(-3, 3)
        bounds.append(Bound(UNITS_US["second"], low, low + random.randint(0, 6)))
    keyed = (random.random() < 0.5, random.random() < 0.5)
    return Triple((bounds[0], bounds[1]), keyed, random.random() < 0.5)
