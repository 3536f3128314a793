"""A bound script made ready to run: batches of its inputs in, batches of its outputs out.

Pure segments (filter, project, union) are functions of a batch. Effect steps call models and Python
functions; the time they take is kept apart, as the stage `score`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.clock import Clock, SystemClock
from headrace.engine.operators.effect import Failure, run_effect
from headrace.engine.operators.filter import filter_rows
from headrace.engine.operators.project import project
from headrace.engine.operators.union import union
from headrace.engine.row_error import RowError
from headrace.events.batch import ORIGIN, Batch, concat
from headrace.models.scorer import Scorer
from headrace.sql.plan import Effect, Filter, Project, Relation, Scan, Script, StepRef, Union


@dataclass(slots=True)
class Results:
    """The rows of each output, in order; the events that a call failed on; the time spent in calls."""

    outputs: dict[str, Batch] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    score_ns: int = 0


class Program:
    """A script with its functions; runs any number of batches, keeping nothing between them."""

    def __init__(self, script: Script, functions: Mapping[str, Scorer], clock: Clock | None = None) -> None:
        self.script = script
        self._functions = functions
        self._clock = clock or SystemClock()

    def run(self, inputs: Mapping[str, Batch]) -> Results:
        """Run a batch of each input through the script; an input that is missing has no events.

        Raises RowError, a DataError, when a row makes the job stop.
        """
        return _Run(self.script, self._functions, self._clock, inputs).results()


class _Run:
    """One pass: each WITH step is computed once, however many statements read it."""

    def __init__(
        self,
        script: Script,
        functions: Mapping[str, Scorer],
        clock: Clock,
        inputs: Mapping[str, Batch],
    ) -> None:
        self._script, self._functions, self._clock = script, functions, clock
        self._inputs = {name.casefold(): batch for name, batch in inputs.items()}
        self._relations = {step.name.casefold(): step.relation for step in script.steps}
        self._steps: dict[str, Batch | None] = {}
        self._results = Results()

    def results(self) -> Results:
        for output in self._script.outputs:
            batch = self._batch(output.relation)
            if batch is None or batch.height == 0:
                continue
            earlier = self._results.outputs.get(output.name)
            self._results.outputs[output.name] = batch if earlier is None else concat([earlier, batch])
        return self._results

    def _batch(self, relation: Relation) -> Batch | None:
        """Return the rows of a relation, None when no event reached it."""
        match relation:
            case Scan():
                return self._inputs.get(relation.input.casefold())
            case StepRef():
                return self._step(relation.step.casefold())
            case Union():
                batches = [batch for source in relation.sources if (batch := self._batch(source)) is not None]
                return union(batches) if batches else None
        source = self._batch(relation.source)
        if source is None:
            return None
        try:
            return self._applied(relation, source)
        except RowError as error:
            if error.origin is None and ORIGIN in source.frame.columns:
                error.origin = source.frame[ORIGIN][error.row]
            raise

    def _applied(self, relation: Filter | Project | Effect, source: Batch) -> Batch:
        match relation:
            case Filter():
                return filter_rows(source, relation.predicate, self._script.text)
            case Project():
                return project(source, relation.items, self._script.text)
            case Effect():
                return self._effect(relation, source)

    def _step(self, name: str) -> Batch | None:
        if name not in self._steps:
            self._steps[name] = self._batch(self._relations[name])
        return self._steps[name]

    def _effect(self, effect: Effect, source: Batch) -> Batch:
        began = self._clock.monotonic_ns()
        result = run_effect(effect, source, self._functions, self._script.text)
        self._results.score_ns += self._clock.monotonic_ns() - began
        self._results.failures += result.failures
        return result.batch
