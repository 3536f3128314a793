"""Joins beside the oracle's answer to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.property.oracle.joins import Bound, join, look_up
from tests.property.oracle.stream import UNITS_US, Row, Timed, same_key

Both = Callable[[Row, Row], bool]


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal and neither is NULL."""
    return left is not None and same_key(left) == same_key(right)


def less(left: Any, right: Any) -> bool:
    return left is not None and right is not None and left < right


#: Conditions beside the bound on time, and what they mean for a left and a right row.
CONDITIONS: dict[str, Both] = {
    "": lambda left, right: True,
    " AND l.g = r.g": lambda left, right: left["g"] == right["g"],
    " AND l.g = r.g AND l.w = r.w": lambda left, right: (
        left["g"] == right["g"] and same(left.get("w"), right.get("w"))
    ),
    " AND l.v = r.v": lambda left, right: same(left.get("v"), right.get("v")),
    " AND l.v < r.v": lambda left, right: less(left.get("v"), right.get("v")),
    " AND l.g = r.g AND r.id % 2 = 0": lambda left, right: left["g"] == right["g"] and right["id"] % 2 == 0,
    " AND l.id > 3": lambda left, right: left["id"] > 3,
}


@dataclass(frozen=True)
class Pairing:
    """A join of the streams l and r."""

    outer: bool
    unit: str
    low: int
    high: int
    condition: str
    turned: bool

    @property
    def sql(self) -> str:
        """The query, with the bound as DATEDIFF(unit, l, r), or turned around."""
        kind = "LEFT JOIN" if self.outer else "JOIN"
        low, high = (-self.high, -self.low) if self.turned else (self.low, self.high)
        streams = "r, l" if self.turned else "l, r"
        return (
            "SELECT l.id AS a, r.id AS b, r.g AS g, System.Timestamp() AS ws FROM l TIMESTAMP BY t "
            f"{kind} r TIMESTAMP BY t ON DATEDIFF({self.unit}, {streams}) BETWEEN {low} AND {high}"
            f"{self.condition}"
        )

    def answer(self, left: list[Timed], right: list[Timed]) -> list[Timed]:
        """Return the pairs, in order of time, left row and right row."""
        bound = Bound(UNITS_US[self.unit], self.low, self.high)
        return [
            Timed(time, {"a": one["id"], "b": other and other["id"], "g": other and other["g"], "ws": time})
            for time, one, other in join(left, right, bound, CONDITIONS[self.condition], self.outer)
        ]


def pairing(random: Random) -> Pairing:
    """A join with a bound on time of some seconds, also below zero."""
    unit = random.choice(["second", "second", "minute", "millisecond"])
    steps = [-1, 0, 1] if unit == "minute" else [-3, -2, -1, 0, 0, 1, 2, 5, 10]
    size = 700 if unit == "millisecond" else 1
    low, high = sorted(random.choice(steps) * size for _ in range(2))
    return Pairing(
        outer=random.random() < 0.5,
        unit=unit,
        low=low,
        high=high,
        condition=random.choice(sorted(CONDITIONS)),
        turned=random.random() < 0.5,
    )


#: Conditions of a join with reference data.
LOOK_UPS: dict[str, Both] = {
    "l.g = r.g": lambda row, other: same(row["g"], other.get("g")),
    "l.w = r.w": lambda row, other: same(row.get("w"), other.get("w")),
    "l.g = r.g AND l.v > r.low": lambda row, other: (
        same(row["g"], other.get("g")) and less(other.get("low"), row.get("v"))
    ),
    "l.v > r.low": lambda row, other: less(other.get("low"), row.get("v")),
}


@dataclass(frozen=True)
class LookUp:
    """A join of the stream l with reference data r."""

    outer: bool
    condition: str
    table: tuple[tuple[tuple[str, Any], ...], ...]

    @property
    def sql(self) -> str:
        """The query."""
        kind = "LEFT JOIN" if self.outer else "JOIN"
        return (
            f"SELECT l.id AS a, r.name AS b, System.Timestamp() AS ws FROM l TIMESTAMP BY t {kind} r "
            f"ON {self.condition}"
        )

    @property
    def rows(self) -> list[Row]:
        """The reference data."""
        return [dict(fields) for fields in self.table]

    def answer(self, left: list[Timed]) -> list[Timed]:
        """Return the rows that it gives."""
        return [
            Timed(time, {"a": row["id"], "b": other and other["name"], "ws": time})
            for time, row, other in look_up(left, self.rows, LOOK_UPS[self.condition], self.outer)
        ]


def look_up_question(random: Random) -> LookUp:
    """A join with a few rows of reference data."""
    table = []
    for number in range(random.randrange(7)):
        fields = {"g": ["x", "y", "q", None], "w": [1, 1.0, 2, 0.5, None], "low": [0, 1, 1.5, None]}
        made = [(name, random.choice(values)) for name, values in fields.items() if random.random() < 0.8]
        table.append((("name", number), *made))
    return LookUp(random.random() < 0.5, random.choice(sorted(LOOK_UPS)), tuple(table))
