"""Random scripts of several steps over the inputs l and r, each step with the same columns.

Columns are renamed, swapped, computed and covered by ``*`` between windows, joins, patterns and looks back,
so that what a column says at the end must be followed through all of it. `ws` is the time of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

COLUMNS = ("id", "k", "g", "PartitionId", "v")

#: What could be grouped by, joined on and partitioned by.
KEYS = ("k", "g", "PartitionId")

CARRIED = ", ".join(COLUMNS)

WINDOWS = (
    "TumblingWindow(second, 3)",
    "HoppingWindow(second, 6, 2)",
    "HoppingWindow(Duration(second, 4), Hop(second, 3), Offset(millisecond, -1))",
    "SlidingWindow(second, 2)",
    "SessionWindow(second, 2, 5){over}",
    "SessionWindow(second, 3, 4){over}",
    "System.Timestamp()",
    "Windows(TumblingWindow(second, 2), SlidingWindow(second, 1))",
    "Windows(TumblingWindow(second, 2), SessionWindow(second, 1, 4){over})",
)

SELECTED = (
    "id, g AS k, k AS g, PartitionId, v",
    "id, k, g, PartitionId, v + 1 AS v",
    "id, CASE WHEN v > 5 THEN k ELSE g END AS k, g, PartitionId, v",
    "id, g AS k, g, PartitionId, v",
    "*",
    "g AS k, *",
    "*, g AS k",
    "*, k AS also",
)


def script(random: Random, readings: dict[str, str], favourite: str | None = None) -> str:
    """A script over the inputs `readings`, each with what stands behind it in FROM.

    Most of its keys contain the `favourite`, where there is one.
    """
    return _Writer(random, favourite).script(readings)


@dataclass(frozen=True)
class _Writer:
    random: Random
    favourite: str | None

    def script(self, readings: dict[str, str]) -> str:
        columns = self.random.choice([CARRIED, "*"])
        steps = [
            f"read{name} AS (SELECT {columns} FROM {name} TIMESTAMP BY t {behind})"
            for name, behind in readings.items()
        ]
        names = [f"read{name}" for name in readings]
        for number in range(self.random.randint(1, 3)):
            steps.append(f"s{number} AS ({self._step(names)})")
            names.append(f"s{number}")
        return f"WITH {', '.join(steps)} SELECT {CARRIED}, System.Timestamp() AS ws FROM {names[-1]}"

    def _step(self, names: Sequence[str]) -> str:
        source, other = names[-1], self.random.choice(names[:-1] or names)
        kind = self.random.choice(["select", "window", "window", "over", "join", "union", "match"])
        match kind:
            case "select":
                where = self.random.choice(["", " WHERE v > 2"])
                return f"SELECT {self.random.choice(SELECTED)} FROM {source}{where}"
            case "union":
                columns = self.random.choice([CARRIED, CARRIED, "id, g AS k, k AS g, PartitionId, v"])
                return f"SELECT {CARRIED} FROM {source} UNION SELECT {columns} FROM {other}"
            case "window":
                return self._window(source)
            case "over":
                return self._over(source)
            case "match":
                return self._match(source)
        return self._join(source, other)

    def _keys(self) -> list[str]:
        if self.favourite is not None and self.random.random() < 0.8:
            return [self.favourite, *(name for name in KEYS if name != self.favourite)][: self._one_or_two()]
        return self.random.sample(KEYS, self.random.choice([0, 1, 2]))

    def _one_or_two(self) -> int:
        return self.random.choice([1, 1, 2])

    def _window(self, source: str) -> str:
        keys, own = self._keys(), self._keys()
        over = f" OVER (PARTITION BY {', '.join(own)})" if own else ""
        items = [*keys, *(f"COUNT(*) AS {name}" for name in KEYS if name not in keys)]
        parts = ", ".join([*keys, self.random.choice(WINDOWS).format(over=over)])
        return f"SELECT SUM(id) AS id, SUM(v) AS v, {', '.join(items)} FROM {source} GROUP BY {parts}"

    def _over(self, source: str) -> str:
        partition = _partition(self._keys())
        call = self.random.choice(
            [
                f"SUM(v) OVER ({partition} LIMIT DURATION(second, 4))",
                f"LAG(v, 2, 0) OVER ({partition} LIMIT DURATION(second, 5) WHEN v > 1)",
                f"ISFIRST(second, 3) OVER ({partition} WHEN v > 0)",
            ]
        )
        return f"SELECT id, k, g, PartitionId, {call} AS v FROM {source}"

    def _join(self, source: str, other: str) -> str:
        kind = self.random.choice(["JOIN", "JOIN", "LEFT JOIN"])
        pairs = [
            (key, key if self.random.random() < 0.8 else self.random.choice(KEYS)) for key in self._keys()
        ]
        low = self.random.choice([-3, -2, 0, 0, 1])
        on = [f"DATEDIFF(second, a, b) BETWEEN {low} AND {low + self.random.choice([0, 1, 2])}"]
        on += [f"a.{one} = b.{two}" for one, two in pairs]
        items = [f"{self.random.choice('ab')}.{name} AS {name}" for name in KEYS]
        items += ["a.id + b.id AS id", "a.v AS v"]
        return f"SELECT {', '.join(items)} FROM {source} a {kind} {other} b ON {' AND '.join(on)}"

    def _match(self, source: str) -> str:
        keys = self._keys()
        measures = ["SUM(A.id) AS id", "LAST(B.v) AS v"]
        measures += [f"COUNT(A.v) AS {name}" for name in KEYS if name not in keys]
        pattern = (
            f"MATCH_RECOGNIZE (LIMIT DURATION(second, 4) {_partition(keys)} MEASURES {', '.join(measures)} "
            "AFTER MATCH SKIP TO NEXT ROW PATTERN (A+ B) DEFINE A AS A.v > 2, B AS B.v > 4) AS m"
        )
        return f"SELECT {CARRIED} FROM {source} {pattern}"


def _partition(keys: Sequence[str]) -> str:
    return f"PARTITION BY {', '.join(keys)}" if keys else ""
