"""Polars: each batch is scanned, times parsed, and written as a Parquet file for each tag.

python -m benchmarks.tags.peer_polars DATA OUTPUT BATCHES
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.tags.timed import Batches, timed

COLUMNS = {"tag": pl.String, "time": pl.String, "value": pl.Float64}
TIME = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", time_zone="UTC")


def run(batches: Batches, output: Path) -> int:
    for number, files in enumerate(batches):
        read = pl.scan_csv(files, has_header=False, schema=COLUMNS, quote_char=None)
        target = pl.PartitionBy(output / f"batch-{number:05}", key="tag", include_key=False)
        read.with_columns(TIME).sink_parquet(target, compression="zstd", compression_level=1, mkdir=True)
    return sum(1 for files in batches for path in files for _ in path.open("rb"))


if __name__ == "__main__":
    timed(run)
