"""Whatever is written, binding it gives a plan or a QueryError that points into the script."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import QueryError
from headrace.sql.bind import bind
from headrace.sql.lexer import RESERVED

PIECES = """
a b c src i . . , ( ( ) ) + - * / % & | ^ ~ = == <> != !< !> ! < <= > >= || : :: ; ? { } @ # $
1 2.5 .5 5. 1e9 1e 0x1F 12abc 99999999999999999999 'x' 'it''s' ' "q" " [r s] [ ] N'n' [] -- /* */
classify( udf.f( f( g(x) uda.h( UPPER( SUBSTRING( COUNT( LAG( DATEADD( TumblingWindow( day CAST( TRY_CAST(
System.Timestamp() System.Timestamp System. System.Window() bigint nvarchar(max) int TIMESTAMP BY OVER
PARTITION LIMIT DURATION(minute,1) APPLY MATCH_RECOGNIZE ESCAPE ASC DESC
"""
ODD = ["-- c\n", "/* c */", "\n", "\r\n", "\t", "\u00a0", "\x00", "\u20ac", "\u00e9", "\U0001f600"]
TOKENS = [*RESERVED, *PIECES.split(), *ODD]
SCRIPTS = [
    "SELECT classify(doc).best AS best, f(g(x)), r.* INTO o FROM papers p TIMESTAMP BY p.t "
    "WHERE f(p.x) = 1 AND b BETWEEN 1 AND - 2 OR c NOT IN (1, 'x', NULL) AND d IS NOT NULL",
    "WITH a AS (SELECT x, y AS z FROM s), b AS (SELECT *, k = 1 FROM a) SELECT Z, CASE k WHEN 1 THEN f(x) "
    "ELSE g(z) END AS q FROM b UNION ALL SELECT z, f(f(z)) AS Q FROM b ; "
    "SELECT COALESCE(z, f(x)) INTO p FROM a",
    "SELECT CASE WHEN a LIKE 'x%' THEN TRY_CAST(a.b AS float) END, DATEADD(day, 1, t) & ~ c ^ 2 | 4 % 5 "
    "FROM src AS s HAVING NOT (a = 1 OR NOT b !< 2)",
    "SELECT T.k, * FROM src s TIMESTAMP BY t MATCH_RECOGNIZE ( LIMIT DURATION(minute, 1) PARTITION BY k, r.m "
    "MEASURES LAST(A.t) AS x, COUNT(B.y) + SUM(A.x) AS y, Classifier() AS c ONE ROW PER MATCH AFTER MATCH "
    "SKIP TO NEXT ROW PATTERN (A{2,} (B | .)* C? | [d e]+) DEFINE A AS A.x = 1 AND NOT A.y IS NULL, "
    "B AS B.z LIKE 'x' OR FIRST(A.x) > 2) AS T",
]


def bound(script):
    try:
        bind(script, functions=("f", "g", "classify", "udf.h"), inputs=None)
    except QueryError as refused:
        error = refused
    else:
        return
    assert 0 <= error.span.start <= error.span.end <= len(script) + 1, script
    assert str(error).count("\n") <= 4


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_is_bound_or_refused(script):
    bound(script)


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_behind_select_is_bound_or_refused(text):
    bound(f"SELECT {text} FROM src")


@given(st.integers(0, 2**32))
@settings(max_examples=600, deadline=None)
def test_any_soup_of_tokens_is_bound_or_refused(seed):
    random = Random(seed)
    glue = random.choice([" ", " ", "", "\n"])
    bound(glue.join(random.choice(TOKENS) for _ in range(random.randint(1, 40))))


@given(st.integers(0, 2**32))
@settings(max_examples=1000, deadline=None)
def test_any_damaged_script_is_bound_or_refused(seed):
    random = Random(seed)
    words = random.choice(SCRIPTS).split(" ")
    for _ in range(random.randint(0, 4)):
        position = random.randrange(len(words))
        match random.randrange(4):
            case 0:
                words[position] = random.choice(TOKENS)
            case 1:
                words.insert(position, random.choice(TOKENS))
            case 2:
                words[position] = random.choice(words)
            case 3 if len(words) > 1:
                del words[position]
    bound(" ".join(words))


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_any_cut_off_script_is_bound_or_refused(seed):
    random = Random(seed)
    script = random.choice(SCRIPTS)
    bound(script[: random.randrange(len(script))])
    bound(script[random.randrange(len(script)) :])


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_that_are_damaged_are_sound(script):
    bind(script, functions=("f", "g", "classify"))


@pytest.mark.parametrize("place", ["'{}'", "a /* {} */", "[{}]", "a{}"])
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(place):
    with pytest.raises(QueryError, match="surrogate"):
        bind(f"SELECT {place.format(chr(0xD800))} AS x FROM i")
