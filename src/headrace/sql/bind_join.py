"""ON: the bounds in time of a join of streams, the columns that must be equal, and what else must hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from headrace.events.batch import HIDDEN
from headrace.sql.bind_calls import source_time
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.durations import LONGEST_US, UNITS_US, is_call, whole_number
from headrace.sql.guards import columns, holds_call
from headrace.sql.logic import joined
from headrace.sql.plan import Binary, ColumnRef, Expression, Partition, TimeBound
from headrace.sql.scope import Names, Scope, Source
from headrace.sql.syntax import place

_ADVICE: Final = "Write AND DATEDIFF(minute, {}, {}) BETWEEN 0 AND 5 with the names of both sources."

#: A comparison of a DATEDIFF with n as the least and most that it allows.
_RANGES: Final[dict[type[exp.Expr], tuple[int | None, int | None]]] = {
    exp.EQ: (0, 0),
    exp.LT: (None, -1),
    exp.LTE: (None, 0),
    exp.GT: (1, None),
    exp.GTE: (0, None),
}
_TURNED: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.EQ: exp.EQ,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """An ON taken apart; `after` calls functions and is looked at once rows are joined."""

    bounds: tuple[TimeBound, ...]
    equal: tuple[tuple[Expression, Expression], ...]
    rest: Expression | None
    after: Expression | None


@dataclass(frozen=True, slots=True)
class _Difference:
    """``low <= DATEDIFF(unit, left, right) <= high`` as written in ON; None is no bound."""

    node: exp.Expr
    left: Source
    unit_us: int
    low: int | None
    high: int | None


class JoinBinder:
    """Binds the ON of one join: `scope` holds the sources so far, the joined one last."""

    def __init__(self, names: Names, scope: Scope, binder: ExpressionBinder) -> None:
        self._names, self._scope, self._binder = names, scope, binder
        self._right = scope.sources[-1]

    def streams(self, on: exp.Expr, *, outer: bool) -> Condition:
        """Return the condition of a join with a stream; the time must be bounded, by seven days at most."""
        differences: list[_Difference] = []
        others: list[exp.Expr] = []
        for part in _conjuncts(on):
            difference = self._difference(part)
            if difference is None:
                others.append(part)
            else:
                differences.append(difference)
        bounds = tuple(self._bounds(differences))
        if not bounds:
            advice = _ADVICE.format(self._scope.sources[-2].name, self._right.name)
            raise self._names.error("a join of streams must bound the time between them", on, advice)
        return self._condition(others, bounds, outer=outer)

    def reference(self, on: exp.Expr, *, outer: bool) -> Condition:
        """Return the condition of a join with reference data, which has no time."""
        for part in on.find_all(exp.Anonymous):
            if is_call(part, "DATEDIFF") and any(self._named(node) for node in part.expressions[1:]):
                advice = "Leave DATEDIFF out: an event joins the reference data of its time."
                raise self._names.error("a join with reference data takes no time bound", part, advice)
        return self._condition(_conjuncts(on), (), outer=outer)

    def check_partitions(
        self, left: Sequence[Partition], right: Partition | None, condition: Condition, on: exp.Expr
    ) -> None:
        """Refuse a join of partitioned sources that does not equate their keys."""
        for partition in left if right is not None else ():
            for key, other in zip(partition.keys, right.keys if right else (), strict=False):
                if (key, other) not in condition.equal:
                    advice = f"Add AND {self._text(key)} = {self._text(other)}."
                    raise self._names.error("sources with PARTITION BY are joined on those keys", on, advice)

    def check_substreams(
        self,
        left: Sequence[Sequence[Expression]],
        right: Sequence[Expression],
        condition: Condition,
        on: exp.Expr,
    ) -> None:
        """Refuse a join of streams whose TIMESTAMP BY has OVER keys that are not equated."""
        for keys in left:
            for key, other in zip(keys, right, strict=False):
                if (key, other) not in condition.equal:
                    advice = f"Add AND {self._text(key)} = {self._text(other)}."
                    problem = "streams with TIMESTAMP BY ... OVER are joined on those keys"
                    raise self._names.error(problem, on, advice)

    def _text(self, expression: Expression) -> str:
        """Return an expression as a message shows it; a column with its source."""
        if isinstance(expression, ColumnRef):
            return expression.name.removeprefix(HIDDEN).replace(HIDDEN, ".")
        return self._names.text[expression.span.start : expression.span.end]

    def _condition(
        self, parts: Sequence[exp.Expr], bounds: tuple[TimeBound, ...], *, outer: bool
    ) -> Condition:
        equal: list[tuple[Expression, Expression]] = []
        rest: list[Expression] = []
        after: list[Expression] = []
        for part in parts:
            bound = self._binder.condition(part)
            pair = self._pair(bound)
            if pair is not None and not (holds_call(pair[1]) and self._right.kind == "reference"):
                equal.append(pair)
            elif not holds_call(bound):
                rest.append(bound)
            elif outer:
                problem = "ON of a LEFT JOIN can call a function of yours only for a value of one stream"
                raise self._names.error(problem, part, "Compute it in a WITH step.")
            else:
                after.append(bound)
        both = (joined("AND", found) if found else None for found in (rest, after))
        return Condition(bounds, tuple(equal), *both)

    def _pair(self, bound: Expression) -> tuple[Expression, Expression] | None:
        """Return what an equation compares, left source first; None for what is no equation of both sides."""
        if not isinstance(bound, Binary) or bound.operator != "=":
            return None
        sides = [self._scope.sources_of(columns(side)) for side in (bound.left, bound.right)]
        on_right = [[source is self._right for source in sources] for sources in sides]
        if not all(on_right):
            return None  # a constant
        if not any(on_right[0]) and all(on_right[1]):
            return bound.left, bound.right
        if all(on_right[0]) and not any(on_right[1]):
            return bound.right, bound.left
        return None

    # --- time ---------------------------------------------------------------------------------------------

    def _difference(self, node: exp.Expr) -> _Difference | None:
        """Return the bound that one condition of ON sets, None if it is none."""
        if isinstance(node, exp.Between):
            call, low, high = node.this, node.args["low"], node.args["high"]
            if not self._is_difference(call):
                return None
            return self._bounded(node, call, whole_number(self._names, low), whole_number(self._names, high))
        if type(node) not in _RANGES:
            return None
        kind, call, number = type(node), node.this, node.expression
        if not self._is_difference(call):
            kind, call, number = _TURNED[kind], number, call
        if not self._is_difference(call):
            return None
        value = whole_number(self._names, number)
        low, high = (None if end is None else value + end for end in _RANGES[kind])
        return self._bounded(node, call, low, high)

    def _is_difference(self, node: exp.Expr) -> bool:
        """Return whether `node` is a DATEDIFF of two sources."""
        return (
            is_call(node, "DATEDIFF")
            and len(node.expressions) == 3
            and all(self._named(part) for part in node.expressions[1:])
        )

    def _named(self, node: exp.Expr) -> Source | None:
        source = self._scope.source(node.name) if isinstance(node, exp.Column) else None
        return None if source is None or source.column(source.name) is not None else source

    def _bounded(self, node: exp.Expr, call: exp.Expr, low: int | None, high: int | None) -> _Difference:
        unit, first, second = call.expressions
        word = unit.name.lower() if isinstance(unit, exp.Column) else ""
        if word not in UNITS_US:
            self._binder.value(call)
            advice = "Bound the time in days, hours, minutes, seconds or less."
            raise self._names.error(f"a join cannot be bounded in {unit.name}", unit, advice)
        start, end = self._named(first), self._named(second)
        assert start is not None
        assert end is not None
        if start is self._right:
            start, end = end, start
            low, high = (None if high is None else -high), (None if low is None else -low)
        if end is not self._right or start is self._right:
            advice = f"Name {self._right.name} and a source before it."
            raise self._names.error("this DATEDIFF does not bound the joined source", call, advice)
        if start.kind == "reference":
            raise self._names.error(f"{start.name} is reference data and has no time", call)
        size = UNITS_US[word]
        for number in (low, high):
            if number is not None and abs(number) * size > LONGEST_US:
                raise self._names.error("the time of a join may be bounded by 7 days at most", node)
        if low is not None and high is not None and low > high:
            raise self._names.error("nothing lies between these bounds", node, "Write the smaller one first.")
        return _Difference(node, start, size, low, high)

    def _bounds(self, differences: Sequence[_Difference]) -> Iterator[TimeBound]:
        """Yield a bound for each source and unit; with each source it must have both ends."""
        for left in dict.fromkeys(difference.left.name for difference in differences):
            same = [difference for difference in differences if difference.left.name == left]
            for end, what in (("low", "least"), ("high", "most")):
                if all(getattr(difference, end) is None for difference in same):
                    problem = f"the time between {left} and {self._right.name} has no bound at its {what}"
                    advice = f"Write DATEDIFF(minute, {left}, {self._right.name}) BETWEEN 0 AND 5."
                    raise self._names.error(problem, same[0].node, advice)
            # A bound whose upper end is written comes first: it says when a row without a pair is certain.
            for unit in dict.fromkeys(d.unit_us for d in sorted(same, key=lambda d: d.high is None)):
                longest = LONGEST_US // unit
                lows = [d.low for d in same if d.unit_us == unit and d.low is not None]
                highs = [d.high for d in same if d.unit_us == unit and d.high is not None]
                time = source_time(self._scope, same[0].left, place(same[0].node))
                yield TimeBound(time, unit, max(lows, default=-longest), min(highs, default=longest))


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """Return what a tree of ANDs joins."""
    if isinstance(node, exp.And):
        return [part for side in node.expressions for part in _conjuncts(side)]
    return [node]
