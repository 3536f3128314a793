"""MATCH_RECOGNIZE: a row for each sequence of events of a partition that a pattern matches.

A match may begin at every event, and each event begins one match at most. It is reported at the first event
at which the pattern is complete; of several ways to match up to there it is the preferred one: the left
alternative before the right, a repeat that goes on before one that ends. All its events lie within
(last - limit, last].

The automaton runs event by event. What conditions need of an event alone is computed before, for a whole
slice, and measures after, for all of its matches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import polars as pl

from headrace.engine.equality import canonical
from headrace.engine.expressions import Planes, RowError, evaluate
from headrace.engine.matching.automaton import START, automaton
from headrace.engine.matching.conditions import Condition, Conditions, Values
from headrace.engine.matching.natives import planes_of
from headrace.engine.matching.running import Aggregates, States
from headrace.engine.operator import Slice, State
from headrace.errors import DataError
from headrace.events.batch import TIME, Batch, ValueType
from headrace.limits import MAX_OPEN_MATCHES
from headrace.sql.guards import columns
from headrace.sql.plan import Match

#: A way to match so far: its place in the pattern, and the states of the aggregates over its events.
_Way: TypeAlias = tuple[int, States]

#: A match that has begun: the time of its first event, that event's number, its ways in order of preference.
_Begun: TypeAlias = tuple[int, int, Sequence[_Way]]


class _Step(NamedTuple):
    """A place that an event can take next, the condition for it, and whether the pattern is complete then."""

    place: int
    condition: Condition
    completes: bool


#: The condition of a variable that is not defined.
_ANY: Final = Condition(None, None)


@dataclass(frozen=True, slots=True)
class _Events:
    """A slice: its rows, and for each row its time, its partition and what conditions and aggregates need."""

    batch: Batch
    times_us: list[int]
    partitions: Sequence[str]
    parts: list[Values]
    values: list[Values]


@dataclass(frozen=True, slots=True)
class _Found:
    """A match: the time of its last row, the number of its first event, the last row, its aggregates."""

    time_us: int
    number: int
    row: int
    states: States


class PatternMatch:
    """The operator of a Match.

    Its state is the number of events so far and, by partition, the matches that have begun and may still be
    completed within the limit.
    """

    def __init__(self, match: Match, script: str) -> None:
        self._match, self._script = match, script
        pattern = automaton(match.pattern)
        self._aggregates = Aggregates(match.aggregates, pattern.variables, script)
        self._conditions = Conditions(self._aggregates, script)
        tests = {item.variable: self._conditions.compiled(item.condition) for item in match.definitions}
        #: By place, where an event can go from there.
        self._steps = [
            tuple(
                _Step(place, tests.get(pattern.variables[place] or "", _ANY), pattern.completes[place])
                for place in places
            )
            for places in pattern.follows
        ]
        used = {column for item in match.definitions for column in columns(item.condition)}
        self._in_conditions = [
            index for index, column in enumerate(self._aggregates.columns) if column in used
        ]
        self._beginning: Sequence[_Way] = ((START, self._aggregates.initial),)
        self._keys = tuple(item.expression for item in match.partition)
        self._shown = tuple(item.expression for item in match.keys)
        self._measures = tuple(item.expression for item in match.measures)

    def initial(self) -> State:
        """Return the state before the first slice."""
        return {"events": 0, "begun": {}}

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the next state, and a row for each match that ends in the slice; raises DataError."""
        [part] = inputs
        begun: dict[str, list[_Begun]] = dict(_begun_of(state))
        number = _number_of(state)
        rows = None
        if part.batch is not None and part.batch.height:
            found = self._found(self._events(part.batch), begun, number)
            number += part.batch.height
            if found:
                rows = self._rows(part.batch, found)
        begun = _younger(begun, part.frontier_us - self._match.limit_us)
        return {"events": number, "begun": begun}, Slice(rows, part.frontier_us)

    def _events(self, batch: Batch) -> _Events:
        return _Events(
            batch,
            batch.frame.get_column(TIME).cast(pl.Int64).to_list(),
            _partitions(evaluate(self._keys, batch, self._script), batch.height),
            self._conditions.parts(batch),
            self._aggregates.values(batch),
        )

    # --- event by event -----------------------------------------------------------------------------------

    def _found(self, events: _Events, begun: dict[str, list[_Begun]], number: int) -> list[_Found]:
        """Return the matches that end in a slice, in order of time and of their first events.

        `number` is that of the first row. What has begun and is not complete is left in `begun`.
        """
        found: list[_Found] = []
        limit_us = self._match.limit_us
        ways_open = _ways_in(begun)
        for row, (time_us, partition) in enumerate(zip(events.times_us, events.partitions, strict=True)):
            open_: list[_Begun] = []
            before = begun.get(partition, ())
            for first_us, first, ways in (*before, (time_us, number + row, self._beginning)):
                if first_us <= time_us - limit_us:
                    continue
                match = self._next(ways, events, row)
                if isinstance(match, _Complete):
                    found.append(_Found(time_us, first, row, match.states))
                elif match:
                    open_.append((first_us, first, match))
            if open_:
                begun[partition] = open_
            elif before:
                del begun[partition]
            if open_ or before:
                ways_open += _count(open_) - _count(before)
                if ways_open > MAX_OPEN_MATCHES:
                    ways_open = self._room(begun, time_us)
        return sorted(found, key=lambda match: (match.time_us, match.number))

    def _next(self, ways: Sequence[_Way], events: _Events, row: int) -> Sequence[_Way] | _Complete:
        """Return what is left of `ways` with one more event, or the way that completes the pattern."""
        after: list[_Way] = []
        parts = events.parts
        for place, states in ways:
            for next_place, (part, holds), completes in self._steps[place]:
                if part is not None and parts[part][row] is not True:
                    continue
                taken = self._aggregates.taken(states, next_place, events.values, row)
                if holds is not None and not holds(parts, row, taken, events.batch):
                    continue
                if completes:
                    return _Complete(taken)
                after.append((next_place, taken))
        return after if len(after) < 2 else self._distinct(after)

    def _distinct(self, ways: Sequence[_Way]) -> Sequence[_Way]:
        """Return `ways` without those that can only do what a preferred one does."""
        first: dict[Any, _Way] = {}
        for way in ways:
            place, states = way
            # As text, because 1, 1.0 and true are equal and not the same.
            seen = repr([states[index] for index in self._in_conditions]) if self._in_conditions else ""
            first.setdefault((place, seen), way)
        return list(first.values())

    def _room(self, begun: dict[str, list[_Begun]], time_us: int) -> int:
        """Drop what is too old to be completed, and return how many ways are left; raises DataError."""
        younger = _younger(begun, time_us - self._match.limit_us)
        begun.clear()
        begun.update(younger)
        ways = _ways_in(begun)
        if ways > MAX_OPEN_MATCHES:
            raise DataError(
                f"MATCH_RECOGNIZE holds more than {MAX_OPEN_MATCHES} matches that have begun and are not "
                "complete. Make LIMIT DURATION shorter, add PARTITION BY, or make the conditions stricter"
            )
        return ways

    # --- rows ---------------------------------------------------------------------------------------------

    def _rows(self, batch: Batch, found: Sequence[_Found]) -> Batch:
        """Return the rows of matches, over the slice that they end in; raises RowError."""
        last = Batch(batch.frame[[match.row for match in found]], batch.columns)
        made = Batch(last.frame.select(TIME), ())
        for index, column in enumerate(self._aggregates.columns):
            values = [self._aggregates.value(match.states, index, match.row) for match in found]
            made = made.with_column(column, planes_of(values))
        keys = evaluate(self._shown, last, self._script)
        try:
            measures = evaluate(self._measures, made, self._script)
        except RowError as error:
            error.row = found[error.row].row
            raise
        rows = Batch(made.frame.select(TIME), ())
        items = (*self._match.keys, *self._match.measures)
        for item, planes in zip(items, (*keys, *measures), strict=True):
            rows = rows.with_column(item.name, planes)
        return rows


@dataclass(frozen=True, slots=True)
class _Complete:
    """The way that completes a pattern."""

    states: States


# --- states ----------------------------------------------------------------------------------------------


def _begun_of(state: State) -> Mapping[str, list[_Begun]]:
    begun: Any = state["begun"]
    return begun  # type: ignore[no-any-return]


def _number_of(state: State) -> int:
    number = state["events"]
    assert isinstance(number, int)
    return number


def _younger(begun: Mapping[str, list[_Begun]], oldest_us: int) -> dict[str, list[_Begun]]:
    """Return the matches that began after `oldest_us`."""
    kept = (
        (partition, [match for match in matches if match[0] > oldest_us])
        for partition, matches in begun.items()
    )
    return {partition: matches for partition, matches in kept if matches}


def _ways_in(begun: Mapping[str, Sequence[_Begun]]) -> int:
    return sum(map(_count, begun.values()))


def _count(matches: Sequence[_Begun]) -> int:
    return sum(len(ways) for _, _, ways in matches)


# --- partitions ------------------------------------------------------------------------------------------


def _partitions(keys: Sequence[Planes], height: int) -> Sequence[str]:
    """Return a text for each row that is the same for rows whose keys are equal, and for no others."""
    if not keys:
        return [""] * height
    texts = [_key_text(canonical(planes), height) for planes in keys]
    return pl.select(pl.concat_str(texts)).to_series().to_list()


def _key_text(planes: Planes, height: int) -> pl.Series:
    """Return ``type:length:value`` for each value, so that several together are told apart; NULL is ``-``."""
    texts = []
    for type_, plane in planes.items():
        stored = plane.cast(pl.Int64) if type_ is ValueType.DATETIME else plane
        written = pl.lit(stored.cast(pl.String))
        texts.append(pl.format("{}:{}:{}", pl.lit(type_.name), written.str.len_bytes(), written))
    return pl.select(pl.coalesce([*texts, pl.repeat("-", height, dtype=pl.String)])).to_series()
