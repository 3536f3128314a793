"""Binding calls: built-in functions against the catalogue, Python functions and models by declared name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from typing import Literal as Choice

from sqlglot import exp

from headrace.errors import QueryError, Span, did_you_mean
from headrace.events.batch import ValueType
from headrace.sql.bind_aggregates import AggregateBinder, Bind, is_ordered
from headrace.sql.bind_metadata import bind_metadata
from headrace.sql.bind_over import OverBinder, is_analytic
from headrace.sql.catalogue import all_signatures, lookup
from headrace.sql.catalogue.elsewhere import AGGREGATES, ANALYTIC, FOREIGN, ROWS, WINDOWS
from headrace.sql.catalogue.signature import Parameter, Signature
from headrace.sql.made_columns import MadeColumns
from headrace.sql.plan import (
    SOURCE_TIME,
    Call,
    ColumnRef,
    Expression,
    Literal,
    SystemTimestamp,
    UserCall,
    WholeRow,
)
from headrace.sql.scope import Declared, Names, Scope, Source
from headrace.sql.syntax import place

#: Prefixes of declared functions; one declared as `f` may be called as `udf.f` and the other way round.
_SCALAR_PREFIX: Final = "udf"
_AGGREGATE_PREFIX: Final = "uda"

_SCALARS: Final = frozenset(signature.kernel for signature in all_signatures())
_AGGREGATES: Final = frozenset(name.upper() for name in AGGREGATES)
_ELSEWHERE: Final = {
    name.upper(): (name, kind)
    for kind, names in (
        ("aggregate", AGGREGATES),
        ("analytic", ANALYTIC),
        ("rows", ROWS),
        ("window", WINDOWS),
        ("metadata", ("GetMetadataPropertyValue",)),
    )
    for name in names
}
_BUILT_IN: Final = (
    *(signature.name for signature in all_signatures()),
    *(name for name, _ in _ELSEWHERE.values()),
)

_CONVERTIBLE: Final = {ValueType.BIGINT: "number", ValueType.FLOAT: "number", ValueType.DATETIME: "datetime"}


def literal_fault(argument: Expression, types: frozenset[ValueType]) -> str:
    """Return why a literal can be none of `types` whatever the data, or an empty string.

    A text without a digit is no number and no datetime; a record or array has no literal. Anything else may
    be cast when the query runs.
    """
    if not isinstance(argument, Literal) or argument.type is None or argument.type in types:
        return ""
    if isinstance(argument.value, str) and types <= _CONVERTIBLE.keys():
        if not any(letter.isdigit() for letter in argument.value):
            return f"'{argument.value}' cannot be read as a {_CONVERTIBLE[min(types)]}."
    elif types <= {ValueType.RECORD, ValueType.ARRAY} and not isinstance(argument.value, str):
        return f"{argument.value} is a {argument.type}."
    return ""


#: Where an expression stands: in a SELECT list, in one over groups, in the arguments of an aggregate ...
Clause = Choice["row", "group", "where", "key", "on", "aggregate", "over", "timestamp"]

_NO_AGGREGATE: Final[dict[Clause, tuple[str, str]]] = {
    "where": (
        "{} cannot stand in WHERE, which looks at each event",
        "Group by a window and write it in HAVING.",
    ),
    "key": ("{} cannot stand in GROUP BY", "Compute it in a WITH step and group that."),
    "on": ("{} cannot stand in ON", "Compute it in a WITH step and join that."),
    "aggregate": ("aggregates do not nest", "Compute the inner one in a WITH step."),
    "over": ("{} cannot stand inside OVER (...) or an analytic function", "Compute it in a WITH step."),
    "timestamp": ("{} cannot stand in TIMESTAMP BY", "Name a column of the event."),
}


class CallBinder:
    """Binds the calls of one SELECT; `value` binds their arguments.

    `made` takes the aggregates and analytic functions, which become hidden columns; `inside` gives what binds
    the parts of such a call, a value and a condition.
    """

    def __init__(
        self,
        names: Names,
        scope: Scope,
        value: Bind,
        made: MadeColumns,
        clause: Clause,
        inside: Callable[[Clause], tuple[Bind, Bind]],
    ) -> None:
        self._names, self._scope, self._value = names, scope, value
        self._made, self._clause, self._inside = made, clause, inside

    def bind(self, node: exp.Anonymous) -> Expression:
        """Return the bound call of a function, without OVER."""
        prefix = [identifier.name for identifier in node.args["prefix"]]
        name: str = node.this.name
        if not prefix and name.upper() in _AGGREGATES:
            return self._aggregate(node, None, None)
        if not prefix and is_analytic(name.upper()):
            return self._analytic(node, None)
        if (aggregate := self._declared_aggregate(prefix, name)) is not None:
            return self._aggregate(node, None, aggregate)
        if node.args["distinct"]:
            raise self._names.error("DISTINCT stands only in COUNT(DISTINCT ...)", node)
        if prefix and prefix[0].upper() == "SYSTEM":
            return self._system(node, prefix, name)
        declared = self._declared(prefix, name)
        if declared is not None:
            return self._user_call(node, declared)
        if prefix:
            raise self._wrong_prefix(node, prefix, name)
        if name.upper() == "GETMETADATAPROPERTYVALUE":
            return bind_metadata(self._names, self._scope, node)
        signature = lookup(name)
        if signature is None:
            raise self._not_scalar(node, name)
        return Call(signature.kernel, self._arguments(node, signature), place(node))

    def bind_window(self, node: exp.Window) -> Expression:
        """Return the bound ``f(...) OVER (...)``: an analytic function, or an aggregate."""
        call: exp.Anonymous = node.this
        prefix = [identifier.name for identifier in call.args["prefix"]]
        name: str = call.this.name
        if not prefix and is_analytic(name.upper()):
            return self._analytic(call, node)
        if not prefix and name.upper() in _AGGREGATES:
            return self._aggregate(call, node, None)
        if (aggregate := self._declared_aggregate(prefix, name)) is not None:
            return self._aggregate(call, node, aggregate)
        if not prefix and (name.upper() in _ELSEWHERE or lookup(name)):
            raise self._names.error(f"{name} takes no OVER", node.args["over"])
        self.bind(call)
        raise self._names.error(f"the function {name} takes no OVER", node.args["over"])

    # --- aggregates and analytic functions ----------------------------------------------------------------

    def _aggregate(self, node: exp.Anonymous, window: exp.Window | None, user: str | None) -> Expression:
        """Return the column of an aggregate: over the group, or OVER what came before the event."""
        if user is not None:
            self._names.used_functions[user] = None
        over = window is not None and (
            window.args.get("limit") or not (user is None and is_ordered(node.this.name.upper()))
        )
        if over:
            assert window is not None
            self._refuse_over(node)
            return self._made.over(self._over_binder().aggregate(node, window, user))
        for clause in ("partition_by", "when"):
            if window is not None and window.args.get(clause):
                advice = "Write LIMIT DURATION(unit, n) to look back, or GROUP BY for the keys."
                raise self._names.error(
                    f"{node.this.name} over a window takes ORDER BY alone", window.args["over"], advice
                )
        if self._clause == "row":
            advice = "Add GROUP BY with a window, such as TumblingWindow(minute, 1)."
            raise self._names.error(
                f"the aggregate {user or node.this.name} needs a window in GROUP BY", node, advice
            )
        if self._clause != "group":
            problem, advice = _NO_AGGREGATE[self._clause]
            raise self._names.error(problem.format(f"the aggregate {user or node.this.name}"), node, advice)
        binder = self._aggregate_binder("aggregate")
        if user is not None:
            return self._made.aggregate(binder.user_call(node, user))
        return self._made.aggregate(binder.call(node, window.args.get("order") if window else None))

    def _analytic(self, node: exp.Anonymous, window: exp.Window | None) -> Expression:
        self._refuse_over(node)
        return self._made.over(self._over_binder().analytic(node, window))

    def _refuse_over(self, node: exp.Anonymous) -> None:
        if self._clause in ("over", "timestamp"):
            problem, advice = _NO_AGGREGATE[self._clause]
            raise self._names.error(problem.format(f"{node.this.name} OVER"), node, advice)

    def _over_binder(self) -> OverBinder:
        aggregates = self._aggregate_binder("over")
        _, condition = self._inside("over")
        return OverBinder(self._names, aggregates, aggregates.argument, condition)

    def _aggregate_binder(self, clause: Clause) -> AggregateBinder:
        value, _ = self._inside(clause)

        def argument(node: exp.Expr) -> Expression:
            return self._whole_source(node) or value(node)

        return AggregateBinder(self._names, argument, self._whole_row)

    def _whole_row(self, node: exp.Expr) -> WholeRow:
        """Return the whole event that ``*``, or a call without a value, means."""
        if not self._scope.single:
            advice = f"Write the name of one: {', '.join(source.name for source in self._scope.sources)}."
            raise self._names.error("there are several sources here", node, advice)
        return WholeRow(None, place(node))

    def _whole_source(self, node: exp.Expr) -> WholeRow | None:
        """Return the whole event that the name of a source means, None for anything else."""
        if isinstance(node, exp.Star):
            return self._whole_row(node)
        source = self._scope.source(node.name) if isinstance(node, exp.Column) else None
        if source is None or source.column(source.name) is not None:
            return None
        return WholeRow(None if self._scope.single else source.name, place(node))

    # --- whose function -----------------------------------------------------------------------------------

    def _declared(self, prefix: Sequence[str], name: str) -> str | None:
        """Return the declared name of a Python function or model, None for anything else."""
        if not prefix and (name.upper() in _SCALARS or name.upper() in _ELSEWHERE):
            return None
        return _find(self._names.functions, prefix, name, _SCALAR_PREFIX)

    def _declared_aggregate(self, prefix: Sequence[str], name: str) -> str | None:
        """Return the declared name of a user aggregate, None for anything else."""
        if not prefix and (name.upper() in _SCALARS or name.upper() in _ELSEWHERE):
            return None
        return _find(self._names.aggregates, prefix, name, _AGGREGATE_PREFIX)

    def _user_call(self, node: exp.Anonymous, declared: str) -> Expression:
        self._names.used_functions[declared] = None
        arguments = tuple(self._whole_source(node) or self._value(node) for node in node.expressions)
        return UserCall(declared, arguments, place(node))

    def _system(self, node: exp.Anonymous, prefix: Sequence[str], name: str) -> Expression:
        if len(prefix) == 1 and name.upper() == "TIMESTAMP":
            if node.expressions:
                raise self._names.error("System.Timestamp() takes no arguments", node)
            return SystemTimestamp(place(node))
        if len(prefix) == 1 and name.upper() == "WINDOW":
            raise self._names.error("System.Window() is no value", node, "Write System.Window().Id.")
        if name.upper() in _SCALARS or name.upper() in _ELSEWHERE:
            raise self._wrong_prefix(node, prefix, name)
        advice = "There are System.Timestamp() and System.Window().Id."
        raise self._names.error(f"there is no function {'.'.join((*prefix, name))}", node, advice)

    def _wrong_prefix(self, node: exp.Anonymous, prefix: Sequence[str], name: str) -> QueryError:
        full = ".".join((*prefix, name))
        if name.upper() in _SCALARS or name.upper() in _ELSEWHERE:
            problem = f"a built-in function takes no prefix: {full}"
            return self._names.error(problem, node, f"Write {name}(...).")
        known = [*self._names.functions, *self._names.aggregates]
        advice = did_you_mean(full, known) or did_you_mean(name, known) or self._declared_list(known)
        return self._names.error(f"there is no function {full}", node, advice)

    def _declared_list(self, known: Sequence[str]) -> str:
        return (
            f"The declared functions are: {', '.join(known)}." if known else "No Python function is declared."
        )

    def _not_scalar(self, node: exp.Anonymous, name: str) -> QueryError:
        """Return the error for what is no scalar function: misplaced, still to come, foreign or unknown."""
        spelled, kind = _ELSEWHERE.get(name.upper(), (name, ""))
        match kind:
            case "rows":
                advice = f"Write FROM source CROSS APPLY {spelled}(column) AS element."
                return self._names.error(f"{spelled} stands only after APPLY", node, advice)
            case "window":
                return self._names.error(f"the window {spelled} stands only in GROUP BY", node)
        if advice := FOREIGN.get(name.upper(), ""):
            return self._names.error(f"there is no function {name.upper()} in this language", node, advice)
        advice = did_you_mean(name, (*_BUILT_IN, *self._names.functions))
        problem = f"there is no function {name}"
        return self._names.error(
            problem,
            node,
            advice
            or f"A function of your own is declared as [functions.{name}], or handed over in functions=.",
        )

    # --- arguments ----------------------------------------------------------------------------------------

    def _arguments(self, node: exp.Anonymous, signature: Signature) -> tuple[Expression, ...]:
        written = node.expressions
        if not signature.takes(len(written)):
            count = f"{len(written)} argument{'s' if len(written) != 1 else ''}"
            advice = f"Write {signature.usage}."
            raise self._names.error(f"{signature.name} cannot take {count}", node, advice)
        return tuple(
            self._argument(signature, signature.parameter(index), argument)
            for index, argument in enumerate(written)
        )

    def _argument(self, signature: Signature, parameter: Parameter, node: exp.Expr) -> Expression:
        if parameter.words is not None:
            return self._word(signature, parameter.name, parameter.words, node)
        argument = (signature.kernel == "DATEDIFF" and self._time_of(node)) or self._value(node)
        if fault := literal_fault(argument, parameter.types):
            types = " or ".join(sorted(parameter.types))
            raise self._names.error(f"the {parameter.name} of {signature.name} must be {types}", node, fault)
        return argument

    def _time_of(self, node: exp.Expr) -> Expression | None:
        """Return the time of the source that `node` names, None for anything else."""
        source = self._scope.source(node.name) if isinstance(node, exp.Column) else None
        if source is None or source.column(source.name) is not None:
            return None
        if source.kind == "reference":
            advice = "Reference data has no time of its own; name one of its columns."
            raise self._names.error(f"{source.name} is reference data", node, advice)
        return source_time(self._scope, source, place(node))

    def _word(self, signature: Signature, what: str, words: dict[str, str], node: exp.Expr) -> Expression:
        advice = f"Write one of {', '.join(dict.fromkeys(words.values()))}, without quotes."
        if not isinstance(node, exp.Column):
            raise self._names.error(f"the {what} of {signature.name} must be a bare word", node, advice)
        full = words.get(node.name.lower())
        if full is None:
            problem = f"{signature.name} knows no {what} '{node.name}'"
            raise self._names.error(problem, node, did_you_mean(node.name, words) or advice)
        return Literal(full, ValueType.TEXT, place(node))


def source_time(scope: Scope, source: Source, span: Span) -> Expression:
    """Return the time of the rows of one source."""
    return SystemTimestamp(span) if scope.single else ColumnRef(scope.spelled(source, SOURCE_TIME), span)


def _find(declared: Declared, prefix: Sequence[str], name: str, kind: str) -> str | None:
    """Return the declared spelling of a function; `f` and `kind.f` are the same."""
    if (found := declared.find(".".join((*prefix, name)))) is not None:
        return found
    if not prefix:
        return declared.find(f"{kind}.{name}")
    return declared.find(name) if [word.casefold() for word in prefix] == [kind] else None
