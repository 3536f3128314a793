"""Where columns come from: of which columns of inputs they are plain copies, under whatever name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from headrace.events.batch import HIDDEN
from headrace.sql.plan import (
    Aggregate,
    Analytic,
    Apply,
    ColumnRef,
    Effect,
    Expression,
    Filter,
    Item,
    Join,
    Match,
    Project,
    Qualified,
    ReferenceJoin,
    Relation,
    Scan,
    Script,
    StepRef,
    Union,
    qualified,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A column of an input, by its folded name; `spelled` is the name as a query has it."""

    input: str
    column: str
    spelled: str = field(default="", compare=False)


#: Of a column that copies none of an input, or not in every row.
COMPUTED: Final[frozenset[Origin]] = frozenset()

_ELEMENTS: Final = frozenset({"arrayindex", "arrayvalue", "propertyname", "propertyvalue"})


class Origins:
    """Looks up the origins of the columns of a script's relations.

    A column has several origins where a relation has the rows of several inputs, or an input stands there
    twice: each row has it from one of them.
    """

    def __init__(self, script: Script) -> None:
        self._steps = {step.name.casefold(): step.relation for step in script.steps}
        #: Steps may be read many times, by steps that are.
        self._of_steps: dict[tuple[str, str], frozenset[Origin] | None] = {}

    def of(self, relation: Relation, expression: Expression) -> frozenset[Origin]:
        """Return the origins of an expression over the rows of `relation`: COMPUTED unless it is a column."""
        return self._of(relation, expression) or COMPUTED

    def _of(self, relation: Relation, expression: Expression) -> frozenset[Origin] | None:
        return self._column(relation, expression.name) if isinstance(expression, ColumnRef) else COMPUTED

    def _column(self, relation: Relation, name: str) -> frozenset[Origin] | None:
        """Return the origins of a column, None where `relation` surely has no such column."""
        match relation:
            case Scan():
                own = Origin(relation.input, _fold(name), name)
                return COMPUTED if name.startswith(HIDDEN) else frozenset({own})
            case StepRef():
                return self._of_step(relation.step.casefold(), name)
            case Filter() | Analytic() | Effect():
                return self._column(relation.source, name)
            case Project():
                return self._selected(relation, name)
            case Union():
                return _all(self._column(source, name) for source in relation.sources)
            case Aggregate():
                keys = [key.expression for key in relation.keys if key.column == name]
                return self._of(relation.source, keys[0]) if keys else COMPUTED
            case Match():
                items = [item.expression for item in relation.keys if _fold(item.name) == _fold(name)]
                return self._of(relation.source, items[0]) if items else COMPUTED
        return self._of_sources(relation, name)

    def _of_step(self, step: str, name: str) -> frozenset[Origin] | None:
        place = (step, name)
        if place not in self._of_steps:
            self._of_steps[place] = self._column(self._steps[step], name)
        return self._of_steps[place]

    def _of_sources(
        self, relation: Qualified | Join | ReferenceJoin | Apply, name: str
    ) -> frozenset[Origin] | None:
        """Return the origins of a column of what makes rows of several sources."""
        match relation:
            case Qualified():
                own = _own(relation.name, name)
                return None if own is None else self._column(relation.source, own)
            case Join():
                left = self._column(relation.left, name)
                if left is not None:
                    return left
                right = self._column(relation.right, name)
                # Of a left row that comes alone the columns on the right are NULL, wherever it came from.
                return COMPUTED if relation.outer and right is not None else right
            case ReferenceJoin():
                return self._column(relation.left, name) if _own(relation.name, name) is None else COMPUTED
            case Apply():
                element = _own(relation.name, name)
                if element is None:
                    return self._column(relation.source, name)
                return COMPUTED if _fold(element) in _ELEMENTS else None

    def _selected(self, relation: Project, name: str) -> frozenset[Origin] | None:
        """Return the origins of a column of a SELECT list.

        A column of ``*`` stands there only in the rows that have a value in it; in the others it is what has
        the name further right.
        """
        if name.startswith(HIDDEN):
            return None
        found: list[frozenset[Origin] | None] = []
        for item in relation.items:
            if isinstance(item, Item):
                if _fold(item.name) == _fold(name):
                    found.append(self._of(relation.source, item.expression) or COMPUTED)
                    break
            elif item.record is not None:
                found.append(COMPUTED)
            else:
                names = [qualified(source, name) for source in item.sources] or [name]
                found += [self._column(relation.source, one) for one in names]
        there = [origins for origins in found if origins is not None]
        if not there:
            return None
        return there[0] if all(origins == there[0] for origins in there) else COMPUTED


def _all(branches: Iterable[frozenset[Origin] | None]) -> frozenset[Origin] | None:
    """Return the origins of a column that is there in the rows of several relations."""
    found = list(branches)
    there = [origins for origins in found if origins]
    if len(there) < len(found):
        return None if all(origins is None for origins in found) else COMPUTED
    return frozenset().union(*there)


def _own(source: str, name: str) -> str | None:
    """Return a source's own name of a column, None for one of another source."""
    prefix = qualified(source, "")
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def _fold(name: str) -> str:
    return name.casefold()
