"""From a bound expression and the types of its columns to Polars expressions.

Logic is three-valued: a comparison with NULL is unknown, NOT of unknown is unknown, and unknown is taken
for false where it is used: WHERE and CASE do not take the row, and a comparison that is selected or given
to a function is the bit 0, never NULL. So ``a = 1``, ``a <> 1``, ``NOT a = 1``, ``a NOT IN (1)`` and ``a
NOT LIKE 'x'`` all leave out the rows where a is NULL. That choice is made here and nowhere else.

AND, OR, IN and CASE look at their parts from left to right, and a part that is not needed any more cannot
fail: ``x IS NOT NULL AND CAST(x AS bigint) > 5`` is safe. AND and OR go on only where the parts so far are
true, respectively not true; a part that fails behind an unknown one is unknown itself.

CASE gives the value of the branch taken, with its own type; where the query itself fixes every branch to be
a number (by literals, CAST and functions) it is the highest of these types: bit, then bigint, then float.

What is used several times, or has grown large, is computed once into a column of its own, a stage before
the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import polars as pl

from headrace.engine.casts import BIT, TEXT, cast, wanted
from headrace.engine.functions import KERNELS
from headrace.engine.functions.arithmetic import arithmetic, bitwise, complement, negated
from headrace.engine.functions.comparisons import COMPARISONS, compare
from headrace.engine.functions.patterns import like
from headrace.engine.functions.records import column_value
from headrace.engine.values import (
    NUMBERS,
    Fault,
    Value,
    any_of,
    faults_of,
    null,
    of_type,
    when,
)
from headrace.events.batch import DTYPES, TIME, Column, ValueType
from headrace.sql import plan
from headrace.sql.logic import Connective, operands
from headrace.sql.plan import (
    Binary,
    Call,
    Case,
    Cast,
    ColumnRef,
    Expression,
    FieldRef,
    In,
    IsNull,
    Like,
    SystemTimestamp,
    Unary,
    UserCall,
    WholeRow,
    children,
)

#: Conditions of an AND or OR that can fail are joined in groups of so many, each computed once.
_GROUP: Final = 16

#: A value heavier than this is computed once before it is used again.
_MAX_WEIGHT: Final = 12


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an expression can read.

    `columns` holds the columns for each name that is written, best match first; `timed` says whether rows
    have a System.Timestamp(); `read` grows by what is read from records and arrays.
    """

    columns: Mapping[str, tuple[Column, ...]]
    timed: bool
    read: dict[Expression, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """Expressions ready to run: columns to add to the frame, stage by stage, and then the values."""

    stages: tuple[tuple[pl.Expr, ...], ...]
    values: tuple[Value, ...]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What can go wrong, in the order of the expressions."""
        return faults_of(self.values)


#: What an expression is wanted as: a value of whatever type, a value of one type, or a condition.
Wanted = ValueType | Literal["value", "condition"]


def compile_expressions(
    expressions: Sequence[Expression], wants: Sequence[Wanted], inputs: Inputs, prefix: str, *, wide: bool
) -> Compiled:
    """Compile `expressions`; a condition is a bit that is NULL where it is unknown.

    `prefix` begins the names of the columns that the stages add; `wide` is as in `positions`.
    """
    compiler = _Compiler(inputs, prefix, expressions, wide=wide)
    values = []
    for expression, want in zip(expressions, wants, strict=True):
        if want == "condition":
            values.append(of_type(BIT, *compiler.condition(expression)))
        elif want == "value":
            values.append(compiler.value(expression))
        else:
            values.append(wanted(compiler, expression, compiler.value(expression), ValueType(want)))
    return Compiled(compiler.finished_stages(), tuple(values))


class _Compiler:
    """The compilation of a list of expressions over the same inputs; the Scope of its kernels."""

    def __init__(self, inputs: Inputs, prefix: str, expressions: Sequence[Expression], *, wide: bool) -> None:
        self.wide = wide
        self._inputs = inputs
        self._prefix = prefix
        self._kept: dict[Hashable, pl.Expr] = {}
        self._stages: list[list[pl.Expr]] = []
        self._stage_of: dict[str, int] = {}
        self._values: dict[Expression, Value] = {}
        self._uses = _uses(expressions)

    def once(self, expression: pl.Expr, key: Hashable = None) -> pl.Expr:
        if key is not None:
            if key not in self._kept:
                self._kept[key] = self.once(expression)
            return self._kept[key]
        names = expression.meta.root_names()
        if not names:
            constant = pl.select(expression).to_series()
            return pl.lit(constant.item(0), dtype=constant.dtype)
        stage = max(self._stage_of.get(name, -1) for name in names) + 1
        if stage == len(self._stages):
            self._stages.append([])
        name = f"{self._prefix}once{len(self._stage_of)}"
        self._stages[stage].append(expression.alias(name))
        self._stage_of[name] = stage
        return pl.col(name)

    def finished_stages(self) -> tuple[tuple[pl.Expr, ...], ...]:
        return tuple(tuple(stage) for stage in self._stages)

    def value(self, node: Expression) -> Value:
        """Return the value of an expression, computed once if it is written several times."""
        known = self._values.get(node)
        if known is None:
            known = self._compiled(node)
            if self._uses[node] > 1:
                known = self._light(known, most=1)
            self._values[node] = known
        return known

    def operand(self, node: Expression) -> Value:
        """Return the value of an expression that is to be computed with, at little cost each time."""
        return self._light(self.value(node))

    def _light(self, value: Value, most: int = _MAX_WEIGHT) -> Value:
        if value.weight <= most:
            return value
        planes = {type_: self.once(plane) for type_, plane in value.planes.items()}
        return replace(value, planes=planes, weight=1)

    def _compiled(self, node: Expression) -> Value:
        if node in self._inputs.read:
            return self._inputs.read[node]
        match node:
            case plan.Literal():
                return _literal(node)
            case ColumnRef():
                return column_value(self._inputs.columns[node.name])
            case SystemTimestamp():
                planes = {ValueType.DATETIME: TIME} if self._inputs.timed else {}
                return Value({type_: pl.col(name) for type_, name in planes.items()}, sources=planes)
            case FieldRef() | WholeRow() | UserCall():
                raise AssertionError(f"{node!r} must be read, or called as an effect, before it is compiled")
        return replace(self._computed(node), weight=_weight(node))

    def _computed(self, node: Expression) -> Value:
        match node:
            case Cast():
                return cast(self, node, self.operand(node.operand), node.type, safe=node.safe)
            case Call():
                arguments = [self.operand(argument) for argument in node.arguments]
                return KERNELS[node.function](self, node, arguments)
            case Case():
                return self._case(node)
            case Binary(operator="+" | "-" | "*" | "/" | "%"):
                return arithmetic(self, node, self.operand(node.left), self.operand(node.right))
            case Binary(operator="&" | "|" | "^"):
                return bitwise(self, node, self.operand(node.left), self.operand(node.right))
            case Unary(operator="-"):
                return negated(self, node, self.operand(node.operand))
            case Unary(operator="~"):
                return complement(self, node, self.operand(node.operand))
        condition, faults = self.condition(node)
        return of_type(BIT, condition.fill_null(value=False), faults)

    def condition(self, node: Expression) -> tuple[pl.Expr, tuple[Fault, ...]]:
        """Return whether a predicate is true, false or (NULL) unknown, and its faults."""
        match node:
            case Binary(operator="AND"):
                return self._connected("AND", map(self.condition, operands(node, "AND")))
            case Binary(operator="OR"):
                return self._connected("OR", map(self.condition, operands(node, "OR")))
            case Binary(operator=symbol) if symbol in COMPARISONS:
                return self._comparison(symbol, node, node.left, node.right)
            case Unary(operator="NOT"):
                condition, faults = self.condition(node.operand)
                return ~condition, faults
            case IsNull():
                value = self.operand(node.operand)
                return ~value.present, value.faults
            case In():
                return self._in(node)
            case Like():
                return self._like(node)
        raise AssertionError(f"{node!r} is no condition")

    def _comparison(
        self, symbol: str, node: Expression, left: Expression, right: Expression
    ) -> tuple[pl.Expr, tuple[Fault, ...]]:
        compared = compare(self, symbol, node, (left, self.operand(left)), (right, self.operand(right)))
        return compared.planes[BIT], compared.faults

    def _connected(
        self, operator: Connective, parts: Iterable[tuple[pl.Expr, tuple[Fault, ...]]]
    ) -> tuple[pl.Expr, tuple[Fault, ...]]:
        """Return conditions joined by AND or OR, the faults of each only where those before leave it open."""
        join = pl.all_horizontal if operator == "AND" else pl.any_horizontal
        group: list[pl.Expr] = []
        faults: tuple[Fault, ...] = ()
        for condition, more in parts:
            known = join(group).fill_null(value=False) if group else None
            group.append(condition)
            if more and known is not None:
                if operator == "AND":
                    failing = any_of(fault.where for fault in more)
                    group[-1] = when(failing, null(BIT), condition)
                open_ = known if operator == "AND" else ~known
                faults = (*faults, *(fault.within(open_) for fault in more))
            else:
                faults = (*faults, *more)
            if faults and len(group) == _GROUP:
                group = [self.once(join(group))]
        return (group[0] if len(group) == 1 else join(group)), faults

    def _in(self, node: In) -> tuple[pl.Expr, tuple[Fault, ...]]:
        plain = self._in_literals(node)
        if plain is not None:
            return plain
        return self._connected("OR", (self._comparison("=", node, node.operand, item) for item in node.items))

    def _in_literals(self, node: In) -> tuple[pl.Expr, tuple[Fault, ...]] | None:
        """Return the membership in a set of literals, all of the one type that the operand has too."""
        operand = self.operand(node.operand)
        literals = [item for item in node.items if isinstance(item, plan.Literal)]
        types = {item.type for item in literals} | set(operand.planes)
        if len(literals) < len(node.items) or len(types) != 1 or not operand.planes:
            return None
        ((type_, plane),) = operand.planes.items()
        if not plane.meta.root_names():
            return None  # of a constant Polars would make a column of one row
        members = pl.Series([item.value for item in literals], dtype=DTYPES[type_])
        return plane.is_in(members.implode()), operand.faults

    def _like(self, node: Like) -> tuple[pl.Expr, tuple[Fault, ...]]:
        text = wanted(self, node.operand, self.operand(node.operand), TEXT)
        pattern = wanted(self, node.pattern, self.operand(node.pattern), TEXT)
        matches = like(text.planes[TEXT], pattern.planes[TEXT], self.value(node.pattern).constant)
        return matches, faults_of([text, pattern])

    def _case(self, node: Case) -> Value:
        conditions: list[pl.Expr] = []
        faults: list[Fault] = []
        values = [self.value(then) for _, then in node.branches] + [self.value(node.otherwise)]
        declared = _common_type(values)
        for (predicate, _), value in zip(node.branches, values, strict=False):
            condition, failing = self.condition(predicate)
            condition = self.once(condition) if _weight(predicate) > _MAX_WEIGHT else condition
            open_ = ~any_of(earlier.fill_null(value=False) for earlier in conditions)
            faults.extend(fault.within(open_) if conditions else fault for fault in failing)
            faults.extend(fault.within(open_ & condition) for fault in value.faults)
            conditions.append(condition)
        open_ = ~any_of(earlier.fill_null(value=False) for earlier in conditions)
        faults.extend(fault.within(open_) for fault in values[-1].faults)
        if declared is not None:
            values = [cast(self, node, value, declared, safe=True) for value in values]
        types = dict.fromkeys(type_ for value in values for type_ in value.planes)
        planes = {
            type_: _chosen(conditions, [value.planes.get(type_, null(type_)) for value in values])
            for type_ in types
        }
        return Value(planes, tuple(faults), declared=declared)


def _literal(node: plan.Literal) -> Value:
    if node.type is None or node.value is None:
        return Value({}, constant=None)
    plane = pl.lit(node.value, dtype=DTYPES[node.type])
    return Value({node.type: plane}, declared=node.type, constant=node.value)


def _common_type(values: Sequence[Value]) -> ValueType | None:
    """Return the one type of `values` or, of numbers, the highest, if the query fixes the types of all."""
    types = {value.declared for value in values if value.constant is not None}
    if len(types) == 1:
        return types.pop()
    numbers = [type_ for type_ in NUMBERS if type_ in types]
    return numbers[-1] if len(numbers) == len(types) > 0 else None


def _chosen(conditions: Sequence[pl.Expr], planes: Sequence[pl.Expr]) -> pl.Expr:
    """Return the plane of the first condition that is true, else the last plane."""
    result = planes[-1]
    for condition, plane in zip(reversed(conditions), reversed(planes[:-1]), strict=True):
        result = when(condition, plane, result)
    return result


def _weight(node: Expression) -> int:
    """Return a bound of how much is computed for `node`, its heavy parts being computed before."""
    if isinstance(node, plan.Literal | ColumnRef | FieldRef | SystemTimestamp):
        return 1
    weights = [_weight(child) for child in children(node) if isinstance(child, Expression)]
    return 2 + 2 * sum(weight if weight <= _MAX_WEIGHT else 1 for weight in weights)


def _uses(expressions: Sequence[Expression]) -> Counter[Expression]:
    """Return how often each expression is written that is worth computing only once."""
    uses: Counter[Expression] = Counter()

    def count(node: Expression) -> None:
        if isinstance(node, plan.Literal | ColumnRef | SystemTimestamp):
            return
        uses[node] += 1
        if uses[node] == 1:
            for child in children(node):
                if isinstance(child, Expression):
                    count(child)

    for expression in expressions:
        count(expression)
    return uses
