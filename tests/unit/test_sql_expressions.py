"""Expressions: what a script's operators, literals, paths and calls are bound to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import QueryError
from headrace.events.batch import ValueType
from headrace.sql.bind import bind
from headrace.sql.plan import (
    Binary,
    Cast,
    ColumnRef,
    FieldRef,
    Filter,
    Item,
    Literal,
    Project,
    SystemTimestamp,
)
from tests.unit.plan_text import text


def value(written, **names):
    """The bound value of the only item of a SELECT list."""
    [output] = bind(f"SELECT {written} AS x FROM src", **names).outputs
    assert isinstance(output.relation, Project)
    [item] = output.relation.items
    assert isinstance(item, Item)
    return item.expression


def condition(written, **names):
    """The bound condition of a WHERE."""
    [output] = bind(f"SELECT x FROM src WHERE {written}", **names).outputs
    assert isinstance(output.relation, Project)
    assert isinstance(output.relation.source, Filter)
    return output.relation.source.predicate


# --- literals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected", "type_"),
    [
        ("1", 1, ValueType.BIGINT),
        ("007", 7, ValueType.BIGINT),
        ("-9223372036854775808", -(2**63), ValueType.BIGINT),
        ("9223372036854775807", 2**63 - 1, ValueType.BIGINT),
        ("1.0", 1.0, ValueType.FLOAT),
        ("2.", 2.0, ValueType.FLOAT),
        (".5", 0.5, ValueType.FLOAT),
        ("1e3", 1000.0, ValueType.FLOAT),
        ("2.5E-3", 0.0025, ValueType.FLOAT),
        ("9223372036854775808.0", 2.0**63, ValueType.FLOAT),
        ("'it''s'", "it's", ValueType.TEXT),
        ("''", "", ValueType.TEXT),
        ("N'\u03bb'", "\u03bb", ValueType.TEXT),
        ("'-- no comment'", "-- no comment", ValueType.TEXT),
        ("NULL", None, None),
    ],
)
def test_a_literal_has_the_value_and_type_that_are_written(written, expected, type_):
    literal = value(written)
    assert literal == Literal(expected, type_)
    assert type(literal.value) is type(expected)


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_every_bigint_can_be_written(number):
    assert value(str(number)) == Literal(number, ValueType.BIGINT)


@settings(deadline=None)
@given(st.floats(0, allow_infinity=False, allow_nan=False))
def test_every_float_can_be_written(number):
    written = repr(number)
    assert value(written if "e" in written or "." in written else f"{written}.0").value == number


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_every_text_can_be_written(content):
    assert value("'" + content.replace("'", "''") + "'") == Literal(content, ValueType.TEXT)


# --- precedence --------------------------------------------------------------------------------------------

#: T-SQL's operators, those that bind most tightly first; all bind from the left.
RANKS = [["*", "/", "%"], ["+", "-", "&", "|", "^"]]


def grouped(parts):
    """Put parentheses around each operation of an alternation of operands and operators, by rank."""
    for rank in RANKS:
        position = 1
        while position < len(parts):
            if parts[position] in rank:
                parts[position - 1 : position + 2] = [f"({' '.join(parts[position - 1 : position + 2])})"]
            else:
                position += 2
    [whole] = parts
    return whole


@settings(deadline=None)
@given(st.lists(st.sampled_from([op for rank in RANKS for op in rank]), max_size=12), st.data())
def test_value_operators_rank_as_in_t_sql(operators, data):
    operands = [
        data.draw(st.sampled_from(["a", "-b", "~c", "- ~ d", "1", "'t'"])) for _ in range(len(operators) + 1)
    ]
    parts = [operands[0]]
    for operator, operand in zip(operators, operands[1:], strict=True):
        parts += [operator, operand]
    assert value(" ".join(parts)) == value(grouped(list(parts)))


#: Conditions as they are written and as they are meant.
PREDICATES = [
    ("a = 1", "a = 1"),
    ("a + 1 < b & 2", "(a + 1) < (b & 2)"),
    ("a BETWEEN 1 AND b + 2", "(a BETWEEN 1 AND (b + 2))"),
    ("a NOT IN (1, 2)", "(NOT (a IN (1, 2)))"),
    ("a IS NOT NULL", "(NOT (a IS NULL))"),
    ("a LIKE 'x' + b", "(a LIKE ('x' + b))"),
]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["AND", "OR"]), st.integers(0, 2), st.sampled_from(PREDICATES)),
        min_size=1,
        max_size=8,
    )
)
def test_not_binds_before_and_and_and_before_or(chain):
    written = []
    alternatives = [[]]
    for position, (connective, negations, (plain, meant)) in enumerate(chain):
        if position:
            written.append(connective)
            if connective == "OR":
                alternatives.append([])
        written.append("NOT " * negations + plain)
        alternatives[-1].append("(NOT " * negations + f"({meant})" + ")" * negations)
    grouped_ = " OR ".join(f"({' AND '.join(parts)})" for parts in alternatives)
    assert condition(" ".join(written)) == condition(grouped_)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a !< 1", "(a >= 1)"),
        ("a !> 1", "(a <= 1)"),
        ("a <> 1", "(a <> 1)"),
        ("a != 1", "(a <> 1)"),
        ("NOT a = 1", "(NOT (a = 1))"),
        ("a NOT LIKE 'x%'", "(NOT (a LIKE 'x%'))"),
        ("a NOT BETWEEN 1 AND 2", "(NOT ((a >= 1) AND (a <= 2)))"),
        ("a BETWEEN 1 AND 2 AND b = 3", "(((a >= 1) AND (a <= 2)) AND (b = 3))"),
        ("a IN (1, NULL, 'x')", "(a IN (1, NULL, 'x'))"),
        ("(a = 1 OR b = 2) AND c = 3", "(((a = 1) OR (b = 2)) AND (c = 3))"),
        ("-a * b = - (a * b)", "(((- a) * b) = (- (a * b)))"),
        ("a - -1 = + 1", "((a - -1) = 1)"),
        ("a % 2 = 1", "((a % 2) = 1)"),
        ("~a & b = 1", "(((~ a) & b) = 1)"),
    ],
)
def test_conditions_are_bound_to_plain_comparisons(written, meant):
    assert text(condition(written)) == meant


def test_long_chains_of_and_are_bound_to_trees_of_little_depth():
    def depth(node):
        return (
            1 + max(depth(node.left), depth(node.right))
            if isinstance(node, Binary) and node.operator == "AND"
            else 0
        )

    assert depth(condition(" AND ".join(["a = 1"] * 3000))) == 12


# --- paths and names ---------------------------------------------------------------------------------------


def test_a_path_names_properties_to_any_depth():
    expected = ColumnRef("a")
    for name in "bcdefg":
        expected = FieldRef(expected, name)
    assert value("a.b.c.d.e.f.g") == expected


@pytest.mark.parametrize(
    ("source", "written", "meant"),
    [
        ("src", "src.a.b", "a.b"),
        ("src", "SRC.a", "a"),
        ("src AS s", "s.a", "a"),
        ("src s", "s.a.b", "a.b"),
        ("src s", "s.src.a", "src.a"),
        ("src", "src", "src"),
        ("src", "[a b].[c.d]", "a b.c.d"),
        ("src", "[a]]b]", "a]b"),
        ("src", '"a b"', "a b"),
        ("[my input]", "[my input].a", "a"),
        ("src", "r.left.[end].select", "r.left.end.select"),
        ("src", "[System].a", "System.a"),
    ],
)
def test_a_name_before_a_dot_is_the_source_or_else_a_record(source, written, meant):
    [output] = bind(f"SELECT {written} AS x FROM {source}").outputs
    assert text(output.relation.items[0].expression) == meant


@pytest.mark.parametrize("written", ["System.Timestamp()", "System.Timestamp", "SYSTEM.TIMESTAMP ( )"])
def test_system_timestamp_is_written_with_and_without_parentheses(written):
    assert value(written) == SystemTimestamp()


def test_double_quotes_make_a_column_over_an_input_and_over_a_step_that_has_it():
    assert value('"WA"') == ColumnRef("WA")
    [output] = bind('WITH s AS (SELECT a AS WA FROM src) SELECT "wa" AS x FROM s').outputs
    assert output.relation.items[0].expression == ColumnRef("WA")


def test_double_quotes_make_a_text_over_a_step_that_has_no_such_column():
    [output] = bind('WITH s AS (SELECT a FROM src) SELECT a FROM s WHERE a = "WA"').outputs
    assert output.relation.source.predicate == Binary("=", ColumnRef("a"), Literal("WA", ValueType.TEXT))


# --- CASE, CAST and calls ----------------------------------------------------------------------------------


def test_a_simple_case_compares_its_operand_with_each_value():
    assert text(value("CASE a + 1 WHEN 2 THEN 'x' WHEN b THEN 'y' END")) == (
        "CASE WHEN ((a + 1) = 2) THEN 'x' WHEN ((a + 1) = b) THEN 'y' ELSE NULL END"
    )


def test_a_searched_case_keeps_its_conditions():
    assert text(value("CASE WHEN a > 1 AND b IS NULL THEN 1 ELSE 2 END")) == (
        "CASE WHEN ((a > 1) AND (b IS NULL)) THEN 1 ELSE 2 END"
    )


@pytest.mark.parametrize("type_", list(ValueType))
def test_cast_and_try_cast_take_every_type_of_the_language(type_):
    assert value(f"CAST(a AS {type_})") == Cast(ColumnRef("a"), type_, safe=False)
    assert value(f"try_cast(a AS {type_.upper()})") == Cast(ColumnRef("a"), type_, safe=True)
    assert value("CAST(a AS nvarchar ( max ))").type is ValueType.TEXT


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("upper(a)", "UPPER(a)"),
        ("Left(a, 2)", "LEFT(a, 2)"),
        ("RIGHT(a, 2)", "RIGHT(a, 2)"),
        ("GetRecordPropertyValue(a, 'b').c", "GETRECORDPROPERTYVALUE(a, 'b').c"),
        ("CONCAT(a, b, c, d)", "CONCAT(a, b, c, d)"),
        ("DATEADD(hh, -1, a)", "DATEADD('hour', -1, a)"),
        ("DATEPART(YYYY, a)", "DATEPART('year', a)"),
        ("DATEDIFF(minutes, a, b)", "DATEDIFF('minute', a, b)"),
        ("CHARINDEX('a', b, 2)", "CHARINDEX('a', b, 2)"),
        ("YEAR(a) + month(b)", "(YEAR(a) + MONTH(b))"),
    ],
)
def test_built_in_functions_are_called_by_their_catalogue_names(written, meant):
    assert text(value(written)) == meant


@pytest.mark.parametrize(
    ("declared", "written"),
    [
        ("classify", "classify(a)"),
        ("classify", "CLASSIFY(a)"),
        ("classify", "udf.classify(a)"),
        ("udf.risk", "udf.risk(a)"),
        ("udf.risk", "UDF.Risk(a)"),
        ("udf.risk", "risk(a)"),
        ("team.score", "team.score(a)"),
        ("len", "udf.len(a)"),
    ],
)
def test_a_declared_function_is_called_by_its_name_with_or_without_udf(declared, written):
    script = bind(f"SELECT {written} AS x FROM src", functions=[declared])
    assert script.functions == (declared,)


def test_a_built_in_function_wins_over_a_declared_one_of_its_name():
    assert text(value("len(a)", functions=["len"])) == "LEN(a)"


def test_values_and_conditions_do_not_mix():
    for written in ("a", "a + 1", "UPPER(a)", "CASE WHEN a = 1 THEN 1 END", "NULL"):
        with pytest.raises(QueryError, match="a condition is needed"):
            condition(written)
    for written in ("a = 1", "NOT a = 1", "a IS NULL", "a = 1 AND b = 2", "a IN (1)", "(a LIKE 'x')"):
        with pytest.raises(QueryError, match="no value"):
            value(f"({written})")


@settings(max_examples=30, deadline=None)
@given(st.sampled_from("ab"), st.sampled_from(["/* c */", "-- c\n", "\t", "\r\n", "/* a /* b */ c */"]))
def test_comments_and_blanks_change_nothing(name, gap):
    assert value(f"{gap}{name}{gap}+{gap}1{gap}") == Binary(
        "+", ColumnRef(name), Literal(1, ValueType.BIGINT)
    )
