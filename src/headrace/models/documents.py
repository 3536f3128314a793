"""Files of documents: Parquet, CSV and JSON lines, in and out, for training, judging and scoring by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import polars as pl

from headrace.errors import DataError, UserError, did_you_mean
from headrace.events.batch import POLARS_FAULTS
from headrace.local.files import replacing

_Handler = TypeVar("_Handler")


def _read_csv(path: Path) -> pl.DataFrame:
    # Text as it stands: an id such as 007 is no number.
    return pl.read_csv(path, infer_schema=False)


def _read_json_lines(path: Path) -> pl.DataFrame:
    return pl.read_ndjson(path, infer_schema_length=None)


_READERS: Final[dict[str, Callable[[Path], pl.DataFrame]]] = {
    ".parquet": pl.read_parquet,
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
_WRITERS: Final[dict[str, Callable[[pl.DataFrame, BinaryIO], None]]] = {
    ".parquet": lambda frame, file: frame.write_parquet(file),
    ".csv": lambda frame, file: frame.write_csv(file),
    ".jsonl": lambda frame, file: frame.write_ndjson(file),
    ".ndjson": lambda frame, file: frame.write_ndjson(file),
}


def read_documents(path: Path) -> pl.DataFrame:
    """Return the rows of a file; its suffix says what it is.

    Raises UserError for a file that is not there or of another kind, DataError for one that cannot be read.
    """
    reader = _by_suffix(path, _READERS)
    try:
        return reader(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except POLARS_FAULTS as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from None


def write_documents(frame: pl.DataFrame, path: Path) -> None:
    """Write `frame` to a file, whole or not at all; raises UserError where that is impossible."""
    writer = checked_writer(path)
    with replacing(path) as file:
        try:
            writer(frame, file)
        except POLARS_FAULTS as error:
            raise UserError(f"cannot write {path}: {error}") from None


def checked_writer(path: Path) -> Callable[[pl.DataFrame, BinaryIO], None]:
    """Return what writes a file called `path`; raises UserError when its suffix names no known kind."""
    return _by_suffix(path, _WRITERS)


def column(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    """Return a column as text; raises UserError, with the near name, when `path` has no such column."""
    if name not in frame.columns:
        known = ", ".join(frame.columns[:20])
        advice = did_you_mean(name, frame.columns)
        raise UserError(f"{path} has no column {name!r}. {advice} It has: {known}".replace(".  ", ". "))
    values = frame[name]
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise UserError(f"column {name!r} of {path} holds {values.dtype}, not text")
    return values.cast(pl.String)


def _by_suffix(path: Path, known: Mapping[str, _Handler]) -> _Handler:
    if path.suffix.lower() not in known:
        raise UserError(f"cannot tell what {path} is: its name should end in {', '.join(known)}")
    return known[path.suffix.lower()]
