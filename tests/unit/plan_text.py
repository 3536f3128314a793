"""Bound plans as short text, for golden files and comparisons; the engine's own names begin with @."""

import re
from collections.abc import Iterable, Sequence

from headrace.events.batch import HIDDEN
from headrace.sql.plan import (
    Aggregate,
    AggregateCall,
    AllColumns,
    Analytic,
    AnalyticCall,
    Apply,
    Binary,
    Call,
    Case,
    Cast,
    ColumnRef,
    Effect,
    EffectCall,
    Expression,
    FieldRef,
    Filter,
    In,
    IsNull,
    Item,
    Join,
    Like,
    Literal,
    Match,
    Partition,
    Project,
    Qualified,
    ReferenceJoin,
    Relation,
    Scan,
    Script,
    StepRef,
    SystemTimestamp,
    Unary,
    Union,
    UserCall,
    WholeRow,
    Window,
)


def script_text(script: Script) -> str:
    lines = [f"inputs {', '.join(script.inputs)}"]
    if script.functions:
        lines.append(f"functions {', '.join(script.functions)}")
    for step in script.steps:
        lines += [f"step {step.name}", *_indented(step.relation, 1)]
    for output in script.outputs:
        lines += [f"output {output.name}", *_indented(output.relation, 1)]
    return "\n".join(lines)


def _indented(relation: Relation, depth: int) -> list[str]:
    sources: tuple[Relation, ...] = ()
    match relation:
        case Scan(input, timestamp, over, partition):
            line = f"scan {input}" + (f" timestamp {text(timestamp)}" if timestamp else "")
            line += f" over {_list(over)}" if over else ""
            line += _partition(partition)
        case StepRef(step, partition):
            line = f"rows of {step}{_partition(partition)}"
        case Aggregate(source, windows, keys, calls, window_column):
            named = "".join(f" {_hidden(key.column)} = {text(key.expression)};" for key in keys)
            made = "".join(f" {_aggregate(call)};" for call in calls)
            line = f"group by {', '.join(map(_window, windows))}:{named}{made}"
            line += f" {_hidden(window_column)}" if window_column else ""
            sources = (source,)
        case Analytic(source, calls):
            line, sources = "over " + "; ".join(map(_analytic, calls)), (source,)
        case Qualified() | Join() | ReferenceJoin() | Apply() | Match():
            line, sources = _joined(relation)
        case Filter(source, predicate):
            line, sources = f"filter {text(predicate)}", (source,)
        case Project(source, items):
            line, sources = f"project {', '.join(map(_item, items))}", (source,)
        case Union(sources):
            line = "union"
        case Effect(source, calls):
            line, sources = f"effect {'; '.join(map(_call, calls))}", (source,)
    below = [under for source in sources for under in _indented(source, depth + 1)]
    return ["  " * depth + line, *below]


def _list(nodes: Iterable[Expression]) -> str:
    return ", ".join(map(text, nodes))


def _hidden(column: str | None) -> str:
    return (column or "").replace(HIDDEN, "@")


def _partition(partition: Partition | None) -> str:
    if partition is None:
        return ""
    return f" partition by {_list(partition.keys)}" + (f" into {partition.count}" if partition.count else "")


def _window(window: Window) -> str:
    shown = repr(window).replace(", id=None", "").replace(", offset_us=0", "").replace(", keys=()", "")
    keys = _list(getattr(window, "keys", ()))
    return re.sub(r"keys=.*\)(?=[,)])", lambda _: f"keys={keys}", shown)


def _aggregate(call: AggregateCall) -> str:
    written = [*map(repr, call.parameters), *map(text, call.arguments)]
    order = ", ".join(text(by.expression) + (" desc" if by.descending else "") for by in call.order)
    distinct = "distinct " if call.distinct else ""
    made = f"{_hidden(call.column)} = {call.function}({distinct}{', '.join(written)})"
    return made + (f" order by {order}" if order else "")


def _analytic(call: AnalyticCall) -> str:
    made = _aggregate(call.call)
    made += f" partition by {_list(call.partition)}" if call.partition else ""
    made += f" limit {call.limit_us}" if call.limit_us else ""
    made += f" when {text(call.when)}" if call.when else ""
    return made + (f" default {text(call.default)}" if call.default else "")


def _on(equal: Sequence[tuple[Expression, Expression]], condition: Expression | None) -> str:
    parts = [f"{text(left)} = {text(right)}" for left, right in equal]
    return "".join(f" on {part}" for part in [*parts, *([text(condition)] if condition else [])])


def _joined(relation: Relation) -> tuple[str, tuple[Relation, ...]]:
    match relation:
        case Qualified(source, name):
            return f"as {name}", (source,)
        case Join(left, right, outer, bounds, equal, condition):
            within = " and ".join(f"{text(b.left)}/{b.unit_us} {b.low}..{b.high}" for b in bounds)
            line = f"{'left ' if outer else ''}join within {within}{_on(equal, condition)}"
            return line, (left, right)
        case ReferenceJoin(left, reference, name, outer, equal, condition):
            line = f"{'left ' if outer else ''}join reference {reference} as {name}"
            return line + _on(equal, condition), (left,)
        case Apply(source, function, operand, name, outer):
            kind = "outer" if outer else "cross"
            return f"{kind} apply {function}({text(operand)}) as {name}", (source,)
        case Match():
            return f"match {relation.pattern}", (relation.source,)
    raise AssertionError(relation)


def _item(item: Item | AllColumns) -> str:
    if isinstance(item, Item):
        return f"[{item.name}] {text(item.expression)}"
    stars = ", ".join(f"{source}.*" for source in item.sources) or "*"
    return stars if item.record is None else f"{text(item.record)}.*"


def _call(call: EffectCall) -> str:
    made = f"{call.column.replace(HIDDEN, '@')} = {call.function}({', '.join(map(text, call.arguments))})"
    return made if call.when is None else f"{made} when {text(call.when)}"


def text(node: Expression) -> str:
    match node:
        case Literal(value):
            return "NULL" if value is None else repr(value)
        case ColumnRef(name):
            return name.replace(HIDDEN, "@")
        case FieldRef(base, name):
            return f"{text(base)}.{name}"
        case SystemTimestamp():
            return "TIME"
        case WholeRow(source):
            return f"{source or ''}*"
        case Call(function, arguments) | UserCall(function, arguments):
            mark = "!" if isinstance(node, UserCall) else ""
            return f"{mark}{function}({', '.join(map(text, arguments))})"
        case Cast(operand, type_, safe):
            return f"{'TRY_' if safe else ''}CAST({text(operand)} AS {type_})"
        case Case(branches, otherwise):
            written = "".join(f" WHEN {text(when)} THEN {text(then)}" for when, then in branches)
            return f"CASE{written} ELSE {text(otherwise)} END"
        case Binary(operator, left, right):
            return f"({text(left)} {operator} {text(right)})"
        case Unary(operator, operand):
            return f"({operator} {text(operand)})"
    return _condition(node)


def _condition(node: IsNull | In | Like) -> str:
    match node:
        case IsNull(operand):
            return f"({text(operand)} IS NULL)"
        case In(operand, items):
            return f"({text(operand)} IN ({', '.join(map(text, items))}))"
        case Like(operand, pattern):
            return f"({text(operand)} LIKE {text(pattern)})"
