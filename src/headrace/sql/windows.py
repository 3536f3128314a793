"""Windows, and the calls of aggregates and analytic functions over them; times are microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.errors import Span
from headrace.sql.expression import NOWHERE, Expression

#: Where windows are counted from, in microseconds since 1970 UTC: midnight of 1 January 0001, a Monday, so
#: that windows of a day begin at midnight and windows of a week on Mondays.
ALIGNMENT_US: Final = -62_135_596_800_000_000


@dataclass(frozen=True, slots=True)
class Hopping:
    """Windows (end - size, end] that end at ALIGNMENT_US + `offset_us` + every multiple of `hop_us`.

    Tumbling where hop and size are the same.
    """

    size_us: int
    hop_us: int
    offset_us: int = 0
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Sliding:
    """Windows (end - size, end] that end wherever the content of a group changes (reference, B4)."""

    size_us: int
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Windows that end `timeout_us` after their last event or at a check of `longest_us` (reference, B5).

    Checks are at the multiples of `longest_us` since ALIGNMENT_US. Sessions are independent for each
    combination of `keys`, otherwise one for all events.
    """

    timeout_us: int
    longest_us: int
    keys: tuple[Expression, ...] = ()
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A window for each instant that has events."""

    id: str | None = None


Window = Hopping | Sliding | Session | Snapshot


@dataclass(frozen=True, slots=True)
class Order:
    """One expression of an ORDER BY; NULL is the least value."""

    expression: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """An aggregate or analytic function, by its catalogue name (upper case), as the hidden column `column`.

    `arguments` are computed per row; COUNT(*) has none. `parameters` are the constants: n of CollectTop, the
    share of a percentile, the offset of LAG and LAST (0), the interval of ISFIRST in microseconds;
    confidence, history size and mode of the anomaly functions. With `user` it is a declared user aggregate.
    """

    column: str
    function: str
    arguments: tuple[Expression, ...] = ()
    parameters: tuple[int | float | str, ...] = ()
    order: tuple[Order, ...] = ()
    distinct: bool = False
    user: bool = False
    span: Span = NOWHERE


@dataclass(frozen=True, slots=True)
class GroupKey:
    """An expression of GROUP BY, as the hidden column `column`."""

    column: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class AnalyticCall:
    """`call` OVER (PARTITION BY `partition` LIMIT DURATION `limit_us` WHEN `when`).

    `default` is the value of LAG and LAST where there is no such event. ISFIRST has no limit.
    """

    call: AggregateCall
    partition: tuple[Expression, ...] = ()
    limit_us: int | None = None
    when: Expression | None = None
    default: Expression | None = None
