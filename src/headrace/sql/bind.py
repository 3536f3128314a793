"""From the text of a script to its bound plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlglot import exp

from headrace.errors import Span
from headrace.events.batch import ValueType
from headrace.sql.bind_expressions import ExpressionBinder, type_named
from headrace.sql.bind_select import QueryBinder, into_of
from headrace.sql.bind_sources import SourceBinder, bound_partition
from headrace.sql.dialect import parse
from headrace.sql.effects import hoisted
from headrace.sql.plan import Output, Script, Step, Table, scans
from headrace.sql.scope import Declared, Names, Scope, Source
from headrace.sql.syntax import place

#: Where a SELECT writes that has no INTO.
DEFAULT_OUTPUT = "output"


def bind(
    text: str,
    *,
    functions: Collection[str] = (),
    aggregates: Collection[str] = (),
    inputs: Collection[str] | None = None,
    references: Collection[str] | Mapping[str, Collection[str]] = (),
    outputs: Collection[str] | None = None,
) -> Script:
    """Return the bound plan of a script, calls of functions and models hoisted into Effects.

    `functions` are the declared Python functions and models, `aggregates` the user aggregates; `inputs`,
    `references` (reference data) and `outputs` the declared names, where None takes any. Raises QueryError,
    with the place, for whatever the script gets wrong. With the columns of reference data in `references` a
    column that they have not need not be told apart from theirs.
    """
    names = Names(
        text,
        Declared(functions),
        Declared(inputs),
        Declared(outputs),
        Declared(aggregates),
        Declared(references),
        reference_columns=references if isinstance(references, Mapping) else {},
    )
    try:
        return hoisted(_script(names))
    except RecursionError:
        # The stack was nearly full when we were called: MAX_QUERY_DEPTH alone leaves enough of it.
        raise names.error("the script is nested too deep to be read from here", Span(0, 1)) from None


def _script(names: Names) -> Script:
    text = names.text
    statements = parse(text)
    sources = SourceBinder(names)
    tables: list[Table] = []
    while statements and isinstance(statements[0], exp.Create):
        tables.append(_table(names, sources, statements.pop(0)))
    binder = QueryBinder(names, sources)
    steps: list[Step] = []
    if statements and isinstance(statements[0], exp.With):
        steps = _bound_steps(names, sources, binder, statements.pop(0).expressions)
    bound = tuple(_output(names, binder, statement) for statement in statements)
    if not bound:
        end = len(text.rstrip())
        problem = "the script has no SELECT after its steps" if steps else "the script is empty"
        raise names.error(problem, Span(max(0, end - 1), end), "Write SELECT ... INTO output FROM input.")
    script = Script(
        text,
        tuple(steps),
        bound,
        tuple(names.used_inputs),
        tuple(names.used_functions),
        tuple(names.used_references),
        tuple(tables),
    )
    _check_substreams(names, script)
    return script


def _check_substreams(names: Names, script: Script) -> None:
    """Refuse a script in which some inputs have substreams and others have none."""
    by_kind = {bool(scan.over): scan for scan in scans(script)}
    if len(by_kind) == 2:
        problem = "either all inputs have TIMESTAMP BY ... OVER or none has"
        raise names.error(problem, by_kind[False].span, "Write TIMESTAMP BY time OVER key here, too.")


def _table(names: Names, sources: SourceBinder, node: exp.Expr) -> Table:
    """Return a CREATE TABLE, and make its columns known to those who read the input."""
    identifier: exp.Identifier = node.this
    name = names.references.find(identifier.name) if names.references.holds(identifier.name) else None
    name = name or names.find_input(identifier, ())
    if name.casefold() in sources.tables:
        raise names.error(f"there are two CREATE TABLE {name}", identifier)
    columns: dict[str, tuple[str, ValueType]] = {}
    for column in node.expressions:
        called = names.checked(column.this)
        if called.casefold() in columns:
            raise names.error(f"the column '{called}' is there twice", column)
        columns[called.casefold()] = (called, type_named(names, column.args["kind"]))
    sources.tables[name.casefold()] = {fold: called for fold, (called, _) in columns.items()}
    return Table(name, tuple(columns.values()), place(node))


def _bound_steps(
    names: Names, sources: SourceBinder, binder: QueryBinder, nodes: Sequence[exp.Expr]
) -> list[Step]:
    """Return the WITH steps, and make each known to those below it."""
    sources.later.update(node.alias.casefold() for node in nodes)
    steps: list[Step] = []
    for node in nodes:
        identifier: exp.Identifier = node.args["alias"]
        name = names.checked(identifier)
        if name.casefold() in sources.steps:
            raise names.error(f"there are two steps called '{name}'", identifier)
        if names.inputs.holds(name) or names.references.holds(name):
            raise names.error(f"there is an input called '{name}', too", identifier, "Rename the step.")
        if into := into_of(node.this):
            advice = "A step is read by name; write INTO in the SELECT that reads it."
            raise names.error("INTO is not allowed inside a WITH step", into, advice)
        query = binder.query(node.this)
        sources.steps[name.casefold()] = (name, query.columns)
        steps.append(Step(name, query.relation, place(node)))
    return steps


def _output(names: Names, binder: QueryBinder, statement: exp.Expr) -> Output:
    if isinstance(statement, exp.With):
        advice = "Put all steps into one WITH list at the top of the script."
        raise names.error("WITH stands before the first SELECT, once", statement, advice)
    if isinstance(statement, exp.Create):
        advice = "Put it at the top of the script."
        raise names.error("CREATE TABLE stands before WITH and SELECT", statement, advice)
    into = into_of(statement)
    name, where = (DEFAULT_OUTPUT, statement) if into is None else (names.checked(into.this), into.this)
    query = binder.query(statement)
    partition = None
    if into is not None and into.args.get("partition_keys"):
        scope = Scope((Source(name, None),))
        keys, shards = into.args["partition_keys"], into.args.get("shards")
        partition = bound_partition(names, ExpressionBinder(names, scope, clause="timestamp"), keys, shards)
    return Output(names.find_output(name, where), query.relation, partition, place(statement))
