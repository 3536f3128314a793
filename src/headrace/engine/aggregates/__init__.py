"""Aggregates, one file for each group of functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from headrace.engine.aggregates.arguments import Argument
from headrace.engine.aggregates.collect import Collect
from headrace.engine.aggregates.contract import Aggregator
from headrace.engine.aggregates.counts import CountDistinct, CountRows, CountValues
from headrace.engine.aggregates.extremes import Extreme
from headrace.engine.aggregates.percentiles import Percentile
from headrace.engine.aggregates.spread import Spread
from headrace.engine.aggregates.sums import Sum
from headrace.engine.aggregates.tops import CollectTop, TopOne
from headrace.engine.aggregates.users import UserAggregation
from headrace.models.aggregate import UserAggregate
from headrace.sql.plan import AggregateCall

__all__ = ["Aggregator", "aggregator", "partials_of"]

#: How the aggregator of a call is made, given its prefix and the script.
Maker = Callable[[AggregateCall, str, str], Aggregator]


def aggregator(
    call: AggregateCall, prefix: str, script: str, user: Mapping[str, UserAggregate]
) -> Aggregator:
    """Return what computes `call`, with columns whose names begin with `prefix`.

    `user` are the user aggregates by the names they are called by.
    """
    if call.user:
        return UserAggregation(call, prefix, script, user[call.function])
    return _MAKERS[call.function](call, prefix, script)


def partials_of(call: AggregateCall) -> Hashable:
    """Return what is equal for calls that have the same partial results, given the same prefix."""
    if call.user:
        return replace(call, column="")
    order, parameters = call.order, call.parameters
    if call.function.startswith("PERCENTILE_"):
        order, parameters = tuple(replace(part, descending=False) for part in order), ()
    function = _FAMILIES.get(call.function, call.function)
    return replace(call, column="", function=function, order=order, parameters=parameters)


def _argument(call: AggregateCall, script: str) -> Argument:
    return Argument(call.arguments[0], script)


def _count(call: AggregateCall, prefix: str, script: str) -> Aggregator:
    if not call.arguments:
        return CountRows(prefix)
    made = CountDistinct if call.distinct else CountValues
    return made(prefix, _argument(call, script))


def _sum(call: AggregateCall, prefix: str, script: str, *, mean: bool) -> Aggregator:
    return Sum(prefix, _argument(call, script), call, script, mean)


def _extreme(call: AggregateCall, prefix: str, script: str, *, greatest: bool) -> Aggregator:
    return Extreme(prefix, _argument(call, script), greatest)


def _spread(call: AggregateCall, prefix: str, script: str, *, sample: bool, root: bool) -> Aggregator:
    return Spread(prefix, _argument(call, script), call, script, sample, root)


def _percentile(call: AggregateCall, prefix: str, script: str, *, continuous: bool) -> Aggregator:
    (order,), (share,) = call.order, call.parameters
    argument = Argument(order.expression, script)
    return Percentile(prefix, argument, float(share), order.descending, continuous)


#: Functions with the partial results of another one.
_FAMILIES: Final = {"AVG": "SUM", "STDEV": "VAR", "STDEVP": "VAR", "VARP": "VAR"}

_MAKERS: Final[dict[str, Maker]] = {
    "AVG": partial(_sum, mean=True),
    "COLLECT": lambda call, prefix, script: Collect(prefix, _argument(call, script)),
    "COLLECTTOP": CollectTop,
    "COUNT": _count,
    "MAX": partial(_extreme, greatest=True),
    "MIN": partial(_extreme, greatest=False),
    "PERCENTILE_CONT": partial(_percentile, continuous=True),
    "PERCENTILE_DISC": partial(_percentile, continuous=False),
    "STDEV": partial(_spread, sample=True, root=True),
    "STDEVP": partial(_spread, sample=False, root=True),
    "SUM": partial(_sum, mean=False),
    "TOPONE": TopOne,
    "VAR": partial(_spread, sample=True, root=False),
    "VARP": partial(_spread, sample=False, root=False),
}
