"""Running a whole script on finite data, in this process: the function behind ``headrace.query``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from headrace.engine.finite import Cuts, Dropped, Feed, feeds, run
from headrace.engine.given import Function, ReferenceRows, Rows, batch_of, functions_of, reference_of
from headrace.engine.operators.effect import Failure
from headrace.engine.program import Program
from headrace.engine.row_error import RowError
from headrace.errors import DataError, UserError, did_you_mean
from headrace.events.batch import HIDDEN, Batch
from headrace.events.formats import json
from headrace.events.watermark import Policy
from headrace.sql.bind import bind
from headrace.sql.plan import Output, StepRef


@dataclass(frozen=True, slots=True)
class Answer(Mapping[str, list[dict[str, Any]]]):
    """The rows of each output: ``answer["output"]`` as dicts, ``answer.frame("output")`` as a frame.

    `dropped` are the events that no statement saw: without a time, or dropped by the policy.
    """

    batches: Mapping[str, Batch]
    dropped: Sequence[Dropped] = ()

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
    sql: str,
    inputs: Mapping[str, Rows],
    *,
    reference: Mapping[str, ReferenceRows] | None = None,
    functions: Mapping[str, Function] | None = None,
    policy: Policy | None = None,
    metadata: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> Answer:
    """Run a script on finite inputs and return the rows of its outputs; time runs to infinity at their end.

    `inputs` maps a name to rows (dicts), a Polars frame, or the path of a JSON, CSV or Parquet file.
    `reference` does so for reference data, or maps a name to snapshots by the time from which each is valid.
    `functions` maps a name to a Python function, a model, or a class that aggregates (with ``accumulate``).
    `metadata` has, for an input, a record per event, which GetMetadataPropertyValue reads.

    Without a `policy` events are taken in order of their timestamps, ties in the order given. With one they
    arrive in the order given, at their ``EventEnqueuedUtcTime`` where they have it, else at their own time.

    Raises QueryError for a script that must be refused, DataError when a row makes it stop, UserError for an
    argument that cannot be used.
    """
    return query_in_pieces(
        sql,
        inputs,
        reference=reference,
        functions=functions,
        policy=policy,
        metadata=metadata,
    )


def query_in_pieces(
    sql: str,
    inputs: Mapping[str, Rows],
    *,
    reference: Mapping[str, ReferenceRows] | None = None,
    functions: Mapping[str, Function] | None = None,
    policy: Policy | None = None,
    metadata: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    cuts: Cuts | None = None,
    with_steps: bool = False,
) -> Answer:
    """Do what `query` does, with the events cut as `cuts` says: for tests, as the rows must be the same.

    `with_steps` adds the rows of each WITH step, as an output called `step_output` of its name.
    """
    if not isinstance(inputs, Mapping):
        raise UserError('inputs: expected names and their events, as {"papers": rows}')
    if policy is not None and not isinstance(policy, Policy):
        raise UserError(f"policy: expected headrace.Policy(...), found {policy!r}")
    called = functions_of(functions or {})
    references = {name: reference_of(name, data) for name, data in (reference or {}).items()}
    batches = {name: batch_of(f"input {name!r}", data) for name, data in inputs.items()}
    _check_names("metadata", metadata or {}, batches)
    script = bind(
        sql,
        functions=called.scorers,
        aggregates=called.aggregates,
        inputs=batches,
        references={name: data.columns for name, data in references.items()},
    )
    if with_steps:
        steps = (Output(step_output(step.name), StepRef(step.name)) for step in script.steps)
        script = replace(script, outputs=(*steps, *script.outputs))
    read = {name: batches[name] for name in script.inputs}
    streams = feeds(script, read, policy, metadata or {})

    def made() -> Program:
        return Program(script, called.scorers, aggregates=called.aggregates, references=references)

    try:
        finished = run(made, streams, cuts)
    except RowError as error:
        raise DataError(str(error)) from None
    if finished.results.failures:
        raise _failed(finished.results.failures[0], streams)
    empty = Batch(pl.DataFrame(), ())
    outputs = {output.name: finished.results.outputs.get(output.name, empty) for output in script.outputs}
    return Answer(outputs, finished.dropped)


def step_output(name: str) -> str:
    """Return what the rows of a WITH step are called beside those of outputs."""
    return f"{HIDDEN}{name}"


def _check_names(argument: str, given: Mapping[str, object], inputs: Mapping[str, object]) -> None:
    for name in given:
        if name not in inputs:
            hint = did_you_mean(name, inputs)
            raise UserError(f"{argument}: there is no input {name!r}. {hint}".rstrip())


def _failed(failure: Failure, streams: Sequence[Feed]) -> DataError:
    if failure.origin is None:
        return DataError(f"row {failure.row} could not be scored: {failure.reason}")
    feed = max((feed for feed in streams if feed.first <= failure.origin), key=lambda feed: feed.first)
    of_input = f" of input {feed.input!r}" if len(streams) > 1 else ""
    number = failure.origin - feed.first + 1
    return DataError(f"event {number}{of_input} could not be scored: {failure.reason}")
