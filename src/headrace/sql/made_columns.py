"""The hidden columns that a SELECT needs below it: aggregates, analytic functions and the window's id."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from headrace.events.batch import HIDDEN
from headrace.sql.plan import AggregateCall, AnalyticCall, ColumnRef

#: The hidden column of the window's id.
WINDOW_COLUMN: Final = f"{HIDDEN}window"

_OVER: Final = f"{HIDDEN}over"
_AGGREGATE: Final = f"{HIDDEN}aggregate"
_KEY: Final = f"{HIDDEN}key"


@dataclass(slots=True)
class MadeColumns:
    """The calls of one SELECT that become hidden columns; what is written twice is made once."""

    aggregates: list[AggregateCall] = field(default_factory=list)
    analytic: list[AnalyticCall] = field(default_factory=list)
    window_asked: bool = False

    def aggregate(self, call: AggregateCall) -> ColumnRef:
        """Return the column of an aggregate."""
        for known in self.aggregates:
            if replace(known, column="") == call:
                return ColumnRef(known.column, call.span)
        made = replace(call, column=f"{_AGGREGATE}{len(self.aggregates)}")
        self.aggregates.append(made)
        return ColumnRef(made.column, call.span)

    def over(self, call: AnalyticCall) -> ColumnRef:
        """Return the column of an analytic function."""
        for known in self.analytic:
            if replace(known, call=replace(known.call, column="")) == call:
                return ColumnRef(known.call.column, call.call.span)
        made = replace(call, call=replace(call.call, column=f"{_OVER}{len(self.analytic)}"))
        self.analytic.append(made)
        return ColumnRef(made.call.column, call.call.span)


def key_column(number: int) -> str:
    """Return the hidden column of a key of GROUP BY."""
    return f"{_KEY}{number}"


def is_over(column: str) -> bool:
    """Return whether `column` is the hidden one of an analytic function."""
    return column.startswith(_OVER)


def is_group(column: str) -> bool:
    """Return whether `column` is one that the rows of a GROUP BY have."""
    return column.startswith((_AGGREGATE, _KEY, WINDOW_COLUMN))
