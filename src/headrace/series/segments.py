"""Segments: Parquet files of points that any reader opens, sorted by tag and time.

The columns are ``tag`` (its number in the catalogue), ``time`` (UTC; milliseconds where all times are whole
ones, else microseconds), and the value: where ``scale`` is not NULL it is ``scaled / 10**scale``, else
``value``. Columns that a file does not need are not there. Row groups are what a reader decodes at once:
small ones as points arrive, whole tags after compaction.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headrace.errors import Fatal, disk_error
from headrace.local.files import replacing
from headrace.series.catalogue import BLOCK, EVER_US, Blocks, Segment
from headrace.series.decimals import DOUBLE, POWERS, Scales, scaled
from headrace.series.grouping import tag_starts
from headrace.series.points import Codes, Points, Times, Values

#: Points of a row group as they arrive: reading one tag of a thousand decodes so many.
ARRIVING_POINTS: Final = 8_192

_PACKED: Final = "DELTA_BINARY_PACKED"
_ENCODINGS: Final = {
    "tag": _PACKED,
    "time": _PACKED,
    "scaled": _PACKED,
    "scale": "PLAIN",
    "value": "BYTE_STREAM_SPLIT",
}
_ZSTD_LEVEL: Final = 1

#: What Parquet files are damaged by raises one of these.
_DAMAGE: Final = (pa.ArrowException, OSError, KeyError)


def segment_name(line: str, messages: Iterable[str]) -> str:
    """Return the file name of the segment that a line of a job makes of some messages, always the same."""
    digest = hashlib.sha256("\0".join(messages).encode()).hexdigest()[:32]
    return f"{line_prefix(line)}{digest}.parquet"


def line_prefix(line: str) -> str:
    """Return how the names of all files begin that a line of a job makes, and no others."""
    return hashlib.sha256(line.encode()).hexdigest()[:12] + "-"


def write_segment(
    folder: Path, name: str, points: Points, *, level: int = 0, cuts: NDArray[np.int64] | None = None
) -> Segment:
    """Write sorted points without repeated ones as a segment, synced under its name; at least one point.

    A row group begins at each of `cuts`, the first of which is 0; every `ARRIVING_POINTS` if they are not
    given. Raises what `disk_error` gives where the file cannot be written.
    """
    table = _table(points)
    encodings = {name: _ENCODINGS[name] for name in table.column_names}
    even = cuts is None
    bounds = [*(range(0, len(points), ARRIVING_POINTS) if cuts is None else cuts.tolist()), len(points)]
    try:
        with (
            replacing(folder / name) as file,
            pq.ParquetWriter(
                file,
                table.schema,
                compression="zstd",
                compression_level=_ZSTD_LEVEL,
                use_dictionary=False,
                column_encoding=encodings,
                write_statistics=["tag", "time"],
            ) as writer,
        ):
            if even:
                writer.write_table(table, row_group_size=ARRIVING_POINTS)
            for begin, end in () if even else itertools.pairwise(bounds):
                writer.write_table(table.slice(begin, end - begin), row_group_size=end - begin)
        size_bytes = (folder / name).stat().st_size
    except OSError as error:
        raise disk_error(error.errno or 0, folder / name, problem=error.strerror or str(error)) from None
    blocks = _blocks(points, np.array(bounds))
    return Segment(
        name,
        level,
        len(points),
        size_bytes,
        int(blocks["first_us"].min()),
        int(blocks["last_us"].max()),
        blocks,
    )


class SegmentFile:
    """An open segment; raises `Fatal` for a damaged one and FileNotFoundError for one that is gone."""

    def __init__(self, path: Path, *, mapped: bool = True) -> None:
        self._path = path
        try:
            self._file = pq.ParquetFile(
                path, memory_map=mapped, pre_buffer=False, page_checksum_verification=False
            )
        except FileNotFoundError:
            raise
        except _DAMAGE as error:
            raise self._damaged(error) from None
        self._without_tag = [name for name in self._file.schema_arrow.names if name != "tag"]

    def read(self, blocks: Sequence[int]) -> Points:
        """Return the points of some row groups."""
        table = self._table(blocks, None)
        return Points(_codes(table), _times_us(table), _values(table))

    def read_tag(
        self,
        code: int,
        blocks: Sequence[int],
        start_us: int = EVER_US[0],
        end_us: int = EVER_US[1],
        *,
        alone: bool = False,
    ) -> tuple[Times, Values]:
        """Return the times of one tag at or after `start_us` and before `end_us`, and the values.

        The tag is `alone` where the row groups are known to hold no other.
        """
        table = self._table(blocks, self._without_tag if alone else None)
        if not alone:
            codes, own = _codes(table), np.uint32(code)
            first = int(np.searchsorted(codes, own))
            table = table.slice(first, int(np.searchsorted(codes, own, "right")) - first)
        times_us = _times_us(table)
        # Times of a tag are sorted.
        low = int(np.searchsorted(times_us, start_us)) if start_us > EVER_US[0] else 0
        high = int(np.searchsorted(times_us, end_us)) if end_us < EVER_US[1] else len(times_us)
        return times_us[low:high], _values(table.slice(low, high - low))

    def _table(self, blocks: Sequence[int], columns: list[str] | None) -> pa.Table:
        try:
            return self._file.read_row_groups(list(blocks), columns=columns, use_threads=False)
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _damaged(self, error: BaseException) -> Fatal:
        return Fatal(f"{self._path} is damaged: {str(error)[:200]}. Restore it: its points are nowhere else")


def _table(points: Points) -> pa.Table:
    columns: dict[str, Any] = {"tag": pa.array(points.codes.view(np.int32)), "time": _times(points.times_us)}
    starts = tag_starts(points.codes)
    whole, scales = scaled(points.values, starts)
    counts = np.diff(starts, append=len(points))
    doubles = scales == DOUBLE
    if not doubles.any():
        columns |= {"scaled": pa.array(whole), "scale": pa.array(np.repeat(scales, counts))}
    elif doubles.all():
        columns |= {"value": pa.array(points.values)}
    else:
        is_double = np.repeat(doubles, counts)
        columns |= {
            "scaled": pa.array(whole, mask=is_double),
            "scale": pa.array(np.repeat(scales, counts), mask=is_double),
            "value": pa.array(points.values, mask=~is_double),
        }
    # A column that may hold NULL has a level for each value, which takes time to write.
    fields = [pa.field(name, column.type, nullable=column.null_count > 0) for name, column in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _times(times_us: NDArray[np.int64]) -> pa.Array:
    whole = times_us // 1_000
    if (whole * 1_000 != times_us).any():
        return pa.array(times_us).view(pa.timestamp("us", "UTC"))
    return pa.array(whole).view(pa.timestamp("ms", "UTC"))


def _codes(table: pa.Table) -> Codes:
    codes: Codes = table["tag"].to_numpy().view(np.uint32)
    return codes


def _times_us(table: pa.Table) -> Times:
    time = table["time"]
    times_us: Times = time.combine_chunks().view(pa.int64()).to_numpy()
    return times_us * 1_000 if time.type.unit == "ms" else times_us


def _values(table: pa.Table) -> Values:
    names = table.column_names
    if "scale" not in names:
        doubles: Values = table["value"].to_numpy()
        return doubles
    if "value" not in names:
        return _of_decimals(table["scaled"].to_numpy(), table["scale"].to_numpy())
    decimals = _of_decimals(table["scaled"].fill_null(0).to_numpy(), table["scale"].fill_null(0).to_numpy())
    is_double = table["scale"].is_null().to_numpy()
    return np.where(is_double, table["value"].fill_null(0.0).to_numpy(), decimals)


def _of_decimals(whole: NDArray[np.int64], scales: Scales) -> Values:
    if len(scales) and (scales == scales[0]).all():
        same: Values = whole / POWERS[scales[0]]
        return same
    found: Values = whole / POWERS[scales]
    return found


def _blocks(points: Points, bounds: NDArray[np.int64]) -> Blocks:
    begins = bounds[:-1]
    blocks = np.empty(len(begins), BLOCK)
    blocks["first_code"] = points.codes[begins]
    blocks["last_code"] = points.codes[bounds[1:] - 1]
    blocks["points"] = np.diff(bounds)
    blocks["first_us"] = np.minimum.reduceat(points.times_us, begins)
    blocks["last_us"] = np.maximum.reduceat(points.times_us, begins)
    return blocks
