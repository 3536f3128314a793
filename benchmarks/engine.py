"""How fast the engine alone answers queries over bids, beside Polars asked the same as one batch.

    python -m benchmarks.engine [ROWS]

Bids come as batches of 100,000 rows in memory, in order of time, as slices with their frontier; nothing is
read or written. Polars has all rows at once, and may use what a stream cannot know. Both give as many rows.
Figures are medians of three runs in turn; what carries over is the ratio.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from headrace.engine.operator import FOREVER_US, Slice
from headrace.engine.program import Program
from headrace.events.batch import ORIGIN, TIME, Batch, Column, ValueType
from headrace.sql.bind import bind

ROWS = 10_000_000
BATCH_ROWS = 100_000
REPEATS = 3

#: Bids a second of event time: a batch is ten seconds.
RATE = 10_000
AUCTIONS = 1_000
OPENED_EVERY = 50
BIDDERS = 20_000

_START = pl.datetime(2026, 3, 2, time_unit="us")


@dataclass(frozen=True)
class Question:
    """The same question as a query and as Polars; `joins` adds the stream of auctions."""

    name: str
    sql: str
    polars: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
    joins: bool = False


def bids(rows: int) -> pl.DataFrame:
    """Bids whose auctions come and go: the hot ones are the newest."""
    number = pl.int_range(rows, dtype=pl.Int64)
    mixed = number.hash(seed=7).cast(pl.Int64, strict=False).fill_null(0).abs()
    newest = number // OPENED_EVERY
    return pl.select(
        (_START + pl.duration(microseconds=number * (1_000_000 // RATE))).alias(TIME),
        number.alias(ORIGIN),
        (newest + mixed % AUCTIONS).alias("bigint:auction"),
        (mixed // 7 % BIDDERS + number // 1_000_000 * 3_000).alias("bigint:bidder"),
        (mixed % 10_007 + 1).alias("bigint:price"),
    )


def auctions(bid: pl.DataFrame) -> pl.DataFrame:
    """The auctions, each opened just before the first bid on it."""
    opened = bid.gather_every(OPENED_EVERY).with_row_index("number")
    return opened.select(
        TIME,
        ORIGIN,
        (pl.col("number").cast(pl.Int64) + AUCTIONS - 1).alias("bigint:auction"),
        pl.col("bigint:price").alias("bigint:reserve"),
    )


# --- questions --------------------------------------------------------------------------------------------


def _end(every_s: int) -> pl.Expr:
    """The end of the window (end - size, end] that a row falls in, in microseconds."""
    us = every_s * 1_000_000
    return (-(-pl.col(TIME).to_physical() // us) * us).alias("end")


def _hopping(bid: pl.DataFrame) -> pl.DataFrame:
    panes = bid.group_by("bigint:auction", _end(2)).agg(pl.len())
    hops = pl.concat(panes.with_columns(pl.col("end") + hop * 2_000_000) for hop in range(5))
    return hops.group_by("bigint:auction", "end").agg(pl.col("len").sum())


def _sessions(bid: pl.DataFrame) -> pl.DataFrame:
    ordered = bid.select("bigint:bidder", pl.col(TIME).to_physical()).sort("bigint:bidder", TIME)
    bidder, at = pl.col("bigint:bidder"), pl.col(TIME)
    begins = (bidder != bidder.shift()) | (at - at.shift() > 2_000_000)
    numbered = ordered.with_columns(begins.fill_null(value=True).cum_sum().alias("session"))
    return numbered.group_by("session").agg(bidder.first(), pl.len(), at.max())


def _top(bid: pl.DataFrame) -> pl.DataFrame:
    best = pl.all().sort_by("bigint:price", descending=True, maintain_order=True).first()
    return bid.group_by(_end(10)).agg(best)


def _join(bid: pl.DataFrame, auction: pl.DataFrame) -> pl.DataFrame:
    pairs = auction.join(bid, on="bigint:auction", suffix=":bid")
    apart = pl.col(f"{TIME}:bid").to_physical() // 1_000_000 - pl.col(TIME).to_physical() // 1_000_000
    near = pairs.filter(apart.is_between(0, 2))
    return near.select("bigint:auction", "bigint:price", "bigint:reserve")


QUESTIONS = (
    Question(
        "filter",
        "SELECT auction, price FROM bid WHERE price > 5000",
        lambda bid, _: bid.filter(pl.col("bigint:price") > 5000).select("bigint:auction", "bigint:price"),
    ),
    Question(
        "project",
        "SELECT auction, bidder, price * 908 / 1000 AS euros FROM bid",
        lambda bid, _: bid.select("bigint:auction", "bigint:bidder", pl.col("bigint:price") * 908 // 1000),
    ),
    Question(
        "tumbling count per key",
        "SELECT auction, COUNT(*) AS n FROM bid GROUP BY auction, TumblingWindow(second, 10)",
        lambda bid, _: bid.group_by("bigint:auction", _end(10)).agg(pl.len()),
    ),
    Question(
        "hopping count per key",
        "SELECT auction, COUNT(*) AS n FROM bid GROUP BY auction, HoppingWindow(second, 10, 2)",
        lambda bid, _: _hopping(bid),
    ),
    Question(
        "session per key",
        "SELECT bidder, COUNT(*) AS n FROM bid "
        "GROUP BY bidder, SessionWindow(second, 2, 3600) OVER (PARTITION BY bidder)",
        lambda bid, _: _sessions(bid),
    ),
    Question(
        "top-1 per window",
        "SELECT TopOne() OVER (ORDER BY price DESC) AS best FROM bid GROUP BY TumblingWindow(second, 10)",
        lambda bid, _: _top(bid),
    ),
    Question(
        "windowed join",
        "SELECT b.auction, b.price, a.reserve FROM auctions a JOIN bid b "
        "ON a.auction = b.auction AND DATEDIFF(second, a, b) BETWEEN 0 AND 2",
        _join,
        joins=True,
    ),
)


# --- runs -------------------------------------------------------------------------------------------------


def _batch(frame: pl.DataFrame) -> Batch:
    columns = tuple(
        Column(name.partition(":")[2], (ValueType.BIGINT,)) for name in frame.columns if ":" in name
    )
    return Batch(frame, columns)


def slices(frames: dict[str, pl.DataFrame], rows: int) -> Iterator[dict[str, Slice]]:
    """The frames cut at the times of every `rows`-th bid."""
    bid = frames["bid"]
    cuts = [*bid[TIME].to_physical().gather_every(rows)[1:].to_list(), FOREVER_US]
    starts = dict.fromkeys(frames, 0)
    for frontier_us in cuts:
        found = {}
        for name, frame in frames.items():
            end = frame[TIME].to_physical().search_sorted(frontier_us)
            part = frame.slice(starts[name], end - starts[name])
            starts[name] = end
            found[name] = Slice(_batch(part) if part.height else None, frontier_us)
        yield found


def streamed(question: Question, parts: list[dict[str, Slice]]) -> tuple[float, int]:
    """Return the seconds that the engine took, and how many rows it gave."""
    program = Program(bind(question.sql), {})
    rows = 0
    began = time.perf_counter()
    for part in parts:
        results = program.advance(part)
        rows += sum(batch.height for batch in results.outputs.values())
    return time.perf_counter() - began, rows


def batched(question: Question, bid: pl.DataFrame, auction: pl.DataFrame) -> tuple[float, int]:
    """Return the seconds that Polars took, and how many rows it gave."""
    began = time.perf_counter()
    rows = question.polars(bid, auction).height
    return time.perf_counter() - began, rows


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    bid = bids(rows)
    auction = auctions(bid)
    print(f"{rows:,} bids in batches of {BATCH_ROWS:,}, medians of {REPEATS}; M rows/s")
    print(f"{'question':<24}{'engine':>8}{'Polars':>8}{'ratio':>7}{'more ms per batch':>19}{'rows out':>12}")
    for question in QUESTIONS:
        frames = {"bid": bid, "auctions": auction} if question.joins else {"bid": bid}
        parts = list(slices(frames, BATCH_ROWS))
        engine, polars = [], []
        for _ in range(REPEATS):
            seconds, given = streamed(question, parts)
            engine.append(seconds)
            seconds, wanted = batched(question, bid, auction)
            polars.append(seconds)
            assert given == wanted, f"{question.name}: {given} rows, Polars gives {wanted}"
        ours, theirs = statistics.median(engine), statistics.median(polars)
        more_ms = (ours - theirs) * 1e3 / len(parts)
        print(
            f"{question.name:<24}{rows / ours / 1e6:>8.2f}{rows / theirs / 1e6:>8.2f}{theirs / ours:>7.2f}"
            f"{more_ms:>19.2f}{given:>12,}",
            flush=True,
        )


if __name__ == "__main__":
    main()
