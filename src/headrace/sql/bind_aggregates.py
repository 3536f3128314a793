"""Binding the calls of aggregates, in a window of GROUP BY and OVER (LIMIT DURATION ...) alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from headrace.sql.durations import whole_number
from headrace.sql.plan import AggregateCall, Expression, Literal, Order, WholeRow
from headrace.sql.scope import Names
from headrace.sql.syntax import place


@dataclass(frozen=True, slots=True)
class _Form:
    """How an aggregate is written: its value, or the whole event, its constant and its order."""

    usage: str
    value: bool = True
    whole: bool = False
    numbers: bool = False
    parameter: str = ""
    ordered: bool = False


_NUMBERS: Final = ("AVG", "STDEV", "STDEVP", "SUM", "VAR", "VARP")

_FORMS: Final[dict[str, _Form]] = {
    **{name: _Form(f"{name}(number)", numbers=True) for name in _NUMBERS},
    "COUNT": _Form("COUNT(*)", whole=True),
    "MIN": _Form("MIN(value)"),
    "MAX": _Form("MAX(value)"),
    "COLLECT": _Form("COLLECT() or COLLECT(value)", whole=True),
    "TOPONE": _Form("TopOne() OVER (ORDER BY value DESC)", whole=True, ordered=True),
    "COLLECTTOP": _Form(
        "CollectTop(3) OVER (ORDER BY value DESC)", whole=True, parameter="count", ordered=True
    ),
    "PERCENTILE_CONT": _Form(
        "PERCENTILE_CONT(0.5) OVER (ORDER BY value)", value=False, parameter="share", ordered=True
    ),
    "PERCENTILE_DISC": _Form(
        "PERCENTILE_DISC(0.5) OVER (ORDER BY value)", value=False, parameter="share", ordered=True
    ),
}

#: The most rows that CollectTop may be asked for: each group keeps as many.
_MAX_TOP: Final = 10_000

#: What binds an argument: a value or, for a name of a source, its whole row.
Bind = Callable[[exp.Expr], Expression]


def is_ordered(name: str) -> bool:
    """Return whether the aggregate `name`, in upper case, takes its order in OVER."""
    return name in _FORMS and _FORMS[name].ordered


class AggregateBinder:
    """Binds the calls of aggregates in one SELECT; `argument` binds what is computed for each event."""

    def __init__(self, names: Names, argument: Bind, whole_row: Callable[[exp.Expr], WholeRow]) -> None:
        self._names, self.argument, self._whole_row = names, argument, whole_row

    def call(self, node: exp.Anonymous, order: Sequence[exp.Expr] | None) -> AggregateCall:
        """Return the bound call of a built-in aggregate, with the ORDER BY of its OVER."""
        name = str(node.this.name).upper()
        form = _FORMS[name]
        if node.args["distinct"] and name != "COUNT":
            raise self._names.error("DISTINCT stands only in COUNT(DISTINCT ...)", node)
        if form.ordered and not order:
            raise self._names.error(
                f"{node.this.name} needs OVER (ORDER BY ...)", node, f"Write {form.usage}."
            )
        if order and not form.ordered:
            raise self._names.error(f"{node.this.name} takes no ORDER BY", order[0], f"Write {form.usage}.")
        written: list[exp.Expr] = list(node.expressions)
        parameters = (self._parameter(node, form, written),) if form.parameter else ()
        return AggregateCall(
            "",
            name,
            self._arguments(node, form, written),
            parameters,
            self._order(order or (), form),
            distinct=node.args["distinct"],
            span=place(node),
        )

    def user_call(self, node: exp.Anonymous, declared: str) -> AggregateCall:
        """Return the bound call of a user aggregate."""
        if node.args["distinct"]:
            raise self._names.error("DISTINCT stands only in COUNT(DISTINCT ...)", node)
        if not node.expressions:
            advice = f"Write {declared}(value), or {declared}(source) for the whole event."
            raise self._names.error(f"{declared} needs a value", node, advice)
        arguments = tuple(map(self.argument, node.expressions))
        return AggregateCall("", declared, arguments, user=True, span=place(node))

    def _parameter(self, node: exp.Anonymous, form: _Form, written: list[exp.Expr]) -> int | float:
        """Take the constant of an aggregate off its arguments."""
        if not written:
            raise self._names.error(
                f"{node.this.name} needs a {form.parameter}", node, f"Write {form.usage}."
            )
        first = written.pop(0)
        if form.parameter == "share":
            share = self.argument(first)
            if not isinstance(share, Literal) or not isinstance(share.value, int | float):
                raise self._names.error(
                    "the share of a percentile must be a number", first, f"Write {form.usage}."
                )
            if not 0 <= share.value <= 1:
                raise self._names.error(
                    "the share of a percentile lies in 0 to 1", first, "The median is 0.5."
                )
            return share.value
        count = whole_number(self._names, first)
        if not 1 <= count <= _MAX_TOP:
            raise self._names.error(f"the count of {node.this.name} lies in 1 to {_MAX_TOP}", first)
        return count

    def _arguments(
        self, node: exp.Anonymous, form: _Form, written: Sequence[exp.Expr]
    ) -> tuple[Expression, ...]:
        name = str(node.this.name)
        most = 1 if form.value else 0
        if len(written) > most or (not written and form.value and not form.whole):
            count = f"{len(written)} argument{'s' if len(written) != 1 else ''}"
            raise self._names.error(f"{name} cannot take {count}", node, f"Write {form.usage}.")
        if name.upper() == "COUNT":
            return self._counted(node, written)
        if not form.value:
            return ()
        if not written or isinstance(written[0], exp.Star):
            if not form.whole:
                raise self._names.error(f"{name} takes a value, not *", written[0], f"Write {form.usage}.")
            return (self._whole_row(written[0] if written else node),)
        argument = self.argument(written[0])
        if form.numbers and not _may_be_number(argument):
            raise self._names.error(f"{name} takes numbers", written[0], "This can never be one.")
        return (argument,)

    def _counted(self, node: exp.Anonymous, written: Sequence[exp.Expr]) -> tuple[Expression, ...]:
        """Return what COUNT counts: nothing for rows, whole rows only where they must be told apart."""
        distinct = node.args["distinct"]
        if not written or isinstance(written[0], exp.Star):
            if distinct:
                raise self._names.error(
                    "COUNT(DISTINCT ...) needs a value",
                    node,
                    "Write COUNT(DISTINCT column) or COUNT(DISTINCT source).",
                )
            return ()
        argument = self.argument(written[0])
        return () if isinstance(argument, WholeRow) and not distinct else (argument,)

    def _order(self, nodes: Sequence[exp.Expr], form: _Form) -> tuple[Order, ...]:
        if len(nodes) > 1 and not form.value:
            raise self._names.error("a percentile has one ORDER BY expression", nodes[1])
        return tuple(Order(self.argument(node.this), bool(node.args["desc"])) for node in nodes)


def _may_be_number(argument: Expression) -> bool:
    if isinstance(argument, WholeRow):
        return False
    if not isinstance(argument, Literal) or not isinstance(argument.value, str):
        return True
    return any(letter.isdigit() for letter in argument.value)
