"""How long reading one tag of 1,000 takes out of 40 million points, before and after compaction.

::

    python -m benchmarks.tags_reading [--segments 113] [--folder DIR] [--peers PYTHON]

The points are made as arrays and stored as a job stores them: segments of 355,000 points, each with all
1,000 tags, one point a second and tag at an irregular millisecond, values with 4 decimals. The store is warm:
every file was read once. Medians over 15 random tags, beside a CSV file per tag and, where the Python given
as ``--peers`` has DuckDB, its SQL over the same Parquet files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from headrace.local.namespace import Namespace
from headrace.series.compaction import compact
from headrace.series.points import Points, guid_text
from headrace.series.read import SeriesReader
from headrace.series.segments import segment_name, write_segment
from headrace.series.store import Store

TAGS = 1_000
POINTS_OF_TAG = 355
PROBES = 15
BEGIN_US = 1_367_700_000_000_000

_DUCKDB = """
import json, statistics, sys, time
import duckdb
folder, codes, low, high = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
db = duckdb.connect()
db.execute("SET threads = 2")
def took(extra):
    times = []
    for code in codes:
        begin = time.perf_counter()
        db.execute(f"SELECT time, scaled / 10.0 ** scale FROM '{folder}/*.parquet' "
                   f"WHERE tag = {code} {extra} ORDER BY time").fetchnumpy()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)
took("")
between = f"AND time >= make_timestamptz({low}) AND time < make_timestamptz({high})"
print(json.dumps([took(""), took(between)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, default=113)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has DuckDB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        _measure(Path(folder), arguments.segments, arguments.peers)


def _measure(folder: Path, segments: int, peers: str | None) -> None:
    random = np.random.default_rng(6)
    with Namespace.open(folder / "data") as namespace:
        store = Store(namespace, "history", folder / "history")
        tenant = store.catalogue.tenant("acme")
        store.catalogue.codes(tenant, [_guid(number) for number in range(TAGS)])
        begin = time.perf_counter()
        for number in range(segments):
            _store(store, tenant, number, random)
        total = segments * TAGS * POINTS_OF_TAG
        print(f"stored {total:,} points in {time.perf_counter() - begin:.1f} s")
        codes = random.integers(0, TAGS, PROBES).tolist()
        middle_us = BEGIN_US + segments * POINTS_OF_TAG * 500_000
        slice_us = (middle_us, middle_us + 600_000_000)
        print("| store | bytes/point | full history, ms | 10-minute slice, ms |\n|---|---|---|---|")
        _csv(folder / "csv", store, codes, slice_us)
        reader = SeriesReader(store)
        for state in (f"{segments} segments", "compacted"):
            if state == "compacted":
                begin = time.perf_counter()
                compact(store, "acme", everything=True)
                print(f"compacted in {time.perf_counter() - begin:.1f} s", file=sys.stderr)
            size_bytes = sum(segment.size_bytes for segment in store.catalogue.segments(tenant))
            full = _median(lambda code: reader.read(guid_text(_guid(code))), codes)
            part = _median(lambda code: reader.read(guid_text(_guid(code)), *slice_us), codes)
            print(f"| {state} | {size_bytes / total:.2f} | {full:.2f} | {part:.2f} |", flush=True)
            if peers:
                _duckdb(peers, state, store.folder("acme"), codes, slice_us)
        store.close()


def _guid(number: int) -> bytes:
    return number.to_bytes(2, "big") * 8


def _store(store: Store, tenant: int, number: int, random: np.random.Generator) -> None:
    codes = np.repeat(np.arange(TAGS, dtype=np.uint32), POINTS_OF_TAG)
    seconds = np.tile(np.arange(POINTS_OF_TAG) + number * POINTS_OF_TAG, TAGS)
    times_us = BEGIN_US + seconds * 1_000_000 + random.integers(0, 1_000, len(codes)) * 1_000
    values = np.round(random.uniform(0, 100, len(codes)), 4)
    points = Points(codes, times_us, values)
    segment = write_segment(store.folder("acme"), segment_name("line", [str(number)]), points)
    with store.namespace.transaction() as tx:
        store.catalogue.add(tx, tenant, segment)


def _median(read: Callable[[int], object], codes: list[int]) -> float:
    took = []
    for turn in range(2):
        took = []
        for code in codes:
            begin = time.perf_counter()
            read(code)
            took.append(1000 * (time.perf_counter() - begin))
        if not turn:
            continue  # the first turn warms
    return statistics.median(took)


def _csv(folder: Path, store: Store, codes: list[int], slice_us: tuple[int, int]) -> None:
    import polars as pl  # noqa: PLC0415 - only the peer needs it

    folder.mkdir()
    size = points_read = 0
    for code in set(codes):
        points = store.read("acme", code)
        frame = pl.DataFrame({"time": points.times_us, "value": points.values})
        frame = frame.with_columns(
            pl.from_epoch("time", time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        )
        frame.write_csv(folder / f"{code}.bin", include_header=False)
        size += (folder / f"{code}.bin").stat().st_size
        points_read += len(points)

    def read(code: int, bounds: tuple[int, int] | None = None) -> pl.DataFrame:
        found = pl.read_csv(folder / f"{code}.bin", has_header=False, new_columns=["time", "value"])
        times = found["time"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us")
        found = found.with_columns(time=times)
        if bounds is None:
            return found
        epoch = pl.col("time").dt.epoch("us")
        return found.filter((epoch >= bounds[0]) & (epoch < bounds[1]))

    full, part = _median(read, codes), _median(lambda code: read(code, slice_us), codes)
    print(f"| CSV file per tag, Polars | {size / points_read:.1f} | {full:.2f} | {part:.2f} |", flush=True)


def _duckdb(peers: str, state: str, folder: Path, codes: list[int], slice_us: tuple[int, int]) -> None:
    command = [peers, "-c", _DUCKDB, str(folder), json.dumps(codes), *map(str, slice_us)]
    full, part = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"| DuckDB over the files, {state} | | {full:.2f} | {part:.2f} |", flush=True)


if __name__ == "__main__":
    main()
