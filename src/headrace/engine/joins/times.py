"""What the time bounds of a stream join say: which times a row's partners have, and how long it must wait.

DATEDIFF counts the boundaries of its unit between two times, so a bound lets a left row at `s` pair with the
right rows of whole units: from the unit `low` units after that of `s` to the end of the unit `high` after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import polars as pl

from headrace.engine.expressions import Planes
from headrace.events.batch import DTYPES, ValueType
from headrace.sql.plan import (
    SOURCE_TIME,
    Analytic,
    Apply,
    ColumnRef,
    Effect,
    Filter,
    Join,
    Qualified,
    ReferenceJoin,
    Relation,
    TimeBound,
    qualified,
)
from headrace.sql.windows import ALIGNMENT_US

#: Columns of `Reach.partners`.
FIRST: Final = "@first"
LAST: Final = "@last"

_Time = TypeVar("_Time", int, pl.Expr)


@dataclass(frozen=True, slots=True)
class Reach:
    """The bounds of a join; `delays_us` says how far each bound's left time may lie before the row's own."""

    bounds: tuple[TimeBound, ...]
    delays_us: tuple[int, ...]

    @staticmethod
    def of(join: Join) -> Reach:
        """Return the reach of a join, from its bounds and from what its left side is made of."""
        delays = _delays(join.left)
        return Reach(join.bounds, tuple(_delay(bound, delays) for bound in join.bounds))

    def partners(self, times: Sequence[Planes], height: int) -> pl.DataFrame:
        """Return FIRST and LAST, the least and most time that a partner of each left row may have.

        `times` are the values of the bounds' left sides in `height` rows; where one is NULL so are both.
        Microseconds since 1970 UTC.
        """
        never = pl.Series([None], dtype=DTYPES[ValueType.DATETIME]).new_from_index(0, height)
        starts = pl.DataFrame(
            planes.get(ValueType.DATETIME, never).to_physical().alias(f"{place}")
            for place, planes in enumerate(times)
        ).select(_unit_start(pl.col(f"{place}"), bound.unit_us) for place, bound in enumerate(self.bounds))
        first = [pl.col(f"{at}") + bound.low * bound.unit_us for at, bound in enumerate(self.bounds)]
        last = [
            pl.col(f"{at}") + ((bound.high + 1) * bound.unit_us - 1) for at, bound in enumerate(self.bounds)
        ]
        if len(self.bounds) == 1:
            return starts.select(first[0].alias(FIRST), last[0].alias(LAST))
        known = pl.all_horizontal(pl.all().is_not_null())
        return starts.select(
            pl.when(known).then(pl.max_horizontal(first)).alias(FIRST),
            pl.when(known).then(pl.min_horizontal(last)).alias(LAST),
        )

    def forgotten_before(self, frontier_us: int) -> int:
        """Return the time before which no right row can pair with a left row at `frontier_us` or later."""
        return max(
            _unit_start(frontier_us - delay - (1 - bound.low) * bound.unit_us, bound.unit_us) + bound.unit_us
            for bound, delay in zip(self.bounds, self.delays_us, strict=True)
        )

    @property
    def absence_us(self) -> int:
        """How long after a left row its want of a partner is dated.

        It is the upper bound of DATEDIFF, the tightest where there are several; partners that would have to
        be earlier than the row are missed at its own time.
        """
        return max(0, min(bound.high * bound.unit_us for bound in self.bounds))


def _unit_start(time_us: _Time, unit_us: int) -> _Time:
    return (time_us - ALIGNMENT_US) // unit_us * unit_us + ALIGNMENT_US


def _delay(bound: TimeBound, delays: dict[str, int]) -> int:
    assert isinstance(bound.left, ColumnRef), "a bound counts from the SOURCE_TIME of a source"
    return delays[bound.left.name]


def _delays(relation: Relation) -> dict[str, int]:
    """Return how far the SOURCE_TIME of each source may lie before the time of a row of `relation`."""
    match relation:
        case Qualified():
            return {qualified(relation.name, SOURCE_TIME): 0}
        case Join():
            return _delays_of_pairs(relation)
        case ReferenceJoin():
            return _delays(relation.left)
        case Apply():
            return {**_delays(relation.source), qualified(relation.name, SOURCE_TIME): 0}
        case Filter() | Effect() | Analytic():
            return _delays(relation.source)
    return {}


def _delays_of_pairs(join: Join) -> dict[str, int]:
    """Return the delays behind a join, whose pairs have the later of both times.

    A right row is less than ``high + 1`` units behind the time that the bound counts from and less than
    ``1 - low`` units before it; a left row that comes alone is dated at most `high` units later.
    """
    left = _delays(join.left)
    behind = min((bound.high + 1) * bound.unit_us for bound in join.bounds)
    before = min((1 - bound.low) * bound.unit_us + _delay(bound, left) for bound in join.bounds)
    return {
        **{name: delay + max(behind, 0) for name, delay in left.items()},
        **{name: delay + max(before, 0) for name, delay in _delays(join.right).items()},
    }
