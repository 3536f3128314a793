"""From the text of a script to its bound plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlglot import exp

from headrace.errors import Span
from headrace.sql.bind_select import QueryBinder, into_of
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
    try:
        return hoisted(_script(names))
    except RecursionError:
        # The stack was nearly full when we were called: MAX_QUERY_DEPTH alone leaves enough of it.
        raise names.error("the script is nested too deep to be read from here", Span(0, 1)) from None


def _script(names: Names) -> Script:
    text = names.text
    statements = parse(text)
    binder = QueryBinder(names)
    steps: list[Step] = []
    if statements and isinstance(statements[0], exp.With):
        steps = _bound_steps(names, binder, statements.pop(0).expressions)
    bound = tuple(_output(names, binder, statement) for statement in statements)
    if not bound:
        end = len(text.rstrip())
        problem = "the script has no SELECT after its steps" if steps else "the script is empty"
        raise names.error(problem, Span(max(0, end - 1), end), "Write SELECT ... INTO output FROM input.")
    return Script(text, tuple(steps), bound, tuple(names.used_inputs), tuple(names.used_functions))


def _bound_steps(names: Names, binder: QueryBinder, nodes: Sequence[exp.Expr]) -> list[Step]:
    """Return the WITH steps, and make each known to `binder` for those below it."""
    binder.later.update(node.alias.casefold() for node in nodes)
    steps: list[Step] = []
    for node in nodes:
        identifier: exp.Identifier = node.args["alias"]
        name = names.checked(identifier)
        if name.casefold() in binder.steps:
            raise names.error(f"there are two steps called '{name}'", identifier)
        if names.inputs.holds(name):
            raise names.error(f"there is an input called '{name}', too", identifier, "Rename the step.")
        if into := into_of(node.this):
            advice = "A step is read by name; write INTO in the SELECT that reads it."
            raise names.error("INTO is not allowed inside a WITH step", into, advice)
        query = binder.query(node.this)
        binder.steps[name.casefold()] = (name, query.columns)
        steps.append(Step(name, query.relation, place(node)))
    return steps


def _output(names: Names, binder: QueryBinder, statement: exp.Expr) -> Output:
    if isinstance(statement, exp.With):
        advice = "Put all steps into one WITH list at the top of the script."
        raise names.error("WITH stands before the first SELECT, once", statement, advice)
    into = into_of(statement)
    name, where = (DEFAULT_OUTPUT, statement) if into is None else (names.checked(into.this), into.this)
    query = binder.query(statement)
    return Output(names.find_output(name, where), query.relation, place(statement))
