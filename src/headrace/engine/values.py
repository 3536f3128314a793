"""What an expression compiles to: one Polars expression for each type that its values can have.

Values carry types and columns do not, so a compiled expression is a set of planes as a column is: in each
row at most one plane is not NULL. An operator that takes several types is computed once per combination of
planes and the results are merged, so rows are never cut apart by type and put together again.

Nothing that is computed may raise, because Polars computes both sides of a CASE for every row. What fails
is a `Fault`: an expression that is true in the rows that fail. CASE, AND, OR and COALESCE narrow the faults
of what they guard, and only the faults left at the end stop the job.

A rule that keeps results independent of how rows were cut into batches: in a row where a value is NULL
nothing may depend on the type that other rows have in that column.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Protocol

import polars as pl

from headrace.events.batch import DTYPES, ValueType
from headrace.sql.plan import Call, Expression

#: Numbers, from the type of lowest precedence to that of the highest.
NUMBERS: Final = (ValueType.BIT, ValueType.BIGINT, ValueType.FLOAT)

#: `Value.constant` of what is not a literal.
VARIES: Final = object()

FALSE: Final = pl.lit(False)
TRUE: Final = pl.lit(True)


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows that an expression cannot be computed for: those where `where` is true (NULL counts as false).

    `problem` makes the sentence about one such row from the Python values of `shown` in that row, given as
    pairs of value and type (both None for NULL); `advice` says what to write instead.
    """

    where: pl.Expr
    node: Expression
    problem: Callable[..., str]
    shown: tuple[Value, ...] = ()
    advice: str = ""

    def within(self, condition: pl.Expr) -> Fault:
        """Return the same fault, only in rows where `condition` is true."""
        return replace(self, where=self.where & condition)


@dataclass(frozen=True, slots=True)
class Value:
    """A compiled expression.

    `declared` is the type that the query itself fixes (by a literal, CAST or function), whatever the data
    are; `weight` bounds how much is computed again where the value is used; `sources` names the Polars
    columns that the planes are, where they are nothing but columns.
    """

    planes: Mapping[ValueType, pl.Expr]
    faults: tuple[Fault, ...] = ()
    declared: ValueType | None = None
    constant: object = VARIES
    weight: int = 1
    sources: Mapping[ValueType, str] | None = None

    @property
    def present(self) -> pl.Expr:
        """True where the value is not NULL; never NULL itself."""
        if self.constant is not VARIES:
            return FALSE if self.constant is None else TRUE
        return any_of(plane.is_not_null() for plane in self.planes.values())


class Scope(Protocol):
    """What a kernel may ask of the compiler."""

    @property
    def wide(self) -> bool:
        """Whether a text may hold characters outside the Basic Multilingual Plane."""

    def once(self, expression: pl.Expr, key: Hashable = None) -> pl.Expr:
        """Return an expression for the same values that is computed only once, however often it is used.

        What is asked for again under the same `key` is the same.
        """


#: How a function of the catalogue is compiled, given its call and its compiled arguments.
Kernel = Callable[[Scope, Call, Sequence[Value]], Value]


def any_of(conditions: Iterable[pl.Expr]) -> pl.Expr:
    """Return the OR of `conditions`; false when there is none."""
    return _joined(list(conditions), pl.any_horizontal, FALSE)


def all_of(conditions: Iterable[pl.Expr]) -> pl.Expr:
    """Return the AND of `conditions`; true when there is none."""
    return _joined(list(conditions), pl.all_horizontal, TRUE)


def _joined(conditions: list[pl.Expr], join: Callable[[list[pl.Expr]], pl.Expr], empty: pl.Expr) -> pl.Expr:
    if len(conditions) < 2:
        return conditions[0] if conditions else empty
    return join(conditions)


def when(condition: pl.Expr, then: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
    """Return `then` where `condition` is true, else `otherwise`.

    A condition that is the same in every row is settled here: Polars may give what it chooses as one row.
    """
    if condition.meta.root_names():
        return pl.when(condition).then(then).otherwise(otherwise)
    return then if pl.select(condition).item() else otherwise


def null(type_: ValueType) -> pl.Expr:
    """Return NULL as a plane of `type_`."""
    return pl.lit(None, dtype=DTYPES[type_])


def of_type(type_: ValueType, plane: pl.Expr, faults: Iterable[Fault] = ()) -> Value:
    """Return a value that always has `type_`, as the query says."""
    return Value({type_: plane}, tuple(faults), declared=type_)


def faults_of(values: Iterable[Value]) -> tuple[Fault, ...]:
    """Return the faults of all `values`, in order."""
    return tuple(fault for value in values for fault in value.faults)


def merged(parts: Iterable[Value]) -> Value:
    """Return the value of whichever part is not NULL; in each row at most one is."""
    planes: dict[ValueType, list[pl.Expr]] = {}
    faults: list[Fault] = []
    for part in parts:
        faults.extend(part.faults)
        for type_, plane in part.planes.items():
            planes.setdefault(type_, []).append(plane)
    return Value(
        {type_: same[0] if len(same) == 1 else pl.coalesce(same) for type_, same in planes.items()},
        tuple(faults),
    )


def first_present(values: Sequence[Value]) -> Value:
    """Return, in each row, the first of `values` that is not NULL, with its own type; without faults."""
    types = {type_ for value in values for type_ in value.planes}
    if len(types) <= 1:
        return merged(replace(value, faults=()) for value in values)
    parts = []
    taken = FALSE
    for value in values:
        free = ~taken
        planes = {type_: when(free, plane, null(type_)) for type_, plane in value.planes.items()}
        parts.append(Value(planes))
        taken = taken | value.present
    return merged(parts)


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of a value, as an operator sees it."""

    type: ValueType
    values: pl.Expr
    constant: object = VARIES

    @property
    def shown(self) -> Value:
        """The plane as a value that a fault can show."""
        return Value({self.type: self.values})


def combined(operands: Sequence[Value], combine: Callable[..., Value]) -> Value:
    """Return `combine(*planes)` over every combination of one plane of each operand, merged.

    `combine` must give NULL and no fault where a plane is NULL. The faults of the operands stay.
    """
    choices = (
        [Plane(type_, plane, value.constant) for type_, plane in value.planes.items()] for value in operands
    )
    parts = [combine(*choice) for choice in product(*choices)]
    value = merged(parts)
    declared = parts[0].declared if len(parts) == 1 and all(value.declared for value in operands) else None
    return replace(value, faults=(*faults_of(operands), *value.faults), declared=declared)
