"""Binding expressions: sqlglot's nodes to plan values, names resolved, literals checked.

A condition (comparison, AND, OR, NOT, LIKE, IN, BETWEEN, IS NULL) is no value and a value is no condition, as
in T-SQL; so nothing depends on what a comparison with NULL would be worth.

Double quotes, which the reference leaves open, make a name wherever a column of that name is possible: over
an input, whose columns nobody knows, always; over a WITH step whose columns are all known and hold no such
name they make a text. Single quotes always make a text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlglot import exp

from headrace.errors import Span, did_you_mean
from headrace.events.batch import ValueType
from headrace.limits import MAX_QUERY_NODES
from headrace.sql.bind_calls import CallBinder, literal_fault
from headrace.sql.catalogue.conversions import FOREIGN_TYPES, TYPES
from headrace.sql.logic import joined
from headrace.sql.plan import (
    Binary,
    BinaryOperator,
    Case,
    Cast,
    ColumnRef,
    Expression,
    FieldRef,
    In,
    IsNull,
    Like,
    Literal,
    SystemTimestamp,
    Unary,
    children,
)
from headrace.sql.scope import Names, Scope
from headrace.sql.syntax import place

_ARITHMETIC: Final[dict[type[exp.Expr], BinaryOperator]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.BitwiseAnd: "&",
    exp.BitwiseOr: "|",
    exp.BitwiseXor: "^",
}
_COMPARISONS: Final[dict[type[exp.Expr], BinaryOperator]] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}

_BIGINT_END: Final = 2**63
_DIGITS: Final = re.compile(r"[0-9]+\Z")

#: Columns that an error lists.
_COLUMNS_SHOWN: Final = 12

_NULL: Final = Literal(None, None)


class ExpressionBinder:
    """Binds the expressions of one SELECT."""

    def __init__(self, names: Names, scope: Scope) -> None:
        self._names, self._scope = names, scope
        self._calls = CallBinder(names, scope, self.value)
        self._sizes: dict[int, tuple[Expression, int]] = {}
        self._written_again = 0
        self._values: dict[type[exp.Expr], Callable[[Any], Expression]] = {
            **dict.fromkeys(_ARITHMETIC, self._arithmetic),
            exp.Anonymous: self._calls.bind,
            exp.BitwiseNot: lambda node: Unary("~", self.value(node.this), place(node)),
            exp.Case: self._case,
            exp.Cast: self._cast,
            exp.Column: self._path,
            exp.Dot: self._path,
            exp.Literal: self._literal,
            exp.Neg: self._negation,
            exp.Null: lambda node: Literal(None, None, place(node)),
            exp.Star: self._star,
            exp.TryCast: self._cast,
            exp.Window: self._calls.bind_window,
        }
        self._conditions: dict[type[exp.Expr], Callable[[Any], Expression]] = {
            **dict.fromkeys(_COMPARISONS, self._comparison),
            exp.And: lambda node: joined("AND", [self.condition(part) for part in node.expressions]),
            exp.Between: self._between,
            exp.In: self._in,
            exp.Is: lambda node: IsNull(self.value(node.this), place(node)),
            exp.Like: lambda node: Like(self.value(node.this), self.value(node.expression), place(node)),
            exp.Not: lambda node: Unary("NOT", self.condition(node.this), place(node)),
            exp.Or: lambda node: joined("OR", [self.condition(part) for part in node.expressions]),
        }

    def value(self, node: exp.Expr) -> Expression:
        """Return the bound value of `node`; raises QueryError where it is none."""
        bind = self._values.get(type(node))
        if bind is None:
            raise self._names.error(
                "a condition is no value here", node, "Write CASE WHEN condition THEN 1 ELSE 0 END."
            )
        return bind(node)

    def condition(self, node: exp.Expr) -> Expression:
        """Return the bound condition of `node`; raises QueryError where it is none."""
        bind = self._conditions.get(type(node))
        if bind is None:
            self.value(node)
            written = self._names.written(node)
            advice = f"Write {written} = 1." if len(written) < 40 else "Compare it with something."
            raise self._names.error("this is a value, and a condition is needed", node, advice)
        return bind(node)

    # --- values -------------------------------------------------------------------------------------------

    def _literal(self, node: exp.Literal) -> Literal:
        return self._number(node, node.this) if not node.is_string else self._text(node, node.this)

    def _text(self, node: exp.Expr, text: str) -> Literal:
        return Literal(text, ValueType.TEXT, place(node))

    def _number(self, node: exp.Expr, text: str) -> Literal:
        """Return the bigint or float that `text`, which may have a minus, stands for."""
        if _DIGITS.match(text.removeprefix("-")):
            # Length first: Python refuses to read thousands of digits.
            if len(text) > 20 or not -_BIGINT_END <= int(text) < _BIGINT_END:
                advice = "Write it with a decimal point to make it a float."
                raise self._names.error("this number does not fit a bigint", node, advice)
            return Literal(int(text), ValueType.BIGINT, place(node))
        try:
            number = float(text)
        except ValueError:
            raise self._names.error("this is no number", node) from None
        if math.isinf(number):
            raise self._names.error("this number does not fit a float", node)
        return Literal(number, ValueType.FLOAT, place(node))

    def _negation(self, node: exp.Neg) -> Expression:
        operand = node.this
        if isinstance(operand, exp.Literal) and not operand.is_string and _DIGITS.match(operand.this):
            return self._number(node, f"-{operand.this}")
        return Unary("-", self.value(operand), place(node))

    def _arithmetic(self, node: exp.Binary) -> Expression:
        left, right = self.value(node.this), self.value(node.expression)
        return Binary(_ARITHMETIC[type(node)], left, right, place(node))

    def _star(self, node: exp.Star) -> Expression:
        raise self._names.error("* stands only alone in a SELECT list or in COUNT(*)", node)

    def _path(self, node: exp.Column | exp.Dot) -> Expression:
        """Return what a name with its dots means: a column, a property, System.Timestamp or a quoted text."""
        parts: list[exp.Identifier] = []
        ends: list[Span] = []
        base: exp.Expr = node
        while isinstance(base, exp.Dot):
            if isinstance(base.expression, exp.Star):
                return self._star(base.expression)
            parts.append(base.expression)
            ends.append(place(base))
            base = base.this
        parts.reverse()
        ends.reverse()
        if isinstance(base, exp.Column):
            first: exp.Identifier = base.this
            if parts and self._scope.is_source(first.name):
                bound, taken = self._column(parts[0]), 1
            elif not first.args["quoted"] and first.name.upper() == "SYSTEM":
                return self._system(node, parts)
            else:
                bound, taken = self._column(first), 0
        else:
            bound, taken = self.value(base), 0
        for part, span in zip(parts[taken:], ends[taken:], strict=True):
            bound = FieldRef(bound, part.name, span)
        return bound

    def _system(self, node: exp.Expr, parts: Sequence[exp.Identifier]) -> Expression:
        if [part.name.upper() for part in parts] == ["TIMESTAMP"]:
            return SystemTimestamp(place(node))
        if not parts:
            raise self._names.error("System alone is no column", node, "Write [System] for a column.")
        advice = (
            did_you_mean(f"System.{parts[0].name}", ("System.Timestamp",)) or "There is System.Timestamp()."
        )
        raise self._names.error(f"there is no System.{parts[0].name}", node, advice)

    def _column(self, identifier: exp.Identifier) -> Expression:
        name = self._names.checked(identifier)
        span = place(identifier)
        if self._scope.columns is None:
            return ColumnRef(name, span)
        known = self._scope.column(name)
        if known is not None:
            return ColumnRef(known, span)
        if self._names.text[span.start] == '"':
            return self._text(identifier, name)
        columns = list(self._scope.columns.values())
        advice = did_you_mean(name, columns) or f"It has: {', '.join(columns[:_COLUMNS_SHOWN])}."
        if name.casefold() in self._scope.aliases:
            advice = (
                "It is an alias of this SELECT list; write the expression itself, or make it a WITH step."
            )
        raise self._names.error(f"{self._scope.name} has no column '{name}'", identifier, advice)

    def _case(self, node: exp.Case) -> Expression:
        operand = None if node.this is None else self.value(node.this)
        branches: list[tuple[Expression, Expression]] = []
        for branch in node.args["ifs"]:
            if operand is None:
                condition = self.condition(branch.this)
            else:
                if branches:
                    self._weigh(operand, node)
                condition = Binary("=", operand, self.value(branch.this), place(branch.this))
            branches.append((condition, self.value(branch.args["true"])))
        default = node.args["default"]
        return Case(tuple(branches), _NULL if default is None else self.value(default), place(node))

    def _cast(self, node: exp.Cast) -> Expression:
        operand, to = self.value(node.this), node.args["to"]
        type_, safe = TYPES.get(to.name), isinstance(node, exp.TryCast)
        if type_ is None:
            foreign = FOREIGN_TYPES.get(to.name.partition("(")[0])
            advice = f"Write {foreign}." if foreign else did_you_mean(to.name, TYPES)
            advice = advice or f"The types are {', '.join(TYPES)}."
            raise self._names.error(f"there is no type {to.name}", to, advice)
        if not safe and (fault := literal_fault(operand, frozenset({type_}))):
            raise self._names.error(f"this text is no {type_}: the job would stop", node, fault)
        return Cast(operand, type_, safe, place(node))

    # --- conditions ---------------------------------------------------------------------------------------

    def _comparison(self, node: exp.Binary) -> Expression:
        left, right = self.value(node.this), self.value(node.expression)
        return Binary(_COMPARISONS[type(node)], left, right, place(node))

    def _in(self, node: exp.In) -> Expression:
        return In(self.value(node.this), tuple(map(self.value, node.expressions)), place(node))

    def _between(self, node: exp.Between) -> Expression:
        operand, span = self.value(node.this), place(node)
        self._weigh(operand, node)
        low = Binary(">=", operand, self.value(node.args["low"]), span)
        high = Binary("<=", operand, self.value(node.args["high"]), span)
        return Binary("AND", low, high, span)

    # --- size ---------------------------------------------------------------------------------------------

    def _weigh(self, operand: Expression, node: exp.Expr) -> None:
        """Count an operand that is written out once more, and refuse what would explode."""
        self._written_again += self._size(operand)
        if self._written_again > MAX_QUERY_NODES:
            advice = "Compute the operand in a WITH step."
            raise self._names.error("BETWEEN and CASE are nested too often in their operands", node, advice)

    def _size(self, expression: Expression) -> int:
        known = self._sizes.get(id(expression))
        if known is None:
            below = sum(self._size(child) for child in children(expression) if isinstance(child, Expression))
            known = (expression, 1 + below)
            self._sizes[id(expression)] = known
        return known[1]
