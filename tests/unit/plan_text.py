"""Bound plans as short text, for golden files and comparisons; the engine's own names begin with @."""

from headrace.events.batch import HIDDEN
from headrace.sql.plan import (
    AllColumns,
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
    Like,
    Literal,
    Project,
    Relation,
    Scan,
    Script,
    StepRef,
    SystemTimestamp,
    Unary,
    Union,
    UserCall,
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
        case Scan(input, timestamp):
            line = f"scan {input}" + (f" timestamp {text(timestamp)}" if timestamp else "")
        case StepRef(step):
            line = f"rows of {step}"
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


def _item(item: Item | AllColumns) -> str:
    if isinstance(item, Item):
        return f"[{item.name}] {text(item.expression)}"
    return "*" if item.record is None else f"{text(item.record)}.*"


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
