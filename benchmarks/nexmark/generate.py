"""Auction events after the Nexmark suite: ``python -m benchmarks.nexmark.generate FOLDER --events 2000000``.

Of 50 events one is a person, three are auctions and 46 are bids; they come in order, 10,000 a second of event
time. Persons, auctions and bids are JSON lines of a file each. Half of the bids go to the hot auction, the
latest whose number is a multiple of 100; three quarters come from the hot bidder, the rest from one of the
latest thousand persons. So keys come, are busy for some seconds, and are never seen again. Ratios and names
are those of the suite's own generator; the same seed and start give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

#: What one cycle of the suite holds, in this order.
PERSONS, AUCTIONS, BIDS = 1, 3, 46
CYCLE = PERSONS + AUCTIONS + BIDS

EVENTS_PER_SECOND = 10_000
#: The base time of the suite; a Wednesday, so that no session meets the multiples of its longest duration.
START = datetime(2015, 7, 15, tzinfo=UTC)

FIRST_ID = 1000
HOT_STEP = 100
#: Of how many draws all but one take the hot one.
HOT_AUCTION_RATIO, HOT_BIDDER_RATIO, HOT_SELLER_RATIO = 2, 4, 4
AUCTIONS_IN_FLIGHT, ACTIVE_PERSONS = 100, 1000
#: How far ahead of the newest an id may be.
AUCTION_LEAD, PERSON_LEAD = 10, 10
CATEGORIES = 5

CHUNK_CYCLES = 20_000
CHANNELS = 10_000
HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
CITIES = (
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
)
STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
FIRST_NAMES = ("Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter")
LAST_NAMES = ("Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris")

#: Letters of `extra`, least and most, so that a line of bids has about 210 bytes.
EXTRA_LETTERS = {"persons": (80, 120), "auctions": (200, 300), "bids": (10, 24)}
TEXTS = 10_000

KINDS = ("persons", "auctions", "bids")


@dataclass(frozen=True)
class Texts:
    """Random texts made once, of which each event takes some: making them is slow, taking them is not."""

    extra: dict[str, pl.Series]
    words: pl.Series
    channels: pl.Series
    urls: pl.Series

    @classmethod
    def make(cls, random: np.random.Generator) -> Texts:
        words = _random_texts(random, 5, 5)
        parts = [_taken(words, random, CHANNELS) for _ in range(3)]
        names = pl.Series([*HOT_CHANNELS, *(f"channel-{number}" for number in range(CHANNELS))])
        paths = pl.select(
            pl.format("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", *(pl.lit(part) for part in parts))
        ).to_series()
        hot, known = paths[: len(HOT_CHANNELS)], paths + "&channel_id=" + pl.Series(range(CHANNELS)).cast(str)
        return cls(
            extra={kind: _random_texts(random, *EXTRA_LETTERS[kind]) for kind in KINDS},
            words=words,
            channels=names,
            urls=pl.concat([hot, known]),
        )


def _random_texts(random: np.random.Generator, least: int, most: int) -> pl.Series:
    letters = random.integers(ord("a"), ord("z") + 1, (TEXTS, most), dtype=np.uint8)
    lengths = random.integers(least, most + 1, TEXTS)
    return pl.Series([bytes(row[:length]).decode() for row, length in zip(letters, lengths, strict=True)])


def _taken(texts: pl.Series, random: np.random.Generator, count: int) -> pl.Series:
    return texts.gather(random.integers(0, len(texts), count))


def _times(numbers: np.ndarray, start: datetime) -> pl.Series:
    """Return the time of each event as ISO text with milliseconds."""
    since = numbers * 1000 // EVENTS_PER_SECOND
    instants, places = np.unique(since, return_inverse=True)
    first = int(start.timestamp() * 1000)
    texts = pl.Series(first + instants).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    return texts.gather(places)


def _prices(random: np.random.Generator, count: int) -> np.ndarray:
    return np.rint(10 ** (random.random(count) * 6) * 100).astype(np.int64)


def _person_ids(random: np.random.Generator, newest: np.ndarray) -> np.ndarray:
    """Return, for each newest person, one of the latest thousand or of the few that are to come."""
    active = np.minimum(newest + 1, ACTIVE_PERSONS)
    return np.asarray(newest + 1 - active + random.integers(0, active + PERSON_LEAD))


def _hot(random: np.random.Generator, ratio: int, count: int) -> np.ndarray:
    return random.integers(0, ratio, count) > 0


def _persons(random: np.random.Generator, texts: Texts, cycles: np.ndarray, start: datetime) -> pl.DataFrame:
    count = len(cycles)

    def one_of(names: tuple[str, ...]) -> pl.Series:
        return _taken(pl.Series(names), random, count)

    card = pl.Series(random.integers(10**15, 10**16, count)).cast(str)
    return pl.DataFrame(
        {
            "id": cycles + FIRST_ID,
            "name": one_of(FIRST_NAMES) + " " + one_of(LAST_NAMES),
            "emailAddress": _taken(texts.words, random, count)
            + "@"
            + _taken(texts.words, random, count)
            + ".com",
            "creditCard": card.str.replace(r"(....)(....)(....)(....)", "$1 $2 $3 $4"),
            "city": one_of(CITIES),
            "state": one_of(STATES),
            "dateTime": _times(cycles * CYCLE, start),
            "extra": _taken(texts.extra["persons"], random, count),
        }
    )


def _auctions(random: np.random.Generator, texts: Texts, cycles: np.ndarray, start: datetime) -> pl.DataFrame:
    cycle, place = np.repeat(cycles, AUCTIONS), np.tile(np.arange(AUCTIONS), len(cycles))
    count, numbers = len(cycle), cycle * CYCLE + PERSONS + place
    initial = _prices(random, count)
    hot = _hot(random, HOT_SELLER_RATIO, count)
    seller = np.where(hot, cycle // HOT_STEP * HOT_STEP, _person_ids(random, cycle))
    lasts = AUCTIONS_IN_FLIGHT * CYCLE // AUCTIONS * random.integers(1, 3, count)
    return pl.DataFrame(
        {
            "id": cycle * AUCTIONS + place + FIRST_ID,
            "itemName": _taken(texts.words, random, count) + " " + _taken(texts.words, random, count),
            "description": _taken(texts.extra["persons"], random, count),
            "initialBid": initial,
            "reserve": initial + _prices(random, count),
            "dateTime": _times(numbers, start),
            "expires": _times(numbers + lasts, start),
            "seller": seller + FIRST_ID,
            "category": random.integers(10, 10 + CATEGORIES, count),
            "extra": _taken(texts.extra["auctions"], random, count),
        }
    )


def _bids(random: np.random.Generator, texts: Texts, cycles: np.ndarray, start: datetime) -> pl.DataFrame:
    cycle, place = np.repeat(cycles, BIDS), np.tile(np.arange(BIDS), len(cycles))
    count, newest = len(cycle), cycle * AUCTIONS + AUCTIONS - 1
    oldest = np.maximum(newest - AUCTIONS_IN_FLIGHT, 0)
    auction = np.where(
        _hot(random, HOT_AUCTION_RATIO, count),
        newest // HOT_STEP * HOT_STEP,
        oldest + random.integers(0, newest - oldest + 1 + AUCTION_LEAD),
    )
    bidder = np.where(
        _hot(random, HOT_BIDDER_RATIO, count), cycle // HOT_STEP * HOT_STEP + 1, _person_ids(random, cycle)
    )
    channel = np.where(
        random.integers(0, 2, count) > 0,
        random.integers(0, len(HOT_CHANNELS), count),
        random.integers(len(HOT_CHANNELS), len(HOT_CHANNELS) + CHANNELS, count),
    )
    return pl.DataFrame(
        {
            "auction": auction + FIRST_ID,
            "bidder": bidder + FIRST_ID,
            "price": _prices(random, count),
            "channel": texts.channels.gather(channel),
            "url": texts.urls.gather(channel),
            "dateTime": _times(cycle * CYCLE + PERSONS + AUCTIONS + place, start),
            "extra": _taken(texts.extra["bids"], random, count),
        }
    )


MAKERS = {"persons": _persons, "auctions": _auctions, "bids": _bids}


def chunks(events: int, seed: int, start: datetime) -> Iterator[dict[str, pl.DataFrame]]:
    """Give the frames of persons, auctions and bids, a chunk of cycles at a time."""
    texts = Texts.make(np.random.default_rng([seed, 0]))
    for first in range(0, events // CYCLE, CHUNK_CYCLES):
        cycles = np.arange(first, min(first + CHUNK_CYCLES, events // CYCLE))
        random = np.random.default_rng([seed, 1, first])
        yield {kind: maker(random, texts, cycles, start) for kind, maker in MAKERS.items()}


def half(folder: Path, kind: str, number: int) -> Path:
    """Return the file of every second event of a kind: 0 has the first, 1 the second, in order of time."""
    return folder / "halves" / kind / f"{number}.jsonl"


def generate(folder: Path, events: int, seed: int = 1, start: datetime = START) -> None:
    """Write the files, whole and in halves for two readers, unless the folder is there already.

    The halves of each kind have alternating events, so that each reader's are in order of time.
    """
    if folder.exists():
        return
    making = folder.with_name(folder.name + ".partial")
    shutil.rmtree(making, ignore_errors=True)
    for kind in KINDS:
        for number in (0, 1):
            half(making, kind, number).parent.mkdir(parents=True, exist_ok=True)
            half(making, kind, number).touch()
        (making / f"{kind}.jsonl").touch()
    for frames in chunks(events, seed, start):
        for kind, frame in frames.items():
            _append(making / f"{kind}.jsonl", frame)
            for number in (0, 1):
                _append(half(making, kind, number), frame.gather_every(2, number))
    making.rename(folder)


def _append(path: Path, frame: pl.DataFrame) -> None:
    with path.open("ab") as file:
        frame.write_ndjson(file)


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="made by this command; left alone if it exists")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=datetime.fromisoformat, default=START, help="time of the first event")
    arguments = parser.parse_args()
    arguments.folder.parent.mkdir(parents=True, exist_ok=True)
    start = arguments.start if arguments.start.tzinfo else arguments.start.replace(tzinfo=UTC)
    generate(arguments.folder, arguments.events, arguments.seed, start)


if __name__ == "__main__":
    main()
