"""How fast JSON is decoded strictly, beside a bare Polars reader of the same bytes in the same run.

    python -m benchmarks.decode

The bare reader is told the schema and loses data silently (see the tests of the proof): it is the yardstick,
not a rival. Figures are medians of wall time; what carries over from machine to machine is the ratio. The
second ratio is that of processor time, which a busy machine disturbs less.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl

from headrace.events.batch import Batch
from headrace.events.formats.json import JsonDecoder, encode_lines, from_rows

REPEATS = 3
LATENCY_REPEATS = 200
SMALL = (1, 10, 100)
LARGE = (10_000, 100_000)


def reading(random_: random.Random, number: int) -> dict[str, Any]:
    """An event of about 200 bytes: a sensor's reading."""
    return {
        "id": number,
        "device": f"sensor-{random_.randrange(500):04d}",
        "time": f"2024-05-{1 + number % 28:02d}T12:{number % 60:02d}:11.1234567Z",
        "temperature": round(random_.uniform(-10, 40), 3),
        "humidity": round(random_.random() * 100, 2),
        "status": "ok" if random_.random() < 0.9 else "degraded",
        "alarm": random_.random() < 0.1,
        "count": random_.randrange(10**6),
        "note": "the quick brown fox jumps",
    }


def reading_with_nulls(random_: random.Random, number: int) -> dict[str, Any]:
    """A reading with one value always NULL and another NULL half of the time."""
    return reading(random_, number) | {"error": None, "note": random_.choice([None, "checked"])}


def whole_numbers(random_: random.Random, number: int) -> dict[str, Any]:
    """A reading whose floats are often written as integers, as JavaScript does."""
    temperature = random_.randrange(-100, 400) / 10
    return reading(random_, number) | {
        "temperature": int(temperature) if temperature % 1 == 0 else temperature
    }


def nested(random_: random.Random, number: int) -> dict[str, Any]:
    """An event with a record and an array."""
    return {
        "id": number,
        "device": {
            "id": f"sensor-{random_.randrange(500)}",
            "place": {"lat": round(random_.random(), 4), "lon": 5.0},
        },
        "tags": ["indoor", "floor 2", str(number)],
        "value": round(random_.random(), 4),
        "note": "hello",
    }


def paper(random_: random.Random, number: int) -> dict[str, Any]:
    """A document of about 0.9 KB with some LaTeX, quotes and letters outside ASCII, as abstracts have."""
    words = ["measure", "naïve", "of", "the", "spectrum", "we", "show", "distribution"] * 10
    words += ["$\\alpha$", '"quoted"', "$x_{i}$"]
    return {
        "doc": " ".join(random_.choice(words) for _ in range(140)),
        "title": f"On the {number}th problem",
        "class": random_.choice(["math", "bio", "compsci"]),
        "id": f"1610.{number:05d}",
    }


def bare_schema(bodies: Iterable[bytes]) -> dict[str, pl.DataType]:
    types = {int: pl.Int64(), float: pl.Float64(), str: pl.String(), bool: pl.Boolean()}
    schema: dict[str, pl.DataType] = {}
    for body in bodies:
        for name, value in json.loads(body).items():
            if type(value) in types:
                schema[name] = pl.Float64() if schema.get(name) == pl.Float64() else types[type(value)]
    return schema


@dataclass(frozen=True)
class Taken:
    """Medians of the wall and processor time of a call."""

    wall_s: float
    cpu_s: float


def taken(run: Callable[[], object], repeats: int) -> Taken:
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Taken(statistics.median(walls), statistics.median(cpus))


def bodies_of(make: Callable[[random.Random, int], dict[str, Any]], count: int) -> list[bytes]:
    random_ = random.Random(count)
    return [json.dumps(make(random_, number), separators=(",", ":")).encode() for number in range(count)]


def throughput() -> None:
    heads = f"{'strict M/s':>12}{'bare M/s':>10}{'ratio':>7}{'cpu ratio':>11}"
    print(f"{'events':20}{'batch':>9}{'bytes':>7}{heads}")
    for make in (reading, reading_with_nulls, whole_numbers, paper, nested):
        for size in LARGE:
            count = size // 4 if make is paper else size
            bodies = bodies_of(make, count)
            joined = b"\n".join(bodies)
            decoder, schema = JsonDecoder(), bare_schema(bodies[:100])
            assert decoder.decode(bodies, joined).batch.height == count
            strict = taken(partial(decoder.decode, bodies, joined), REPEATS)
            bare = taken(partial(pl.read_ndjson, joined, schema=schema), REPEATS)
            rates = f"{count / strict.wall_s / 1e6:>12.2f}{count / bare.wall_s / 1e6:>10.2f}"
            ratios = f"{bare.wall_s / strict.wall_s:>7.2f}{bare.cpu_s / strict.cpu_s:>11.2f}"
            print(f"{make.__name__:20}{count:>9}{len(joined) // count:>7}{rates}{ratios}")


def latency() -> None:
    print(f"\n{'small batches':20}{'batch':>9}{'strict us':>12}{'bare us':>10}")
    for make in (reading, nested):
        for count in SMALL:
            bodies = bodies_of(make, count)
            joined = b"\n".join(bodies)
            decoder, schema = JsonDecoder(), bare_schema(bodies)
            decoder.decode(bodies, joined)
            strict = taken(partial(decoder.decode, bodies, joined), LATENCY_REPEATS).wall_s
            bare = taken(partial(pl.read_ndjson, joined, schema=schema), LATENCY_REPEATS).wall_s
            print(f"{make.__name__:20}{count:>9}{strict * 1e6:>12.0f}{bare * 1e6:>10.0f}")


def encoding() -> None:
    print(f"\n{'encoding':20}{'batch':>9}{'M rows/s':>12}")
    random_ = random.Random(1)
    plain = from_rows([dict(list(reading(random_, number).items())[:5]) for number in range(LARGE[1])])
    records = from_rows([nested(random_, number) for number in range(LARGE[0])])
    opened = Batch(plain.frame, tuple(replace(column, open=True) for column in plain.columns))
    for name, batch in (("5 plain columns", plain), ("5 open columns", opened), ("nested", records)):
        rate = batch.height / taken(partial(encode_lines, batch), REPEATS).wall_s / 1e6
        print(f"{name:20}{batch.height:>9}{rate:>12.2f}")


if __name__ == "__main__":
    throughput()
    latency()
    encoding()
