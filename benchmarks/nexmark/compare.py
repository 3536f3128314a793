"""Whether two engines gave the same rows: as sets with repetition, since none of them promises an order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from benchmarks.nexmark.catalogue import CATALOGUE

_TYPES: Mapping[str, type[pl.DataType]] = {
    "bigint": pl.Int64,
    "float": pl.Float64,
    "text": pl.String,
    "time": pl.String,
}


def rows_of(query: str, output: Path) -> pl.DataFrame:
    """Read the rows that a query gave, in one order; `output` is a file of JSON lines, or a folder of them.

    Engines write one instant in several ways (a blank for the T, no Z, other digits); all become the same.
    """
    columns = CATALOGUE[query].columns
    files = (
        [file for file in sorted(output.iterdir()) if file.name[0] not in "._"]
        if output.is_dir()
        else [output]
    )
    schema = {name: _TYPES[kind] for name, kind in columns.items()}
    read = [pl.read_ndjson(file, schema=schema) for file in files if file.stat().st_size]
    rows = pl.concat(read) if read else pl.DataFrame(schema=schema)
    return rows.select(_canonical(name, kind) for name, kind in columns.items()).sort(pl.all())


def _canonical(name: str, kind: str) -> pl.Expr:
    if kind != "time":
        return pl.col(name)
    bare = pl.col(name).str.replace(" ", "T", literal=True).str.strip_suffix("Z")
    return bare.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")


def differing(rows: pl.DataFrame, wanted: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that are too many and those that are missing, each as often as that is so."""
    if rows.equals(wanted):
        return rows.clear(), rows.clear()
    counts = (
        pl.concat(
            [rows.with_columns(pl.lit(1).alias("_times")), wanted.with_columns(pl.lit(-1).alias("_times"))]
        )
        .group_by(rows.columns)
        .agg(pl.col("_times").sum())
    )
    return (_repeated(counts.filter(pl.col("_times") > 0)), _repeated(counts.filter(pl.col("_times") < 0)))


def _repeated(counts: pl.DataFrame) -> pl.DataFrame:
    times = pl.col("_times").abs()
    return counts.select(pl.exclude("_times").repeat_by(times)).explode(counts.columns[:-1]).sort(pl.all())
