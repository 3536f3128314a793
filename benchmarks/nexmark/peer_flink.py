"""The queries in Flink SQL, run by PyFlink in its own environment: JSON lines to a filesystem sink.

Streaming mode, two subtasks that read a half of the events each, mini-batches, aggregation in two phases,
objects reused, state on the heap, no checkpoints (which flatters Flink), watermarks a second behind. The
texts are after the suite's own for Flink; but q7 joins windows, which is faster than its bound on time, and
q12 counts in event time. The run phase begins when the job has been submitted.

    python -m benchmarks.nexmark.peer_flink QUERY DATA OUTPUT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment

from benchmarks.nexmark.catalogue import CATALOGUE

SETTINGS = {
    "parallelism.default": "2",
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.agg-phase-strategy": "TWO_PHASE",
    "table.optimizer.distinct-agg.split.enabled": "true",
}

INPUTS = {
    "persons": "id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, "
    "`dateTime` TIMESTAMP_LTZ(3), extra STRING",
    "auctions": "id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, "
    "`dateTime` TIMESTAMP_LTZ(3), expires TIMESTAMP_LTZ(3), seller BIGINT, category BIGINT, extra STRING",
    "bids": "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, "
    "`dateTime` TIMESTAMP_LTZ(3), extra STRING",
}

TABLE = """
CREATE TABLE `{name}` ({columns}) WITH (
    'connector' = 'filesystem', 'path' = '{path}', 'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
)"""

WATERMARK = ", WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '1' SECOND"

_TYPES = {"bigint": "BIGINT", "float": "DOUBLE", "text": "STRING", "time": "TIMESTAMP_LTZ(3)"}


def _tumbling(kind: str) -> str:
    return f"TABLE(TUMBLE(TABLE {kind}, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))"


_COUNTS = """
    SELECT auction, COUNT(*) AS num, window_start, window_end
    FROM TABLE(HOP(TABLE bids, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end"""

QUERIES = {
    "q0": "SELECT auction, bidder, price, `dateTime`, extra FROM bids",
    "q1": "SELECT auction, bidder, CAST(0.908 AS DOUBLE) * price, `dateTime`, extra FROM bids",
    "q2": "SELECT auction, price FROM bids WHERE MOD(auction, 123) = 0",
    "q5": f"""
SELECT items.auction, items.num
FROM ({_COUNTS}) AS items
JOIN (
    SELECT MAX(counts.num) AS num, counts.window_start, counts.window_end
    FROM ({_COUNTS}) AS counts
    GROUP BY counts.window_start, counts.window_end
) AS most
ON items.window_start = most.window_start AND items.window_end = most.window_end AND items.num >= most.num""",
    "q7": f"""
SELECT bids.auction, bids.price, bids.bidder, bids.`dateTime`, bids.extra
FROM (
    SELECT auction, price, bidder, `dateTime`, extra, window_start, window_end FROM {_tumbling("bids")}
) AS bids
JOIN (
    SELECT MAX(price) AS price, window_start, window_end
    FROM {_tumbling("bids")} GROUP BY window_start, window_end
) AS highest
ON bids.price = highest.price
AND bids.window_start = highest.window_start AND bids.window_end = highest.window_end""",
    "q8": f"""
SELECT newcomers.id, newcomers.name, CAST(newcomers.window_start AS TIMESTAMP_LTZ(3))
FROM (
    SELECT id, name, window_start, window_end
    FROM {_tumbling("persons")}
    GROUP BY id, name, window_start, window_end
) AS newcomers
JOIN (
    SELECT seller, window_start, window_end
    FROM {_tumbling("auctions")}
    GROUP BY seller, window_start, window_end
) AS sellers
ON newcomers.id = sellers.seller
AND newcomers.window_start = sellers.window_start AND newcomers.window_end = sellers.window_end""",
    "q11": """
SELECT bidder, COUNT(*), CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3))
FROM TABLE(SESSION(TABLE bids PARTITION BY bidder, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end""",
    "q12": f"""
SELECT bidder, COUNT(*), CAST(window_start AS TIMESTAMP_LTZ(3)), CAST(window_end AS TIMESTAMP_LTZ(3))
FROM {_tumbling("bids")}
GROUP BY bidder, window_start, window_end""",
}


def main() -> None:
    """Run one query and print how long it took within the engine."""
    query, data, output = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in SETTINGS.items():
        tables.get_config().set(key, value)
    for kind in CATALOGUE[query].inputs:
        columns = INPUTS[kind] + WATERMARK
        tables.execute_sql(TABLE.format(name=kind, columns=columns, path=data / "halves" / kind))
    columns = ", ".join(f"`{name}` {_TYPES[kind]}" for name, kind in CATALOGUE[query].columns.items())
    tables.execute_sql(TABLE.format(name="out", columns=columns, path=output))
    job = tables.execute_sql(f"INSERT INTO `out` {QUERIES[query]}")
    submitted = time.perf_counter()
    job.wait()
    print(json.dumps({"run_s": time.perf_counter() - submitted}))


if __name__ == "__main__":
    main()
