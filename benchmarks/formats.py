"""Rows a second of each format, read and written, beside the plain library that does the same.

python -m benchmarks.formats [ROWS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO

import fastavro
import numpy as np
import polars as pl

from headrace.events.formats.avro import AvroRows, encode_avro
from headrace.events.formats.csv import CsvDecoder, encode_csv
from headrace.events.formats.json import JsonDecoder, encode_lines
from headrace.events.formats.parquet import ParquetRows, encode_parquet

ROUNDS = 5


def rate(rows: int, run: Callable[[], object]) -> float:
    """Return rows a second, the best of a few rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
    return rows / best


def lines(rows: int) -> bytes:
    """Return events of four columns, one of them quoted text, as JSON lines."""
    numbers = np.random.default_rng(1)
    frame = pl.DataFrame(
        {
            "id": numbers.integers(0, 1 << 40, rows),
            "celsius": numbers.normal(20, 5, rows).round(3),
            "sensor": [f"sensor-{n}" for n in numbers.integers(0, 500, rows)],
            "note": [f"is {n}, or so" for n in numbers.integers(0, 500, rows)],
        }
    )
    file = BytesIO()
    frame.write_ndjson(file)
    return file.getvalue().rstrip(b"\n")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    joined = lines(rows)
    bodies = joined.split(b"\n")
    decoder = JsonDecoder()
    batch = decoder.decode(bodies, joined).batch
    names = [column.name for column in batch.columns]
    plain = batch.frame.select(pl.col(column.physicals[0]).alias(column.name) for column in batch.columns)
    header, _, text = encode_csv(batch, names, header=True).partition(b"\n")
    text = text.rstrip(b"\n")
    records, csv_decoder = text.split(b"\n"), CsvDecoder(header)
    avro, (parquet, _) = encode_avro(batch, names), encode_parquet(batch, names)
    schema, dicts = fastavro.reader(BytesIO(avro)).writer_schema, plain.to_dicts()
    all_text = {"has_header": False, "infer_schema": False}
    measured = [
        ("json read", lambda: decoder.decode(bodies, joined), lambda: pl.read_ndjson(BytesIO(joined))),
        ("json write", lambda: encode_lines(batch), lambda: plain.write_ndjson(BytesIO())),
        (
            "csv read",
            lambda: csv_decoder.decode(records, text),
            lambda: pl.read_csv(BytesIO(text), **all_text),
        ),
        ("csv write", lambda: encode_csv(batch, names, header=True), lambda: plain.write_csv(BytesIO())),
        (
            "avro read",
            lambda: AvroRows(BytesIO(avro)).read(0, rows),
            lambda: list(fastavro.reader(BytesIO(avro))),
        ),
        (
            "avro write",
            lambda: encode_avro(batch, names),
            lambda: fastavro.writer(BytesIO(), schema, dicts, codec="deflate"),
        ),
        (
            "parquet read",
            lambda: ParquetRows(BytesIO(parquet)).read(0, rows),
            lambda: pl.read_parquet(BytesIO(parquet)),
        ),
        ("parquet write", lambda: encode_parquet(batch, names), lambda: plain.write_parquet(BytesIO())),
    ]
    print(f"{rows:,} rows of 4 columns; thousand rows a second, best of {ROUNDS}\n")
    print("| | headrace | library alone | share |\n|---|---:|---:|---:|")
    for name, ours, theirs in measured:
        own, other = rate(rows, ours), rate(rows, theirs)
        print(f"| {name} | {own / 1e3:,.0f} | {other / 1e3:,.0f} | {own / other:.0%} |")


if __name__ == "__main__":
    main()
