"""Scripts that are refused: what is underlined, what is said, and what to write instead."""

import json
from pathlib import Path

import pytest

from headrace.errors import QueryError, UserError
from headrace.limits import MAX_QUERY_CALLS, MAX_QUERY_DEPTH, MAX_SCRIPT_BYTES
from headrace.sql.bind import bind

DECLARED = {
    "functions": ("classify", "udf.risk"),
    "inputs": ("src", "other"),
    "outputs": ("output", "alerts"),
    "aggregates": ("uda.spread",),
    "references": ("sites",),
}

#: Scripts with the text that is underlined between « and », and words of the message.
REFUSED = {
    "never in this language": [
        ("SELECT «DISTINCT» a FROM src", "DISTINCT", "GROUP BY"),
        ("SELECT «TOP» 5 a FROM src", "TOP", "CollectTop"),
        ("SELECT «ALL» a FROM src", "ALL"),
        ("SELECT a FROM src «ORDER» BY a", "ORDER BY", "TopOne"),
        ("SELECT a FROM src WHERE a = 1 «LIMIT» 5", "LIMIT"),
        ("SELECT a FROM src «OFFSET» 5 ROWS", "OFFSET"),
        ("SELECT a FROM src «EXCEPT» SELECT a FROM other", "EXCEPT", "LEFT JOIN"),
        ("SELECT a FROM src «INTERSECT» SELECT a FROM other", "INTERSECT"),
        ("SELECT a FROM («SELECT» a FROM src)", "FROM", "WITH step AS"),
        ("SELECT a FROM src WHERE a IN («SELECT» b FROM other)", "SELECT", "WITH step"),
        ("SELECT a FROM src WHERE «EXISTS» (SELECT 1)", "EXISTS"),
        ("SELECT a FROM src «RIGHT» JOIN other ON 1 = 1", "RIGHT JOIN", "LEFT JOIN"),
        ("SELECT a FROM src «FULL» OUTER JOIN other ON 1 = 1", "FULL JOIN"),
        ("SELECT a FROM src «CROSS» JOIN other", "CROSS JOIN"),
        ("SELECT a FROM src«,» other", "one source", "JOIN"),
        ("WITH s AS (SELECT a «INTO alerts» FROM src) SELECT a FROM s", "INTO", "WITH step"),
        ("SELECT a FROM src UNION SELECT a «INTO alerts» FROM other", "INTO", "first SELECT"),
        ("SELECT a FROM src «INTO» alerts", "before FROM"),
        ("SELECT «GETDATE()» FROM src", "GETDATE", "System.Timestamp()"),
        ("SELECT «ISNULL(a, 1)» FROM src", "ISNULL", "COALESCE"),
        ("SELECT «IIF(a, 1, 2)» FROM src", "IIF", "CASE"),
        ("SELECT «system.UPPER(a)» FROM src", "prefix", "UPPER(...)"),
        ("SELECT «mylib.ABS(a)» FROM src", "prefix", "mylib.ABS"),
        ("SELECT «udf.COUNT(a)» FROM src", "prefix"),
        ("SELECT a FROM src TIMESTAMP BY «System.Timestamp()»", "TIMESTAMP BY"),
        ("SELECT a FROM src TIMESTAMP BY DATEADD(day, 1, «System.Timestamp»)", "TIMESTAMP BY"),
        ("SELECT a FROM src TIMESTAMP BY «classify(a)»", "TIMESTAMP BY", "function"),
        ("SELECT «@»a FROM src", "variables"),
        ("SELECT a FROM src WHERE a = «TRUE»", "TRUE", "[true]"),
        ("SELECT a «||» b FROM src", "CONCAT"),
        ("SELECT a FROM src WHERE a LIKE 'x' «ESCAPE» '!'", "ESCAPE"),
        ("SELECT a FROM src WHERE a =«=» 1", "one ="),
        ("SELECT a FROM src WHERE a = 1 &«&» b = 2", "AND"),
        ("SELECT a FROM src WHERE «!»(a = 1)", "NOT"),
        ("SELECT a FROM src «NATURAL» JOIN other", "NATURAL", "LEFT JOIN"),
        ("SELECT MAX(a) «WITHIN» GROUP (ORDER BY a) FROM src", "MAX(...) OVER (ORDER BY"),
        ("SELECT «LEAD(a)» OVER (LIMIT DURATION(minute, 1)) FROM src", "LEAD", "LAG"),
        ("SELECT «MEDIAN(a)» FROM src", "PERCENTILE_CONT(0.5)"),
        ("«INSERT» INTO alerts VALUES (1)", "SELECT or WITH"),
        ("SELECT a FROM src «WITH s AS (SELECT a FROM src)»", "WITH", "top"),
    ],
    "a window is needed": [
        ("SELECT «COUNT(*)» AS n FROM src", "COUNT", "window", "GROUP BY"),
        ("SELECT a FROM src WHERE «SUM(a)» > 1", "SUM", "window"),
        ("SELECT «COUNT(DISTINCT a)» AS n FROM src", "window"),
        ("SELECT a FROM src «GROUP BY a»", "window"),
        ("SELECT a FROM src «GROUP BY DATEPART(minute, System.Timestamp())»", "window"),
        ("SELECT a FROM src GROUP BY TumblingWindow(day, «8»)", "7 days"),
        ("SELECT COUNT(*) FROM src GROUP BY «TumblingWindow(day)»", "TumblingWindow cannot take 1 argument "),
        ("SELECT a FROM src GROUP BY HoppingWindow(Duration(hour, «169»), Hop(hour, 1))", "7 days"),
        ("SELECT a FROM src GROUP BY Windows(Window('w', Sliding(second, «604801»)))", "7 days"),
        ("SELECT a FROM src GROUP BY Tumbling(second, 1), «Sliding(second, 1)»", "one window"),
        ("SELECT «TumblingWindow(second, 1)» AS w FROM src", "GROUP BY"),
        ("SELECT «LAG(a)» FROM src", "OVER"),
        ("SELECT «GetArrayElements(a)» FROM src", "APPLY"),
    ],
    "windows": [
        ("SELECT a FROM src «GROUP BY a»", "needs a time window", "TumblingWindow"),
        ("SELECT a FROM src «GROUP BY a, DATEADD(second, 1, System.Timestamp())»", "needs a time window"),
        (
            "SELECT a FROM src GROUP BY a, «TumblngWindow(second, 1)»",
            "no window TumblngWindow",
            "'TumblingWindow'",
        ),
        ("SELECT a FROM src GROUP BY a, «Sesion(second, 1, 5)» OVER (PARTITION BY a)", "'Session'"),
        (
            "SELECT COUNT(*) FROM src GROUP BY TumblingWindow(day, 1), «HoppingWindow(hour, 2, 1)»",
            "one window",
            "Windows(",
        ),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(day, «8»)", "7 days"),
        ("SELECT COUNT(*) FROM src GROUP BY HoppingWindow(day, 1, «9»)", "7 days"),
        ("SELECT COUNT(*) FROM src GROUP BY SessionWindow(hour, 1, «200»)", "7 days"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(second, «0»)", "1 or more"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(second, «-5»)", "1 or more"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(second, «1.5»)", "whole number"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(second, «a»)", "whole number"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(«month», 1)", "unit"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(«minuet», 1)", "unit", "Did you mean 'minute'?"),
        (
            "SELECT COUNT(*) FROM src GROUP BY «TumblingWindow(minute)»",
            "1 argument",
            "TumblingWindow(unit, size",
        ),
        ("SELECT COUNT(*) FROM src GROUP BY «SlidingWindow(minute, 1, 2)»", "3 arguments"),
        (
            "SELECT COUNT(*) FROM src GROUP BY «HoppingWindow(Duration(minute, 1))»",
            "HoppingWindow(unit, size, hop",
        ),
        (
            "SELECT COUNT(*) FROM src GROUP BY SlidingWindow(Duration(minute, 1), «Hop(minute, 1)»)",
            "takes no Hop",
        ),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(minute, 1) «OVER» (PARTITION BY a)", "session"),
        (
            "SELECT COUNT(*) FROM src GROUP BY Session(minute, 1, 5) «OVER» (LIMIT DURATION(minute, 1))",
            "PARTITION",
        ),
        (
            "SELECT COUNT(*) FROM src GROUP BY Windows(Tumbling(day, 1), «Window('a', Sliding(day, 1))»)",
            "id",
        ),
        (
            "SELECT COUNT(*) FROM src GROUP BY "
            "Windows(Window('a', TumblingWindow(day, 1)), Window(«'A'», SlidingWindow(day, 1)))",
            "two windows have the id",
        ),
        ("SELECT COUNT(*) FROM src GROUP BY Windows(«Windows(TumblingWindow(day, 1))»)", "nest"),
        ("SELECT COUNT(*) FROM src GROUP BY «Windows()»", "one window or more"),
        ("SELECT «System.Window()» FROM src", "no value"),
        ("SELECT «System.Window().Id» FROM src", "windows are grouped"),
    ],
    "groups": [
        (
            "SELECT UPPER(a) AS x, COUNT(*) AS n FROM src GROUP BY «x», TumblingWindow(day, 1)",
            "GROUP BY cannot name 'x'",
            "aliases",
            "Write the expression itself",
        ),
        ("SELECT «a», COUNT(*) FROM src GROUP BY b, TumblingWindow(day, 1)", "GROUP BY", "MAX"),
        ("SELECT «*» FROM src GROUP BY b, TumblingWindow(day, 1)", "GROUP BY", "only aggregates"),
        ("SELECT COUNT(*) FROM src GROUP BY «COUNT(*)», TumblingWindow(day, 1)", "GROUP BY"),
        ("SELECT COUNT(*) FROM src WHERE «COUNT(*)» > 1 GROUP BY TumblingWindow(day, 1)", "HAVING"),
        ("SELECT SUM(«AVG(a)») FROM src GROUP BY TumblingWindow(day, 1)", "nest", "WITH"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(day, 1) HAVING «a» > 1", "GROUP BY"),
        ("SELECT «SUM()» FROM src GROUP BY TumblingWindow(day, 1)", "0 arguments"),
        ("SELECT SUM(«*») FROM src GROUP BY TumblingWindow(day, 1)", "not *"),
        ("SELECT «SUM(a, b)» FROM src GROUP BY TumblingWindow(day, 1)", "2 arguments"),
        ("SELECT SUM(«'abc'») FROM src GROUP BY TumblingWindow(day, 1)", "numbers"),
        ("SELECT «SUM(DISTINCT a)» FROM src GROUP BY TumblingWindow(day, 1)", "DISTINCT"),
        ("SELECT «COUNT(DISTINCT *)» FROM src GROUP BY TumblingWindow(day, 1)", "DISTINCT"),
        ("SELECT «TopOne()» FROM src GROUP BY TumblingWindow(day, 1)", "ORDER BY"),
        ("SELECT CollectTop(«0») OVER (ORDER BY a) FROM src GROUP BY TumblingWindow(day, 1)", "1 to"),
        (
            "SELECT PERCENTILE_CONT(«1.5») OVER (ORDER BY a) FROM src GROUP BY TumblingWindow(day, 1)",
            "0 to 1",
        ),
        ("SELECT MAX(a) «OVER» (ORDER BY b) FROM src GROUP BY TumblingWindow(day, 1)", "LIMIT DURATION"),
        (
            "SELECT «LAG(a) OVER (LIMIT DURATION(day, 1))» FROM src GROUP BY TumblingWindow(day, 1)",
            "each event",
        ),
        (
            "SELECT COUNT(*) FROM src TIMESTAMP BY t OVER a «GROUP BY b, TumblingWindow(day, 1)»",
            "GROUP BY must hold 'a'",
        ),
    ],
    "over": [
        ("SELECT SUM(a) «OVER» (PARTITION BY b) FROM src", "LIMIT DURATION"),
        ("SELECT LAG(a) «OVER» (PARTITION BY b) FROM src", "LIMIT DURATION"),
        ("SELECT LAG(a, «0») OVER (LIMIT DURATION(day, 1)) FROM src", "1 or more", "LAST"),
        ("SELECT «LAG()» OVER (LIMIT DURATION(day, 1)) FROM src", "0 arguments"),
        ("SELECT LAG(a) OVER (LIMIT «DURATIN(day, 1)») FROM src", "DURATION(unit, n)"),
        ("SELECT LAG(a) OVER (LIMIT DURATION(day, «8»)) FROM src", "7 days"),
        ("SELECT LAG(«LAG(a)» OVER (LIMIT DURATION(day, 1))) OVER (LIMIT DURATION(day, 1)) FROM src", "LAG"),
        ("SELECT LAG(«classify(a)») OVER (LIMIT DURATION(day, 1)) FROM src", "WITH"),
        ("SELECT LAG(1, 1, «'x'») OVER (LIMIT DURATION(day, 1)) FROM src", "type"),
        ("SELECT ISFIRST(minute, 5) «OVER» (LIMIT DURATION(day, 1)) FROM src", "ISFIRST"),
        ("SELECT «COUNT(DISTINCT a)» OVER (LIMIT DURATION(day, 1)) FROM src", "OVER"),
        (
            "SELECT AnomalyDetection_ChangePoint(a, «101», 60) OVER (LIMIT DURATION(day, 1)) FROM src",
            "1 to 100",
        ),
        (
            "SELECT AnomalyDetection_SpikeAndDip(a, 90, 60, «'up'») OVER (LIMIT DURATION(day, 1)) FROM src",
            "spikes",
        ),
    ],
    "joins": [
        ("SELECT src.a FROM src JOIN other ON «src.a = other.a»", "bound the time", "DATEDIFF"),
        ("SELECT src.a FROM src JOIN other ON «DATEDIFF(minute, src, other) >= 0»", "no bound at its most"),
        ("SELECT src.a FROM src JOIN other ON «DATEDIFF(day, src, other) BETWEEN 0 AND 8»", "7 days"),
        ("SELECT src.a FROM src JOIN other ON «DATEDIFF(day, src, other) BETWEEN 2 AND 1»", "nothing lies"),
        ("SELECT src.a FROM src JOIN other ON DATEDIFF(«month», src, other) BETWEEN 0 AND 1", "month"),
        (
            "SELECT src.a FROM src JOIN other ON DATEDIFF(minute, src, other) BETWEEN 0 AND «a»",
            "whole number",
        ),
        ("SELECT «a» FROM src JOIN other ON DATEDIFF(day, src, other) = 0", "src.a or other.a"),
        ("SELECT «*» FROM src JOIN other ON DATEDIFF(day, src, other) = 0", "src.*"),
        ("SELECT src.a FROM src JOIN «src» ON DATEDIFF(day, src, src) = 0", "two sources"),
        (
            "SELECT src.a FROM src JOIN sites ON «DATEDIFF(day, src, sites)» = 0 AND src.k = sites.k",
            "reference",
        ),
        ("SELECT sites.a FROM «sites» JOIN src ON src.k = sites.k", "right of a JOIN"),
        ("SELECT src.a FROM src JOIN «sites TIMESTAMP BY t» ON src.k = sites.k", "TIMESTAMP BY"),
        ("SELECT src.a FROM src LEFT JOIN sites ON «classify(src.a) > sites.a»", "LEFT JOIN", "WITH"),
        (
            "SELECT s.a FROM src s PARTITION BY k JOIN other o PARTITION BY k ON «DATEDIFF(day, s, o) = 0»",
            "s.k = o.k",
        ),
        (
            "SELECT src.a FROM src TIMESTAMP BY t OVER k JOIN «other» ON DATEDIFF(day, src, other) = 0",
            "OVER",
        ),
        ("SELECT a FROM src CROSS APPLY «LEN(a)» AS e", "GetArrayElements"),
        ("SELECT a FROM src CROSS APPLY «GetArrayElements(a, b)» AS e", "one column"),
        ("SELECT a, e.«Index» FROM src CROSS APPLY GetArrayElements(a) AS e", "ArrayIndex"),
        ("SELECT a FROM «(»src)", "parentheses"),
        ("SELECT a FROM src PARTITION BY k INTO «1»", "2 to"),
    ],
    "metadata and tables": [
        ("SELECT «GetMetadataPropertyValue(src)» FROM src", "1 argument"),
        ("SELECT GetMetadataPropertyValue(«other», 'EventId') FROM src", "input in FROM"),
        ("SELECT GetMetadataPropertyValue(src, «a») FROM src", "text"),
        ("SELECT GetMetadataPropertyValue(src, «'[a'») FROM src", "path"),
        ("CREATE TABLE src (a «int») SELECT a FROM src", "int", "bigint"),
        ("CREATE TABLE src (a bigint, «A float») SELECT a FROM src", "twice"),
        ("CREATE TABLE «nosuch» (a bigint) SELECT a FROM src", "nosuch"),
        ("CREATE TABLE src (a bigint) SELECT «b» FROM src", "no column 'b'"),
    ],
    "names": [
        ("SELECT a FROM «nosuch»", "nosuch", "src, other"),
        ("SELECT a FROM «oter»", "oter", "Did you mean 'other'?"),
        ("SELECT a INTO «alert» FROM src", "alert", "Did you mean 'alerts'?"),
        ("SELECT «clasify(a)» FROM src", "clasify", "Did you mean 'classify'?"),
        ("SELECT «SUBSTRNG(a, 1, 2)» FROM src", "SUBSTRNG", "Did you mean 'SUBSTRING'?"),
        ("SELECT «udf.rsk(a)» FROM src", "udf.rsk", "Did you mean 'udf.risk'?"),
        ("SELECT «System.Now()» FROM src", "System.Now", "System.Timestamp()"),
        ("SELECT «System.Timestmp» FROM src", "Did you mean 'System.Timestamp'?"),
        ("WITH s AS (SELECT power FROM src) SELECT «pover» FROM s", "pover", "Did you mean 'power'?"),
        ("WITH s AS (SELECT kw, id FROM src) SELECT s.«name».x FROM s", "name", "kw, id"),
        ("WITH s AS (SELECT kw FROM src) SELECT kw AS power FROM s WHERE «power» > 1", "alias"),
        ("WITH s AS (SELECT a FROM «t»), t AS (SELECT a FROM src) SELECT a FROM s", "step 't'", "move"),
        ("WITH s AS (SELECT a FROM «s») SELECT a FROM s", "step 's'"),
        ("WITH s AS (SELECT a FROM src), «S» AS (SELECT b FROM src) SELECT a FROM s", "two steps"),
        ("WITH «other» AS (SELECT a FROM src) SELECT a FROM other", "input called 'other'"),
        ("WITH s AS (SELECT a FROM src) SELECT a FROM s TIMESTAMP BY «t»", "only after an input"),
        ("SELECT a FROM src SELECT b FROM «src TIMESTAMP BY t»", "another TIMESTAMP BY"),
        ("SELECT «src».a FROM src s", "src is called s", "s.a", "s.src"),
        ("SELECT s.a FROM src s TIMESTAMP BY «SRC».t", "SRC is called s", "s.t"),
        ("WITH w AS (SELECT * FROM src) SELECT «w».a FROM w s", "w is called s", "s.a"),
        ("SELECT s.a FROM src s JOIN sites ON s.a = sites.a WHERE «src».b = 1", "src is called s"),
        ("SELECT a, b AS x, «A» FROM src", "'A'", "twice"),
        ("SELECT a AS x, r.«x» FROM src", "'x'", "AS"),
        ("SELECT a AS «[\x1fx]» FROM src", "engine's own"),
        ("SELECT «[\x1ftime]» FROM src", "engine's own"),
        ("SELECT a FROM «my.src»", "one word", "[my.src]"),
        ("SELECT a FROM «my-src»", "one word", "[my-src]"),
        ("SELECT a INTO «my-out» FROM src", "one word", "[my-out]"),
        ("SELECT a FROM «src»(1)", "function", "CROSS APPLY"),
        ("SELECT a AS «'x'» FROM src", "text", "[x]"),
        ("SELECT r.list«[0]» AS first FROM src", "brackets", "GetArrayElement(r.list, 0)"),
        ("SELECT «order» FROM src", "reserved word ORDER", "[order]"),
        ("SELECT a FROM src AS «end»", "reserved word END", "[end]"),
        ("SELECT «[]» FROM src", "empty"),
        ("SELECT a FROM src UNION «SELECT a, b FROM other»", "'b'", "same columns"),
        ("SELECT a, b FROM src UNION «SELECT a FROM other»", "'b'", "NULL AS"),
    ],
    "arguments, types and literals": [
        ("SELECT CAST(a AS «int») FROM src", "int", "Write bigint."),
        ("SELECT CAST(a AS «varchar(10)») FROM src", "Write nvarchar(max)."),
        ("SELECT TRY_CAST(a AS «decimal(10, 2)») FROM src", "Write float."),
        ("SELECT CAST(a AS «bigin») FROM src", "Did you mean 'bigint'?"),
        ("SELECT CAST(a AS «blob») FROM src", "bigint, float"),
        ("SELECT «CAST('abc' AS bigint)» FROM src", "'abc'"),
        ("SELECT «SUBSTRING(a, 1)» FROM src", "2 arguments", "SUBSTRING(text, start, length)"),
        ("SELECT «UPPER()» FROM src", "0 arguments", "UPPER(text)"),
        ("SELECT «CHARINDEX(a)» FROM src", "1 argument", "CHARINDEX(find, text [, start])"),
        ("SELECT «CONCAT(a)» FROM src", "CONCAT(value, value, ...)"),
        ("SELECT DATEADD(«dayy», 1, a) FROM src", "dayy", "Did you mean 'day'?"),
        ("SELECT DATEADD(«'day'», 1, a) FROM src", "without quotes"),
        ("SELECT DATEADD(«a.day», 1, b) FROM src", "bare word"),
        ("SELECT ABS(«'abc'») FROM src", "number", "bigint or float"),
        ("SELECT YEAR(«'today'») FROM src", "datetime"),
        ("SELECT GetArrayLength(«5») FROM src", "array"),
        ("SELECT UPPER(«*») FROM src", "*"),
        ("SELECT «UPPER(DISTINCT a)» FROM src", "DISTINCT"),
        ("SELECT UPPER(a) «OVER» (PARTITION BY b) FROM src", "no OVER"),
        ("SELECT classify(a) «OVER» (PARTITION BY b) FROM src", "no OVER"),
        ("SELECT «9223372036854775808» FROM src", "bigint", "float"),
        ("SELECT «-9223372036854775809» FROM src", "bigint"),
        ("SELECT «1e999» FROM src", "float"),
        ("SELECT «0x1F» FROM src", "number"),
        ("SELECT «12abc» FROM src", "number"),
    ],
    "conditions": [
        ("SELECT a FROM src WHERE «a»", "condition", "Write a = 1."),
        ("SELECT a FROM src WHERE a = 1 AND NOT «UPPER(b)»", "condition", "UPPER(b) = 1"),
        ("SELECT «a > 1» AS b FROM src", "value", "CASE WHEN"),
        ("SELECT a FROM src WHERE «a = 1» = 2", "value"),
        ("SELECT a FROM src WHERE a IS «5»", "NULL or NOT NULL"),
        ("SELECT a FROM src WHERE (a«,» b) IN (1)", "IN"),
        ("SELECT CASE WHEN «a» THEN 1 END FROM src", "condition"),
        ("SELECT CASE a «END» FROM src", "WHEN"),
    ],
    "what is missing or too much": [
        ("SELECT a FROM src WHERE a = 1 «TIMESTAMP» BY t", "right behind the input"),
        ("SELECT s.a FROM src TIMESTAMP BY t «AS» s", "alias", "FROM input AS alias TIMESTAMP BY"),
        ("SELECT a FROM src WHERE a = 1 «PARTITION» BY a", "right behind the source"),
        ("SELECT COUNT(*) FROM src GROUP BY TumblingWindow(day, 1) «WHERE» a = 1", "before GROUP BY"),
        ("SELECT a FROM src HAVING a = 1 «GROUP» BY a", "before HAVING"),
        ("SELECT a FROM src HAVING a = 1 «HAVING» b = 1", "once"),
        ("SELECT x.a FROM src s «APPLY» GetArrayElements(s.a) AS x", "CROSS or OUTER"),
        ("SELECT LAG(a) OVER (LIMIT DURATION(day, 1) «PARTITION» BY b) FROM src", "too late", "order is"),
        ("SELECT a + «FROM» src", "missing before FROM"),
        ("SELECT a FROM src WHRE «a» > 1", "Did you mean 'WHERE'?"),
        ("SELECT a FORM «src»", "Did you mean 'FROM'?"),
        ("SELECT a, «FROM» src", "comma"),
        ("SELECT a", "FROM is missing at the end"),
        ("SELECT a FROM src WHERE", "missing at the end"),
        ("SELECT UPPER(a «FROM» src", ", or )"),
        ("SELECT a«)» FROM src", "INTO or FROM"),
        ("SELECT a b «c» FROM src", "INTO or FROM"),
        ("SELECT a FROM src WHERE a = (1 + «)»", "expression"),
        ("SELECT r. «FROM» src", "after the dot"),
        ("SELECT a FROM src WHERE a IN («)»", "expression"),
        ("SELECT CASE WHEN a = 1 THEN 2 «FROM» src", "END"),
        ("SELECT UPPER(a).lower«(») FROM src", "value"),
        ("WITH s «(»a) AS (SELECT a FROM src) SELECT a FROM s", "columns"),
        ("SELECT a FROM src TIMESTAMP BY t «TIMESTAMP» BY u", "one TIMESTAMP BY"),
        ("SELECT a FROM src WHERE a «€» 1", "'€'"),
        ("SELECT a «{»# hidden #} FROM src", "'{'"),
        ("SELECT 'it', «'s FROM src»", "closed", "''"),
        ("SELECT «[a FROM src»", "closed", "]"),
        ('SELECT «"a FROM src»', "closed"),
        ("SELECT a «/*» b FROM src", "comment", "closed"),
        ("SELECT a FROM src «/*» /* x */", "comment"),
    ],
}
TABLE = [(group, *case) for group, cases in REFUSED.items() for case in cases]


def refused(script, **declared):
    with pytest.raises(QueryError) as raised:
        bind(script, **declared)
    return raised.value


@pytest.mark.parametrize(("group", "marked", "words"), [(row[0], row[1], row[2:]) for row in TABLE])
def test_what_is_wrong_is_underlined_and_said(group, marked, words):
    script = marked.replace("«", "").replace("»", "")
    error = refused(script, **DECLARED)
    if "«" in marked:
        assert script[error.span.start : error.span.end] == marked.split("«")[1].split("»")[0], str(error)
    for word in words:
        assert word in str(error)


def test_an_error_names_its_line_and_column_and_underlines_the_text():
    error = refused("SELECT a,\r\n\tLENGHT(b) AS n\nFROM src")
    assert (error.line, error.column) == (2, 2)
    assert str(error).splitlines()[0] == "there is no function LENGHT (line 2, column 2)"
    assert isinstance(error, UserError)


@pytest.mark.parametrize("script", ["", " \n ", "-- only a comment", "/* and this */", ";;"])
def test_an_empty_script_is_refused(script):
    assert "empty" in str(refused(script))


def test_steps_alone_are_no_script():
    assert "no SELECT" in str(refused("WITH s AS (SELECT a FROM src)"))


def test_a_missing_default_output_is_refused_where_the_select_stands():
    error = refused("SELECT a INTO x FROM src; SELECT b FROM src", outputs=["x"])
    assert "no output called 'output'" in str(error)
    assert error.column == 27


# --- limits ------------------------------------------------------------------------------------------------

DEEP = {
    "parentheses": lambda n: f"SELECT {'(' * n}a{')' * n} FROM s",
    "calls": lambda n: f"SELECT {'UPPER(' * n}a{')' * n} FROM s",
    "selects": lambda n: f"{'(' * n}SELECT a FROM s{')' * n}",
    "cases": lambda n: f"SELECT {'CASE WHEN a = 1 THEN ' * n}1{' END' * n} FROM s",
    "properties": lambda n: f"SELECT a{'.a' * n} FROM s",
    "signs": lambda n: f"SELECT {'- ' * n}a FROM s",
    "negations": lambda n: f"SELECT a FROM s WHERE {'NOT ' * n}a = 1",
    "sums": lambda n: f"SELECT a{'+a' * n} FROM s",
    "comparisons": lambda n: f"SELECT a FROM s WHERE a{'=a' * n}",
    "connectives": lambda n: f"SELECT a FROM s WHERE {'(a = 1 OR b = 2 AND NOT ' * n}c = 3{')' * n}",
}


@pytest.mark.parametrize("shape", DEEP)
@pytest.mark.parametrize("depth", [3_000, 10_000])
def test_deep_nesting_and_long_chains_are_refused_cleanly(shape, depth):
    refused(DEEP[shape](depth))


@pytest.mark.parametrize("shape", sorted(DEEP.keys() - {"comparisons", "connectives"}))
def test_nesting_that_a_person_writes_is_taken(shape):
    bind(DEEP[shape](MAX_QUERY_DEPTH - 10))
    bind(DEEP["connectives"](25))


def test_a_full_stack_of_the_caller_makes_no_traceback():
    def called_from(depth):
        if depth:
            return called_from(depth - 1)
        return bind(DEEP["connectives"](25))

    def called_from_ever_deeper():
        for depth in range(0, 1000, 10):
            called_from(depth)

    with pytest.raises(QueryError, match="too deep"):
        called_from_ever_deeper()


def test_long_flat_lists_and_chains_are_taken():
    bind(f"SELECT a FROM s WHERE a IN ({','.join(['1'] * 20_000)})")
    bind(f"SELECT a FROM s WHERE {' AND '.join(['a = 1'] * 3_000)}")
    bind(" UNION ".join(["SELECT a FROM s"] * 1_000))


def test_operands_that_would_be_written_out_too_often_are_refused():
    nested = "a"
    for _ in range(40):
        nested = f"CASE {nested} WHEN 1 THEN 1 WHEN 2 THEN 2 END"
    assert "WITH step" in str(refused(f"SELECT {nested} FROM s"))


def test_a_script_too_long_is_refused_in_a_few_words():
    error = refused(f"SELECT a FROM s -- {'x' * MAX_SCRIPT_BYTES}")
    assert str(MAX_SCRIPT_BYTES) in str(error)
    assert len(str(error)) < 500


def test_too_many_calls_in_one_select_are_refused():
    calls = " + ".join(f"classify({number})" for number in range(90))
    bind(f"SELECT {calls} AS x FROM src", **DECLARED)
    conditions = " AND ".join(f"classify({number}) = 1" for number in range(MAX_QUERY_CALLS + 1))
    assert "100 places" in str(refused(f"SELECT a FROM src WHERE {conditions}", **DECLARED))


# --- conformance cases -------------------------------------------------------------------------------------

CASES = sorted((Path(__file__).parents[3] / "shared" / "cases").glob("9*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_cases_that_must_be_refused_are_refused_in_the_words_they_ask_for(path):
    case = json.loads(path.read_text("utf-8"))
    message = str(refused(case["query"], inputs=case["inputs"])).lower()
    assert any(word.lower() in message for word in case["error_mentions"])
