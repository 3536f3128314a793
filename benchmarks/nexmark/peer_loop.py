"""The queries as bare loops over batches with Polars: our overhead is measured by what they have not.

Each batch is about 100,000 lines of bids, read with the schema of what the query needs, and its rows are
written as JSON lines: no SQL, no exact decoding, no commit. What windows keep from one batch to
the next is merged by hand; the events are in order of time, so what ended before the last of a batch is done.

    python -m benchmarks.nexmark.peer_loop QUERY DATA OUTPUT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from benchmarks.nexmark.peer_polars import (
    ENDING,
    PANES,
    PLANS,
    READS,
    START,
    TIME,
    WINDOW,
    columns,
    hot_items,
    sessions,
    written,
)

#: About 100,000 bids.
BATCH_BYTES = 100_000 * 210

Batches = Iterator[pl.DataFrame]


def batches(path: Path, schema: Mapping[str, type[pl.DataType]]) -> Batches:
    """Read a file of JSON lines, a batch of whole lines at a time."""
    with path.open("rb") as file:
        while block := file.read(BATCH_BYTES):
            yield pl.read_ndjson(block + file.readline(), schema=schema)


def _last_start(batch: pl.DataFrame, every: str) -> datetime:
    """Return the start of the window of a batch's last event: those before it have ended."""
    last: datetime = batch.tail(1).select(TIME.dt.truncate(every)).item()
    return last


def _split(frame: pl.DataFrame, ended: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    return frame.filter(ended), frame.filter(~ended)


def _stateless(query: str) -> Callable[[Batches], Batches]:
    def loop(bids: Batches) -> Batches:
        for batch in bids:
            yield PLANS[query](batch.lazy()).collect()

    return loop


def _q5(bids: Batches) -> Batches:
    # Panes of the last five pieces of 2 seconds are kept: the windows that end later need them.
    kept = pl.DataFrame()
    done: datetime | None = None
    for batch in bids:
        panes = batch.group_by("auction", TIME.dt.truncate("2s").alias("pane")).agg(pl.len().alias("num"))
        kept = pl.concat([kept, panes]) if kept.height else panes
        now = _last_start(batch, "2s")
        yield _windows(kept, done, now)
        kept = kept.filter(pl.col("pane") >= now - timedelta(seconds=2 * (PANES - 1)))
        done = now
    yield _windows(kept, done, None)


def _windows(panes: pl.DataFrame, since: datetime | None, until: datetime | None) -> pl.DataFrame:
    """Return the hot items of the windows whose last pane is in [since, until)."""
    found = hot_items(panes)
    if since is not None:
        found = found.filter(pl.col("pane") >= since)
    if until is not None:
        found = found.filter(pl.col("pane") < until)
    return found.select("auction", "num").collect()


def _q7(bids: Batches) -> Batches:
    best = pl.DataFrame()
    highest = pl.col("price") == pl.col("price").max().over("starttime")
    for batch in bids:
        found = batch.with_columns(START).filter(highest)
        best = pl.concat([best, found]).filter(highest) if best.height else found
        ended, best = _split(best, pl.col("starttime") < _last_start(batch, "10s"))
        yield ended.drop("starttime")
    yield best.drop("starttime")


def _q8(persons: Batches, auctions: Batches) -> Batches:
    newcomers, sellers = pl.DataFrame(), pl.DataFrame()
    came, sold = datetime.min, datetime.min
    while True:
        # Whichever is behind is read on, so that little is kept.
        first = came <= sold
        batch = next(persons if first else auctions, None)
        if batch is None:
            came, sold = (datetime.max, sold) if first else (came, datetime.max)
            if min(came, sold) < datetime.max:
                continue
        elif first:
            newcomers = pl.concat([newcomers, batch.select("id", "name", START).unique()], how="diagonal")
            came = _last_start(batch, "10s")
        else:
            found = batch.select(pl.col("seller").alias("id"), START).unique()
            sellers = pl.concat([sellers, found], how="diagonal")
            sold = _last_start(batch, "10s")
        if newcomers.height and sellers.height:
            ended = pl.col("starttime") < min(came, sold)
            ready, newcomers = _split(newcomers, ended)
            partners, sellers = _split(sellers, ended)
            yield ready.unique().join(partners, on=["id", "starttime"], how="semi")
        if batch is None:
            return


def _q11(bids: Batches) -> Batches:
    kept = pl.DataFrame()
    for batch in bids:
        found = sessions(batch.lazy().with_columns(TIME)).drop("number").collect()
        kept = _merged(pl.concat([kept, found])) if kept.height else found
        ended, kept = _split(
            kept, pl.col("last") <= batch.tail(1).select(TIME).item() - timedelta(seconds=10)
        )
        yield ended.select("bidder", "bid_count", "starttime", (pl.col("last") + WINDOW).alias("endtime"))
    yield kept.select("bidder", "bid_count", "starttime", (pl.col("last") + WINDOW).alias("endtime"))


def _merged(found: pl.DataFrame) -> pl.DataFrame:
    """Return sessions with those of one bidder joined that are less than the pause apart."""
    apart = (pl.col("starttime") - pl.col("last").shift() >= WINDOW) | (
        pl.col("bidder") != pl.col("bidder").shift()
    )
    return (
        found.sort("bidder", "starttime")
        .with_columns(apart.fill_null(value=True).cum_sum().alias("number"))
        .group_by("number")
        .agg(
            pl.col("bidder").first(),
            pl.col("bid_count").sum(),
            pl.col("starttime").min(),
            pl.col("last").max(),
        )
        .drop("number")
    )


def _q12(bids: Batches) -> Batches:
    kept = pl.DataFrame()
    for batch in bids:
        counts = batch.group_by("bidder", START).agg(pl.len().alias("bid_count"))
        if kept.height:
            counts = pl.concat([kept, counts]).group_by("bidder", "starttime").agg(pl.col("bid_count").sum())
        ended, kept = _split(counts, pl.col("starttime") < _last_start(batch, "10s"))
        yield ended.with_columns(ENDING.alias("endtime"))
    yield kept.with_columns(ENDING.alias("endtime"))


LOOPS: Mapping[str, Callable[..., Batches]] = {
    **{query: _stateless(query) for query in ("q0", "q1", "q2")},
    "q5": _q5,
    "q7": _q7,
    "q8": _q8,
    "q11": _q11,
    "q12": _q12,
}


def main() -> None:
    """Run one query and print how long its loop took."""
    query, data, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    started, busy_s = time.perf_counter(), time.process_time()
    inputs = {kind: batches(data / f"{kind}.jsonl", columns(query, kind)) for kind in READS[query]}
    with output.open("wb") as file:
        for rows in LOOPS[query](**inputs):
            if rows.height:
                written(rows).collect().write_ndjson(file)
    took_s, busy_s = time.perf_counter() - started, time.process_time() - busy_s
    print(json.dumps({"run_s": took_s, "run_cpu_s": busy_s}))


if __name__ == "__main__":
    main()
