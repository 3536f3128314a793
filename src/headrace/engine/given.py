"""What a caller gives to a query, as batches: rows, frames and files, and the functions that it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from headrace.engine.joins.reference import Reference
from headrace.engine.timestamps import read as read_datetimes
from headrace.errors import DataError, UserError, did_you_mean
from headrace.events.batch import POLARS_FAULTS, Batch
from headrace.events.formats import json
from headrace.models.aggregate import PythonAggregate, UserAggregate, is_aggregate
from headrace.models.python import PythonFunction
from headrace.models.scorer import Scorer

Rows = Sequence[Mapping[str, Any]] | pl.DataFrame | str | Path
ReferenceRows = Rows | Mapping[str | datetime, Rows]
Function = Callable[..., Any] | Scorer

_JSON_SUFFIXES: Final = (".json", ".jsonl", ".ndjson")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# --- events and reference data ----------------------------------------------------------------------------


def batch_of(what: str, data: Rows) -> Batch:
    """Return rows (dicts), a Polars frame, or the contents of a JSON, CSV or Parquet file.

    `what` names it in errors. Raises UserError for what is none of these, DataError for a row that cannot be.
    """
    if isinstance(data, str | Path):
        return _file(what, Path(data))
    if isinstance(data, pl.DataFrame):
        return json.from_rows(data.to_dicts())
    if not hasattr(data, "__len__") or isinstance(data, Mapping | bytes):
        raise UserError(
            f"{what}: expected a list of dicts, a Polars frame or a path, found {type(data).__name__}"
        )
    return json.from_rows(data)


def _file(what: str, path: Path) -> Batch:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {".parquet": pl.read_parquet, ".csv": _read_csv}
    try:
        if path.suffix in readers:
            return json.from_rows(readers[path.suffix](path).to_dicts())
        if path.suffix not in _JSON_SUFFIXES:
            hint = did_you_mean(path.suffix, [*readers, *_JSON_SUFFIXES])
            raise UserError(f"{what}: {path} is not JSON, CSV or Parquet by its suffix. {hint}".rstrip())
        text = path.read_bytes()
    except (OSError, *POLARS_FAULTS) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what}: cannot read {path}: {reason}") from None
    bodies = [text] if path.suffix == ".json" else [line for line in text.splitlines() if line.strip()]
    decoded = json.JsonDecoder().decode(bodies)
    if decoded.rejects:
        reject = decoded.rejects[0]
        raise DataError(f"{what}: {path}, event {reject.origin + 1}: {reject.reason}")
    return decoded.batch


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def reference_of(name: str, data: ReferenceRows) -> Reference:
    """Return reference data: rows that stand still, or snapshots by the time from which each is valid.

    A time is a datetime (UTC where it has no zone) or an ISO 8601 text. Raises UserError and DataError.
    """
    what = f"reference {name!r}"
    if not isinstance(data, Mapping):
        return Reference.of(batch_of(what, data))
    return Reference.of_snapshots(
        [(_start_us(what, start), batch_of(what, rows)) for start, rows in data.items()]
    )


def _start_us(what: str, start: object) -> int:
    if isinstance(start, datetime):
        aware = start if start.tzinfo else start.replace(tzinfo=UTC)
        delta = aware - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if isinstance(start, str):
        [start_us] = read_datetimes(pl.Series([start])).to_physical().to_list()
        if start_us is not None:
            return int(start_us)
    raise UserError(
        f"{what}: expected rows, or a mapping of the time from which rows are valid to these rows, with "
        f"times as datetimes or as texts like '2026-03-02T08:00:00Z'; found {start!r}"
    )


# --- functions --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Functions:
    """What a query calls: functions and models by name, and user aggregates by name."""

    scorers: dict[str, Scorer] = field(default_factory=dict)
    aggregates: dict[str, UserAggregate] = field(default_factory=dict)


def functions_of(functions: Mapping[str, Function]) -> Functions:
    """Return functions by the name that follows ``udf.`` or ``uda.``, which may be left out.

    A class with the method ``accumulate`` is a user aggregate. Raises UserError for what cannot be called.
    """
    found = Functions()
    for called, function in functions.items():
        prefix, _, rest = called.partition(".")
        name = rest if prefix.casefold() in ("udf", "uda") else called
        if is_aggregate(function):
            assert isinstance(function, type)
            found.aggregates[name] = PythonAggregate(name, function)
        else:
            found.scorers[name] = _scorer(name, function)
    return found


def _scorer(name: str, function: Function) -> Scorer:
    if callable(function):
        return PythonFunction(name, function)
    if not hasattr(function, "score"):
        raise UserError(f"function {name!r}: expected a callable or a model, found {type(function).__name__}")
    return function
