"""MATCH_RECOGNIZE that is refused: what is underlined, what is said, and what to write instead."""

from __future__ import annotations

import pytest

from headrace.errors import QueryError
from headrace.sql.bind import bind
from headrace.sql.pattern import Either, Repeat, Sequence, Variable
from headrace.sql.plan import Match, Project

LIMIT = "LIMIT DURATION(minute, 1)"
MEASURES = "MEASURES COUNT(*) AS n"
SKIP = "AFTER MATCH SKIP TO NEXT ROW"


def source(*clauses: str) -> str:
    return f"SELECT * FROM src MATCH_RECOGNIZE ({' '.join(clauses)}) AS T"


def pattern(text: str) -> str:
    return source(LIMIT, MEASURES, SKIP, f"PATTERN {text}")


def define(text: str, variables: str = "A B+") -> str:
    return source(LIMIT, MEASURES, SKIP, f"PATTERN ({variables})", f"DEFINE {text}")


def measures(text: str) -> str:
    return source(LIMIT, f"MEASURES {text}", SKIP, "PATTERN (A B+)")


def partition(text: str) -> str:
    return source(LIMIT, f"PARTITION BY {text}", MEASURES, SKIP, "PATTERN (A)")


#: Scripts with the text that is underlined between « and », and words of the message.
REFUSED = {
    "clauses": [
        (source(MEASURES, SKIP, "PATTERN (A)"), "needs LIMIT DURATION", LIMIT),
        (source(LIMIT, SKIP, "PATTERN (A)"), "needs MEASURES"),
        (source(LIMIT, MEASURES, "PATTERN (A)"), "needs AFTER", SKIP),
        (source(LIMIT, MEASURES, SKIP), "needs PATTERN", "PATTERN (A B+)"),
        (
            source("PARTITION BY k", "«LIMIT» DURATION(minute, 1)"),
            "LIMIT stands before PARTITION",
            "The order is",
        ),
        (source(LIMIT, "PATTERN (A)", "«MEASURES» COUNT(*) AS n"), "MEASURES stands before PATTERN"),
        (source(LIMIT, "«LIMIT» DURATION(minute, 1)"), "LIMIT is there twice"),
        (source(LIMIT, "«ORDER» BY t"), "no ORDER BY", "order of their time"),
        (source(LIMIT, MEASURES, "«ALL» ROWS PER MATCH"), "one row per match"),
        (source(LIMIT, MEASURES, "ONE ROW PER «EVENT»"), "expected MATCH"),
        (source(LIMIT, MEASURES, "AFTER MATCH SKIP «PAST» LAST ROW"), "next row", SKIP),
        (source(LIMIT, MEASURES, "AFTER MATCH SKIP TO «FIRST» A"), "next row", SKIP),
        (source(LIMIT, MEASURES, SKIP, "PATTERN (A)", "«WITHIN» INTERVAL"), "no WITHIN", "LIMIT DURATION"),
        (source(LIMIT, MEASURES, SKIP, "PATTERN (A)", "«SUBSET» U = (A)"), "no SUBSET"),
        (source(LIMIT, MEASURES, SKIP, "«PATERN» (A)"), "Did you mean 'PATTERN'"),
        (source(LIMIT, "MEASURES LAST(A.x) «PATTERN» (A)"), "AS and the name"),
        (source(LIMIT, MEASURES, SKIP, "PATTERN (A)", "DEFINE A «=» 1"), "AS and a condition"),
    ],
    "durations": [
        (source("LIMIT «5»", MEASURES, SKIP, "PATTERN (A)"), "DURATION(unit, n)"),
        (source("LIMIT DURATION(day, «8»)", MEASURES, SKIP, "PATTERN (A)"), "7 days"),
        (source("LIMIT DURATION(«moon», 8)", MEASURES, SKIP, "PATTERN (A)"), "unit of time"),
    ],
    "patterns": [
        (pattern("(«)»"), "a variable of the pattern is missing"),
        (pattern("(A |«)»"), "a variable of the pattern is missing", "A?"),
        (pattern("(«^» A)"), "no ^"),
        (pattern("(A«,» B)"), "blanks between"),
        (pattern("(A+«?» B)"), "one quantifier"),
        (pattern("(A*«{»2} B)"), "one quantifier"),
        (pattern("(A«{»3,2})"), "no event"),
        (pattern("(A«{»0})"), "no event"),
        (pattern("(A{«,»2})"), "a number of times"),
        (pattern("(A{«12345678»})"), "1000 times"),
        (pattern("«(»(A{50}){50} B)"), "more than 1000 places"),
        (pattern("(A «'text'»)"), "expected a variable"),
        (pattern("«A»"), "( and a pattern"),
    ],
    "variables": [
        (define("«C» AS C.x = 1"), "no variable 'C' in PATTERN", "There are: A, B."),
        (define("«Alhpa» AS Alhpa.x = 1", "Alpha Beta"), "Did you mean 'Alpha'"),
        (define("A AS A.x = 1, «a» AS A.x = 2"), "'a' is defined twice", "AND or OR"),
        (define("A AS A.x > «LAST(B.x)», B AS B.x = 1"), "A is defined before B", "Define B first"),
        (define("A AS «C».x = 1"), "no variable 'C' in PATTERN"),
        (define("A AS A.x = 1, B AS LAST(«C».x) = 1"), "no variable 'C' in PATTERN"),
        (define("A AS A.x = 1, B AS B.x > «A.x»"), "only B is at the event", "LAST(A.x)"),
        (define("A AS «x» = 1"), "named with its variable", "Write A.x."),
        (define("A AS A.x.«*» = 1"), "*"),
        (measures("«A.x» AS x"), "a measure takes its values by aggregates", "LAST(A.x)"),
        (measures("«x» AS x"), "named with its variable", "LAST(variable.x)"),
        (measures("LAST(«x») AS x"), "named with its variable", "LAST(A.x)"),
        (measures("LAST(«A») AS x"), "a field of A", "LAST(A.field)"),
        (measures("LAST(A.x) AS x, COUNT(*) AS «X»"), "two measures called 'X'"),
    ],
    "aggregates": [
        (define("A AS MAX(«A.x + A.y») > 1"), "one field"),
        (define("A AS MAX(«udf.f(A.x)») > 1"), "no function", "WITH step"),
        (define("A AS MAX(«CAST(A.x AS float)») > 1"), "no function", "WITH step"),
        (measures("MAX(«ABS(A.x)») AS x"), "no function"),
        (measures("MAX(«1») AS x"), "one field"),
        (measures("«MAX(A.x, A.y)» AS x"), "one field"),
        (measures("«LAST()» AS x"), "one field"),
        (measures("«COUNT(DISTINCT A.x)» AS x"), "DISTINCT"),
        (measures("«STDEV(A.x)» AS x"), "no STDEV", "FIRST, LAST"),
        (measures("«LAG(A.x)» AS x"), "no LAG"),
        (measures("«uda.spread(A.x)» AS x"), "no aggregates of yours"),
        (measures("«LAST(A.x) OVER (LIMIT DURATION(minute, 1))» AS x"), "OVER", "WITH step"),
        (measures("«Classifier(A)» AS c"), "no arguments"),
        (define("A AS «Classifier()» = 'A'"), "only in MEASURES"),
        (define("A AS «udf.f(A.x)» > 1"), "function of yours", "WITH step"),
        (measures("«udf.f(LAST(A.x))» AS x"), "function of yours"),
        (define("A AS «A.x»"), "a condition is needed"),
    ],
    "sources": [
        (partition("«x + 1»"), "takes columns"),
        (partition("x, «a.x»"), "two keys called 'x'"),
        (f"{pattern('(A)')} «TIMESTAMP» BY t", "before MATCH_RECOGNIZE"),
        (partition("k").replace("*", "T.«z»", 1), "no column 'z'", "k, n"),
        (
            "WITH s AS (SELECT x FROM src) " + measures("LAST(A.«y») AS y").replace("src", "s"),
            "no column 'y'",
            "It has: x.",
        ),
    ],
}

CASES = [
    pytest.param(marked, words, id=f"{group} {number}")
    for group, scripts in REFUSED.items()
    for number, (marked, *words) in enumerate(scripts, start=1)
]


@pytest.mark.parametrize(("marked", "words"), CASES)
def test_what_is_wrong_is_underlined_and_said(marked, words):
    text = marked.replace("«", "").replace("»", "")
    with pytest.raises(QueryError) as caught:
        bind(text, functions=("udf.f",))
    error = caught.value
    underlined = marked.split("«")[1].split("»")[0] if "«" in marked else "MATCH_RECOGNIZE"
    assert text[error.span.start : error.span.end] == underlined, str(error)
    for word in words:
        assert word in str(error)


def test_deep_patterns_are_refused_cleanly():
    with pytest.raises(QueryError, match="nested"):
        bind(pattern(f"({'(' * 5000}A{')' * 5000})"))


def test_a_whole_match_is_bound():
    script = bind(
        source(
            LIMIT,
            "PARTITION BY k, r.place",
            "MEASURES LAST(B.v) - FIRST(A.v) AS rise, COUNT(B) AS K",
            "ONE ROW PER MATCH",
            SKIP,
            "PATTERN (A (b | .)* [end]?)",
            "DEFINE A AS A.v > 0, B AS B.v > LAST(a.v)",
        )
    )
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    match = relation.source
    assert isinstance(match, Match)
    assert match.limit_us == 60_000_000
    assert match.pattern == Sequence(
        (
            Variable("A"),
            Repeat(Either((Variable("b"), Variable(None))), 0, None),
            Repeat(Variable("end"), 0, 1),
        )
    )
    assert [definition.variable for definition in match.definitions] == ["A", "b"]
    assert [(a.function, a.variable) for a in match.aggregates] == [
        ("LAST", "A"),
        ("LAST", "b"),
        ("FIRST", "A"),
        ("COUNT", "b"),
    ]
    assert [item.name for item in match.partition] == ["k", "place"]
    assert [item.name for item in match.keys] == ["place"]
    assert [item.name for item in match.measures] == ["rise", "K"]


def test_what_is_written_twice_is_computed_once():
    script = bind(source(LIMIT, "MEASURES LAST(A.v) + last(a.V) AS v, LAST(A.v) AS w", SKIP, "PATTERN (A)"))
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Match)
    assert len(relation.source.aggregates) == 2
