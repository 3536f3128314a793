"""Binding the calls of aggregates, in a window of GROUP BY and OVER (LIMIT DURATION ...) alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from headrace.sql.catalogue import Entry, Parameter, find_entry
from headrace.sql.catalogue.signature import NUMBER
from headrace.sql.durations import whole_number
from headrace.sql.plan import AggregateCall, Expression, Literal, Order, WholeRow
from headrace.sql.scope import Names
from headrace.sql.syntax import place

#: Parameters that are constants of a call; any other is computed for each event.
_CONSTANTS: Final = ("count", "share")

#: The most rows that CollectTop may be asked for: each group keeps as many.
_MAX_TOP: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Form:
    """How an aggregate of the catalogue is written."""

    entry: Entry
    constant: Parameter | None
    value: Parameter | None

    @classmethod
    def of(cls, name: str) -> _Form:
        """Return the form of the aggregate called `name`."""
        entry = find_entry(name)
        assert entry is not None
        constants = [parameter for parameter in entry.parameters if parameter.name in _CONSTANTS]
        values = [parameter for parameter in entry.parameters if parameter.name not in _CONSTANTS]
        return cls(entry, constants[0] if constants else None, values[0] if values else None)

    @property
    def advice(self) -> str:
        """How to write a call."""
        return f"Write {self.entry.usage}."


#: What binds an argument: a value or, for a name of a source, its whole row.
Bind = Callable[[exp.Expr], Expression]


def is_ordered(name: str) -> bool:
    """Return whether `name` is an aggregate that takes its order in OVER."""
    entry = find_entry(name)
    return entry is not None and entry.ordered


class AggregateBinder:
    """Binds the calls of aggregates in one SELECT; `argument` binds what is computed for each event."""

    def __init__(self, names: Names, argument: Bind, whole_row: Callable[[exp.Expr], WholeRow]) -> None:
        self._names, self.argument, self._whole_row = names, argument, whole_row

    def call(self, node: exp.Anonymous, order: Sequence[exp.Expr] | None) -> AggregateCall:
        """Return the bound call of a built-in aggregate, with the ORDER BY of its OVER."""
        name = str(node.this.name).upper()
        form = _Form.of(name)
        if node.args["distinct"] and not form.entry.distinct:
            raise self._names.error("DISTINCT stands only in COUNT(DISTINCT ...)", node)
        if form.entry.ordered and not order:
            raise self._names.error(f"{node.this.name} needs OVER (ORDER BY ...)", node, form.advice)
        if order and not form.entry.ordered:
            raise self._names.error(f"{node.this.name} takes no ORDER BY", order[0], form.advice)
        written: list[exp.Expr] = list(node.expressions)
        parameters = (self._constant(node, form, form.constant, written),) if form.constant else ()
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

    def _constant(
        self, node: exp.Anonymous, form: _Form, constant: Parameter, written: list[exp.Expr]
    ) -> int | float:
        """Take the constant of an aggregate off its arguments."""
        if not written:
            raise self._names.error(f"{node.this.name} needs a {constant.name}", node, form.advice)
        first = written.pop(0)
        if constant.name == "share":
            share = self.argument(first)
            if not isinstance(share, Literal) or not isinstance(share.value, int | float):
                raise self._names.error("the share of a percentile must be a number", first, form.advice)
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
        needed = form.value is not None and not form.value.optional
        if len(written) > (form.value is not None) or (not written and needed):
            count = f"{len(written)} argument{'s' if len(written) != 1 else ''}"
            raise self._names.error(f"{name} cannot take {count}", node, form.advice)
        if name.upper() == "COUNT":
            return self._counted(node, written)
        if form.value is None:
            return ()
        if not written or isinstance(written[0], exp.Star):
            if not form.value.optional:
                raise self._names.error(f"{name} takes a value, not *", written[0], form.advice)
            return (self._whole_row(written[0] if written else node),)
        argument = self.argument(written[0])
        if form.value.types == NUMBER and not _may_be_number(argument):
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
        if len(nodes) > 1 and form.value is None:
            raise self._names.error("a percentile has one ORDER BY expression", nodes[1])
        return tuple(Order(self.argument(node.this), bool(node.args["desc"])) for node in nodes)


def _may_be_number(argument: Expression) -> bool:
    if isinstance(argument, WholeRow):
        return False
    if not isinstance(argument, Literal) or not isinstance(argument.value, str):
        return True
    return any(letter.isdigit() for letter in argument.value)
