"""The string functions. Positions count from 1; NULL in gives NULL out unless said otherwise."""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import ANY, BIGINT, TEXT, Group, Parameter, Signature, Value

_TEXT: Final = Parameter("text", TEXT)
_LENGTH: Final = Parameter("length", BIGINT)


def _string(
    name: str,
    parameters: tuple[Parameter, ...],
    result: ValueType,
    doc: str,
    example: tuple[str, Value],
    *,
    variadic: bool = False,
) -> Signature:
    return Signature(name, Group.STRING, parameters, result, doc, example, variadic=variadic)


SIGNATURES: Final = (
    _string(
        "CHARINDEX",
        (Parameter("find", TEXT), _TEXT, Parameter("start", BIGINT, optional=True)),
        ValueType.BIGINT,
        "Returns where `find` first stands in `text`, from position `start` on; 0 where it does not.",
        ("CHARINDEX('b', 'abcb', 3)", 4),
    ),
    _string(
        "CONCAT",
        (Parameter("value", ANY), Parameter("value", ANY)),
        ValueType.TEXT,
        "Returns the values joined to one text; NULL counts as an empty text.",
        ("CONCAT('a', NULL, 'b')", "ab"),
        variadic=True,
    ),
    _string(
        "CONCAT_WS",
        (Parameter("separator", TEXT), Parameter("value", ANY), Parameter("value", ANY)),
        ValueType.TEXT,
        "Returns the values that are not NULL joined to one text with `separator` between.",
        ("CONCAT_WS('-', 'a', NULL, 'b')", "a-b"),
        variadic=True,
    ),
    _string(
        "JSON_PARSE",
        (_TEXT,),
        ValueType.RECORD,
        "Returns the record that a JSON text holds, NULL where it holds none; it never fails.",
        ("JSON_PARSE('{\"a\": 1}')", {"a": 1}),
    ),
    _string(
        "LEFT",
        (_TEXT, _LENGTH),
        ValueType.TEXT,
        "Returns the first `length` characters; a negative length fails.",
        ("LEFT('stream', 3)", "str"),
    ),
    _string(
        "LEN",
        (_TEXT,),
        ValueType.BIGINT,
        "Returns the number of characters, trailing blanks not counted.",
        ("LEN('abc  ')", 3),
    ),
    _string("LOWER", (_TEXT,), ValueType.TEXT, "Returns the text in lower case.", ("LOWER('AbC')", "abc")),
    _string(
        "LTRIM", (_TEXT,), ValueType.TEXT, "Returns the text without leading blanks.", ("LTRIM('  a ')", "a ")
    ),
    _string(
        "NCHAR",
        (Parameter("code", BIGINT),),
        ValueType.TEXT,
        "Returns the character of a Unicode code point.",
        ("NCHAR(955)", "\u03bb"),
    ),
    _string(
        "PATINDEX",
        (Parameter("pattern", TEXT), _TEXT),
        ValueType.BIGINT,
        "Returns where a LIKE pattern first matches in `text`; 0 where it does not.",
        ("PATINDEX('%17%', 'a-17')", 3),
    ),
    _string(
        "REGEXMATCH",
        (_TEXT, Parameter("pattern", TEXT)),
        ValueType.BIGINT,
        "Returns where a regular expression (ECMAScript, ignoring case) first matches; 0 where it does not.",
        ("REGEXMATCH('ab17', '[0-9]+')", 3),
    ),
    _string(
        "REPLACE",
        (_TEXT, Parameter("find", TEXT), Parameter("replacement", TEXT)),
        ValueType.TEXT,
        "Returns the text with every `find` replaced.",
        ("REPLACE('a-b-c', '-', '+')", "a+b+c"),
    ),
    _string(
        "REPLICATE",
        (_TEXT, Parameter("count", BIGINT)),
        ValueType.TEXT,
        "Returns the text `count` times over; NULL for a negative count.",
        ("REPLICATE('ab', 3)", "ababab"),
    ),
    _string(
        "REVERSE", (_TEXT,), ValueType.TEXT, "Returns the characters in reverse.", ("REVERSE('abc')", "cba")
    ),
    _string(
        "RIGHT",
        (_TEXT, _LENGTH),
        ValueType.TEXT,
        "Returns the last `length` characters; a negative length fails.",
        ("RIGHT('stream', 3)", "eam"),
    ),
    _string(
        "RTRIM",
        (_TEXT,),
        ValueType.TEXT,
        "Returns the text without trailing blanks.",
        ("RTRIM(' a  ')", " a"),
    ),
    _string(
        "SPACE", (Parameter("count", BIGINT),), ValueType.TEXT, "Returns `count` blanks.", ("SPACE(3)", "   ")
    ),
    _string(
        "STUFF",
        (_TEXT, Parameter("start", BIGINT), _LENGTH, Parameter("replacement", TEXT)),
        ValueType.TEXT,
        "Returns the text with `length` characters from position `start` replaced; a negative length fails.",
        ("STUFF('abcdef', 2, 3, '-')", "a-ef"),
    ),
    _string(
        "SUBSTRING",
        (_TEXT, Parameter("start", BIGINT), _LENGTH),
        ValueType.TEXT,
        "Returns `length` characters from `start`; a start below 1 shortens it, a negative length fails.",
        ("SUBSTRING('stream', 2, 3)", "tre"),
    ),
    _string(
        "TRANSLATE",
        (_TEXT, Parameter("characters", TEXT), Parameter("translations", TEXT)),
        ValueType.TEXT,
        "Returns the text with each of `characters` replaced by its partner; unequal lengths fail.",
        ("TRANSLATE('2*[3+4]', '[]', '()')", "2*(3+4)"),
    ),
    _string(
        "TRIM",
        (_TEXT,),
        ValueType.TEXT,
        "Returns the text without white space, of any kind in Unicode, at both ends.",
        ("TRIM('  a b ')", "a b"),
    ),
    _string(
        "UNICODE",
        (_TEXT,),
        ValueType.BIGINT,
        "Returns the Unicode code point of the first character.",
        ("UNICODE('abc')", 97),
    ),
    _string("UPPER", (_TEXT,), ValueType.TEXT, "Returns the text in upper case.", ("UPPER('AbC')", "ABC")),
)
