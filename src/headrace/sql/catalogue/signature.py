"""What the catalogue knows of a function: all that a binder, a reader of the docs and a kernel need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from headrace.events.batch import ValueType


class ResultRule(StrEnum):
    """How the type of a result follows where it is not always the same."""

    FIRST = "the type of the first argument"
    FOUND = "the type of the value that is found"
    WRITTEN = "the type after AS"


class Group(StrEnum):
    """The chapters of the reference."""

    STRING = "string"
    MATHS = "maths"
    CONVERSION = "conversion"
    CONDITIONAL = "conditional"
    RECORD_ARRAY = "record and array"
    DATE_TIME = "date and time"
    GEOSPATIAL = "geospatial"
    AGGREGATE = "aggregate"
    ANALYTIC = "analytic"
    WINDOW = "window"
    APPLY = "apply"
    SYSTEM = "system"


#: Accepted types of a parameter; a text is cast to a number or datetime where one is wanted (reference, A5).
TEXT: Final = frozenset({ValueType.TEXT})
NUMBER: Final = frozenset({ValueType.BIGINT, ValueType.FLOAT})
BIGINT: Final = frozenset({ValueType.BIGINT})
DATETIME: Final = frozenset({ValueType.DATETIME})
RECORD: Final = frozenset({ValueType.RECORD})
ARRAY: Final = frozenset({ValueType.ARRAY})
ANY: Final = frozenset(ValueType)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a function.

    With `words` it is a bare word, as the date part of DATEADD: each spelling maps to the text that the
    kernel gets.
    """

    name: str
    types: frozenset[ValueType] = ANY
    optional: bool = False
    words: dict[str, str] | None = None


#: What an example is worth in Python; records are dicts, arrays are lists, datetimes are naive and in UTC.
Value = bool | int | float | str | datetime | dict[str, object] | list[object] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """A function of the language.

    `name` is spelled as in the reference; `kernel`, its upper case, is the key of its implementation and the
    `function` of a bound Call. With `variadic` the last parameter may be repeated. `form` is the syntax of
    what is no ordinary call. `example` is an expression and the value that it must have.
    """

    name: str
    group: Group
    parameters: tuple[Parameter, ...]
    result: ValueType | ResultRule
    doc: str
    example: tuple[str, Value]
    variadic: bool = False
    form: str = ""

    @property
    def kernel(self) -> str:
        """The key of the function's implementation."""
        return self.name.upper()

    @property
    def usage(self) -> str:
        """The function with its parameters as a reader sees them: ``CHARINDEX(find, text [, start])``."""
        if self.form:
            return self.form
        written = ""
        for parameter in self.parameters:
            comma = ", " if written else ""
            written += f" [{comma}{parameter.name}]" if parameter.optional else comma + parameter.name
        return f"{self.name}({written}{', ...' if self.variadic else ''})"

    def takes(self, count: int) -> bool:
        """Return whether the function can be called with `count` arguments."""
        needed = sum(not parameter.optional for parameter in self.parameters)
        return needed <= count and (self.variadic or count <= len(self.parameters))

    def parameter(self, index: int) -> Parameter:
        """Return the parameter that argument `index`, from 0, is for."""
        return self.parameters[min(index, len(self.parameters) - 1)]
