"""The mathematical functions. NULL in gives NULL out."""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import BIGINT, NUMBER, Group, Parameter, ResultRule, Signature, Value

_NUMBER: Final = Parameter("number", NUMBER)


def _maths(
    name: str,
    parameters: tuple[Parameter, ...],
    result: ValueType | ResultRule,
    doc: str,
    example: tuple[str, Value],
) -> Signature:
    return Signature(name, Group.MATHS, parameters, result, doc, example)


SIGNATURES: Final = (
    _maths("ABS", (_NUMBER,), ResultRule.FIRST, "Returns the absolute value.", ("ABS(-2)", 2)),
    _maths(
        "CEILING",
        (_NUMBER,),
        ResultRule.FIRST,
        "Returns the smallest whole number that is not below.",
        ("CEILING(1.2)", 2.0),
    ),
    _maths("EXP", (_NUMBER,), ValueType.FLOAT, "Returns e to the power of `number`.", ("EXP(0)", 1.0)),
    _maths(
        "FLOOR",
        (_NUMBER,),
        ResultRule.FIRST,
        "Returns the largest whole number that is not above.",
        ("FLOOR(-1.2)", -2.0),
    ),
    _maths(
        "POWER",
        (_NUMBER, Parameter("exponent", NUMBER)),
        ResultRule.FIRST,
        "Returns `number` to the power of `exponent`, in the type of `number`.",
        ("POWER(2, 10)", 1024),
    ),
    _maths(
        "ROUND",
        (_NUMBER, Parameter("length", BIGINT)),
        ResultRule.FIRST,
        "Returns `number` rounded to `length` decimals (before the point if negative), half away from zero.",
        ("ROUND(-2.5, 0)", -3.0),
    ),
    _maths("SIGN", (_NUMBER,), ResultRule.FIRST, "Returns -1, 0 or 1.", ("SIGN(-7)", -1)),
    _maths("SQRT", (_NUMBER,), ValueType.FLOAT, "Returns the square root.", ("SQRT(9)", 3.0)),
    _maths("SQUARE", (_NUMBER,), ValueType.FLOAT, "Returns the square.", ("SQUARE(3)", 9.0)),
)
