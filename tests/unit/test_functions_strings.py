"""The string functions, sentence by sentence of the reference, and LIKE."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headrace.engine.expressions import RowError
from tests.unit.evaluating import same, value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CHARINDEX('us', 'Prius')", 4),
        ("CHARINDEX('us', 'Ford')", 0),
        ("CHARINDEX('b', 'abcb', 3)", 4),
        ("CHARINDEX('b', 'abcb', -3)", 2),
        ("CHARINDEX('b', 'abcb', 9)", 0),
        ("CHARINDEX('B', 'abc')", 0),
        ("CHARINDEX('', 'abc')", 0),
        ("CONCAT('a', NULL, 'b', 1, 2.5)", "ab12.5"),
        ("CONCAT(NULL, NULL)", ""),
        ("CONCAT_WS(', ', 'a', NULL, 'b')", "a, b"),
        ("CONCAT_WS(', ', NULL, NULL)", ""),
        ("CONCAT_WS(NULL, 'a', 'b')", "ab"),
        ("CONCAT_WS('-', '', 'b')", "-b"),
        ("LEFT('abcdefg', 2)", "ab"),
        ("LEFT('abc', 9)", "abc"),
        ("LEFT('abc', 0)", ""),
        ("RIGHT('abcdefg', 2)", "fg"),
        ("RIGHT('abc', 9)", "abc"),
        ("LEN('abc  ')", 3),
        ("LEN('  ')", 0),
        ("LEN('a\tb')", 3),
        ("UPPER('aBc-\u00e9')", "ABC-\u00c9"),
        ("UPPER('stra\u00dfe')", "STRA\u00dfE"),
        ("LOWER('ABC \u039f\u03a3')", "abc \u03bf\u03c3"),
        ("TRIM('\u3000 a b\u00a0')", "a b"),
        ("LTRIM(' a ')", "a "),
        ("RTRIM(' a ')", " a"),
        ("NCHAR(33590)", "\u8336"),
        ("NCHAR(128512)", "\U0001f600"),
        ("NCHAR(1114112)", None),
        ("NCHAR(-1)", None),
        ("NCHAR(55296)", None),
        ("UNICODE('\u8336')", 33590),
        ("UNICODE('')", None),
        ("REPLACE('abcde', 'cd', 'xx')", "abxxe"),
        ("REPLACE('cdabcd', 'cd', '$1')", "$1ab$1"),
        ("REPLACE('abcde', '', 'xxx')", "abcde"),
        ("REPLACE('', 'cde', 'xxx')", ""),
        ("REPLACE('aXa', 'x', 'y')", "aXa"),
        ("REPLACE('abc', NULL, 'x')", None),
        ("REPLICATE('ab', 3)", "ababab"),
        ("REPLICATE('ab', 0)", ""),
        ("REPLICATE('ab', -1)", None),
        ("SPACE(3)", "   "),
        ("SPACE(-1)", None),
        ("REVERSE('abcdefg')", "gfedcba"),
        ("REVERSE('e\u0301\U0001f600a')", "a\U0001f600\u0301e"),
        ("STUFF('abcdef', 2, 3, 'ijklmn')", "aijklmnef"),
        ("STUFF('abc', 2, 0, '-')", "a-bc"),
        ("STUFF('abc', 2, 99, '-')", "a-"),
        ("STUFF('abc', 0, 1, '-')", "-bc"),
        ("STUFF('abc', 4, 1, '-')", ""),
        ("STUFF('abc', 1, 1, NULL)", None),
        ("SUBSTRING('abcdef', 2, 3)", "bcd"),
        ("SUBSTRING('abcdef', 0, 3)", "ab"),
        ("SUBSTRING('abcdef', -5, 3)", ""),
        ("SUBSTRING('abcdef', 5, 99)", "ef"),
        ("SUBSTRING('abcdef', 9, 1)", ""),
        ("SUBSTRING('abcdef', NULL, 1)", None),
        ("TRANSLATE('2*[3+4]/{7-2}', '[]{}', '()()')", "2*(3+4)/(7-2)"),
        ("TRANSLATE('abc', 'ab', 'ba')", "bac"),
        ("TRANSLATE('abc', 'aa', 'xy')", "xbc"),
        ("TRANSLATE('abc', '', '')", "abc"),
        ("PATINDEX('%17%', 'Gate-B17')", 7),
        ("PATINDEX('17%', 'Gate-B17')", 0),
        ("PATINDEX('Gate%', 'Gate-B17')", 1),
        ("PATINDEX('%[0-9]%', 'Gate-B17')", 7),
        ("PATINDEX('%7', 'Gate-B17')", 8),
        ("PATINDEX('%b_7%', 'ab17')", 2),
        ("PATINDEX('%B%', 'ab17')", 0),
        ("JSON_PARSE('{\"a\": [1]}')", {"a": [1]}),
        ("JSON_PARSE('[1]')", None),
        ("JSON_PARSE('{')", None),
        ("JSON_PARSE(5)", None),
    ],
)
def test_a_string_function_gives_what_the_reference_says(expression: str, expected: Any) -> None:
    assert same(value(expression), expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CHARINDEX(f, s)", 2),
        ("REPLACE(s, f, r)", "a1c"),
        ("TRANSLATE(s, f, r)", "a1c"),
        ("PATINDEX(p, s)", 2),
        ("LEFT(s, n)", "ab"),
        ("REGEXMATCH(s, f)", 2),
        ("CONCAT_WS(f, s, r)", "abcb1"),
        ("STUFF('abc', n, 1, s)", "aabcc"),
        ("REPLICATE(s, n)", "abcabc"),
    ],
)
def test_patterns_and_lengths_may_come_from_the_data(expression: str, expected: Any) -> None:
    assert same(value(expression, s="abc", f="b", r="1", p="%b%", n=2), expected)


@pytest.mark.parametrize(
    "function",
    [
        "LEN(x)",
        "LEFT(x, 1)",
        "UPPER(x)",
        "REVERSE(x)",
        "REPLACE(x, 'a', 'b')",
        "REGEXMATCH(x, 'a')",
        "UNICODE(x)",
    ],
)
def test_null_in_gives_null_out(function: str) -> None:
    assert value(function, y=1) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("LEN(s)", 4),
        ("LEFT(s, 1)", "x"),
        ("LEFT(s, 2)", "x\ufffd"),
        ("LEFT(s, 3)", "x\U0001f600"),
        ("RIGHT(s, 1)", "y"),
        ("RIGHT(s, 2)", "\ufffdy"),
        ("SUBSTRING(s, 2, 2)", "\U0001f600"),
        ("CHARINDEX('y', s)", 4),
        ("PATINDEX('%y%', s)", 4),
        ("REGEXMATCH(s, 'y')", 4),
        ("REGEXMATCH(s, '(?=y)')", 4),
        ("STUFF(s, 2, 2, '-')", "x-y"),
    ],
)
def test_positions_count_utf_16_units_and_half_a_character_is_replaced(
    expression: str, expected: Any
) -> None:
    assert same(value(expression, s="x\U0001f600y"), expected)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("b[0-9]+", "Gate-B17", 6),
        ("(", "Gate", 0),
        ("a++", "aaa", 0),
        ("*a", "aaa", 0),
        ("[b-a]", "aaa", 0),
        ("a{2,1}", "aaa", 0),
        ("^b", "ab", 0),
        ("a$", "ba\n", 0),
        ("a.b", "a\nb", 1),
        (r"\d", "\u0663 4", 3),
        (r"\bkm\b", "5 km", 3),
        (r"[^\W\d]+", "12ab", 3),
        (r"(a)(b)\2", "xabb", 2),
        (r"(?<word>a)\k<word>", "baa", 2),
        ("(?<=x)a", "axa", 3),
        ("(?<!x)a", "xa a", 4),
        ("a(?!b)", "abac", 3),
        (r"\Ba", "a ba", 4),
        ("x{", "ax{", 2),
        (r"[\]]", "a]", 2),
        ("[a&&b]", "&", 1),
        ("[]", "a", 0),
        ("[^]", "a", 1),
        (r"\u0041", "xa", 2),
        (r"\x41\t", "a\t", 1),
        ("a|", "xa", 1),
        ("", "abc", 1),
    ],
)
def test_a_regular_expression_is_that_of_ecmascript_ignoring_case(
    pattern: str, text: str, expected: int
) -> None:
    assert value("REGEXMATCH(t, p)", t=text, p=pattern) == expected
    written = pattern.replace("'", "''")
    assert value(f"REGEXMATCH(t, '{written}')", t=text) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%", "", True),
        ("", "", True),
        ("", "a", False),
        ("a%", "abc", True),
        ("%c", "abc", True),
        ("%b%", "abc", True),
        ("a%c", "a\nc", True),
        ("a_c", "abc", True),
        ("a_c", "ac", False),
        ("abc", "ABC", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[%]", "%", True),
        ("100[%]", "100%", True),
        ("[[]x]", "[x]", True),
        ("[", "[", False),
        ("[]", "[]", False),
        ("a.c", "abc", False),
        ("a+", "a+", True),
    ],
)
def test_like_matches_the_whole_text(pattern: str, text: str, expected: bool) -> None:
    literal = "CASE WHEN t LIKE '{}' THEN 1 ELSE 0 END".format(pattern.replace("'", "''"))
    assert value(literal, t=text) == int(expected)
    assert value("CASE WHEN t LIKE p THEN 1 ELSE 0 END", t=text, p=pattern) == int(expected)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("LEFT(s, n)", "A length must not be negative, and this one is -1"),
        ("RIGHT(s, n)", "must not be negative"),
        ("SUBSTRING(s, 1, n)", "must not be negative"),
        ("STUFF(s, 1, n, '')", "must not be negative"),
        ("TRANSLATE(s, 'ab', s)", "'ab' and 'abc' must be of the same length"),
        ("REPLICATE(s, 9000000)", "more than 8388608 bytes"),
        ("SPACE(9000000)", "more than 8388608 bytes"),
        ("REGEXMATCH(s, '(?<=a+)b')", "lookbehind must have a fixed width"),
        ("LEN(r)", 'Cannot cast value {"a":1} of type record to type nvarchar(max)'),
    ],
)
def test_what_a_string_function_refuses_stops_the_job(expression: str, said: str) -> None:
    with pytest.raises(RowError, match=re.escape(said)):
        value(expression, s="abc", n=-1, r={"a": 1})


def test_a_refusal_needs_every_argument_to_be_there() -> None:
    assert value("LEFT(missing, -1)") is None
