"""How fast JSON is decoded strictly and encoded, beside bare Polars over the same bytes in the same run.

    python -m benchmarks.decode

Decoding is shown by the compiled reader, and by the structs that stand in for it where there is no compiler.
The bare reader is told the schema and loses data silently (tests/unit/test_json_losses.py says what), and the
bare writer knows neither open columns nor datetimes of the language: they are the yardstick, not rivals.
Ratios are our time over theirs, medians of rounds in which both take turns; what carries over from machine to
machine is the ratio. The second is that of processor time, which a busy machine disturbs less.
"""

from __future__ import annotations

import io
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from unittest import mock

import polars as pl

from headrace.events.batch import ORIGIN, Batch, ValueType
from headrace.events.formats import json_decode
from headrace.events.formats.json import JsonDecoder, encode_block
from headrace.events.formats.json_compiled import COMPILED, read_compiled
from headrace.events.formats.json_structs import read_structs

REPEATS = 7
LATENCY_REPEATS = 200
SMALL = (1, 10, 100)
LARGE = (10_000, 100_000)

#: What stands behind a value and behind a key: as most programs write it, and as Python does by default.
COMPACT: Final = (",", ":")
SPACED: Final = (", ", ": ")

#: The fast readers that are here.
READERS: Final = {**({"compiled": read_compiled} if COMPILED else {}), "structs": read_structs}

DAY: Final = datetime(2024, 5, 1)


def bid(random_: random.Random, number: int) -> dict[str, Any]:
    """An event of about 220 bytes: a bid as in the Nexmark benchmark."""
    item = "".join(random_.choices("abcdefghij_", k=12))
    seconds = number // 1_000
    return {
        "auction": 1_000 + random_.randrange(10_000),
        "bidder": 1_000 + random_.randrange(10_000),
        "price": random_.randrange(10**7),
        "channel": random_.choice(["Google", "Apple", "Baidu", f"channel-{number % 1_000}"]),
        "url": f"https://www.nexmark.com/{item}/item.htm?query=1",
        "dateTime": f"2024-05-01 12:{seconds // 60:02d}:{seconds % 60:02d}.{number % 1_000:03d}",
        "extra": "".join(random_.choices("abcdefghijklmnop", k=50)),
    }


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
class Beside:
    """Two calls that took turns: the median wall time of each, and the medians of the ratios of a round."""

    ours_s: float
    bare_s: float
    wall_ratio: float
    cpu_ratio: float


def beside(ours: Callable[[], object], bare: Callable[[], object], repeats: int) -> Beside:
    rounds = [(*taken(bare), *taken(ours)) for _ in range(repeats)]
    return Beside(
        statistics.median(ours_s for _, _, ours_s, _ in rounds),
        statistics.median(bare_s for bare_s, *_ in rounds),
        statistics.median(ours_s / bare_s for bare_s, _, ours_s, _ in rounds),
        statistics.median(ours_cpu_s / bare_cpu_s for _, bare_cpu_s, _, ours_cpu_s in rounds),
    )


def taken(run: Callable[[], object]) -> tuple[float, float]:
    """Return the wall and processor time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def bodies_of(
    make: Callable[[random.Random, int], dict[str, Any]],
    count: int,
    separators: tuple[str, str] = COMPACT,
) -> list[bytes]:
    random_ = random.Random(count)
    return [json.dumps(make(random_, number), separators=separators).encode() for number in range(count)]


def report(name: str, count: int, size_bytes: int, found: Beside) -> None:
    rates = f"{count / found.ours_s / 1e6:>12.2f}{count / found.bare_s / 1e6:>10.2f}"
    print(f"{name:34}{count:>9}{size_bytes:>7}{rates}{found.wall_ratio:>7.2f}{found.cpu_ratio:>11.2f}")


def throughput() -> None:
    heads = f"{'strict M/s':>12}{'bare M/s':>10}{'ratio':>7}{'cpu ratio':>11}"
    print(f"{'decoding':34}{'batch':>9}{'bytes':>7}{heads}")
    for make in (bid, reading, reading_with_nulls, whole_numbers, paper, nested):
        for size, separators in ((LARGE[0], COMPACT), (LARGE[1], COMPACT), (LARGE[1], SPACED)):
            count = size // 4 if make is paper else size
            bodies = bodies_of(make, count, separators)
            joined = b"\n".join(bodies)
            decoder, schema = JsonDecoder(), bare_schema(bodies[:100])
            assert decoder.decode(bodies, joined).batch.height == count
            decode = partial(decoder.decode, bodies, joined)
            bare = partial(pl.read_ndjson, joined, schema=schema)
            for reader, read in READERS.items():
                with mock.patch.object(json_decode, "_read_fast", read):
                    found = beside(decode, bare, REPEATS)
                name = make.__name__ + (" spaced" if separators is SPACED else "")
                report(f"{name}, {reader}", count, len(joined) // count, found)


def latency() -> None:
    print(f"\n{'small batches':34}{'batch':>9}{'strict us':>12}{'bare us':>10}")
    for make in (bid, reading, nested):
        for count in SMALL:
            bodies = bodies_of(make, count)
            joined = b"\n".join(bodies)
            decoder, schema = JsonDecoder(), bare_schema(bodies)
            decode = partial(decoder.decode, bodies, joined)
            found = beside(decode, partial(pl.read_ndjson, joined, schema=schema), LATENCY_REPEATS)
            print(f"{make.__name__:34}{count:>9}{found.ours_s * 1e6:>12.0f}{found.bare_s * 1e6:>10.0f}")


def encoding() -> None:
    heads = f"{'ours M/s':>12}{'bare M/s':>10}{'ratio':>7}{'cpu ratio':>11}"
    print(f"\n{'encoding':34}{'batch':>9}{'bytes':>7}{heads}")
    count = LARGE[1]
    for make in (bid, reading, reading_with_nulls, nested):
        batch = JsonDecoder().decode(bodies_of(make, count)).batch
        opened = Batch(batch.frame, tuple(replace(column, open=True) for column in batch.columns))
        encodings = [("", batch), (" open", opened)]
        if make is bid:
            times = pl.datetime_range(DAY, DAY + (count - 1) * timedelta(milliseconds=1), "1ms", eager=True)
            encodings.append((" and a datetime", batch.with_column("at", {ValueType.DATETIME: times})))
        for what, each in encodings:
            bare = each.frame.drop(ORIGIN)
            found = beside(partial(encode_block, each), partial(write_bare, bare), REPEATS)
            report(make.__name__ + what, count, len(encode_block(each)[0]) // count, found)


def write_bare(frame: pl.DataFrame) -> bytes:
    """Return the lines of a frame by Polars; a datetime in our layout, which itself is costly."""
    times = frame.select(pl.col(pl.Datetime).dt.to_string("%Y-%m-%dT%H:%M:%S%.6f0Z"))
    lines = io.BytesIO()
    frame.with_columns(times.get_columns()).write_ndjson(lines)
    return lines.getvalue()


if __name__ == "__main__":
    throughput()
    latency()
    encoding()
