"""From the text of a script to its bound plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlglot import exp

from headrace.errors import Span
from headrace.sql.bind_select import Query, QueryBinder, Steps, into_of
from headrace.sql.dialect import parse
from headrace.sql.effects import hoisted
from headrace.sql.plan import Output, Script, Step
from headrace.sql.scope import Declared, Names
from headrace.sql.syntax import place

#: Where a SELECT writes that has no INTO.
DEFAULT_OUTPUT = "output"


def bind(
    text: str,
    *,
    functions: Collection[str] = (),
    inputs: Collection[str] | None = None,
    outputs: Collection[str] | None = None,
) -> Script:
    """Return the bound plan of a script, calls of functions and models hoisted into Effects.

    `functions` are the declared Python functions and models; `inputs` and `outputs` the declared names, where
    None takes any. Raises QueryError, with the place, for whatever the script gets wrong.
    """
    names = Names(text, Declared(functions), Declared(inputs), Declared(outputs))
    statements = parse(text)
    steps = _Steps(names)
    outputs_: list[Output] = []
    for position, statement in enumerate(statements):
        if isinstance(statement, exp.With):
            if position:
                advice = "Put all steps into one WITH list at the top of the script."
                raise names.error("WITH stands before the first SELECT, once", statement, advice)
            steps.bind(statement.expressions)
        else:
            outputs_.append(_output(names, steps.visible(), statement))
    if not outputs_:
        end = len(text.rstrip())
        problem = "the script has no SELECT after its steps" if statements else "the script is empty"
        raise names.error(problem, Span(max(0, end - 1), end), "Write SELECT ... INTO output FROM input.")
    script = Script(
        text, tuple(steps.bound), tuple(outputs_), tuple(names.used_inputs), tuple(names.used_functions)
    )
    return hoisted(script)


class _Steps:
    """The WITH steps of a script, as they become known."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._queries: dict[str, tuple[str, Query]] = {}
        self._later: list[str] = []
        self.bound: list[Step] = []

    def bind(self, nodes: Sequence[exp.Expr]) -> None:
        self._later = [node.alias.casefold() for node in nodes]
        for node in nodes:
            identifier: exp.Identifier = node.args["alias"]
            name = self._names.checked(identifier)
            if name.casefold() in self._queries:
                raise self._names.error(f"there are two steps called '{name}'", identifier)
            if into := into_of(node.this):
                advice = "A step is read by name; write INTO in the SELECT that reads it."
                raise self._names.error("INTO is not allowed inside a WITH step", into, advice)
            query = QueryBinder(self._names, self.visible()).query(node.this)
            self._queries[name.casefold()] = (name, query)
            self.bound.append(Step(name, query.relation, place(node)))

    def visible(self) -> Steps:
        known = {fold: (name, query.columns) for fold, (name, query) in self._queries.items()}
        return Steps(known, frozenset(self._later) - known.keys())


def _output(names: Names, steps: Steps, statement: exp.Expr) -> Output:
    into = into_of(statement)
    where = into.this if into is not None else statement
    name = names.checked(into.this) if into is not None else DEFAULT_OUTPUT
    query = QueryBinder(names, steps).query(statement)
    return Output(names.find_output(name, where), query.relation, place(statement))
