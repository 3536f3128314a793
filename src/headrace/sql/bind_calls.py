"""Binding calls: built-in functions against the catalogue, Python functions and models by declared name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from headrace.errors import QueryError, did_you_mean
from headrace.events.batch import ValueType
from headrace.sql.catalogue import all_signatures, lookup
from headrace.sql.catalogue.elsewhere import AGGREGATES, ANALYTIC, FOREIGN, ROWS, TO_COME, WINDOWS
from headrace.sql.catalogue.signature import Parameter, Signature
from headrace.sql.plan import Call, Expression, Literal, SystemTimestamp, UserCall
from headrace.sql.scope import Names, Scope
from headrace.sql.syntax import place

#: Prefixes of declared functions; one declared as `f` may be called as `udf.f` and the other way round.
_SCALAR_PREFIX: Final = "udf"
_AGGREGATE_PREFIX: Final = "uda"

_SCALARS: Final = frozenset(signature.kernel for signature in all_signatures())
_ELSEWHERE: Final = {
    name.upper(): (name, kind)
    for kind, names in (
        ("aggregate", AGGREGATES),
        ("analytic", ANALYTIC),
        ("rows", ROWS),
        ("window", WINDOWS),
        ("to come", TO_COME),
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


class CallBinder:
    """Binds the calls of one SELECT; `value` binds their arguments."""

    def __init__(self, names: Names, scope: Scope, value: Callable[[exp.Expr], Expression]) -> None:
        self._names, self._scope, self._value = names, scope, value

    def bind(self, node: exp.Anonymous) -> Expression:
        """Return the bound call of a scalar function."""
        prefix = [identifier.name for identifier in node.args["prefix"]]
        name: str = node.this.name
        if node.args["distinct"] and name.upper() != "COUNT":
            raise self._names.error("DISTINCT stands only in COUNT(DISTINCT ...)", node)
        if prefix and prefix[0].upper() == "SYSTEM":
            return self._system(node, prefix, name)
        declared = self._declared(prefix, name)
        if declared is not None:
            return self._user_call(node, declared)
        if prefix:
            raise self._wrong_prefix(node, prefix, name)
        signature = lookup(name)
        if signature is None:
            raise self._not_scalar(node, name)
        return Call(signature.kernel, self._arguments(node, signature), place(node))

    def bind_window(self, node: exp.Window) -> Expression:
        """Refuse ``f() OVER (...)``: which functions take it, and that it is still to come."""
        name: str = node.this.this.name
        _, kind = _ELSEWHERE.get(name.upper(), ("", ""))
        if kind in ("aggregate", "analytic"):
            raise self._names.error(f"{name} OVER (...) is not available yet", node)
        if kind or lookup(name):
            raise self._names.error(f"{name} takes no OVER", node.args["over"])
        self.bind(node.this)
        raise self._names.error(f"the function {name} takes no OVER", node.args["over"])

    # --- whose function -----------------------------------------------------------------------------------

    def _declared(self, prefix: Sequence[str], name: str) -> str | None:
        """Return the declared name of a Python function or model, None for anything else."""
        full = ".".join((*prefix, name))
        if not prefix and (name.upper() in _SCALARS or name.upper() in _ELSEWHERE):
            return None
        if (found := self._names.functions.find(full)) is not None:
            return found
        if not prefix:
            return self._names.functions.find(f"{_SCALAR_PREFIX}.{name}")
        if [word.casefold() for word in prefix] == [_SCALAR_PREFIX]:
            return self._names.functions.find(name)
        return None

    def _user_call(self, node: exp.Anonymous, declared: str) -> Expression:
        if declared.casefold().startswith(f"{_AGGREGATE_PREFIX}."):
            raise self._names.error(f"the aggregate {declared} is not available yet", node)
        for argument in node.expressions:
            self._refuse_whole_event(argument)
        self._names.used_functions[declared] = None
        return UserCall(declared, tuple(map(self._value, node.expressions)), place(node))

    def _refuse_whole_event(self, argument: exp.Expr) -> None:
        """Refuse f(source), which hands over the whole event, unless a known column has that name."""
        if not isinstance(argument, exp.Column) or not self._scope.is_source(argument.name):
            return
        if self._scope.column(argument.name) is None:
            name = argument.name
            raise self._names.error(
                "handing a whole event to a function is not available yet",
                argument,
                f"{name} is the source here; write {name}.column, or give the source an alias with AS.",
            )

    def _system(self, node: exp.Anonymous, prefix: Sequence[str], name: str) -> Expression:
        if len(prefix) == 1 and name.upper() == "TIMESTAMP":
            if node.expressions:
                raise self._names.error("System.Timestamp() takes no arguments", node)
            return SystemTimestamp(place(node))
        if len(prefix) == 1 and name.upper() == "WINDOW":
            raise self._names.error("System.Window() is not available yet", node)
        if name.upper() in _SCALARS or name.upper() in _ELSEWHERE:
            raise self._wrong_prefix(node, prefix, name)
        advice = "There is System.Timestamp()."
        raise self._names.error(f"there is no function {'.'.join((*prefix, name))}", node, advice)

    def _wrong_prefix(self, node: exp.Anonymous, prefix: Sequence[str], name: str) -> QueryError:
        full = ".".join((*prefix, name))
        if name.upper() in _SCALARS or name.upper() in _ELSEWHERE:
            problem = f"a built-in function takes no prefix: {full}"
            return self._names.error(problem, node, f"Write {name}(...).")
        if prefix[0].casefold() == _AGGREGATE_PREFIX:
            return self._names.error(f"the aggregate {full} is not available yet", node)
        known = list(self._names.functions)
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
            case "aggregate":
                advice = "Add GROUP BY with a window, such as TumblingWindow(minute, 1)."
                return self._names.error(f"the aggregate {spelled} needs a window in GROUP BY", node, advice)
            case "analytic":
                advice = f"Write {spelled}(...) OVER (LIMIT DURATION(minute, 1))."
                return self._names.error(f"{spelled} needs OVER (...)", node, advice)
            case "rows":
                advice = f"Write FROM source CROSS APPLY {spelled}(column) AS element."
                return self._names.error(f"{spelled} stands only after APPLY", node, advice)
            case "window":
                return self._names.error(f"the window {spelled} stands only in GROUP BY", node)
            case "to come":
                return self._names.error(f"{spelled} is not available yet", node)
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
        argument = self._value(node)
        if fault := literal_fault(argument, parameter.types):
            types = " or ".join(sorted(parameter.types))
            raise self._names.error(f"the {parameter.name} of {signature.name} must be {types}", node, fault)
        return argument

    def _word(self, signature: Signature, what: str, words: dict[str, str], node: exp.Expr) -> Expression:
        advice = f"Write one of {', '.join(dict.fromkeys(words.values()))}, without quotes."
        if not isinstance(node, exp.Column):
            raise self._names.error(f"the {what} of {signature.name} must be a bare word", node, advice)
        full = words.get(node.name.lower())
        if full is None:
            problem = f"{signature.name} knows no {what} '{node.name}'"
            raise self._names.error(problem, node, did_you_mean(node.name, words) or advice)
        return Literal(full, ValueType.TEXT, place(node))
