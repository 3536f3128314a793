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
from dataclasses import replace
from typing import Any, Final

from sqlglot import exp

from headrace.errors import QueryError, Span, did_you_mean
from headrace.events.batch import ValueType
from headrace.limits import MAX_QUERY_NODES
from headrace.sql.bind_aggregates import Bind
from headrace.sql.bind_calls import CallBinder, Clause, literal_fault
from headrace.sql.catalogue.conversions import FOREIGN_TYPES, TYPES
from headrace.sql.durations import is_system
from headrace.sql.logic import joined
from headrace.sql.made_columns import WINDOW_COLUMN, MadeColumns
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
    WholeRow,
    children,
)
from headrace.sql.scope import Names, Scope, Source
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
    """Binds the expressions of one clause of a SELECT.

    Aggregates and analytic functions become columns of `made`, which all clauses of the SELECT share.
    """

    def __init__(
        self, names: Names, scope: Scope, made: MadeColumns | None = None, clause: Clause = "row"
    ) -> None:
        self._names, self._scope = names, scope
        self._made, self._clause = made or MadeColumns(), clause
        self._calls = CallBinder(names, scope, self.value, self._made, clause, self._inside)
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

    def _inside(self, clause: Clause) -> tuple[Bind, Bind]:
        """Return what binds a value and a condition inside a call of this clause."""
        inner = ExpressionBinder(self._names, self._scope, self._made, clause)
        return inner.value, inner.condition

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
            source = self._scope.source(first.name) if parts else None
            if source is not None:
                bound, taken = replace(self._column_of(source, parts[0]), span=ends[0]), 1
            elif parts and (hidden := self._scope.hidden(first.name)):
                raise self._hidden(hidden, first, parts[0])
            elif not first.args["quoted"] and first.name.upper() == "SYSTEM":
                return self._system(node, parts)
            else:
                bound, taken = self._column(first), 0
        elif is_system(base, "WINDOW"):
            return self._window_id(node, parts)
        else:
            bound, taken = self.value(base), 0
        for part, span in zip(parts[taken:], ends[taken:], strict=True):
            bound = FieldRef(bound, part.name, span)
        return bound

    def _hidden(self, source: Source, first: exp.Identifier, second: exp.Identifier) -> QueryError:
        """Return the error for ``input.column`` where FROM gives the input an alias."""
        alias, name, column = (source.name, first.name, second.name)
        advice = f"Write {alias}.{column}; a column called {name} is {alias}.{name}."
        return self._names.error(f"{name} is called {alias} in this SELECT", first, advice)

    def _system(self, node: exp.Expr, parts: Sequence[exp.Identifier]) -> Expression:
        if [part.name.upper() for part in parts] == ["TIMESTAMP"]:
            return SystemTimestamp(place(node))
        if not parts:
            raise self._names.error("System alone is no column", node, "Write [System] for a column.")
        advice = (
            did_you_mean(f"System.{parts[0].name}", ("System.Timestamp",)) or "There is System.Timestamp()."
        )
        raise self._names.error(f"there is no System.{parts[0].name}", node, advice)

    def _window_id(self, node: exp.Expr, parts: Sequence[exp.Identifier]) -> Expression:
        if [part.name.upper() for part in parts] != ["ID"]:
            raise self._names.error("a window has only an Id", node, "Write System.Window().Id.")
        if self._clause != "group":
            advice = "Write it in the SELECT list of a GROUP BY with Windows(Window('id', ...), ...)."
            raise self._names.error("System.Window().Id stands only where windows are grouped", node, advice)
        self._made.window_asked = True
        return ColumnRef(WINDOW_COLUMN, place(node))

    def _column(self, identifier: exp.Identifier) -> Expression:
        """Return the column that a name alone means; with several sources only one of them may have it."""
        sources = self._scope.sources
        if self._scope.single:
            return self._column_of(sources[0], identifier)
        name = self._names.checked(identifier)
        having = [source for source in sources if source.column(name) is not None]
        named = self._scope.source(name)
        if named is not None and not having:
            return WholeRow(named.name, place(identifier))
        possible = having or [source for source in sources if source.may_have(name)]
        if len(possible) > 1:
            written = " or ".join(f"{source.name}.{name}" for source in possible)
            problem = f"several sources could have a column '{name}'"
            raise self._names.error(problem, identifier, f"Write {written}.")
        if possible:
            return self._column_of(possible[0], identifier)
        return self._no_column(identifier, [c for s in sources for c in (s.columns or {}).values()])

    def _column_of(self, source: Source, identifier: exp.Identifier) -> Expression:
        """Return a column of one source."""
        name = self._names.checked(identifier)
        known = name if source.columns is None else source.column(name)
        if known is None:
            return self._no_column(identifier, list((source.columns or {}).values()), source.name)
        return ColumnRef(self._scope.spelled(source, known), place(identifier))

    def _no_column(self, identifier: exp.Identifier, columns: Sequence[str], source: str = "") -> Expression:
        """Return the text that an unknown name in double quotes means; refuse any other."""
        name, span = identifier.name, place(identifier)
        if self._names.text[span.start] == '"':
            return self._text(identifier, name)
        advice = did_you_mean(name, columns) or f"It has: {', '.join(columns[:_COLUMNS_SHOWN])}."
        if name.casefold() in self._scope.aliases:
            if self._clause == "group":
                return ColumnRef(name, span)  # HAVING may name it
            advice = (
                "It is an alias of this SELECT list; write the expression itself, or make it a WITH step."
            )
        problem = f"{source} has no column '{name}'" if source else f"no source has a column '{name}'"
        raise self._names.error(problem, identifier, advice)

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
        operand = self.value(node.this)
        type_, safe = type_named(self._names, node.args["to"]), isinstance(node, exp.TryCast)
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


def type_named(names: Names, node: exp.Expr) -> ValueType:
    """Return the type that a word such as ``nvarchar(max)`` names."""
    type_ = TYPES.get(node.name)
    if type_ is None:
        foreign = FOREIGN_TYPES.get(node.name.partition("(")[0])
        advice = f"Write {foreign}." if foreign else did_you_mean(node.name, TYPES)
        raise names.error(
            f"there is no type {node.name}", node, advice or f"The types are {', '.join(TYPES)}."
        )
    return type_
