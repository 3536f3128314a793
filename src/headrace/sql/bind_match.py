"""Binding MATCH_RECOGNIZE: conditions and measures over the variables of a pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlglot import exp

from headrace.errors import QueryError, did_you_mean
from headrace.events.batch import HIDDEN
from headrace.sql.bind_expressions import ExpressionBinder
from headrace.sql.catalogue.elsewhere import AGGREGATES, ANALYTIC
from headrace.sql.durations import duration_us, is_system
from headrace.sql.guards import below
from headrace.sql.pattern import Pattern, variables
from headrace.sql.plan import (
    ColumnRef,
    Definition,
    Expression,
    FieldRef,
    Item,
    Match,
    MatchAggregate,
    Relation,
    UserCall,
)
from headrace.sql.scope import Columns, Names, Scope, Source
from headrace.sql.syntax import place

_COLUMN: Final = f"{HIDDEN}match"

#: Aggregates over a field of the events of a variable.
_OF_FIELD: Final = ("FIRST", "LAST", "MIN", "MAX", "SUM", "AVG", "COUNT")
_CLASSIFIER: Final = "CLASSIFIER"

#: Aggregates that would have a meaning here, but only in windows.
_ELSEWHERE: Final = frozenset(name.upper() for name in (*AGGREGATES, *ANALYTIC)) - set(_OF_FIELD)

_STEP_ADVICE: Final = "Compute it in a WITH step, and match the rows of that step."


def bind_match(names: Names, table: exp.Expr, source: Source, relation: Relation) -> tuple[Match, Columns]:
    """Return the MATCH_RECOGNIZE of `table`, a source with the rows `relation`, and its columns."""
    node: exp.MatchRecognize = table.args["match"]
    binder = _MatchBinder(names, source, node)
    limit_us = duration_us(names, node.args["limit"], "DURATION", "LIMIT DURATION")
    definitions = binder.definitions()
    measures = binder.measures()
    bound = Match(
        relation,
        limit_us,
        binder.partition(),
        binder.pattern,
        definitions,
        tuple(binder.aggregates),
        measures,
        place(node),
    )
    return bound, {item.name.casefold(): item.name for item in (*bound.keys, *measures)}


class _MatchBinder:
    """Binds the clauses of one MATCH_RECOGNIZE; `aggregates` are those that they have used so far."""

    def __init__(self, names: Names, source: Source, node: exp.MatchRecognize) -> None:
        self._names, self._node = names, node
        self._scope = Scope((source,))
        self.pattern: Pattern = node.args["pattern"]
        self.aggregates: list[MatchAggregate] = []
        self._variables: dict[str, str] = {}
        for name in variables(self.pattern):
            self._variables.setdefault(name.casefold(), name)

    def definitions(self) -> tuple[Definition, ...]:
        """Return the conditions of DEFINE; each may only look at variables defined before it."""
        written: Sequence[exp.Alias] = self._node.args.get("define") or ()
        places: dict[str, int] = {}
        for number, definition in enumerate(written):
            fold = definition.alias.casefold()
            if fold not in self._variables:
                advice = did_you_mean(definition.alias, self._variables.values())
                problem = f"there is no variable '{definition.alias}' in PATTERN"
                raise self._names.error(problem, definition.args["alias"], advice or self._known())
            if fold in places:
                problem = f"the variable '{definition.alias}' is defined twice"
                raise self._names.error(
                    problem, definition.args["alias"], "Join the conditions by AND or OR."
                )
            places[fold] = number
        bound = []
        for definition in written:
            variable = self._variables[definition.alias.casefold()]
            binder = _VariableBinder(self._names, self._scope, self, _Clause(variable, places))
            condition = binder.condition(definition.this)
            self._refuse_calls(condition)
            bound.append(Definition(variable, condition))
        return tuple(bound)

    def measures(self) -> tuple[Item, ...]:
        """Return the bound measures."""
        binder = _VariableBinder(self._names, self._scope, self, _Clause(None, {}))
        items: dict[str, Item] = {}
        for node in self._node.args["measures"]:
            identifier: exp.Identifier = node.args["alias"]
            name = self._names.checked(identifier)
            if name.casefold() in items:
                raise self._names.error(f"there are two measures called '{name}'", identifier)
            bound = binder.value(node.this)
            self._refuse_calls(bound)
            items[name.casefold()] = Item(name, bound, place(node))
        return tuple(items.values())

    def partition(self) -> tuple[Item, ...]:
        """Return the keys of PARTITION BY, each with the name of its column."""
        binder = ExpressionBinder(self._names, self._scope, clause="key")
        items: dict[str, Item] = {}
        for node in self._node.args.get("partition_by") or ():
            if not isinstance(node, exp.Column | exp.Dot) or is_system(node, "TIMESTAMP"):
                raise self._names.error("PARTITION BY takes columns here", node, _STEP_ADVICE)
            name = (node.this if isinstance(node, exp.Column) else node.expression).name
            if name.casefold() in items:
                raise self._names.error(f"there are two keys called '{name}'", node, _STEP_ADVICE)
            items[name.casefold()] = Item(name, binder.value(node), place(node))
        return tuple(items.values())

    def variable(self, identifier: exp.Identifier) -> str | None:
        """Return the variable that a name means, as the pattern spells it; None if there is none."""
        return self._variables.get(identifier.name.casefold())

    def no_variable(self, identifier: exp.Identifier) -> QueryError:
        """Return the error for a name that should be a variable's."""
        name = identifier.name
        advice = did_you_mean(name, self._variables.values()) or self._known()
        return self._names.error(f"there is no variable '{name}' in PATTERN", identifier, advice)

    def column(self, aggregate: MatchAggregate) -> ColumnRef:
        """Return the column of an aggregate; what is written twice is made once."""
        for known in self.aggregates:
            if replace(known, column="") == aggregate:
                return ColumnRef(known.column, aggregate.span)
        made = replace(aggregate, column=f"{_COLUMN}{len(self.aggregates)}")
        self.aggregates.append(made)
        return ColumnRef(made.column, aggregate.span)

    def _known(self) -> str:
        return f"There are: {', '.join(self._variables.values()) or 'none'}."

    def _refuse_calls(self, expression: Expression) -> None:
        if isinstance(expression, UserCall):
            problem = "MATCH_RECOGNIZE cannot call a function of yours"
            raise self._names.error(problem, expression.span, _STEP_ADVICE)
        for child in below(expression):
            self._refuse_calls(child)


@dataclass(frozen=True, slots=True)
class _Clause:
    """What an expression belongs to: the condition of a variable, or the measures where it is None.

    `places` are the places in DEFINE by folded variable; one that is not defined takes any event.
    """

    variable: str | None
    places: Mapping[str, int]

    def may_look_at(self, variable: str) -> bool:
        """Return whether the aggregates of `variable` are known here."""
        if self.variable is None:
            return True
        return self.places.get(variable.casefold(), -1) <= self.places[self.variable.casefold()]


class _VariableBinder(ExpressionBinder):
    """Binds the expressions of one clause: every column is a field of a variable."""

    def __init__(self, names: Names, scope: Scope, match: _MatchBinder, clause: _Clause) -> None:
        super().__init__(names, scope)
        self._match, self._of = match, clause

    def value(self, node: exp.Expr) -> Expression:
        """Return the bound value of `node`; raises QueryError where it is none."""
        match node:
            case exp.Column() | exp.Dot():
                return self._field(node)
            case exp.Window():
                raise self._names.error("OVER cannot stand in MATCH_RECOGNIZE", node, _STEP_ADVICE)
            case exp.Anonymous(args={"prefix": [prefix, *_]}) if prefix.name.casefold() == "uda":
                advice = f"There are {', '.join(_OF_FIELD)} of a field, and Classifier()."
                raise self._names.error("MATCH_RECOGNIZE takes no aggregates of yours", node, advice)
            case exp.Anonymous() if not node.args["prefix"]:
                name = node.this.name.upper()
                if name == _CLASSIFIER:
                    return self._classifier(node)
                if name in _OF_FIELD:
                    return self._aggregate(node, name)
                if name in _ELSEWHERE:
                    advice = f"There are {', '.join(_OF_FIELD)} of a field, and Classifier()."
                    raise self._names.error(f"MATCH_RECOGNIZE has no {node.this.name}", node, advice)
        return super().value(node)

    # --- fields -------------------------------------------------------------------------------------------

    def _field(self, node: exp.Column | exp.Dot) -> Expression:
        """Return what a name with its dots means: a field of the event that a condition is tried for."""
        base = _base(node)
        if not isinstance(base, exp.Column) or is_system(node, "TIMESTAMP"):
            return super().value(node)
        identifier: exp.Identifier = base.this
        variable = self._match.variable(identifier)
        if variable is None and isinstance(node, exp.Dot):
            raise self._match.no_variable(identifier)
        if variable is None or node is base:
            advice = f"Write {self._of.variable or 'LAST(variable'}.{identifier.name}"
            advice += "." if self._of.variable else ")."
            raise self._names.error("a field is named with its variable here", node, advice)
        if isinstance(node.expression, exp.Star):
            return self._star(node.expression)
        if variable != self._of.variable:
            written = self._names.written(node)
            if self._of.variable is None:
                problem = "a measure takes its values by aggregates"
                raise self._names.error(problem, node, f"Write LAST({written}), or FIRST, MIN, MAX, ...")
            problem = f"only {self._of.variable} is at the event that this condition is tried for"
            advice = f"Write LAST({written}) for the last event of {variable}."
            raise self._names.error(problem, node, advice)
        return self._of_event(node)

    def _of_event(self, node: exp.Expr) -> Expression:
        """Return what ``variable.column.property`` means in an event."""
        parts: list[exp.Dot] = []
        while isinstance(node, exp.Dot):
            parts.append(node)
            node = node.this
        first = parts.pop()
        bound: Expression = replace(self._column(first.expression), span=place(first))
        for part in reversed(parts):
            if isinstance(part.expression, exp.Star):
                return self._star(part.expression)
            bound = FieldRef(bound, part.expression.name, place(part))
        return bound

    # --- aggregates ---------------------------------------------------------------------------------------

    def _classifier(self, node: exp.Anonymous) -> Expression:
        if self._of.variable is not None:
            advice = "The condition of a variable is tried for that variable."
            raise self._names.error("Classifier() stands only in MEASURES", node, advice)
        if node.expressions or node.args["distinct"]:
            raise self._names.error("Classifier() takes no arguments", node)
        return self._match.column(MatchAggregate("", _CLASSIFIER, None, span=place(node)))

    def _aggregate(self, node: exp.Anonymous, name: str) -> Expression:
        if node.args["distinct"]:
            raise self._names.error(f"{name} takes no DISTINCT in MATCH_RECOGNIZE", node)
        written: Sequence[exp.Expr] = node.expressions
        if name == "COUNT" and (not written or isinstance(written[0], exp.Star)):
            return self._match.column(MatchAggregate("", name, None, span=place(node)))
        if len(written) != 1:
            raise self._names.error(
                f"{node.this.name} takes one field", node, f"Write {node.this.name}(A.field)."
            )
        variable, field = self._argument(node, name, written[0])
        if not self._of.may_look_at(variable):
            problem = f"{self._of.variable} is defined before {variable} and cannot look at it"
            raise self._names.error(problem, node, f"Define {variable} first.")
        return self._match.column(MatchAggregate("", name, variable, field, place(node)))

    def _argument(self, call: exp.Anonymous, name: str, node: exp.Expr) -> tuple[str, Expression | None]:
        """Return the variable and the field of an aggregate; COUNT of a variable has no field."""
        base = _base(node)
        if not isinstance(base, exp.Column):
            if any(isinstance(part, exp.Anonymous | exp.Cast) for part in node.walk()):
                problem = "no function is called inside an aggregate of MATCH_RECOGNIZE"
                raise self._names.error(problem, node, _STEP_ADVICE)
            advice = f"Write {call.this.name}(A.field), and compute the field in a WITH step."
            raise self._names.error(f"{call.this.name} takes one field of a variable", node, advice)
        variable = self._match.variable(base.this)
        whole = node is base or (isinstance(node, exp.Dot) and isinstance(node.expression, exp.Star))
        if variable is None:
            if node is base:
                advice = f"Write {call.this.name}(A.{base.name}) for the events of variable A."
                raise self._names.error("a field is named with its variable here", node, advice)
            raise self._match.no_variable(base.this)
        if whole and name == "COUNT":
            return variable, None
        if whole:
            advice = f"Write {call.this.name}({variable}.field)."
            raise self._names.error(f"{call.this.name} takes a field of {variable}", node, advice)
        return variable, self._of_event(node)


def _base(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Dot):
        node = node.this
    return node
