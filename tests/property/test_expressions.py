"""Expressions against an interpreter of the language that takes one row at a time.

The interpreter below is written from the reference, knows nothing of Polars, and is slow and plain. Rows mix
types and NULLs as they like.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine.expressions import RowError, evaluate
from headrace.engine.operators.filter import filter_rows
from headrace.events.batch import Batch, ValueType
from headrace.events.formats.json_rows import from_rows, rows
from headrace.sql.plan import (
    Binary,
    Call,
    Case,
    Cast,
    ColumnRef,
    Expression,
    FieldRef,
    In,
    IsNull,
    Like,
    Literal,
    Unary,
)

MIN, MAX = -(2**63), 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fails(Exception):
    """The row cannot be computed."""


# --- the interpreter: NULL and unknown are None, records dicts, arrays lists, datetimes aware -------------


def kind(value: Any) -> str:
    names = {bool: "bit", int: "bigint", float: "float", str: "text", dict: "record", list: "array"}
    return names.get(type(value), "datetime")


def check(value: Any) -> Any:
    if type(value) is int and not MIN <= value <= MAX:
        raise Fails
    if type(value) is float and not math.isfinite(value):
        raise Fails
    return value


def text_of(value: Any) -> str:
    match kind(value):
        case "bit":
            return "true" if value else "false"
        case "bigint":
            return f"{value}"
        case "float":
            return re.sub(r"e([+-])0(\d)$", r"e\1\2", repr(value + 0.0).removesuffix(".0"))
        case "datetime":
            return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond:06}0Z"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def number_of_text(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text.strip()):
        raise Fails
    return check(float(text))


def datetime_of_text(text: str) -> datetime:
    shape = r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?:(:\d\d)(\.\d{1,9})?)?(Z|z|[+-]\d\d(?::?\d\d)?)?)?"
    found = re.fullmatch(shape, text.strip(), re.ASCII)
    if found is None:
        raise Fails
    day, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}+00:00")
    except ValueError:
        raise Fails from None
    moment += timedelta(microseconds=int(((fraction or ".0")[1:] + "000000")[:6]))
    if zone and zone not in "Zz":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        moment -= -offset if zone[0] == "-" else offset
    return moment


def cast(value: Any, to: str, *, explicit: bool = True) -> Any:
    if value is None or kind(value) == to:
        return value
    found = kind(value)
    if to == "text" and (explicit or found not in {"record", "array"}):
        return text_of(value)
    if found == "text":
        match to:
            case "bit" if value.strip().lower() in {"true", "false", "1", "0"}:
                return value.strip().lower() in {"true", "1"}
            case "bigint" if re.fullmatch(r"[+-]?[0-9]+", value.strip()):
                return check(int(value))
            case "float":
                return number_of_text(value)
            case "datetime":
                return datetime_of_text(value)
        raise Fails
    if found in {"bit", "bigint", "float"}:
        match to:
            case "bit":
                return value != 0
            case "bigint":
                return check(int(value))
            case "float":
                return float(value)
    raise Fails


NAMES = {
    ValueType.BIT: "bit",
    ValueType.BIGINT: "bigint",
    ValueType.FLOAT: "float",
    ValueType.TEXT: "text",
    ValueType.DATETIME: "datetime",
    ValueType.RECORD: "record",
    ValueType.ARRAY: "array",
}


def implicit(value: Any, to: str) -> Any:
    return cast(value, to, explicit=False)


def number(value: Any) -> Any:
    if kind(value) in {"bigint", "float"}:
        return value
    return implicit(value, "bigint" if kind(value) == "bit" else "float")


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if operator == "+" and kind(left) == kind(right) == "text":
        return left + right
    if not {kind(left), kind(right)} <= {"bit", "bigint", "float", "text"}:
        raise Fails
    if not {kind(left), kind(right)} <= {"bit", "bigint"}:
        left, right = implicit(left, "float"), implicit(right, "float")
    else:
        left, right = int(left), int(right)
    if operator in "/%" and right == 0:
        raise Fails
    if operator == "/" and isinstance(left, int):
        quotient = abs(left) // abs(right)
        return check(quotient if (left < 0) == (right < 0) else -quotient)
    if operator == "%":
        if isinstance(left, float):
            return math.fmod(left, right)
        return abs(left) % abs(right) * (-1 if left < 0 else 1)
    plain = {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}
    return check(plain[operator]() if operator in plain else left / right)


def unary(operator: str, value: Any) -> Any:
    if value is None:
        return None
    if operator == "-":
        return check(-number(value))
    if kind(value) == "bit":
        return not value
    if kind(value) not in {"bigint", "text"}:
        raise Fails
    return ~implicit(value, "bigint")


def bitwise(operator: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if not {kind(left), kind(right)} <= {"bit", "bigint", "text"}:
        raise Fails
    if not kind(left) == kind(right) == "bit":
        left, right = implicit(left, "bigint"), implicit(right, "bigint")
    return {"&": lambda: left & right, "|": lambda: left | right, "^": lambda: left ^ right}[operator]()


def compared(operator: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    kinds = {kind(left), kind(right)}
    if not (kinds <= {"bit", "bigint", "float"} or kinds in ({"text"}, {"datetime"})):
        left, right = read_like(left, right), read_like(right, left)
    outcomes = {"=": left == right, "<>": left != right}
    if operator in outcomes:
        return outcomes[operator]
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]


def read_like(value: Any, other: Any) -> Any:
    """A text as the number, bit or datetime it is compared with."""
    if kind(value) != "text":
        if kind(value) in {"record", "array"} or kind(other) != "text":
            raise Fails
        return value
    if kind(other) in {"bit", "datetime"}:
        return implicit(value, kind(other))
    if kind(other) not in {"bigint", "float"}:
        raise Fails
    try:
        return implicit(value, "bigint")
    except Fails:
        return implicit(value, "float")


def logic(operator: str, left: bool | None, right: Any) -> bool | None:
    """`right` is a function, since it may not be looked at."""
    decided = operator == "OR"
    if left is decided:
        return decided
    try:
        second = right()
    except Fails:
        if operator == "OR" or left is True:
            raise
        second = None
    if second is decided:
        return decided
    return None if left is None or second is None else not decided


def declared(node: Expression) -> str | None:
    """The type that the query fixes whatever the data are; "null" for NULL itself."""
    match node:
        case Literal():
            return "null" if node.value is None else NAMES[node.type]
        case Cast():
            return NAMES[node.type]
        case Case():
            return common([then for _, then in node.branches] + [node.otherwise])
        case Unary(operator="-"):
            return numeric(declared(node.operand))
        case Unary(operator="~"):
            return {"bit": "bit", "bigint": "bigint", "text": "bigint"}.get(declared(node.operand))
        case Binary():
            return of_operator(node.operator, declared(node.left), declared(node.right))
        case Call(function="COALESCE"):
            types = set(map(declared, node.arguments))
            return types.pop() if len(types) == 1 and "null" not in types else None
        case Call(function="NULLIF"):
            found = declared(node.arguments[0])
            return None if found == "null" else found
        case Call(function="ABS" | "CEILING" | "FLOOR" | "POWER" | "ROUND" | "SIGN"):
            return numeric(declared(node.arguments[0]))
        case Call():
            return FIXED.get(node.function, "text")
    return None


FIXED = {
    **dict.fromkeys(["CHARINDEX", "DATEDIFF", "LEN", "YEAR"], "bigint"),
    "DATEADD": "datetime",
    "SQRT": "float",
}


def numeric(type_: str | None) -> str | None:
    return {"bit": "bigint", "bigint": "bigint", "float": "float", "text": "float"}.get(type_)


def of_operator(operator: str, left: str | None, right: str | None) -> str | None:
    types = {left, right}
    if operator in "&|^":
        return "bit" if types == {"bit"} else "bigint" if types <= {"bit", "bigint", "text"} else None
    if types == {"text"} and operator == "+":
        return "text"
    if types <= {"bit", "bigint"}:
        return "bigint"
    return "float" if types <= {"bit", "bigint", "float", "text"} else None


def common(results: list[Expression]) -> str | None:
    types = set(map(declared, results)) - {"null"}
    if len(types) == 1:
        return types.pop()
    order = ["bit", "bigint", "float"]
    return max(types, key=order.index) if types and types <= set(order) else None


def operands(node: Expression, operator: str) -> list[Expression]:
    """The parts of a AND b AND c, however they are nested: they are looked at from left to right."""
    if isinstance(node, Binary) and node.operator == operator:
        return operands(node.left, operator) + operands(node.right, operator)
    return [node]


class Row:
    """One event, and what expressions are over it."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def value(self, node: Expression) -> Any:
        match node:
            case Literal():
                return node.value
            case ColumnRef():
                return self.fields.get(node.name)
            case FieldRef():
                base = self.value(node.base)
                return base.get(node.name) if isinstance(base, dict) else None
            case Cast():
                return self.cast(node)
            case Case():
                return self.case(node)
            case Binary(operator="+" | "-" | "*" | "/" | "%"):
                return arithmetic(node.operator, self.value(node.left), self.value(node.right))
            case Binary(operator="&" | "|" | "^"):
                return bitwise(node.operator, self.value(node.left), self.value(node.right))
            case Unary():
                return unary(node.operator, self.value(node.operand))
            case Call():
                return FUNCTIONS[node.function](self, *node.arguments)
        raise AssertionError(node)

    def cast(self, node: Cast) -> Any:
        value = self.value(node.operand)
        try:
            return cast(value, NAMES[node.type])
        except Fails:
            if node.safe:
                return None
            raise

    def case(self, node: Case) -> Any:
        results = [then for _, then in node.branches] + [node.otherwise]
        chosen = next((then for when, then in node.branches if self.true(when)), node.otherwise)
        value, type_ = self.value(chosen), common(results)
        return value if value is None or type_ is None else cast(value, type_)

    def true(self, node: Expression) -> bool | None:
        match node:
            case Binary(operator="AND" | "OR"):
                first, *rest = operands(node, node.operator)
                result = self.true(first)
                for part in rest:
                    result = logic(node.operator, result, lambda part=part: self.true(part))
                return result
            case Binary():
                return compared(node.operator, self.value(node.left), self.value(node.right))
            case Unary():
                operand = self.true(node.operand)
                return None if operand is None else not operand
            case IsNull():
                return self.value(node.operand) is None
            case In():
                operand, result = self.value(node.operand), False
                for item in node.items:
                    result = logic("OR", result, lambda item=item: compared("=", operand, self.value(item)))
                return result
            case Like():
                text = implicit(self.value(node.operand), "text")
                pattern = implicit(self.value(node.pattern), "text")
                return None if text is None or pattern is None else like(text, pattern)
        raise AssertionError(node)


def like(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[start:], pattern[1:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(text[1:], pattern[1:])


def units(text: str) -> list[str]:
    pairs = text.encode("utf-16-le")
    return [pairs[at : at + 2] for at in range(0, len(pairs), 2)]


def joined(parts: list[Any]) -> str:
    return b"".join(parts).decode("utf-16-le", "replace")


def strict(*types: str) -> Any:
    """A function that gets its arguments as `types` and gives NULL for NULL."""

    def wrap(function: Any) -> Any:
        def call(row: Row, *arguments: Expression) -> Any:
            values = [
                implicit(value, type_) if type_ != "number" or value is None else number(value)
                for value, type_ in zip(map(row.value, arguments), types, strict=True)
            ]
            return None if any(value is None for value in values) else check(function(*values))

        return call

    return wrap


def substring(text: str, start: int, length: int) -> str:
    if length < 0:
        raise Fails
    return joined([unit for place, unit in enumerate(units(text), 1) if start <= place < start + length])


def stuff(text: str, start: int, length: int, inserted: str) -> str:
    if length < 0:
        raise Fails
    all_units, begin = units(text), max(start, 1) - 1
    if begin >= len(all_units):
        return ""
    return joined(all_units[:begin]) + inserted + joined(all_units[begin + length :])


def left(text: str, length: int) -> str:
    return substring(text, 1, length)


def right(text: str, length: int) -> str:
    if length < 0:
        raise Fails
    return joined(units(text)[max(len(units(text)) - length, 0) :])


def charindex(find: str, text: str, start: int) -> int:
    wanted, given = units(find), units(text)
    for place in range(max(start, 1) - 1, len(given) - len(wanted) + 1) if wanted else ():
        if given[place : place + len(wanted)] == wanted:
            return place + 1
    return 0


def rounded(value: float, length: int) -> float:
    if isinstance(value, int):
        if length >= 0:
            return value
        tens = 10 ** min(-length, 25)
        return (abs(value) + tens // 2) // tens * tens * (-1 if value < 0 else 1)
    if length > 15 or abs(value) >= 2.0**52:
        return value if length >= 0 else float(rounded(int(value), length))
    scale = 10.0**length if length >= 0 else 10.0**-length
    scaled = value * scale if length >= 0 else value / scale
    whole = math.floor(abs(scaled)) + (1 if abs(scaled) % 1 >= 0.5 else 0)
    whole = math.copysign(whole, value)
    return whole / scale if length >= 0 else whole * scale


def power(base: Any, exponent: Any) -> Any:
    try:
        if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
            if abs(base) > 1 and exponent > 70:
                raise Fails
            return base ** (exponent if abs(base) > 1 else min(exponent, 2 + exponent % 2))
        real = float(base) ** exponent
    except (ZeroDivisionError, OverflowError):
        raise Fails from None
    if isinstance(real, complex):
        raise Fails
    return int(check(real)) if isinstance(base, int) else real


def simple_case(text: str, change: Any) -> str:
    return "".join(change(letter) if len(change(letter)) == 1 else letter for letter in text)


MONTHS = {"year": 12, "quarter": 3, "month": 1}
SECONDS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def dateadd(part: str, count: int, moment: datetime) -> datetime:
    try:
        if part in SECONDS:
            return moment + timedelta(seconds=SECONDS[part] * count)
        month = moment.year * 12 + moment.month - 1 + count * MONTHS[part]
        year, month = month // 12, month % 12 + 1
        for day in range(moment.day, 27, -1):
            try:
                return moment.replace(year=year, month=month, day=day)
            except ValueError:
                if not 1 <= year <= 9999:
                    raise
        return moment.replace(year=year, month=month)
    except (OverflowError, ValueError):
        raise Fails from None


def datediff(part: str, start: datetime, end: datetime) -> int:
    def boundaries(moment: datetime) -> int:
        if part in MONTHS:
            return (moment.year * 12 + moment.month - 1) // MONTHS[part]
        since = moment - (EPOCH - timedelta(days=4) if part == "week" else EPOCH)
        return since // timedelta(seconds=SECONDS[part])

    return boundaries(end) - boundaries(start)


def dated(function: Any, *types: str) -> Any:
    def call(row: Row, part: Literal, *arguments: Expression) -> Any:
        bound = strict(*types)(lambda *given: function(part.value, *given))
        return bound(row, *arguments)

    return call


def coalesce(row: Row, *arguments: Expression) -> Any:
    for node in arguments:
        value = row.value(node)
        if value is not None:
            return value
    return None


def nullif(row: Row, first: Expression, second: Expression) -> Any:
    value = row.value(first)
    return None if compared("=", value, row.value(second)) else value


def concat(row: Row, *arguments: Expression) -> str:
    return "".join(cast(value, "text") or "" for value in map(row.value, arguments))


def concat_ws(row: Row, separator: Expression, *arguments: Expression) -> str:
    between = cast(row.value(separator), "text") or ""
    return between.join(cast(v, "text") for v in map(row.value, arguments) if v is not None)


def gettype(row: Row, argument: Expression) -> str | None:
    value = row.value(argument)
    return None if value is None else kind(value).replace("text", "nvarchar(max)")


def square_root(value: float) -> float:
    if value < 0:
        raise Fails
    return math.sqrt(value)


FUNCTIONS: dict[str, Any] = {
    "ABS": strict("number")(abs),
    "CEILING": strict("number")(lambda x: x if isinstance(x, int) else float(math.ceil(x))),
    "CHARINDEX": strict("text", "text", "bigint")(charindex),
    "COALESCE": coalesce,
    "CONCAT": concat,
    "CONCAT_WS": concat_ws,
    "DATEADD": dated(dateadd, "bigint", "datetime"),
    "DATEDIFF": dated(datediff, "datetime", "datetime"),
    "FLOOR": strict("number")(lambda x: x if isinstance(x, int) else float(math.floor(x))),
    "GETTYPE": gettype,
    "LEFT": strict("text", "bigint")(left),
    "LEN": strict("text")(lambda text: len(units(text.rstrip(" ")))),
    "LOWER": strict("text")(lambda text: simple_case(text, str.lower)),
    "NULLIF": nullif,
    "POWER": strict("number", "number")(power),
    "REPLACE": strict("text", "text", "text")(lambda a, b, c: a.replace(b, c) if b else a),
    "REVERSE": strict("text")(lambda text: text[::-1]),
    "RIGHT": strict("text", "bigint")(right),
    "ROUND": strict("number", "bigint")(rounded),
    "SIGN": strict("number")(lambda x: type(x)((x > 0) - (x < 0))),
    "SQRT": strict("float")(square_root),
    "STUFF": strict("text", "bigint", "bigint", "text")(stuff),
    "SUBSTRING": strict("text", "bigint", "bigint")(substring),
    "UPPER": strict("text")(lambda text: simple_case(text, str.upper)),
    "YEAR": strict("datetime")(lambda moment: moment.year),
}


# --- rows and expressions ---------------------------------------------------------------------------------

INTEGERS = [0, 1, -1, 2, 3, 7, -7, 10, 60, 2**53 + 1, MAX, MIN]
FLOATS = [0.0, -0.0, 0.5, -0.5, 1.0, 2.5, -2.5, 0.1, 123.9995, 2.0**53, 1e16, -9.3e18, 1e300]
TEXTS = [
    "",
    "a",
    "Ab ",
    " b",
    "5",
    "-7",
    "2.5",
    "1e3",
    "NaN",
    "true",
    "a%b",
    "\u00df",
    "x\U0001f600y",
    "\u03a3\u03a3",
    "2026-03-02T08:00:59.1234567Z",
    "2026-03-03",
    "2024-02-29 23:59:59+01:30",
    "2026-02-30",
]
DATETIMES = [
    datetime(2026, 3, 2, 8, 0, 59, 123_456, UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
]
SCALARS = st.sampled_from([True, False, *INTEGERS, *FLOATS, *TEXTS])
ANYTHING = st.one_of(
    SCALARS,
    st.none(),
    st.sampled_from(DATETIMES),
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.one_of(SCALARS, st.none(), st.just({"a": 1})), max_size=2),
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([*INTEGERS, *FLOATS, True, None]),
        "s": st.sampled_from([*TEXTS, None]),
        "t": st.sampled_from([*DATETIMES, TEXTS[-2], TEXTS[-4], None]),
        "m": ANYTHING,
    },
)
TYPE_OF = {bool: ValueType.BIT, int: ValueType.BIGINT, float: ValueType.FLOAT, str: ValueType.TEXT}
M = ColumnRef("m")
KINDS = {
    "number": ([ColumnRef("n")], [*INTEGERS, 2.5, -0.5, None]),
    "count": ([ColumnRef("n")], [-1, 0, 1, 2, 3, 5, 1.9]),
    "text": ([ColumnRef("s")], ["a", "b", "Ab ", "5", "x\U0001f600", "", None]),
    "moment": ([ColumnRef("t")], ["2026-03-02T08:00:00Z"]),
    "any": ([M, FieldRef(M, "a"), FieldRef(FieldRef(M, "b"), "a")], [1]),
}
CALLS = {
    "number": {
        "ABS": ["number"], "CEILING": ["number"], "FLOOR": ["number"], "SIGN": ["number"], "SQRT": ["number"],
        "ROUND": ["number", "count"], "POWER": ["number", "count"], "LEN": ["text"], "YEAR": ["moment"],
        "CHARINDEX": ["text", "text", "count"], "COALESCE": ["number", "any"], "NULLIF": ["number", "number"],
        "DATEDIFF": ["part", "moment", "moment"],
    },
    "text": {
        "CONCAT": ["any", "text", "number"], "CONCAT_WS": ["text", "any", "text"], "GETTYPE": ["any"],
        "LEFT": ["text", "count"], "RIGHT": ["text", "count"], "SUBSTRING": ["text", "count", "count"],
        "STUFF": ["text", "count", "count", "text"], "REPLACE": ["text", "text", "text"], "REVERSE": ["text"],
        "UPPER": ["text"], "LOWER": ["text"], "COALESCE": ["text", "any", "number"],
    },
    "moment": {"DATEADD": ["part", "count", "moment"]},
}  # fmt: skip
PARTS = [*MONTHS, *SECONDS]


@st.composite
def expressions(draw: st.DrawFn, kind: str = "any", depth: int = 3) -> Expression:
    if draw(st.integers(0, 9)) == 0:
        kind = draw(st.sampled_from(list(KINDS)))
    choice = draw(st.integers(0, 9)) if depth else 0
    columns, literals = KINDS[kind]
    if choice <= 2:
        value = draw(st.sampled_from(literals))
        return draw(st.sampled_from([*columns, *columns, Literal(value, TYPE_OF.get(type(value)))]))
    if choice == 3:
        type_ = draw(st.sampled_from(list(ValueType)))
        return Cast(draw(expressions("any", depth - 1)), type_, draw(st.booleans()))
    if choice == 4:
        return draw(cases(kind, depth - 1))
    kind = draw(st.sampled_from(list(CALLS))) if kind in {"any", "count"} else kind
    if kind == "number" and choice <= 7:
        if draw(st.integers(0, 5)) == 0:
            return Unary(draw(st.sampled_from("-~")), draw(expressions(kind, depth - 1)))
        operator = draw(st.sampled_from("+-*/%&|^"))
        return Binary(operator, draw(expressions(kind, depth - 1)), draw(expressions(kind, depth - 1)))
    if kind == "text" and choice == 5:
        return Binary("+", draw(expressions(kind, depth - 1)), draw(expressions(kind, depth - 1)))
    function, wanted = draw(st.sampled_from(list(CALLS[kind].items())))
    part = Literal(draw(st.sampled_from(PARTS)), ValueType.TEXT)
    arguments = [part if want == "part" else draw(expressions(want, depth - 1)) for want in wanted]
    return Call(function, tuple(arguments))


@st.composite
def cases(draw: st.DrawFn, kind: str, depth: int) -> Expression:
    branches = draw(st.lists(st.tuples(conditions(depth), expressions(kind, depth)), min_size=1, max_size=2))
    return Case(tuple(branches), draw(expressions(kind, depth)))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> Expression:
    choice = draw(st.integers(0, 9))
    if choice <= 3 and depth:
        operator = draw(st.sampled_from(["AND", "OR"]))
        return Binary(operator, draw(conditions(depth - 1)), draw(conditions(depth - 1)))
    if choice == 4 and depth:
        return Unary("NOT", draw(conditions(depth - 1)))
    below = max(depth - 2, 0)
    kind = draw(st.sampled_from(["number", "text", "moment", "any"]))
    operand = draw(expressions(kind, below))
    if choice == 5:
        return IsNull(operand)
    if choice == 6:
        return In(operand, tuple(draw(st.lists(expressions(kind, below), min_size=1, max_size=3))))
    if choice == 7:
        pattern = st.sampled_from(["%a%", "a%", "%b", "_", "Ab_", "%", "", "5"])
        return Like(operand, Literal(draw(pattern), ValueType.TEXT))
    comparison = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
    return Binary(draw(comparison), operand, draw(expressions(kind, below)))


# --- the comparison ---------------------------------------------------------------------------------------

FAILED = object()


def outcome(compute: Any) -> Any:
    try:
        return compute()
    except Fails:
        return FAILED


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return left == right or math.isclose(left, right, rel_tol=1e-12)
    return bool(left == right)


def column(batch: Batch, expression: Expression) -> list[Any]:
    (planes,) = evaluate([expression], batch, "")
    return [row.get("x") for row in rows(batch.with_column("x", planes))]


def subset(batch: Batch, start: int, end: int) -> Batch:
    return Batch(batch.frame[start:end], batch.columns)


SETTINGS = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(st.lists(ROWS, min_size=1, max_size=6), expressions())
def test_an_expression_is_worth_in_each_row_what_the_interpreter_says(
    events: list[dict[str, Any]], expression: Expression
) -> None:
    expected = [outcome(lambda event=event: Row(event).value(expression)) for event in events]
    for event, wanted in zip(events, expected, strict=True):
        batch = from_rows([event])
        if wanted is FAILED:
            with pytest.raises(RowError):
                column(batch, expression)
        else:
            assert same(column(batch, expression)[0], wanted), (event, wanted)
    batch = from_rows(events)
    if FAILED in expected:
        with pytest.raises(RowError) as error:
            column(batch, expression)
        assert error.value.row == expected.index(FAILED)
    else:
        assert all(map(same, column(batch, expression), expected))


@SETTINGS
@given(st.lists(ROWS, min_size=1, max_size=6), conditions())
def test_a_filter_keeps_the_rows_that_the_interpreter_finds_true(
    events: list[dict[str, Any]], predicate: Expression
) -> None:
    expected = [outcome(lambda event=event: Row(event).true(predicate)) for event in events]
    batch = from_rows(events)
    if FAILED in expected:
        with pytest.raises(RowError) as error:
            filter_rows(batch, predicate, "")
        assert error.value.row == expected.index(FAILED)
    else:
        kept = filter_rows(batch, predicate, "")
        assert kept.frame["@origin"].to_list() == [row for row, true in enumerate(expected) if true]


@SETTINGS
@given(st.lists(ROWS, min_size=2, max_size=8), expressions(), st.integers(1, 7))
def test_a_value_does_not_depend_on_how_rows_were_cut_into_batches(
    events: list[dict[str, Any]], expression: Expression, cut: int
) -> None:
    whole = from_rows(events)
    parts = [subset(whole, 0, cut), subset(whole, cut, len(events)), from_rows(events[cut:])]
    try:
        together = column(whole, expression)
    except RowError as error:
        failing = parts[0] if error.row < cut else parts[1]
        with pytest.raises(RowError):
            column(failing, expression)
        return
    assert all(map(same, together[:cut], column(parts[0], expression)))
    for part in parts[1:]:
        if part.height:
            assert all(map(same, together[cut:], column(part, expression)))


@SETTINGS
@given(st.lists(ROWS, min_size=1, max_size=4), st.lists(expressions(), min_size=2, max_size=4), st.data())
def test_expressions_of_one_list_are_worth_what_they_are_alone(
    events: list[dict[str, Any]], several: list[Expression], data: st.DataObject
) -> None:
    shared = data.draw(st.sampled_from(several))
    several = [*several, shared, Call("CONCAT", (shared, shared)), IsNull(shared)]
    batch = from_rows(events)
    alone: list[Any] = []
    failing: list[int] = []
    for expression in several:
        try:
            alone.append(evaluate([expression], batch, ""))
        except RowError as error:
            failing.append(error.row)
    if failing:
        with pytest.raises(RowError) as error:
            evaluate(several, batch, "")
        assert error.value.row == min(failing)
    else:
        for together, (single,) in zip(evaluate(several, batch, ""), alone, strict=True):
            assert {type_: values.to_list() for type_, values in together.items()} == {
                type_: values.to_list() for type_, values in single.items()
            }
