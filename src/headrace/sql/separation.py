"""Whether a script keeps apart what partitions keep apart: by which keys it does, or where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headrace.errors import Span
from headrace.sql.origins import Origin, Origins
from headrace.sql.placing import Place, Rule
from headrace.sql.plan import (
    NOWHERE,
    Aggregate,
    Analytic,
    AnalyticCall,
    Expression,
    Join,
    Match,
    Relation,
    Scan,
    Script,
    Session,
    StepRef,
    children,
)


class SharedError(Exception):
    """Something needs rows of several partitions: why, and where.

    Each of `candidates` names a column of some inputs; partitioned by these they would have what is missing.
    """

    def __init__(self, why: str, span: Span = NOWHERE, candidates: Iterable[Mapping[str, str]] = ()) -> None:
        self.why, self.span, self.candidates = why, span, list(candidates)
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause that has keys, and how it is told that they contain something or do not."""

    name: str
    has: str
    lacks: str
    span: Span


class Separation:
    """What keeps the partitions of inputs that lie at `places` apart.

    `reasons` tell the clauses that do, and `columns` by which column of each input.
    """

    def __init__(self, script: Script, places: Mapping[str, Place]) -> None:
        self._script, self._places = script, places
        self._origins = Origins(script)
        self._rules = list(dict.fromkeys(rule for place in places.values() for rule in place.rules))
        self._inputs_of_steps: dict[str, list[str]] = {}
        self.reasons: list[str] = []
        self.columns: dict[str, str] = {}

    def prove(self) -> None:
        """Raise SharedError for the first relation that needs rows of several partitions."""
        for output in self._script.outputs:
            self._inputs(output.relation)

    def _inputs(self, relation: Relation) -> list[str]:
        """Return the inputs that the rows of `relation` come from; each row is of one partition of theirs."""
        match relation:
            case Scan():
                return [relation.input]
            case StepRef():
                return self._inputs_of_step(relation.step.casefold())
        below = [self._inputs(child) for child in children(relation) if isinstance(child, Relation)]
        inputs = list(dict.fromkeys(name for names in below for name in names))
        match relation:
            case Aggregate():
                self._aggregate(relation, inputs)
            case Analytic():
                for call in relation.calls:
                    self._keyed(relation.source, call.partition, _over(call), inputs)
            case Match():
                keys = [item.expression for item in relation.partition]
                clause = _Clause("MATCH_RECOGNIZE", "has PARTITION BY", _NO_PARTITION_BY, relation.span)
                self._keyed(relation.source, keys, clause, inputs)
            case Join():
                self._join(relation, inputs)
        return inputs

    def _inputs_of_step(self, name: str) -> list[str]:
        if name not in self._inputs_of_steps:
            relation = next(step.relation for step in self._script.steps if step.name.casefold() == name)
            self._inputs_of_steps[name] = self._inputs(relation)
        return self._inputs_of_steps[name]

    def _aggregate(self, relation: Aggregate, inputs: Sequence[str]) -> None:
        by_group = _Clause("GROUP BY", "contains", "does not contain", relation.span)
        by_session = _Clause(
            "SessionWindow", "has PARTITION BY", "has no OVER (PARTITION BY ...) with", relation.span
        )
        for window in relation.windows:
            if isinstance(window, Session):
                # A session is one of all rows that are equal in its own keys, whatever groups are in it.
                self._keyed(relation.source, window.keys, by_session, inputs)
            else:
                keys = [key.expression for key in relation.keys]
                self._keyed(relation.source, keys, by_group, inputs)

    def _keyed(
        self, source: Relation, keys: Sequence[Expression], clause: _Clause, inputs: Sequence[str]
    ) -> None:
        """Raise SharedError if rows of `source` that are equal in `keys` may be of different partitions."""
        found = [self._origins.of(source, key) for key in keys]
        if chosen := self._chosen(found):
            self._note(f"{clause.name} {clause.has}", chosen)
            return
        at = f"{clause.name} (line {self._line(clause.span)}) {clause.lacks}"
        raise SharedError(f"{at} {self._wanted(inputs)}", clause.span, _candidates(found))

    def _join(self, join: Join, inputs: Sequence[str]) -> None:
        """Raise SharedError if rows of different partitions may be joined."""
        pairs = [
            (self._origins.of(join.left, one), self._origins.of(join.right, two)) for one, two in join.equal
        ]
        # A pair with a computed side says nothing; in the others both sides must be what a rule looks at.
        found = [one | two for one, two in pairs if one and two]
        if chosen := self._chosen(found):
            self._note("JOIN is on", chosen)
            return
        at = f"JOIN (line {self._line(join.span)}) is not on"
        raise SharedError(f"{at} {self._wanted(inputs)}", join.span, _candidates(found))

    def _chosen(self, found: Sequence[frozenset[Origin]]) -> list[frozenset[Origin]] | None:
        """Return those of `found` that are all that a rule looks at, None if there is no such rule."""
        for rule in self._rules:
            chosen = [
                next((origins for origins in found if origins and self._hold(rule, number, origins)), None)
                for number in range(rule[1])
            ]
            if None not in chosen:
                return [origins for origins in chosen if origins]
        return None

    def _hold(self, rule: Rule, number: int, origins: frozenset[Origin]) -> bool:
        return all(self._places[one.input].holds(rule, number, one.column) for one in origins)

    # --- text ---------------------------------------------------------------------------------------------

    def _note(self, what: str, chosen: Sequence[frozenset[Origin]]) -> None:
        names: dict[str, str] = {}
        for one in (one for origins in chosen for one in sorted(origins, key=lambda one: one.input)):
            self.columns.setdefault(one.input, one.spelled)
            names.setdefault(one.column, one.spelled)
        self.reasons.append(f"{what} {listed(names.values())}")

    def _wanted(self, inputs: Sequence[str]) -> str:
        """Return what the keys would have to contain."""
        if len(inputs) > 1:
            return f"columns by which {listed(inputs)} are partitioned alike"
        rules = self._places[inputs[0]].rules.values()
        columns = " or ".join(map(listed, rules))
        wanted = f"{columns}," if columns else "a column"
        return f"{wanted} by which {inputs[0]} is partitioned"

    def _line(self, span: Span) -> int:
        return self._script.text.count("\n", 0, span.start) + 1


_NO_PARTITION_BY = "has no PARTITION BY with"


def listed(words: Iterable[str]) -> str:
    """Return words as a sentence has them: ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _over(call: AnalyticCall) -> _Clause:
    name = call.call.function if call.call.function == "ISFIRST" else f"{call.call.function} OVER"
    return _Clause(name, "has PARTITION BY", _NO_PARTITION_BY, call.call.span)


def _candidates(found: Iterable[frozenset[Origin]]) -> list[dict[str, str]]:
    """Return the columns by input, without those that are two columns of one input."""
    sorted_ = [sorted(origins, key=lambda one: one.input) for origins in found]
    by_input = [(len(origins), {one.input: one.spelled for one in origins}) for origins in sorted_]
    return [columns for count, columns in by_input if columns and len(columns) == count]
