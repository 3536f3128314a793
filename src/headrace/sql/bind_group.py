"""Over groups: an expression may use the keys of GROUP BY, aggregates, and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from headrace.errors import QueryError, did_you_mean
from headrace.events.batch import HIDDEN
from headrace.sql.logic import mapped
from headrace.sql.made_columns import is_group, is_over
from headrace.sql.plan import (
    ColumnRef,
    Expression,
    FieldRef,
    GroupKey,
    SystemTimestamp,
    WholeRow,
)

_KEY_ADVICE: Final = "Put it into GROUP BY, or into an aggregate such as MAX(...)."


class GroupRewriter:
    """Rewrites the expressions of a SELECT over groups to read what the groups have.

    `aliases` are the bound expressions of the SELECT list by folded alias, which HAVING may name.
    """

    def __init__(self, script: str, keys: Sequence[GroupKey]) -> None:
        self._script = script
        self._keys = [(folded(key.expression), key) for key in keys]

    def rewritten(
        self, expression: Expression, aliases: Mapping[str, Expression] | None = None
    ) -> Expression:
        """Return `expression` with keys read from their columns; raises QueryError for anything per event."""
        if isinstance(expression, SystemTimestamp):
            return expression  # the end of the window, also where the instant is a key
        wanted = folded(expression)
        for known, key in self._keys:
            if known == wanted:
                return ColumnRef(key.column, expression.span)
        if isinstance(expression, ColumnRef):
            if is_group(expression.name):
                return expression
            alias = (aliases or {}).get(expression.name.casefold())
            if alias is not None:
                return alias
            raise self._error(expression)
        if isinstance(expression, WholeRow):
            raise self._error(expression)
        return mapped(expression, lambda child: self.rewritten(child, aliases))

    def is_key(self, expression: Expression) -> bool:
        """Return whether `expression` is in GROUP BY."""
        return any(known == folded(expression) for known, _ in self._keys)

    def key_called(self, name: str) -> ColumnRef | None:
        """Return the column called `name` in GROUP BY, None if there is none."""
        fold = name.casefold()
        return next((key for _, key in self._named_keys() if key.name.casefold() == fold), None)

    def _error(self, expression: ColumnRef | WholeRow) -> QueryError:
        if isinstance(expression, WholeRow):
            problem, advice = (
                "the whole event is not there once events are grouped",
                "Write TopOne() or COLLECT().",
            )
        elif is_over(expression.name):
            problem = "OVER looks at each event, before GROUP BY"
            advice = "Put it into an aggregate, or compute the groups in a WITH step first."
        else:
            name = expression.name.rpartition(HIDDEN)[2]
            problem = f"'{name}' is neither in GROUP BY nor in an aggregate"
            names = [key.name for _, key in self._named_keys()]
            advice = did_you_mean(name, names) or _KEY_ADVICE
        return QueryError(problem, self._script, expression.span, advice=advice)

    def _named_keys(self) -> list[tuple[Expression, ColumnRef]]:
        return [(known, key.expression) for known, key in self._keys if isinstance(key.expression, ColumnRef)]


def folded(expression: Expression) -> Expression:
    """Return `expression` with names as they compare: ignoring case."""
    below = mapped(expression, folded)
    if isinstance(below, ColumnRef | FieldRef):
        return replace(below, name=below.name.casefold())
    return below
