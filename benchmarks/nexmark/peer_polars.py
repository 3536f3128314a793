"""The queries in Polars, as one lazy batch by its streaming engine: JSON lines to JSON lines.

Each plan is the fastest that we found. The streaming engine reads a source again for each use of a shared
part, so q5 collects its panes first, and q7 its bids. Only the columns that a query needs are read; q0 and q1
leave times as texts.

    python -m benchmarks.nexmark.peer_polars QUERY DATA OUTPUT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

TYPES: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("auction", "bidder", "price", "id", "seller"), pl.Int64),
    **dict.fromkeys(("dateTime", "extra", "name"), pl.String),
}

#: The columns that a query needs of each input.
READS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "q0": {"bids": ("auction", "bidder", "price", "dateTime", "extra")},
    "q1": {"bids": ("auction", "bidder", "price", "dateTime", "extra")},
    "q2": {"bids": ("auction", "price")},
    "q5": {"bids": ("auction", "dateTime")},
    "q7": {"bids": ("auction", "bidder", "price", "dateTime", "extra")},
    "q8": {"persons": ("id", "name", "dateTime"), "auctions": ("seller", "dateTime")},
    "q11": {"bids": ("bidder", "dateTime")},
    "q12": {"bids": ("bidder", "dateTime")},
}

PANE, WINDOW = pl.duration(seconds=2), pl.duration(seconds=10)
PANES = 5

TIME = pl.col("dateTime").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="ms")
START = TIME.dt.truncate("10s").alias("starttime")
ENDING = pl.col("starttime") + WINDOW


def columns(query: str, kind: str) -> dict[str, type[pl.DataType]]:
    """Return the columns that a query reads of an input, with their types."""
    return {name: TYPES[name] for name in READS[query][kind]}


def written(frame: pl.LazyFrame | pl.DataFrame) -> pl.LazyFrame:
    """Return a frame with its times as the text that other engines read."""
    return frame.lazy().with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))


def hot_items(panes: pl.DataFrame) -> pl.LazyFrame:
    """Return the auctions with the most bids of each window, given the bids of each pane of 2 seconds."""
    windows = pl.concat(panes.lazy().with_columns(pl.col("pane") + PANE * step) for step in range(PANES))
    counts = windows.group_by("auction", "pane").agg(pl.col("num").sum())
    return counts.filter(pl.col("num") == pl.col("num").max().over("pane"))


def sessions(timed: pl.LazyFrame) -> pl.LazyFrame:
    """Return the islands of each bidder's times: how many bids, the first time and the last."""
    new = (pl.col("dateTime").diff() >= WINDOW) | (pl.col("bidder") != pl.col("bidder").shift())
    return (
        timed.sort("bidder", "dateTime")
        .with_columns(new.fill_null(value=True).cum_sum().alias("number"))
        .group_by("number")
        .agg(
            pl.col("bidder").first(),
            pl.len().alias("bid_count"),
            pl.col("dateTime").min().alias("starttime"),
            pl.col("dateTime").max().alias("last"),
        )
    )


def _q5(bids: pl.LazyFrame) -> pl.LazyFrame:
    panes = bids.group_by("auction", TIME.dt.truncate("2s").alias("pane")).agg(pl.len().alias("num"))
    return hot_items(panes.collect(engine="streaming")).select("auction", "num")


def _q7(bids: pl.LazyFrame) -> pl.LazyFrame:
    timed = bids.with_columns(START).collect(engine="streaming").lazy()
    return timed.filter(pl.col("price") == pl.col("price").max().over("starttime")).drop("starttime")


def _q8(persons: pl.LazyFrame, auctions: pl.LazyFrame) -> pl.LazyFrame:
    sellers = auctions.select(pl.col("seller").alias("id"), START)
    return persons.select("id", "name", START).unique().join(sellers, on=["id", "starttime"], how="semi")


def _q11(bids: pl.LazyFrame) -> pl.LazyFrame:
    ended = (pl.col("last") + WINDOW).alias("endtime")
    return sessions(bids.with_columns(TIME)).select("bidder", "bid_count", "starttime", ended)


def _q12(bids: pl.LazyFrame) -> pl.LazyFrame:
    return (
        bids.group_by("bidder", START).agg(pl.len().alias("bid_count")).with_columns(ENDING.alias("endtime"))
    )


PLANS: Mapping[str, Callable[..., pl.LazyFrame]] = {
    "q0": lambda bids: bids,
    "q1": lambda bids: bids.with_columns(pl.col("price") * 0.908),
    "q2": lambda bids: bids.filter(pl.col("auction") % 123 == 0),
    "q5": _q5,
    "q7": _q7,
    "q8": _q8,
    "q11": _q11,
    "q12": _q12,
}


def main() -> None:
    """Run one query and print how long it took within the engine."""
    query, data, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    started, busy_s = time.perf_counter(), time.process_time()
    inputs = {
        kind: pl.scan_ndjson(data / f"{kind}.jsonl", schema=columns(query, kind)) for kind in READS[query]
    }
    written(PLANS[query](**inputs)).sink_ndjson(output, maintain_order=False, engine="streaming")
    took_s, busy_s = time.perf_counter() - started, time.process_time() - busy_s
    print(json.dumps({"run_s": took_s, "run_cpu_s": busy_s}))


if __name__ == "__main__":
    main()
