"""The mathematical functions and the operators, sentence by sentence of the reference."""

from __future__ import annotations

import math
import re
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from headrace.engine.expressions import RowError, evaluate
from headrace.engine.query import query
from headrace.events.batch import ValueType
from headrace.events.formats.json import from_rows
from headrace.sql.plan import Binary, ColumnRef, Literal
from tests.unit.evaluating import same, value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ABS(-2)", 2),
        ("ABS(-2.5)", 2.5),
        ("ABS(CAST(1 AS bit))", 1),
        ("CEILING(1.2)", 2.0),
        ("CEILING(5)", 5),
        ("FLOOR(-1.2)", -2.0),
        ("EXP(0)", 1.0),
        ("SQRT(9)", 3.0),
        ("SQUARE(-3)", 9.0),
        ("SIGN(-7)", -1),
        ("SIGN(-0.5)", -1.0),
        ("SIGN(0)", 0),
        ("SQRT('6.25')", 2.5),
        ("ABS('-2')", 2.0),
        ("ROUND(1, 0)", 1),
        ("ROUND(-1, 0)", -1),
        ("ROUND(0.5, 0)", 1.0),
        ("ROUND(-0.5, 0)", -1.0),
        ("ROUND(2.5, 0)", 3.0),
        ("ROUND(1.234, 2)", 1.23),
        ("ROUND(1.234, 10)", 1.234),
        ("ROUND(1.234, 300)", 1.234),
        ("ROUND(123.4, -1)", 120.0),
        ("ROUND(123.4, -10)", 0.0),
        ("ROUND(123.4, -400)", 0.0),
        ("ROUND(501.0101, -3)", 1000.0),
        ("ROUND(123.9995, 3)", 124.0),
        ("ROUND(1e300, 2)", 1e300),
        ("ROUND(15, -1)", 20),
        ("ROUND(-15, -1)", -20),
        ("ROUND(14, -1)", 10),
        ("ROUND(14, -25)", 0),
        ("POWER(2, 10)", 1024),
        ("POWER(2, 62)", 2**62),
        ("POWER(-2, 63)", -(2**63)),
        ("POWER(3, 39)", 3**39),
        ("POWER(9007199254740993, 1)", 2**53 + 1),
        ("POWER(-1, 1000001)", -1),
        ("POWER(2, -1)", 0),
        ("POWER(2, 0.5)", 1),
        ("POWER(2.0, 3)", 8.0),
        ("POWER(0, 0)", 1),
    ],
)
def test_a_mathematical_function_gives_what_the_reference_says(expression: str, expected: Any) -> None:
    assert same(value(expression), expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / -2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("-8 % 2", 0),
        ("7.5 % -2", 1.5),
        ("-7.5 % 2", -1.5),
        ("100000000000000000.0 % 3", 1.0),
        ("7 / 2.0", 3.5),
        ("1 + 2 * 3", 7),
        ("1 + 2.5", 3.5),
        ("CAST(1 AS bit) + CAST(1 AS bit)", 2),
        ("'a' + 'b'", "ab"),
        ("'1.5' * 2", 3.0),
        ("1 + '2'", 3.0),
        ("'7' - '2'", 5.0),
        ("1 + NULL", None),
        ("-x", -5),
        ("170 & 75", 10),
        ("170 | 75", 235),
        ("170 ^ 75", 225),
        ("~170", -171),
        ("CAST(1 AS bit) & CAST(0 AS bit)", False),
        ("CAST(1 AS bit) | CAST(0 AS bit)", True),
        ("CAST(1 AS bit) ^ CAST(1 AS bit)", False),
        ("~CAST(0 AS bit)", True),
        ("CAST(1 AS bit) & 3", 1),
        ("CAST(0 AS bit) & CAST(NULL AS bit)", None),
        ("CAST(1 AS bit) | CAST(NULL AS bit)", None),
        ("5 & CAST(NULL AS bigint)", None),
        ("'6' & 3", 2),
    ],
)
def test_an_operator_gives_what_the_reference_says(expression: str, expected: Any) -> None:
    assert same(value(expression, x=5), expected)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("most + 1", "9223372036854775807 + 1 is out of the range of bigint"),
        ("least - 1", "-9223372036854775808 - 1 is out of the range of bigint"),
        ("most * 2", "9223372036854775807 * 2 is out of the range of bigint"),
        ("least * -1", "out of the range of bigint"),
        ("least / -1", "out of the range of bigint"),
        ("-least", "-(-9223372036854775808) is out of the range of bigint"),
        ("ABS(least)", "The absolute value of -9223372036854775808 is out of the range of bigint"),
        ("ROUND(most, -1)", "ROUND of 9223372036854775807, -1 is out of the range of bigint"),
        ("POWER(2, 63)", "POWER of 2, 63 is out of the range of bigint"),
        ("POWER(0, -1)", "POWER of 0, -1 is out of the range of bigint"),
        ("POWER(-8.0, 0.5)", "POWER of -8.0, 0.5 is out of the range of float"),
        ("1 / zero", "Cannot divide 1 by zero"),
        ("1 % zero", "Cannot divide 1 by zero"),
        ("1.5 / zero", "Cannot divide 1.5 by zero"),
        ("1.5 % zero", "Cannot divide 1.5 by zero"),
        ("1e308 * 10", "1e+308 * 10.0 is out of the range of float"),
        ("SQRT(-1)", "SQRT of -1.0 is no number"),
        ("EXP(1000)", "EXP of 1000.0 is out of the range of float"),
        ("SQUARE(1e300)", "SQUARE of 1e+300 is out of the range of float"),
        ("word + 1", "Cannot cast value 'abc' of type nvarchar(max) to type float"),
        ("when + 1", "Operator + cannot take datetime and bigint"),
        ("1 - record", "Operator - cannot take bigint and record"),
        ("1.5 & 1", "Operator & cannot take float and bigint"),
        ("~1.5", "Operator ~ cannot take float"),
    ],
)
def test_a_result_out_of_range_stops_the_job_and_never_wraps(expression: str, said: str) -> None:
    fields = {"most": 2**63 - 1, "least": -(2**63), "zero": 0, "word": "abc", "record": {}}
    with pytest.raises(RowError, match=re.escape(said)):
        value(expression.replace("when", "[when]"), **fields, when=datetime(2026, 3, 2))


@pytest.mark.parametrize("expression", ["missing / 0", "SQRT(missing)", "missing % 0", "POWER(missing, 2)"])
def test_null_never_fails(expression: str) -> None:
    assert value(expression) is None


EDGES = [0, 1, -1, 2, 3, -3, 7, 2**31, 2**62, -(2**62), 2**63 - 1, 2**63 - 2, -(2**63), -(2**63) + 1]


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "%"])
@pytest.mark.parametrize("constant", EDGES)
def test_a_constant_beside_a_column_overflows_just_where_it_must(operator: str, constant: int) -> None:
    node = Binary(operator, ColumnRef("a"), Literal(constant, ValueType.BIGINT))
    for number in EDGES:
        exact = Fraction(number) / constant if operator == "/" and constant else None
        results = {"+": number + constant, "-": number - constant, "*": number * constant}
        expected = results.get(operator, math.trunc(exact) if exact is not None else None)
        if operator == "%" and constant:
            expected = int(math.copysign(1, number)) * (abs(number) % abs(constant))
        if expected is None or not -(2**63) <= expected < 2**63:
            with pytest.raises(RowError):
                evaluate([node], from_rows([{"a": number}]), "")
        else:
            (planes,) = evaluate([node], from_rows([{"a": number}]), "")
            assert planes[ValueType.BIGINT].to_list() == [expected]


def test_a_quotient_is_rounded_once_however_many_rows_come_with_it() -> None:
    numbers = [3.0, 0.3, 0.7, 0.29, 4.35, 57.15]
    for rows in ([{"a": number} for number in numbers], [{"a": 3.0}]):
        asked = [number["a"] for number in rows]
        tenths, whole = evaluate(
            [
                Binary("/", ColumnRef("a"), Literal(10, ValueType.BIGINT)),
                Binary("/", ColumnRef("a"), Literal(0.1, ValueType.FLOAT)),
            ],
            from_rows(rows),
            "",
        )
        assert tenths[ValueType.FLOAT].to_list() == [number / 10 for number in asked]
        assert whole[ValueType.FLOAT].to_list() == [number / 0.1 for number in asked]


def test_decimals_that_are_rounded_to_their_own_digits_stay_as_they_are() -> None:
    numbers = [3.0, 0.3, 0.7, 0.29, 4.35, 57.15]
    answer = query("SELECT ROUND(a, 2) AS a INTO o FROM i", {"i": [{"a": number} for number in numbers]})
    assert answer.batches["o"].frame["float:a"].to_list() == numbers
