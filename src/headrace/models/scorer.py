"""The contract of everything that a query calls in blocks: models and Python functions alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from headrace.errors import UserError
from headrace.events.batch import ValueType

Planes = dict[ValueType, pl.Series]


@dataclass(frozen=True, slots=True)
class Argument:
    """One SQL argument of a block of calls: `planes` of `height` rows each, stored as DTYPES says.

    In each row at most one plane is not NULL; a row whose planes are all NULL holds NULL.
    """

    planes: Mapping[ValueType, pl.Series]
    height: int

    @classmethod
    def of(cls, planes: Mapping[ValueType, pl.Series], height: int) -> Argument:
        """Return the argument without the planes that hold nothing."""
        return cls({type_: plane for type_, plane in planes.items() if plane.null_count() < height}, height)

    def slice(self, start: int, rows: int) -> Argument:
        """Return at most `rows` rows from row `start` on."""
        planes = {type_: plane.slice(start, rows) for type_, plane in self.planes.items()}
        return Argument.of(planes, max(0, min(rows, self.height - start)))


@dataclass(frozen=True, slots=True)
class Scored:
    """The results of a block of calls.

    `planes` are full length, one per type that occurs among the results; a row that is NULL in all of them
    has the result NULL. `errors` says, by row number in the block, why a row could not be scored; such a
    row goes to the dead letters with that reason, the others go on.
    """

    planes: Planes
    errors: dict[int, str] = field(default_factory=dict)


class Scorer(Protocol):
    """A model or function that a query calls by name, a block of rows at a time."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def arguments(self) -> int | None:
        """The number of its SQL arguments; None when it takes a varying number."""
        ...

    def score(self, arguments: Sequence[Argument], /) -> Scored:
        """Return the result of every row; all `arguments` have the same height.

        The result of a row does not depend on the other rows of the block. A row that cannot be scored is
        an entry of `errors`; raises UserError only for what no row could survive.
        """
        ...


def check_count(scorer: Scorer, arguments: Sequence[Argument]) -> None:
    """Raise UserError when a call gives another number of arguments than `scorer` takes."""
    wanted = scorer.arguments
    if wanted is not None and wanted != len(arguments):
        plural = "" if wanted == 1 else "s"
        raise UserError(f"{scorer.name} takes {wanted} argument{plural}, the query gives {len(arguments)}")
