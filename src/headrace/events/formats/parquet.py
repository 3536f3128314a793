"""Parquet: files of typed rows, read a slice at a time, and batches as whole files."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

import polars as pl

from headrace.errors import UserError
from headrace.events.batch import POLARS_FAULTS, Batch, ValueType
from headrace.events.formats.decoded import Decoded
from headrace.events.formats.json_encode import DATETIME_TEXT, encode_rows
from headrace.events.formats.json_exact import NESTED, check_size
from headrace.events.formats.rows_file import decode_files, open_file
from headrace.events.formats.typed_frame import decode_frame, frame_row_text

ParquetCompression = Literal["zstd", "snappy", "gzip", "lz4", "uncompressed"]

#: Integers up to here are floats and back again.
_MAX_EXACT: Final = 2**53


class ParquetRows:
    """The rows of a Parquet file (see RowsFile); a slice is read from the row groups that hold it."""

    def __init__(self, source: Path | str | BytesIO, name: str = "") -> None:
        self._source = Path(source) if isinstance(source, str) else source
        self._name = name or str(source)
        if isinstance(self._source, Path):
            open_file(self._source).close()  # which says what is wrong in better words
        self.rows = int(self._collected(self._scan().select(pl.len())).item())

    def read(self, first: int, count: int) -> Decoded:
        """Return the rows from `first` on, at most `count`; raises UserError when the file is damaged."""
        frame = self._frame(first, count)
        check_size(frame.height, frame.width)
        return decode_frame(frame)

    def body(self, row: int) -> bytes:
        """Return a row as JSON."""
        frame = self._frame(row, 1)
        decoded = decode_frame(frame)
        if decoded.rejects:
            return frame_row_text(frame)
        return str(encode_rows(decoded.batch)[0]).encode()

    def close(self) -> None:
        """Do nothing: a file is open only while it is read."""

    def _frame(self, first: int, count: int) -> pl.DataFrame:
        return self._collected(self._scan().slice(first, count))

    def _scan(self) -> pl.LazyFrame:
        source = BytesIO(self._source.getbuffer()) if isinstance(self._source, BytesIO) else self._source
        try:
            return pl.scan_parquet(source, glob=False, hive_partitioning=False)
        except POLARS_FAULTS as error:
            raise self._damaged(error) from None

    def _collected(self, plan: pl.LazyFrame) -> pl.DataFrame:
        try:
            return plan.collect()
        except POLARS_FAULTS as error:
            raise self._damaged(error) from None

    def _damaged(self, error: BaseException) -> UserError:
        problem = str(error).partition("\n")[0].removeprefix("parquet: ")
        return UserError(
            f"{self._name} is no sound Parquet file: {problem}. It was cut, damaged, or is still being "
            "written: put a whole one in its place"
        )


class ParquetDecoder:
    """Decodes bodies that are each a whole Parquet file; one with a row that has no place is a Reject."""

    def decode(self, bodies: Sequence[bytes], joined: bytes | None = None) -> Decoded:
        """Return the rows of `bodies`, in order."""
        return decode_files(bodies, lambda body: ParquetRows(BytesIO(body), "the body"))


def encode_parquet(
    batch: Batch, columns: Sequence[str], compression: ParquetCompression = "zstd"
) -> tuple[bytes, dict[int, str]]:
    """Return the rows as a whole Parquet file, and the rows that it cannot hold, by index, with why.

    Each column has one type: bigint with float is float (a bigint that no float holds makes its row fail),
    every other mixture is text, as CSV writes it. Records and arrays are text that holds their JSON, and
    datetimes timestamps in UTC with microseconds. A column without a value is one of NULLs.
    """
    failures: dict[int, str] = {}
    series = [_column(batch, name, failures).alias(name) for name in columns]
    written = BytesIO()
    pl.DataFrame(series).write_parquet(written, compression=compression)
    return written.getvalue(), failures


def _column(batch: Batch, name: str, failures: dict[int, str]) -> pl.Series:
    planes = [
        (plane, batch.frame[column.physical(plane)])
        for column in batch.named(name)
        for plane in column.planes
    ]
    planes = [(plane, values) for plane, values in planes if values.null_count() < batch.height]
    if not planes:
        return pl.repeat(None, batch.height, dtype=pl.Null, eager=True)
    types = {plane for plane, _ in planes}
    if types == {ValueType.BIGINT, ValueType.FLOAT}:
        planes = [(plane, _floats(plane, values, name, failures)) for plane, values in planes]
    elif len(types) > 1:
        planes = [(plane, _text(plane, values)) for plane, values in planes]
    values = pl.select(pl.coalesce(*(values for _, values in planes))).to_series()
    return values.dt.replace_time_zone("UTC") if values.dtype == pl.Datetime else values


def _floats(plane: ValueType, values: pl.Series, name: str, failures: dict[int, str]) -> pl.Series:
    if plane is ValueType.BIGINT:
        floats = values.cast(pl.Float64)
        exact = values.is_between(-_MAX_EXACT, _MAX_EXACT)
        for row in (~exact).arg_true().to_list():
            failures.setdefault(row, f"{values[row]} in '{name}' is no float, which other rows have there")
        return floats
    return values


def _text(plane: ValueType, values: pl.Series) -> pl.Series:
    if plane is ValueType.DATETIME:
        return values.dt.to_string(DATETIME_TEXT)
    return values if plane in NESTED or plane is ValueType.TEXT else values.cast(pl.String)
