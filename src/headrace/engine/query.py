"""Running a whole script on finite data, in this process: the function behind ``headrace.query``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from headrace.engine.expressions import evaluate
from headrace.engine.program import Program
from headrace.engine.row_error import RowError
from headrace.errors import DataError, UserError, did_you_mean
from headrace.events.batch import DTYPES, HIDDEN, ORIGIN, POLARS_FAULTS, TIME, Batch, ValueType
from headrace.events.formats import json
from headrace.models.python import PythonFunction
from headrace.models.scorer import Scorer
from headrace.sql.bind import bind
from headrace.sql.plan import Cast, ColumnRef, Script, timestamps

Input = Sequence[Mapping[str, Any]] | pl.DataFrame | str | Path
Function = Callable[..., Any] | Scorer

#: The arrival time of an event, where it carries one; the timestamp of queries without TIMESTAMP BY.
ARRIVAL: Final = "EventEnqueuedUtcTime"

_JSON_SUFFIXES: Final = (".json", ".jsonl", ".ndjson")

_DATETIME: Final = DTYPES[ValueType.DATETIME]


@dataclass(frozen=True, slots=True)
class Answer(Mapping[str, list[dict[str, Any]]]):
    """The rows of each output: ``answer["output"]`` as dicts, ``answer.frame("output")`` as a frame."""

    batches: Mapping[str, Batch]

    def __getitem__(self, output: str) -> list[dict[str, Any]]:
        return json.rows(self._batch(output))

    def __iter__(self) -> Iterator[str]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def frame(self, output: str) -> pl.DataFrame:
        """Return an output as a frame; a column whose values have several types is refused."""
        batch = self._batch(output)
        columns = [column for column in batch.columns if not column.name.startswith(HIDDEN)]
        for column in columns:
            if len(column.planes) > 1:
                raise DataError(
                    f"column {column.name!r} of output {output!r} mixes {', '.join(column.planes)}: a frame "
                    "has one type a column. CAST it in the query, or read the rows"
                )
        return batch.frame.select(
            pl.col(column.physicals[0]).alias(column.name)
            if column.planes
            else pl.lit(None).alias(column.name)
            for column in columns
        )

    def _batch(self, output: str) -> Batch:
        if output not in self.batches:
            raise KeyError(f"no output is called {output!r}; there are {', '.join(self.batches)}")
        return self.batches[output]


def query(
    sql: str, inputs: Mapping[str, Input], *, functions: Mapping[str, Function] | None = None
) -> Answer:
    """Run a script on finite inputs and return the rows of its outputs.

    `inputs` maps a name to rows (dicts), a Polars frame, or the path of a JSON, CSV or Parquet file; events
    are taken in order of their timestamps, ties in the order given. `functions` maps a name to a Python
    function or a model. Raises QueryError for a script that must be refused, DataError when a row makes it
    stop, UserError for an input that cannot be read.
    """
    if not isinstance(inputs, Mapping):
        raise UserError('inputs: expected names and their events, as {"papers": rows}')
    called = {name: _scorer(name, function) for name, function in (functions or {}).items()}
    script = bind(sql, functions=called, inputs=inputs)
    batches = _timed(script, {name: _batch(name, data) for name, data in inputs.items()})
    try:
        results = Program(script, called).run(batches)
    except RowError as error:
        raise DataError(str(error)) from None
    if results.failures:
        first = results.failures[0]
        what = f"row {first.row}" if first.origin is None else f"event {first.origin + 1}"
        raise DataError(f"{what} could not be scored: {first.reason}")
    empty = Batch(pl.DataFrame(), ())
    return Answer({output.name: results.outputs.get(output.name, empty) for output in script.outputs})


def _scorer(name: str, function: Function) -> Scorer:
    if callable(function):
        return PythonFunction(name, function)
    if not hasattr(function, "score"):
        raise UserError(f"function {name!r}: expected a callable or a model, found {type(function).__name__}")
    return function


def _batch(name: str, data: Input) -> Batch:
    if isinstance(data, str | Path):
        return _file(name, Path(data))
    if isinstance(data, pl.DataFrame):
        return json.from_rows(data.to_dicts())
    if not hasattr(data, "__len__") or isinstance(data, Mapping | bytes):
        raise UserError(
            f"input {name!r}: expected a list of dicts, a Polars frame or a path, found {type(data).__name__}"
        )
    return json.from_rows(data)


def _file(name: str, path: Path) -> Batch:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {".parquet": pl.read_parquet, ".csv": _read_csv}
    try:
        if path.suffix in readers:
            return json.from_rows(readers[path.suffix](path).to_dicts())
        if path.suffix not in _JSON_SUFFIXES:
            hint = did_you_mean(path.suffix, [*readers, *_JSON_SUFFIXES])
            raise UserError(
                f"input {name!r}: {path} is not JSON, CSV or Parquet by its suffix. {hint}".rstrip()
            )
        text = path.read_bytes()
    except (OSError, *POLARS_FAULTS) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"input {name!r}: cannot read {path}: {reason}") from None
    bodies = [text] if path.suffix == ".json" else [line for line in text.splitlines() if line.strip()]
    decoded = json.JsonDecoder().decode(bodies)
    if decoded.rejects:
        reject = decoded.rejects[0]
        raise DataError(f"input {name!r}: {path}, event {reject.origin + 1}: {reject.reason}")
    return decoded.batch


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def _timed(script: Script, batches: Mapping[str, Batch]) -> dict[str, Batch]:
    """Give every event its number and timestamp, and put each input in order of time.

    An event whose timestamp is no datetime is dropped, as the service does.
    """
    times_by = {name.casefold(): timestamp for name, timestamp in timestamps(script).items()}
    ready = {}
    for name, batch in batches.items():
        numbers = pl.int_range(batch.height, dtype=pl.Int64, eager=True).alias(ORIGIN)
        numbered = Batch(batch.frame.with_columns(numbers), batch.columns)
        timestamp = times_by.get(name.casefold())
        asked = timestamp or ColumnRef(ARRIVAL)
        [planes] = evaluate([Cast(asked, ValueType.DATETIME, safe=True)], numbered, script.text)
        times = planes.get(ValueType.DATETIME)
        if times is None and timestamp is None and not numbered.named(ARRIVAL):
            times = pl.repeat(
                datetime.now(UTC).replace(tzinfo=None), batch.height, dtype=_DATETIME, eager=True
            )
        elif times is None:
            times = pl.repeat(None, batch.height, dtype=_DATETIME, eager=True)
        timed = numbered.frame.with_columns(times.alias(TIME)).drop_nulls(TIME)
        ready[name] = Batch(timed.sort(TIME, maintain_order=True), batch.columns)
    return ready
