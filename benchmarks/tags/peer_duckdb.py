"""DuckDB: each batch is inserted in a transaction, or copied to a Parquet file for each tag.

python -m benchmarks.tags.peer_duckdb DATA OUTPUT BATCHES insert|copy
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from benchmarks.tags.timed import Batches, timed

INSERT = sys.argv[4] == "insert"
COLUMNS = "auto_detect = false, columns = {tag: 'UUID', time: 'TIMESTAMP', value: 'DOUBLE'}"


def run(batches: Batches, output: Path) -> int:
    points = 0
    with duckdb.connect(str(output / "readings.duckdb") if INSERT else ":memory:") as database:
        database.execute("SET threads = 1; SET preserve_insertion_order = false")
        if INSERT:
            database.execute("CREATE TABLE readings (tag UUID, time TIMESTAMP, value DOUBLE)")
        for number, files in enumerate(batches):
            names = ", ".join(f"'{path}'" for path in files)
            read = f"SELECT * FROM read_csv([{names}], header = false, {COLUMNS})"
            if INSERT:
                database.execute(f"INSERT INTO readings {read}")
            else:
                database.execute(
                    f"COPY ({read}) TO '{output}/batch-{number:05}' "
                    "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (tag))"
                )
            found = database.fetchone()
            points += found[0] if found else 0
    return points


if __name__ == "__main__":
    timed(run)
