"""ClickHouse within a process: each batch is inserted into a table sorted by tag and time.

python -m benchmarks.tags.peer_chdb DATA OUTPUT BATCHES
"""

from __future__ import annotations

from pathlib import Path

from chdb import session

from benchmarks.tags.timed import Batches, timed

TABLE = """
CREATE TABLE readings (
    tag LowCardinality(String),
    time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    value Float64 CODEC(Gorilla, ZSTD(1))
) ENGINE = MergeTree ORDER BY (tag, time)
"""
COLUMNS = "tag String, time DateTime64(3, ''UTC''), value Float64".replace("''", "\\'")
SETTINGS = (
    "max_threads = 1, max_insert_threads = 1, date_time_input_format = 'best_effort', "
    "input_format_parallel_parsing = 0"
)


def run(batches: Batches, output: Path) -> int:
    database = session.Session(str(output))
    database.query("CREATE DATABASE history")
    database.query("USE history")
    database.query(TABLE)
    for files in batches:
        folder, names = files[0].parent, ",".join(path.name for path in files)
        read = f"file('{folder}/{{{names}}}', 'CSV', '{COLUMNS}')"
        database.query(f"INSERT INTO readings SELECT * FROM {read} SETTINGS {SETTINGS}")
    points = int(database.query("SELECT count() FROM readings", "CSV").data())
    database.close()
    return points


if __name__ == "__main__":
    timed(run)
