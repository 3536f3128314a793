"""Aggregates, one file for each group of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.aggregates.contract import Aggregator
from headrace.engine.aggregates.counts import CountDistinct, CountRows, CountValues
from headrace.engine.aggregates.extremes import Extreme
from headrace.engine.aggregates.sums import Sum
from headrace.models.aggregate import UserAggregate
from headrace.sql.plan import AggregateCall, WholeRow

__all__ = ["Aggregator", "aggregator"]

#: How the aggregator of a call is made, given its prefix and the script.
Maker = Callable[[AggregateCall, str, str], Aggregator]


def aggregator(
    call: AggregateCall, prefix: str, script: str, user: Mapping[str, UserAggregate]
) -> Aggregator:
    """Return what computes `call`, with columns whose names begin with `prefix`.

    `user` are the user aggregates by the names they are called by.
    """
    return _MAKERS[call.function](call, prefix, script)


def _argument(call: AggregateCall, script: str) -> Argument:
    return Argument(call.arguments[0], script)


def _count(call: AggregateCall, prefix: str, script: str) -> Aggregator:
    if call.distinct:
        return CountDistinct(prefix, _argument(call, script))
    if not call.arguments or isinstance(call.arguments[0], WholeRow):
        return CountRows(prefix)
    return CountValues(prefix, _argument(call, script))


_MAKERS: Final[dict[str, Maker]] = {
    "AVG": lambda call, prefix, script: Sum(prefix, _argument(call, script), call, script, mean=True),
    "COUNT": _count,
    "MAX": lambda call, prefix, script: Extreme(prefix, _argument(call, script), greatest=True),
    "MIN": lambda call, prefix, script: Extreme(prefix, _argument(call, script), greatest=False),
    "SUM": lambda call, prefix, script: Sum(prefix, _argument(call, script), call, script, mean=False),
}
