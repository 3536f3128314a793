"""The queries in DuckDB, as one batch: JSON lines to JSON lines, the order of rows left free.

Only q0 and q1 leave times as the texts that they are. Where a window needs them they are read as timestamps.

    python -m benchmarks.nexmark.peer_duckdb QUERY DATA OUTPUT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

_TYPES = {
    "bids": {
        "auction": "BIGINT",
        "bidder": "BIGINT",
        "price": "BIGINT",
        "dateTime": "TIMESTAMP",
        "extra": "VARCHAR",
    },
    "persons": {"id": "BIGINT", "name": "VARCHAR", "dateTime": "TIMESTAMP"},
    "auctions": {"seller": "BIGINT", "dateTime": "TIMESTAMP"},
}

#: The start of a window of 10 seconds.
_START = "time_bucket(INTERVAL '10 seconds', dateTime)"

QUERIES = {
    "q0": "SELECT auction, bidder, price, dateTime, extra FROM bids",
    "q1": "SELECT auction, bidder, price * 0.908::DOUBLE AS price, dateTime, extra FROM bids",
    "q2": "SELECT auction, price FROM bids WHERE auction % 123 = 0",
    # Panes of 2 seconds are counted once, and each is in five windows.
    "q5": """
WITH panes AS (
    SELECT auction, time_bucket(INTERVAL '2 seconds', dateTime) AS pane, COUNT(*) AS num
    FROM bids GROUP BY ALL
), counts AS (
    SELECT auction, pane + step * INTERVAL '2 seconds' AS ending, SUM(num)::BIGINT AS num
    FROM panes, range(1, 6) AS steps(step) GROUP BY ALL
)
SELECT auction, num FROM counts QUALIFY num = MAX(num) OVER (PARTITION BY ending)""",
    "q7": f"""
WITH highest AS (SELECT {_START} AS starttime, MAX(price) AS price FROM bids GROUP BY ALL)
SELECT bids.auction, bids.price, bids.bidder, bids.dateTime, bids.extra
FROM bids JOIN highest ON bids.price = highest.price AND {_START} = highest.starttime""",
    "q8": f"""
SELECT id, name, starttime
FROM (SELECT DISTINCT id, name, {_START} AS starttime FROM persons) AS newcomers
SEMI JOIN (SELECT seller, {_START} AS starttime FROM auctions) AS sellers
ON newcomers.id = sellers.seller AND newcomers.starttime = sellers.starttime""",
    "q11": """
WITH pauses AS (
    SELECT bidder, dateTime, dateTime - LAG(dateTime) OVER earlier AS pause
    FROM bids WINDOW earlier AS (PARTITION BY bidder ORDER BY dateTime)
), sessions AS (
    SELECT bidder, dateTime, COUNT(*) FILTER (pause >= INTERVAL '10 seconds') OVER earlier AS number
    FROM pauses WINDOW earlier AS (PARTITION BY bidder ORDER BY dateTime)
)
SELECT bidder, COUNT(*) AS bid_count, MIN(dateTime) AS starttime,
    MAX(dateTime) + INTERVAL '10 seconds' AS endtime
FROM sessions GROUP BY bidder, number""",
    "q12": f"""
SELECT bidder, COUNT(*) AS bid_count, {_START} AS starttime, starttime + INTERVAL '10 seconds' AS endtime
FROM bids GROUP BY bidder, starttime""",
}

_UNTIMED = ("q0", "q1")


def _view(data: Path, kind: str, query: str) -> str:
    types = {
        name: "VARCHAR" if name == "dateTime" and query in _UNTIMED else type_
        for name, type_ in _TYPES[kind].items()
    }
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in types.items())
    return (
        f"CREATE VIEW {kind} AS SELECT * FROM "
        f"read_json('{data / kind}.jsonl', format = 'newline_delimited', columns = {{{columns}}})"
    )


def main() -> None:
    """Run one query and print how long it took within the engine."""
    query, data, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    started, busy_s = time.perf_counter(), time.process_time()
    with duckdb.connect() as database:
        database.sql("SET preserve_insertion_order = false")
        for kind in _TYPES:
            database.sql(_view(data, kind, query))
        database.sql(f"COPY ({QUERIES[query]}) TO '{output}' (FORMAT json)")
    took_s, busy_s = time.perf_counter() - started, time.process_time() - busy_s
    print(json.dumps({"run_s": took_s, "run_cpu_s": busy_s}))


if __name__ == "__main__":
    main()
