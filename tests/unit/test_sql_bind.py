"""Scripts: statements, steps, outputs, and the columns of a SELECT list."""

import pytest

from headrace.errors import QueryError
from headrace.sql.bind import bind
from headrace.sql.plan import (
    AllColumns,
    ColumnRef,
    Filter,
    Item,
    Project,
    Scan,
    StepRef,
    Union,
    qualified,
)
from tests.unit.plan_text import script_text, text


def names(select, **declared):
    """The names of the columns of a script's last SELECT, stars as ``*``."""
    *_, output = bind(select, **declared).outputs
    return [item.name if isinstance(item, Item) else "*" for item in output.relation.items]


# --- statements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [" ", ";", "\n;\n", "; -- next\n", " /* ; */ ", ";;"])
def test_statements_follow_each_other_with_or_without_semicolons(between):
    script = bind(f"SELECT a INTO x FROM i{between}SELECT b INTO y FROM j;")
    assert [(output.name, output.relation.source) for output in script.outputs] == [
        ("x", Scan("i")),
        ("y", Scan("j")),
    ]


def test_a_select_without_into_writes_to_the_output_called_output():
    assert bind("SELECT a FROM i").outputs[0].name == "output"


def test_a_script_lists_the_inputs_and_functions_it_uses_once_in_order():
    script = bind(
        "WITH s AS (SELECT f(a) AS a FROM two) SELECT g(a) AS b FROM s "
        "SELECT F(b) AS c INTO o FROM one SELECT a INTO p FROM TWO",
        functions=["g", "f", "h"],
        inputs=["one", "two", "three"],
    )
    assert script.inputs == ("two", "one")
    assert script.functions == ("f", "g")


def test_several_statements_may_write_to_one_output_however_they_spell_it():
    script = bind("SELECT a INTO Alerts FROM i SELECT b INTO alerts FROM j", outputs=["ALERTS"])
    assert [output.name for output in script.outputs] == ["ALERTS", "ALERTS"]
    script = bind("SELECT a INTO Alerts FROM i SELECT b INTO alerts FROM j")
    assert [output.name for output in script.outputs] == ["Alerts", "Alerts"]


def test_inputs_have_their_declared_spelling_or_else_the_first_one():
    assert bind("SELECT a FROM SRC", inputs=["Src"]).inputs == ("Src",)
    assert bind("SELECT a FROM SRC SELECT b INTO x FROM src").inputs == ("SRC",)


def test_names_in_brackets_may_hold_anything():
    [output] = bind("SELECT a AS [a b] INTO [my output] FROM [my-input] AS [the alias]").outputs
    assert (output.name, output.relation.source.input) == ("my output", "my-input")


def test_every_part_of_a_plan_knows_its_place():
    script = "SELECT UPPER(name) AS loud\nFROM src AS s WHERE s.kw > 4"
    [output] = bind(script).outputs

    def written(node):
        return script[node.span.start : node.span.end]

    [item] = output.relation.items
    assert written(item) == "UPPER(name) AS loud"
    assert written(item.expression) == "UPPER(name)"
    assert written(item.expression.arguments[0]) == "name"
    assert written(output.relation.source) == "WHERE s.kw > 4"
    assert written(output.relation.source.predicate) == "s.kw > 4"
    assert written(output.relation.source.source) == "src AS s"
    assert written(output) == script


# --- FROM --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["", " AS r", " r", " [r]"])
def test_timestamp_by_takes_an_expression_over_the_event(alias):
    called = "r" if alias else "readings"
    [output] = bind(f"SELECT a FROM readings{alias} TIMESTAMP BY DATEADD(ms, {called}.t.ms, day)").outputs
    assert output.relation.source.input == "readings"
    assert text(output.relation.source.timestamp) == "DATEADD('millisecond', t.ms, day)"


def test_one_input_may_be_read_again_with_the_same_timestamp():
    script = bind("SELECT a FROM i TIMESTAMP BY t SELECT b INTO x FROM I r TIMESTAMP BY r.t")
    first, second = (output.relation.source for output in script.outputs)
    assert first == second == Scan("i", ColumnRef("t"))


def test_having_without_group_by_is_a_where():
    [output] = bind("SELECT a FROM i WHERE a > 1 HAVING b > 2").outputs
    assert text(output.relation.source.predicate) == "(b > 2)"
    assert text(output.relation.source.source.predicate) == "(a > 1)"


# --- steps -------------------------------------------------------------------------------------------------


def test_steps_read_the_steps_above_them_and_every_statement_may_read_a_step():
    script = bind(
        "WITH a AS (SELECT x FROM i), b AS (SELECT x FROM A) SELECT x INTO p FROM a; SELECT x INTO q FROM B"
    )
    assert [step.name for step in script.steps] == ["a", "b"]
    assert script.steps[1].relation.source == StepRef("a")
    assert [output.relation.source for output in script.outputs] == [StepRef("a"), StepRef("b")]


def test_a_column_of_a_step_is_found_whatever_its_case():
    [output] = bind("WITH s AS (SELECT a AS KiloWatt FROM i) SELECT KILOWATT, s.kilowatt AS x FROM s").outputs
    assert [(item.name, item.expression) for item in output.relation.items] == [
        ("KILOWATT", ColumnRef("KiloWatt")),
        ("x", ColumnRef("KiloWatt")),
    ]


def test_a_step_with_a_star_over_an_input_has_any_column():
    assert names("WITH s AS (SELECT *, a AS b FROM i) SELECT anything FROM s") == ["anything"]
    assert names("WITH s AS (SELECT r.* FROM i) SELECT anything FROM s") == ["anything"]


def test_a_star_over_a_step_has_the_columns_of_the_step():
    script = "WITH s AS (SELECT a, b FROM i), t AS (SELECT 1 AS B, s.*, 2 AS c FROM s) SELECT a, b, C FROM t"
    [output] = bind(script).outputs
    assert [item.expression for item in output.relation.items] == [
        ColumnRef("a"),
        ColumnRef("B"),
        ColumnRef("c"),
    ]


# --- SELECT lists ------------------------------------------------------------------------------------------


def test_an_alias_stands_after_as_or_bare_or_before_an_equals_sign():
    assert names("SELECT a AS b, a c, d = a, a [e f], [g h] = a FROM i") == ["b", "c", "d", "e f", "g h"]


def test_columns_and_properties_keep_their_names():
    assert names("SELECT a, i.b, r.c.d, f(a).best FROM i", functions=["f"]) == ["a", "b", "d", "best"]


def test_calls_are_named_by_their_function_and_other_expressions_by_their_position():
    script = "SELECT UPPER(a), System.Timestamp(), CAST(a AS float), a + 1, 'x', udf.f(a), -a FROM i"
    assert names(script, functions=["f"]) == ["upper", "timestamp", "cast", "expr4", "expr5", "f", "expr7"]


def test_a_made_name_gives_way_to_a_written_one():
    assert names("SELECT UPPER(a), UPPER(b), 1, c AS upper, d AS expr3 FROM i") == [
        "upper_1",
        "upper_2",
        "expr3_3",
        "upper",
        "expr3",
    ]


def test_stars_are_the_columns_of_the_source_or_of_a_record():
    [output] = bind("SELECT *, s.*, r.*, r.p.* FROM i AS s").outputs
    assert [text(item.record) if item.record else None for item in output.relation.items] == [
        None,
        None,
        "r",
        "r.p",
    ]
    assert all(isinstance(item, AllColumns) for item in output.relation.items)


# --- UNION -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("union", ["UNION", "UNION ALL", "union all"])
def test_union_keeps_the_rows_of_all_its_selects(union):
    [output] = bind(f"SELECT a INTO x FROM i {union} SELECT a FROM j {union} (SELECT a FROM k)").outputs
    assert output.name == "x"
    assert isinstance(output.relation, Union)
    assert [source.source for source in output.relation.sources] == [Scan("i"), Scan("j"), Scan("k")]


def test_a_union_spells_its_columns_as_its_first_select_does():
    script = "WITH u AS (SELECT Id, b AS Kw FROM i UNION SELECT kw, ID FROM j) SELECT id, kw FROM u"
    step = bind(script).steps[0]
    assert [[item.name for item in source.items] for source in step.relation.sources] == [
        ["Id", "Kw"],
        ["Kw", "Id"],
    ]
    assert [item.expression for item in bind(script).outputs[0].relation.items] == [
        ColumnRef("Id"),
        ColumnRef("Kw"),
    ]


def test_a_union_with_a_star_has_any_column():
    assert names("WITH u AS (SELECT a FROM i UNION SELECT * FROM j) SELECT b FROM u") == ["b"]


def test_binding_the_same_script_twice_gives_equal_plans():
    script = "WITH s AS (SELECT f(a) AS x FROM i WHERE f(a) = 1) SELECT x, f(x) AS y FROM s"
    assert script_text(bind(script, functions=["f"])) == script_text(bind(script, functions=["f"]))
    assert bind(script, functions=["f"]) == bind(script, functions=["f"])


def test_spans_do_not_count_when_plans_are_compared():
    [one], [two] = bind("SELECT a + 1 AS x FROM i").outputs, bind("SELECT  a  +  1  AS  x  FROM  i").outputs
    assert one.relation == two.relation
    assert isinstance(one.relation, Project)
    assert not isinstance(one.relation.source, Filter)


def test_a_column_that_reference_data_at_hand_have_not_is_the_streams():
    script = bind(
        "SELECT id, name FROM src s JOIN sites ON s.k = sites.k", references={"sites": {"k", "Site"}}
    )
    [output] = script.outputs
    assert [item.expression.name for item in output.relation.items] == [
        qualified("s", "id"),
        qualified("s", "name"),
    ]


def test_a_column_that_both_could_have_must_be_told_apart():
    with pytest.raises(QueryError, match="several sources"):
        bind("SELECT site FROM src s JOIN sites ON s.k = sites.k", references={"sites": {"k", "Site"}})


def test_an_output_may_be_spread_by_a_column_that_it_does_not_write():
    [output] = bind("SELECT id INTO out1 PARTITION BY k INTO 2 FROM src").outputs
    assert (output.partition.keys, output.partition.count) == ((ColumnRef("k"),), 2)
