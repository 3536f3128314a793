"""Where a task with state stands in time: its inputs in order, and a program that is run up to the slowest.

Time passes with the events, and where a partition is quiet with the clock: a hub that says of a partition
that nothing more will be stamped before now lets windows close that no event would have closed.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from headrace.engine.arrivals import Piece, Rejected, add_tally
from headrace.engine.making import is_stateless
from headrace.engine.operator import FOREVER_US, NEVER_US, Slice, State
from headrace.engine.orderer import Orderer
from headrace.engine.program import Program, Results
from headrace.engine.snapshot import decode
from headrace.errors import Fatal, UserError
from headrace.events.batch import DTYPES, ORIGIN, TIME, Batch, ValueType
from headrace.events.watermark import Policy, Tally
from headrace.limits import MAX_WAITING_BYTES, MAX_WAITING_ROWS
from headrace.sql.plan import Scan, Script, scans

#: How far time has come for each quiet partition of each input.
Ticks = Mapping[str, Mapping[int, int]]

_INPUTS: Final = "inputs"
_PROGRAM: Final = "program"


def keeps_state(script: Script) -> bool:
    """Tell whether something of the events before is kept, so that they must be read in order of time."""
    return not is_stateless(script) or any(scan.over for scan in scans(script))


@dataclass(frozen=True, slots=True)
class Spread:
    """How an input comes that another stage has put in order: from so many places, spread as `rule` says."""

    places: int
    rule: str


class Timeline:
    """A program with state and the orderers of its inputs; `partitions` are those of each that it reads.

    Those of `spread` inputs hold packs.
    """

    def __init__(
        self,
        program: Program,
        partitions: Mapping[str, Sequence[int]],
        policy: Policy,
        spread: Mapping[str, Spread] = MappingProxyType({}),
    ) -> None:
        self._program, self._policy, self._spread = program.fresh(), policy, spread
        self._places = {name: {p: place for place, p in enumerate(own)} for name, own in partitions.items()}
        #: What the policy found of the events that were added, by input; whoever takes note of it clears it.
        self.tallies: dict[str, Tally] = {}
        self._begin(policy)

    def _begin(self, ruling: Policy) -> None:
        self._ruling = ruling
        script = self._program.script
        by_input = {scan.input: scan for scan in scans(script)}
        self._orderers = {
            name: Orderer(None, partitions=self._spread[name].places)
            if name in self._spread
            else _orderer(by_input[name], script, ruling, len(own))
            for name, own in self._places.items()
        }
        self._frontier_us = NEVER_US
        self.next_number = 0

    @property
    def frontier_us(self) -> int:
        """The time up to which everything was run."""
        return self._frontier_us

    @property
    def holds(self) -> bool:
        """Whether anything would come of time alone."""
        return self._program.holds or any(orderer.waits for orderer in self._orderers.values())

    def add(self, pieces: Sequence[Piece], next_number: int) -> list[Rejected]:
        """Put events in order, all numbered below `next_number`; returns those that have no place in time."""
        self.next_number = next_number
        return [reject for piece in pieces for reject in self._add(piece)]

    def pass_time(self, ticks: Ticks) -> None:
        """Learn how far time has come where nothing did."""
        for name, floors in ticks.items():
            for partition, floor_us in floors.items():
                self._orderers[name].pass_time(floor_us, self._places[name][partition])

    def ahead(self) -> set[tuple[str, int]]:
        """Return the inputs and partitions to read no more of, as too much waits for the others."""
        over = any(o.is_over(MAX_WAITING_ROWS, MAX_WAITING_BYTES) for o in self._orderers.values())
        if not over:
            return set()
        slowest_us = self._slowest_us()
        return {
            (name, partition)
            for name, places in self._places.items()
            if name not in self._spread  # there all places share a partition, and the other stage waits
            for partition, place in places.items()
            if self._orderers[name].frontier_us_of(place) > slowest_us
        }

    def past(self, ended: Container[tuple[str, int]]) -> Ticks:
        """Return ticks that let time pass in places that have ended, as far as it has come elsewhere."""
        direct = {name: places for name, places in self._places.items() if name not in self._spread}
        furthest_us = max(
            self._orderers[name].frontier_us_of(place)
            for name, places in direct.items()
            for place in places.values()
        )
        # Of arrivals, which have come so much further where nothing is late.
        floor_us = furthest_us + self._policy.late_us
        return {
            name: {partition: floor_us for partition in places if (name, partition) in ended}
            for name, places in direct.items()
        }

    def advance(self, first: int) -> Results:
        """Run the program up to the slowest partition; raises RowError.

        Rows of events before number `first` come from none that can be named any more.
        """
        slices = self._slices(self._slowest_us(), first)
        return Results() if slices is None else self._program.advance(slices)

    def rebuild(self, frontier_us: int, answers: Mapping[str, Batch]) -> None:
        """Keep what `advance` kept up to a frontier, with the answers that it got and without its rows."""
        slices = self._slices(frontier_us, FOREVER_US)
        if slices is not None:
            self._program.rebuild(slices, answers)

    def finish(self, first: int) -> Results:
        """Let time run out; then all is as in the beginning, for events of another time."""
        slices = self._slices(FOREVER_US, first)
        results = Results() if slices is None else self._program.advance(slices)
        number = self.next_number
        self._program = self._program.fresh()
        self._begin(self._ruling)
        self.next_number = number
        return results

    def _slices(self, frontier_us: int, first: int) -> dict[str, Slice] | None:
        before_us = self._frontier_us
        if frontier_us <= before_us:
            return None
        self._frontier_us = frontier_us
        return {
            name: _since(orderer.take(frontier_us), before_us, first)
            for name, orderer in self._orderers.items()
        }

    def _slowest_us(self) -> int:
        return min(orderer.frontier_us() for orderer in self._orderers.values())

    @property
    def state(self) -> dict[str, State]:
        """What a snapshot holds, in parts; it does not change when time goes on."""
        inputs: State = {name: _copied(orderer.state) for name, orderer in self._orderers.items()}
        own: State = {
            "frontier_us": self._frontier_us,
            "next_number": self.next_number,
            "inputs": inputs,
            "rules": self._rules,
            "policy": [getattr(self._ruling, part.name) for part in fields(Policy)],
        }
        return {_INPUTS: own, _PROGRAM: self._program.state}

    def restore(self, parts: Mapping[str, bytes]) -> None:
        """Go on from a snapshot, until `settle` by the policy it was made under.

        Raises UserError if another plan wrote it, Fatal if it is damaged.
        """
        if _PROGRAM not in parts or _INPUTS not in parts:
            raise Fatal(f"the saved state is damaged: of its parts only {', '.join(parts)} are there")
        self._program.restore(parts[_PROGRAM])
        own: Mapping[str, Any] = decode(parts[_INPUTS])
        if own.get("rules", {}) != self._rules:
            raise UserError("its inputs were repartitioned by another PARTITION BY when the state was saved")
        self._begin(Policy(*own["policy"]) if "policy" in own else self._policy)
        for name, orderer in self._orderers.items():
            state = own["inputs"][name]
            if len(state["partitions"]) != orderer.partitions:
                raise UserError(
                    f"input '{name}' had {len(state['partitions'])} partitions when the state was saved, and "
                    f"has {orderer.partitions} now: its hub was made anew"
                )
            orderer.restore(state)
        self._frontier_us, self.next_number = own["frontier_us"], own["next_number"]

    def settle(self) -> bool:
        """Go by the job's own policy from now on; tell whether that is another than before.

        What an epoch read under one policy must not be judged again by another: it may have been written.
        """
        if self._ruling == self._policy:
            return False
        states = {name: orderer.state for name, orderer in self._orderers.items()}
        frontier_us, number = self._frontier_us, self.next_number
        self._begin(self._policy)
        for name, state in states.items():
            self._orderers[name].restore(state)
        self._frontier_us, self.next_number = frontier_us, number
        return True

    @property
    def _rules(self) -> dict[str, str]:
        return {name: spread.rule for name, spread in self._spread.items()}

    def _add(self, piece: Piece) -> list[Rejected]:
        orderer, poll = self._orderers[piece.poll.input], piece.poll
        if piece.place is not None:
            _add_in_order(orderer, piece, piece.place)
            return []
        assert piece.batch is not None
        assert piece.arrival_us is not None
        before = _copied(orderer.state)
        place = self._places[poll.input][poll.partition]
        dropped = orderer.add(piece.batch, piece.arrival_us, place)
        if dropped is None:
            add_tally(self.tallies, poll.input, orderer.tally)
            return []
        origins = piece.batch.frame[ORIGIN]
        reasons = dict(dropped.select(ORIGIN, "reason").iter_rows())
        whole = ~origins.is_in(list(reasons))
        if whole.sum() != piece.batch.height - dropped.height:
            # An event's rows stay or go together.
            orderer.restore(before)
            again = Piece(poll, piece.batch.filter(whole), piece.arrival_us.filter(whole))
            return [*(Rejected(*item) for item in reasons.items()), *self._add(again)]
        add_tally(self.tallies, poll.input, orderer.tally)
        return [Rejected(*item) for item in reasons.items()]


def _add_in_order(orderer: Orderer, piece: Piece, place: int) -> None:
    """Take what a place has sent: rows that were judged there, and how far they reach."""
    if piece.batch is not None:
        orderer.add(piece.batch, piece.batch.frame[TIME].to_physical(), place)
    if piece.frontier_us is not None:
        orderer.pass_time(piece.frontier_us, place)


def _orderer(scan: Scan, script: Script, policy: Policy, partitions: int) -> Orderer:
    # Without TIMESTAMP BY an event's time is its arrival, so that none is late.
    own = None if scan.timestamp is None else policy
    return Orderer(own, scan.over, script.text, partitions=partitions)


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of an orderer as it is now: the batches that wait are in a list that grows."""
    partitions: Sequence[Sequence[Any]] = state["partitions"]
    return {"partitions": [[*rest, list(waiting)] for *rest, waiting in partitions]}


def _since(part: Slice, before_us: int, first: int) -> Slice:
    """Return a slice that begins at a frontier, in which only the events from `first` on are numbered."""
    if part.batch is None:
        return part
    frame = part.batch.frame
    if frame[ORIGIN].min() < first:  # type: ignore[operator]
        frame = frame.with_columns(pl.when(pl.col(ORIGIN) >= first).then(pl.col(ORIGIN)))
    if frame[TIME].to_physical()[0] < before_us:
        # A policy that was made more patient since lets in what is earlier than all that was told already.
        before = pl.lit(before_us, pl.Int64).cast(DTYPES[ValueType.DATETIME])
        frame = frame.with_columns(pl.max_horizontal(TIME, before))
    return Slice(Batch(frame, part.batch.columns), part.frontier_us)
