"""What the catalogue knows of a function that needs more than the values of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import Group, Parameter, ResultRule

#: A row, or an event, as `headrace.query` takes and gives it.
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A query over `events`, whatever its input is called, and the `rows` that it gives, in order.

    `metadata` is a record for each event, where the function reads it.
    """

    query: str
    events: tuple[Row, ...]
    rows: tuple[Row, ...]
    metadata: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """An aggregate, analytic or window function, one that stands behind APPLY, or one of the system's.

    `name` is spelled as in the reference, `other_names` mean the same. `parameters` are what stands in its
    parentheses; with `variadic` the last may be repeated. `usage` is its syntax as a reader sees it.
    `distinct` says that it takes DISTINCT, `ordered` that it needs OVER (ORDER BY ...), `looks_back` that it
    can stand before OVER (LIMIT DURATION(...)), with PARTITION BY and WHEN where wanted.
    """

    name: str
    group: Group
    parameters: tuple[Parameter, ...]
    result: ValueType | ResultRule | None
    usage: str
    doc: str
    example: Example
    other_names: tuple[str, ...] = ()
    variadic: bool = False
    distinct: bool = False
    ordered: bool = False
    looks_back: bool = False

    @property
    def kernel(self) -> str:
        """The name in upper case: the `function` of a bound call."""
        return self.name.upper()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it may be called by."""
        return (self.name, *self.other_names)

    @property
    def least(self) -> int:
        """The fewest arguments that it takes."""
        return sum(not parameter.optional for parameter in self.parameters)

    @property
    def most(self) -> int | None:
        """The most arguments that it takes; None for any number."""
        return None if self.variadic else len(self.parameters)
