"""Binding OVER: analytic functions, and aggregates that look back from each event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from sqlglot import exp

from headrace.errors import QueryError
from headrace.sql.bind_aggregates import AggregateBinder, Bind
from headrace.sql.catalogue import Group, find_entry
from headrace.sql.durations import duration_us, length_us, text_of, unit_us, whole_number
from headrace.sql.plan import (
    AggregateCall,
    AnalyticCall,
    Expression,
    Literal,
    UserCall,
    children,
)
from headrace.sql.scope import Names
from headrace.sql.syntax import place

_LIMIT_ADVICE: Final = (
    "Write OVER (PARTITION BY key LIMIT DURATION(minute, 5)); PARTITION BY may be left out."
)

_MODES: Final = ("spikes", "dips", "spikesanddips")

#: The largest history of an anomaly function: its cost per event is linear in it (reference, D).
_MAX_HISTORY: Final = 10_000


def is_analytic(name: str) -> bool:
    """Return whether `name` is an analytic function."""
    entry = find_entry(name)
    return entry is not None and entry.group is Group.ANALYTIC


def _advice(name: str) -> str:
    """Return how to write a call of the analytic function `name`."""
    entry = find_entry(name)
    return f"Write {entry.usage}." if entry else ""


class OverBinder:
    """Binds ``f(...) OVER (...)`` of one SELECT.

    `value` and `condition` bind what is computed for each event, without further analytic functions.
    """

    def __init__(self, names: Names, aggregates: AggregateBinder, value: Bind, condition: Bind) -> None:
        self._names, self._aggregates = names, aggregates
        self._value, self._condition = value, condition

    def analytic(self, node: exp.Anonymous, window: exp.Window | None) -> AnalyticCall:
        """Return the bound call of an analytic function; only ISFIRST can stand without OVER."""
        name = str(node.this.name).upper()
        if node.args["distinct"]:
            raise self._names.error("DISTINCT stands only in COUNT(DISTINCT ...)", node)
        if name == "ISFIRST":
            return self._is_first(node, window)
        if window is None:
            raise self._names.error(f"{node.this.name} needs OVER (...)", node, _advice(name))
        if window.args.get("order"):
            raise self._names.error(f"{node.this.name} takes no ORDER BY", window.args["order"][0])
        limit_us = self._limit_us(node, window)
        if name in ("LAG", "LAST"):
            call, default = self._lag(node, name)
        else:
            call, default = self._anomaly(node, name), None
        return self._over(node, call, window, limit_us, default)

    def aggregate(self, node: exp.Anonymous, window: exp.Window, user: str | None) -> AnalyticCall:
        """Return the bound call of an aggregate that looks back from each event."""
        limit_us = self._limit_us(node, window)
        if node.args["distinct"]:
            advice = "Count in a window of GROUP BY, or use COLLECT."
            raise self._names.error("COUNT(DISTINCT ...) has no OVER", node, advice)
        if user is None:
            call = self._aggregates.call(node, window.args.get("order"))
        elif window.args.get("order"):
            raise self._names.error(f"{user} takes no ORDER BY", window.args["order"][0])
        else:
            call = self._aggregates.user_call(node, user)
        return self._over(node, call, window, limit_us, None)

    def _over(
        self,
        node: exp.Anonymous,
        call: AggregateCall,
        window: exp.Window | None,
        limit_us: int | None,
        default: Expression | None,
    ) -> AnalyticCall:
        clauses = {} if window is None else window.args
        when = clauses.get("when")
        bound = AnalyticCall(
            call if window is None else replace(call, span=place(window)),
            tuple(map(self._value, clauses.get("partition_by") or ())),
            limit_us,
            None if when is None else self._condition(when),
            default,
        )
        for part in _parts(bound):
            self._refuse_call(part, str(node.this.name))
        return bound

    def _limit_us(self, node: exp.Anonymous, window: exp.Window) -> int:
        limit = window.args.get("limit")
        if limit is None:
            problem = f"{node.this.name} OVER needs LIMIT DURATION(unit, n)"
            raise self._names.error(problem, window.args["over"], _LIMIT_ADVICE)
        return duration_us(self._names, limit, "DURATION", "LIMIT DURATION")

    def _lag(self, node: exp.Anonymous, name: str) -> tuple[AggregateCall, Expression | None]:
        written: list[exp.Expr] = list(node.expressions)
        most = 3 if name == "LAG" else 2
        if not 1 <= len(written) <= most:
            raise self._count(node, name)
        value = self._value(written[0])
        offset = 0 if name == "LAST" else 1
        if name == "LAG" and len(written) > 1:
            offset = whole_number(self._names, written[1])
            if offset < 1:
                advice = "LAST(value) is the last one, the event itself included."
                raise self._names.error("the offset of LAG must be 1 or more", written[1], advice)
        default = self._value(written[-1]) if len(written) == most else None
        self._check_default(value, default, written[-1])
        return AggregateCall("", name, (value,), (offset,), span=place(node)), default

    def _check_default(self, value: Expression, default: Expression | None, node: exp.Expr) -> None:
        """Refuse a default whose type is surely another than the value's."""
        if isinstance(value, Literal) and isinstance(default, Literal) and value.type != default.type:
            raise self._names.error("the default must have the type of the value", node)

    def _is_first(self, node: exp.Anonymous, window: exp.Window | None) -> AnalyticCall:
        if len(node.expressions) != 2:
            raise self._count(node, "ISFIRST")
        unit, number = node.expressions
        interval_us = length_us(self._names, unit_us(self._names, unit), number, "the interval of ISFIRST")
        for clause in ("order", "limit"):
            if window is not None and window.args.get(clause):
                advice = _advice("ISFIRST")
                raise self._names.error(
                    "ISFIRST takes PARTITION BY and WHEN alone", window.args["over"], advice
                )
        call = AggregateCall("", "ISFIRST", (), (interval_us,), span=place(node))
        return self._over(node, call, window, None, None)

    def _anomaly(self, node: exp.Anonymous, name: str) -> AggregateCall:
        written: Sequence[exp.Expr] = node.expressions
        with_mode = name == "ANOMALYDETECTION_SPIKEANDDIP"
        if len(written) != 3 + with_mode:
            raise self._count(node, name)
        confidence = self._value(written[1])
        number = confidence.value if isinstance(confidence, Literal) else None
        if not isinstance(number, int | float) or isinstance(number, bool) or not 1 <= number <= 100:
            raise self._names.error("the confidence must be a number from 1 to 100", written[1])
        history = whole_number(self._names, written[2])
        if not 1 <= history <= _MAX_HISTORY:
            raise self._names.error(f"the history size lies in 1 to {_MAX_HISTORY}", written[2])
        parameters: tuple[int | float | str, ...] = (number, history)
        if with_mode:
            mode = written[3]
            text = (text_of(self._names, mode) or "").lower()
            if text not in _MODES:
                raise self._names.error("the mode must be 'spikes', 'dips' or 'spikesanddips'", mode)
            parameters = (*parameters, text)
        return AggregateCall("", name, (self._value(written[0]),), parameters, span=place(node))

    def _count(self, node: exp.Anonymous, name: str) -> QueryError:
        count = len(node.expressions)
        problem = f"{node.this.name} cannot take {count} argument{'s' if count != 1 else ''}"
        return self._names.error(problem, node, _advice(name))

    def _refuse_call(self, expression: Expression, name: str) -> None:
        if isinstance(expression, UserCall):
            problem = f"{name} OVER cannot call a function of yours"
            raise self._names.error(problem, expression.span, "Compute it in a WITH step.")
        for child in children(expression):
            if not isinstance(child, Literal):
                self._refuse_call(child, name)  # type: ignore[arg-type]


def _parts(call: AnalyticCall) -> Iterator[Expression]:
    """Yield the expressions of an analytic call."""
    yield from call.call.arguments
    yield from (order.expression for order in call.call.order)
    yield from call.partition
    yield from (part for part in (call.when, call.default) if part is not None)
