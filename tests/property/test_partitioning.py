"""What runs as a task per partition gives, partition by partition, the rows that one task gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from headrace.engine.query import query_in_pieces
from headrace.errors import DataError
from headrace.sql.bind import bind
from headrace.sql.partitioning import Cut, InputPartitions, Repartition, cut, keeps_nothing, repartitions
from tests.property.oracle.stream import Row, iso, same_key
from tests.property.pipelines import script
from tests.property.streams import BASE

PARTITIONS = 3
SCRIPTS = 160


@dataclass
class Stream:
    """Two inputs whose events lie in partitions: how is said behind them, or known of them as their key."""

    readings: dict[str, str]
    partitions: InputPartitions
    column: str
    events: dict[str, list[tuple[int, Row]]] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, InputPartitions]:
        return dict.fromkeys(self.readings, self.partitions)

    def rows(self, repartitioned: dict[str, Repartition], task: int | None = None) -> dict[str, list[Row]]:
        """The events of a task, or all of them."""
        places = Places(Random(1))
        return {
            name: [
                row
                for partition, row in events
                if task is None or task == places.of(row, partition, repartitioned.get(name))
            ]
            for name, events in self.events.items()
        }


@dataclass
class Places:
    """Where a step that repartitions puts events: anywhere, but equal ones together."""

    random: Random
    chosen: dict[Any, int] = field(default_factory=dict)

    def of(self, row: Row, partition: int, step: Repartition | None) -> int:
        if step is None:
            return partition
        key = tuple(same_key(row.get(name)) for name in step.keys)
        return self.chosen.setdefault(key, self.random.randrange(step.count))


def stream(random: Random) -> Stream:
    """Events of two inputs, placed anywhere, by their key k, or to be repartitioned."""
    kind = random.choice(["anywhere", "key", "key", "step"])
    clause = {"anywhere": "PARTITION BY PartitionId", "step": "PARTITION BY k"}.get(kind, "")
    if kind == "step":
        clause = random.choice(["PARTITION BY k", "PARTITION BY k, g", "PARTITION BY g INTO 4"])
    readings = dict.fromkeys(random.choice([["l"], ["l", "r"], ["l", "r"]]), clause)
    column = "PartitionId" if kind == "anywhere" else "k"
    made = Stream(readings, InputPartitions(PARTITIONS, "k" if kind == "key" else None), column)
    places: dict[str, int] = {}
    values = random.choice([["a", "b", "c", None], [1, 1.0, 2, 2.5, None]])
    if kind == "key":
        values = ["a", "b", "c", "d", "1"]
    for name in readings:
        time, events = BASE, []
        for number in range(random.choice([8, 16, 24])):
            time += random.choice([0, 250_000, 1_000_000, 1_500_000])
            key = random.choice(values)
            partition = random.randrange(PARTITIONS)
            if kind == "key":
                partition = places.setdefault(key, partition)
            own = partition if kind == "anywhere" else random.randrange(PARTITIONS)
            row = {"id": 2**number, "k": key, "g": random.choice("ab1"), "v": random.randrange(9)}
            events.append((partition, {**row, "PartitionId": own, "t": iso(time)}))
        made.events[name] = events
    return made


def asked(sql: str, rows: dict[str, list[Row]]) -> Counter[str] | None:
    """The rows that a query gives, however they are ordered; None where one stops it."""
    try:
        return Counter(map(told, query_in_pieces(sql, rows)["output"]))
    except DataError:
        return None


def told(row: Row) -> str:
    """A row as a text; a column that is NULL is one that is not there, and 1 and 1.0 are one key."""
    values = {name: value for name, value in row.items() if value is not None}
    return repr(sorted((name, float(v) if isinstance(v, int) else v) for name, v in values.items()))


def in_tasks(sql: str, given: Stream, repartitioned: dict[str, Repartition]) -> Counter[str] | None:
    """The rows that all tasks give together."""
    tasks = max([PARTITIONS, *(step.count for step in repartitioned.values())])
    parts = [asked(sql, given.rows(repartitioned, task)) for task in range(tasks)]
    return None if None in parts else sum((part or Counter() for part in parts), Counter())


def cases(seeds: Sequence[int]) -> Iterable[tuple[str, Stream, Cut, dict[str, Repartition]]]:
    """Scripts that keep something, their streams, and how they are cut."""
    for seed in seeds:
        random = Random(seed)
        given = stream(random)
        sql = script(random, given.readings, random.choice(["k", "k", given.column]))
        bound = bind(sql)
        if not keeps_nothing(bound):
            yield sql, given, cut(bound, given.inputs), repartitions(bound, given.inputs)


def test_tasks_per_partition_give_together_the_rows_of_one_task() -> None:
    spread = filled = steps = 0
    for sql, given, found, repartitioned in cases(range(SCRIPTS)):
        whole = asked(sql, given.rows({})) if found.per_partition else None
        if whole is not None:
            told_more = f"{sql}\n{found.reason}\n{given.events}"
            assert in_tasks(sql, given, repartitioned) == whole, told_more
            spread, filled, steps = spread + 1, filled + bool(whole), steps + bool(repartitioned)
    assert spread > SCRIPTS / 8, spread
    assert filled > SCRIPTS / 12, filled
    assert steps > SCRIPTS / 40, steps


def test_most_scripts_that_run_as_one_task_would_give_other_rows_in_several() -> None:
    single = differing = 0
    for sql, given, found, _ in cases(range(1000, 1040)):
        whole = None if found.per_partition else asked(sql, given.rows({}))
        if whole:
            single += 1
            differing += in_tasks(sql, given, {}) != whole
    assert single > 12
    assert differing > single / 2, (differing, single)
