"""A bound script made ready to run: batches, or slices of time, of its inputs in, batches of its outputs out.

Pure segments (filters, projections, windows, joins) are functions of a slice and of what was kept of the
slices before it. Effect steps call models and Python functions; the time they take is kept apart, as the
stage `score`.

A script without state gives the same rows for a batch whatever came before it: it may run batch by batch, in
the order of arrival. One with state runs over slices of time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

import polars as pl

from headrace.clock import Clock, SystemClock
from headrace.engine.alignment import align
from headrace.engine.fingerprint import fingerprint
from headrace.engine.joins.reference import Reference
from headrace.engine.making import (
    Parts,
    Stateful,
    Transformation,
    is_stateless,
    operator_for,
    sources,
    transformation_for,
)
from headrace.engine.operator import FOREVER_US, Operator, Slice, State, StateValue
from headrace.engine.operators.effect import Failure, run_effect
from headrace.engine.operators.union import union
from headrace.engine.row_error import RowError
from headrace.engine.snapshot import decode, encode
from headrace.errors import Fatal, UserError
from headrace.events.batch import ORIGIN, Batch
from headrace.models.aggregate import UserAggregate
from headrace.models.scorer import Scorer
from headrace.sql.plan import Effect, Relation, Scan, Script, StepRef, Union


@dataclass(slots=True)
class Results:
    """The rows of each output, in order; the events that a call failed on; the time spent in calls, and rows.

    `answers` are the rows that came out of calls, by place, where what is kept depends on them.
    """

    outputs: dict[str, Batch] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    answers: dict[str, Batch] = field(default_factory=dict)
    score_ns: int = 0
    score_cpu_ns: int = 0
    score_calls: int = 0
    score_rows: int = 0

    def __bool__(self) -> bool:
        return bool(self.outputs or self.failures or self.answers)


class Program:
    """A script with its functions, and what it keeps of the slices that it has seen."""

    def __init__(
        self,
        script: Script,
        functions: Mapping[str, Scorer],
        clock: Clock | None = None,
        *,
        aggregates: Mapping[str, UserAggregate] | None = None,
        references: Mapping[str, Reference] | None = None,
    ) -> None:
        self.script = script
        self.stateless = is_stateless(script)
        self._clock = clock or SystemClock()
        self._plan = _Plan(script, Parts(script.text, functions, aggregates or {}, references or {}))
        self._states: dict[str, State] = {}

    def run(self, inputs: Mapping[str, Batch]) -> Results:
        """Run a batch of each input through a script without state; a missing input has no events.

        Raises RowError, a DataError, when a row makes the job stop.
        """
        assert self.stateless
        return self.advance({name: Slice(batch, FOREVER_US) for name, batch in inputs.items()})

    def advance(self, inputs: Mapping[str, Slice]) -> Results:
        """Run the next slice of each input, all with one frontier; a missing input has no events.

        Returns the rows of outputs that are certain now. After an error nothing has changed. Raises RowError,
        a DataError, when a row makes the job stop.
        """
        run = _Run(self._plan, self._clock, self._states)
        results = run.results(inputs)
        self._states = run.states
        return results

    def rebuild(self, inputs: Mapping[str, Slice], answers: Mapping[str, Batch]) -> None:
        """Keep what `advance` kept of these slices, without its rows and without its calls.

        `answers` are those of its results. Raises Fatal when they are those of something else.
        """
        run = _Run(self._plan, self._clock, self._states, answers)
        run.rebuild(inputs)
        self._states = run.states

    def fresh(self) -> Program:
        """Return the same program before its first slice."""
        program = copy(self)
        program._states = {}
        return program

    @property
    def holds(self) -> bool:
        """Whether rows are kept that time may bring something out of."""
        return any(map(_holds, self._states.values()))

    @property
    def state(self) -> State:
        """What a snapshot holds; it does not change when the program goes on."""
        return {"plan": self._plan.fingerprint, "states": self._states}

    def snapshot(self) -> bytes:
        """Return what `restore` needs to go on from here in another process."""
        return encode(self.state)

    def restore(self, snapshot: bytes) -> None:
        """Go on from a snapshot. Raises UserError if another plan wrote it, Fatal if it is damaged."""
        saved = decode(snapshot)
        states = saved.get("states")
        if not isinstance(states, Mapping):
            raise Fatal("the saved state is damaged: it has no states")
        if saved.get("plan") != self._plan.fingerprint:
            raise UserError(
                "the query has changed since its state was saved, and the state does not fit the new one. "
                "Go on with the old query, or let go of the state to start anew"
            )
        self._states = {place: state for place, state in states.items() if isinstance(state, Mapping)}


class _Plan:
    """The relations of a script and what runs them, by place: a path of sources like ``step name/0/1``."""

    def __init__(self, script: Script, parts: Parts) -> None:
        self.fingerprint = fingerprint(script)
        self.stateless = is_stateless(script)
        self.parts = parts
        self.steps = {step.name.casefold(): step.relation for step in script.steps}
        self.outputs = _outputs(script)
        self.operators: dict[str, Operator] = {}
        self.transformations: dict[str, Callable[[Batch], Batch]] = {}
        self.below: dict[str, list[tuple[Relation, str]]] = {}
        for name, relation in self.steps.items():
            self._make(_step_place(name), relation)
        for name, relation in self.outputs.items():
            self._make(_output_place(name), relation)
        #: The outermost relations that keep something, and the calls that what is kept depends on.
        self.keepers: dict[str, Relation] = {}
        self.recorded: set[str] = set()
        for name, relation in self.outputs.items():
            self._mark(_output_place(name), relation, kept=False)

    def _mark(self, place: str, relation: Relation, *, kept: bool) -> None:
        below = sources(relation)
        if isinstance(relation, StepRef):
            name = relation.step.casefold()
            self._mark(_step_place(name), self.steps[name], kept=kept)
        # Where several relations meet, the one that is ahead waits.
        elif not kept and (isinstance(relation, Stateful) or len(below) > 1):
            self.keepers[place] = relation
            kept = True
        if kept and isinstance(relation, Effect):
            self.recorded.add(place)
        for number, source in enumerate(below):
            self._mark(f"{place}/{number}", source, kept=kept)

    def _make(self, place: str, relation: Relation) -> None:
        if isinstance(relation, Stateful):
            self.operators[place] = operator_for(relation, self.parts)
        elif isinstance(relation, Transformation):
            self.transformations[place] = transformation_for(relation, self.parts)
        self.below[place] = [(s, f"{place}/{number}") for number, s in enumerate(sources(relation))]
        for source, inner in self.below[place]:
            self._make(inner, source)


def _outputs(script: Script) -> dict[str, Relation]:
    """Return what is written to each output: of several statements the union, so in order of time, too."""
    outputs: dict[str, list[Relation]] = defaultdict(list)
    for output in script.outputs:
        outputs[output.name].append(output.relation)
    return {
        name: relations[0] if len(relations) == 1 else Union(tuple(relations))
        for name, relations in outputs.items()
    }


def _step_place(name: str) -> str:
    return f"step {name}"


def _output_place(name: str) -> str:
    return f"output {name}"


class _Run:
    """One pass: each WITH step is computed once, however many statements read it.

    `states` is what is kept after it; the states given are not changed. With `answers` nothing is called.
    """

    def __init__(
        self,
        plan: _Plan,
        clock: Clock,
        states: Mapping[str, State],
        answers: Mapping[str, Batch] | None = None,
    ) -> None:
        self._plan, self._clock = plan, clock
        self._answers = answers
        self.states = dict(states)
        self._inputs: Mapping[str, Slice] = {}
        self._nothing = Slice(None, FOREVER_US)
        self._steps: dict[str, Slice] = {}
        self._results = Results()

    def rebuild(self, inputs: Mapping[str, Slice]) -> None:
        """Compute only what changes the states."""
        self._begin(inputs)
        for place, relation in self._plan.keepers.items():
            self._slice(relation, place)

    def results(self, inputs: Mapping[str, Slice]) -> Results:
        """Compute the rows of the outputs."""
        self._begin(inputs)
        for name, relation in self._plan.outputs.items():
            batch = self._slice(relation, _output_place(name)).batch
            if batch is not None:
                self._results.outputs[name] = batch
        return self._results

    def _begin(self, inputs: Mapping[str, Slice]) -> None:
        frontiers_us = {part.frontier_us for part in inputs.values()}
        assert len(frontiers_us) <= 1, "all inputs have one frontier"
        self._inputs = {name.casefold(): part for name, part in inputs.items()}
        if frontiers_us:
            self._nothing = Slice(None, frontiers_us.pop())

    def _slice(self, relation: Relation, place: str) -> Slice:
        """Return the rows of a relation up to its frontier."""
        match relation:
            case Scan():
                return self._inputs.get(relation.input.casefold(), self._nothing)
            case StepRef():
                return self._step(relation.step.casefold())
        below = [self._slice(source, inner) for source, inner in self._plan.below[place]]
        if len(below) > 1:
            below = self._aligned(below, place)
        try:
            result = self._applied(relation, below, place)
        except RowError as error:
            if error.origin is None:
                error.origin = _origin(below[0].batch, error.row)
            raise
        filled = result.batch is None or result.batch.height
        return result if filled else Slice(None, result.frontier_us)

    def _applied(self, relation: Relation, below: Sequence[Slice], place: str) -> Slice:
        if isinstance(relation, Stateful):
            operator = self._plan.operators[place]
            state = self.states[place] if place in self.states else operator.initial()
            self.states[place], result = operator.advance(state, below)
            return result
        batches = [part.batch for part in below if part.batch is not None]
        if not batches:
            return below[0]
        return Slice(self._transformed(relation, batches, place), below[0].frontier_us)

    def _transformed(self, relation: Relation, batches: Sequence[Batch], place: str) -> Batch:
        match relation:
            case Union():
                return union(batches, by_origin=self._plan.stateless)
            case Effect():
                return self._effect(relation, batches[0], place)
        return self._plan.transformations[place](batches[0])

    def _aligned(self, below: Sequence[Slice], place: str) -> list[Slice]:
        """Return slices with one frontier; some relations lag behind the others."""
        place = f"{place} waiting"
        waiting, slices = align(self.states.pop(place, {}), below)
        if waiting:
            self.states[place] = waiting
        return slices

    def _step(self, name: str) -> Slice:
        if name not in self._steps:
            self._steps[name] = self._slice(self._plan.steps[name], _step_place(name))
        return self._steps[name]

    def _effect(self, effect: Effect, source: Batch, place: str) -> Batch:
        if self._answers is not None:
            if place not in self._answers:
                raise Fatal("the state cannot be rebuilt: answers of models that it depends on are missing")
            return self._answers[place]
        began, cpu_began = self._clock.monotonic_ns(), time.thread_time_ns()
        parts = self._plan.parts
        result = run_effect(effect, source, parts.functions, parts.script)
        self._results.score_ns += self._clock.monotonic_ns() - began
        self._results.score_cpu_ns += time.thread_time_ns() - cpu_began
        self._results.score_calls += 1
        self._results.score_rows += source.height
        self._results.failures += result.failures
        if place in self._plan.recorded:
            self._results.answers[place] = result.batch
        return result.batch


def _holds(value: StateValue) -> bool:
    if isinstance(value, Batch | pl.DataFrame):
        return value.height > 0
    if isinstance(value, Mapping):
        return any(map(_holds, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds, value))


def _origin(batch: Batch | None, row: int) -> int | None:
    """Return the number of the event that a row comes from, None where it comes from no single one."""
    if batch is None or ORIGIN not in batch.frame.columns or row >= batch.height:
        return None
    number: int | None = batch.frame[ORIGIN][row]
    return number
