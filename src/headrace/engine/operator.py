"""What every operator with state is: a pure step from slices of time to a slice of time.

A slice holds all the rows of a relation in a stretch of time, and time never goes back: the next slice begins
at the frontier of the one before. So what an operator gives for a stretch does not depend on how the events
were cut into slices, as long as it gives, for a slice up to its frontier, all its rows up to a frontier of
its own and keeps the rest as state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import polars as pl

from headrace.events.batch import Batch

#: The frontier behind the last event: time has run to infinity. Far enough from the end of an int64 that
#: windows of days can be added.
FOREVER_US: Final = 2**62

#: The frontier before the first event, as far away.
NEVER_US: Final = -(2**62)

#: What an operator keeps: plain data and frames, so that it can be written down without pickle.
State: TypeAlias = Mapping[str, "StateValue"]
StateValue: TypeAlias = (
    bool | int | float | str | Sequence["StateValue"] | State | pl.DataFrame | Batch | None
)


@dataclass(frozen=True, slots=True)
class Slice:
    """All rows with `frontier before` <= TIME < `frontier_us`, in order of time; None when there are none.

    Rows of one time stand in the order of their arrival, or in an order that only depends on such rows.
    """

    batch: Batch | None
    frontier_us: int


class Operator(Protocol):
    """An operator with state, made for one relation of a plan."""

    def initial(self) -> State:
        """Return the state before the first slice."""
        ...

    def advance(self, state: State, inputs: Sequence[Slice], /) -> tuple[State, Slice]:
        """Return the next state, and the rows that are certain now, up to a frontier.

        `inputs` are the slices of the relation's sources, in order, all with the same frontier. What is given
        is not changed. Raises RowError, whose row is one of the first input's batch.
        """
        ...
