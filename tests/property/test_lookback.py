"""Rows from some time on are those of all events, though reading begins only where the script looks to."""

from __future__ import annotations

from collections import Counter
from random import Random

from headrace.engine.query import query_in_pieces
from headrace.sql.bind import bind
from headrace.sql.lookback import lookback_us
from tests.property.oracle.stream import Row, iso
from tests.property.pipelines import script
from tests.property.streams import BASE

SCRIPTS = 150
SECOND = 1_000_000


def events(random: Random, name: str) -> list[tuple[int, Row]]:
    """Events with chains and silences, with their times."""
    time, made = BASE + random.randrange(3 * SECOND), []
    quiet = random.choice([4 * SECOND, 30 * SECOND])
    for number in range(random.choice([40, 70])):
        time += random.choice([0, 250_000, SECOND, SECOND, 2 * SECOND, quiet if number % 9 == 0 else SECOND])
        row = {"id": number, "k": random.choice([1, 2]), "g": random.choice([1, 2]), "PartitionId": 1}
        made.append((time, {**row, "v": random.randrange(9), "from": name, "t": iso(time)}))
    return made


def rows_since(
    sql: str, since_us: int, given: dict[str, list[tuple[int, Row]]], read_us: int
) -> Counter[str]:
    """The rows from one time on, of the events from another."""
    inputs = {name: [row for time, row in made if time >= read_us] for name, made in given.items()}
    found = query_in_pieces(sql, inputs)["output"]
    return Counter(repr(sorted(row.items(), key=str)) for row in found if told_us(row) >= since_us)


def told_us(row: Row) -> int:
    return round(row["ws"].timestamp() * SECOND)


def test_reading_from_the_lookback_on_gives_the_same_rows_as_reading_everything() -> None:
    filled = 0
    for seed in range(SCRIPTS):
        random = Random(seed)
        sql = script(random, dict.fromkeys(random.choice([["l"], ["l", "r"]]), ""))
        looked_us = lookback_us(bind(sql))
        given = {name: events(random, name) for name in ("l", "r")}
        times = [time for made in given.values() for time, _ in made]
        since_us = min(max(times), min(times) + looked_us + random.randrange(20 * SECOND))
        whole = rows_since(sql, since_us, given, min(times))
        told = f"{sql}\n{looked_us} before {iso(since_us)}"
        assert rows_since(sql, since_us, given, since_us - looked_us) == whole, told
        filled += bool(whole) and looked_us > 0
    assert filled > SCRIPTS / 2, filled
