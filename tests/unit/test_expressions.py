"""Evaluation over batches: mixed types, faults and their messages, guards, spellings of names."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.engine import evaluation
from headrace.engine.expressions import RowError, evaluate
from headrace.engine.operators.filter import filter_rows
from headrace.errors import Span
from headrace.events.batch import HIDDEN, TIME, Batch, Column, ValueType
from headrace.events.formats.json import from_rows, rows
from headrace.sql.bind import bind
from headrace.sql.plan import (
    Binary,
    Call,
    Cast,
    ColumnRef,
    Expression,
    Filter,
    Item,
    Literal,
    Project,
    SystemTimestamp,
)


def expressions(written: str) -> tuple[list[Expression], str]:
    script = bind(f"SELECT {written} FROM src")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    return [item.expression for item in relation.items if isinstance(item, Item)], script.text


def column(written: str, events: list[dict[str, Any]]) -> list[Any]:
    bound, text = expressions(f"{written} AS x")
    batch = from_rows(events)
    (planes,) = evaluate(bound, batch, text)
    return [row["x"] for row in rows(batch.with_column("x", planes))]


def kept(predicate: str, events: list[dict[str, Any]]) -> list[int]:
    script = bind(f"SELECT * FROM src WHERE {predicate}")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Filter)
    found = filter_rows(from_rows(events), relation.source.predicate, script.text)
    return found.frame["@origin"].to_list()


def test_a_column_of_mixed_types_is_computed_by_the_type_of_each_value() -> None:
    events = [{"v": 2}, {"v": 2.5}, {"v": "3"}, {}, {"v": True}]
    assert column("v * 2", events) == [4, 5.0, 6.0, None, 2]
    assert column("GETTYPE(v * 2)", events) == ["bigint", "float", "float", None, "bigint"]
    assert column("v + v", events) == [4, 5.0, "33", None, 2]
    assert column("CAST(v AS nvarchar(max))", events) == ["2", "2.5", "3", None, "true"]


def test_a_type_that_does_not_occur_leaves_no_plane() -> None:
    bound, text = expressions("v * 2 AS x, missing AS y, NULL AS z")
    planes = evaluate(bound, from_rows([{"v": 2}, {"v": 2.5}, {"v": 1}]), text)
    assert [set(each) for each in planes] == [{ValueType.BIGINT, ValueType.FLOAT}, set(), set()]


def test_constants_fill_every_row_and_no_row_of_an_empty_batch() -> None:
    assert column("UPPER('a') + 'b'", [{"v": 1}, {"v": 2}]) == ["Ab", "Ab"]
    bound, text = expressions("1 AS x")
    assert evaluate(bound, Batch(pl.DataFrame(), ()), text) == [{}]


@pytest.mark.parametrize(
    ("predicate", "rows_kept"),
    [
        ("v = 1", [0]),
        ("v <> 1", [2]),
        ("NOT v = 1", [2]),
        ("NOT (v = 1 AND w = 9)", [1, 2]),
        ("v IN (1, 3)", [0]),
        ("v NOT IN (1, 3)", [2]),
        ("v NOT IN (1, NULL)", []),
        ("v NOT BETWEEN 0 AND 1", [2]),
        ("t NOT LIKE 'a%'", [2]),
        ("v IS NULL", [1]),
        ("v = 1 OR v IS NULL", [0, 1]),
        ("CASE WHEN v = 1 THEN 1 ELSE 0 END = 0", [1, 2]),
    ],
)
def test_what_is_compared_with_null_is_unknown_and_so_is_its_opposite(
    predicate: str, rows_kept: list[int]
) -> None:
    assert kept(predicate, [{"v": 1, "t": "ab"}, {"w": 1}, {"v": 2, "t": "b", "w": 9}]) == rows_kept


@pytest.mark.parametrize("operator", ["=", "<>", "<", "<=", ">", ">="])
def test_bigints_and_floats_compare_exactly(operator: str) -> None:
    whole = [0, 4, 5, -5, 2**53 + 1, 2**63 - 1, -(2**63)]
    real = [0.0, -0.0, 4.5, -4.5, 2.0**53, 2.0**63, -(2.0**63), 1e300, -1e300]
    compare = {"=": "__eq__", "<>": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
    pairs = [(left, right) for left in whole for right in real]
    turned = [(right, left) for left, right in pairs]
    for given in (pairs, turned):
        expected = [
            row for row, (a, b) in enumerate(given) if getattr(Fraction(a), compare[operator])(Fraction(b))
        ]
        assert kept(f"a {operator} b", [{"a": a, "b": b} for a, b in given]) == expected
    for literal in ("4.5", "9007199254740992.0", "9223372036854775808.0", "-1e300", "4"):
        expected = [
            row
            for row, a in enumerate([*whole, *real])
            if getattr(Fraction(a), compare[operator])(Fraction(float(literal)))
        ]
        assert kept(f"a {operator} {literal}", [{"a": a} for a in [*whole, *real]]) == expected


def test_a_text_is_read_as_what_it_is_compared_with() -> None:
    events = [{"v": "5", "n": 5}, {"v": " 5.0 ", "n": 5}, {"v": "9007199254740993", "n": 2**53 + 1}]
    assert kept("v = n", events) == [0, 1, 2]
    assert kept("n >= v", events) == [0, 1, 2]
    assert kept("v > '2026-03-01'", [{"v": datetime(2026, 3, 2)}, {"v": "2026-02-01"}]) == [0]


def test_datetimes_and_bits_compare_with_texts() -> None:
    assert kept("d > '2026-03-01T12:00:00Z'", [{"d": datetime(2026, 3, 2)}, {"d": datetime(2026, 3, 1)}]) == [
        0
    ]
    assert kept("b = 'true'", [{"b": True}, {"b": False}]) == [0]
    assert kept("b = 1", [{"b": True}, {"b": False}, {"b": 1.0}]) == [0, 2]


@pytest.mark.parametrize("predicate", ["v = 5", "v > CAST('2026-01-01' AS datetime)", "v IN (1, 'a')"])
def test_types_that_do_not_compare_stop_the_job(predicate: str) -> None:
    with pytest.raises(RowError, match=r"Cannot (compare|cast)"):
        kept(predicate, [{"v": {"a": 1}}])


def test_an_error_tells_the_value_the_expression_its_place_and_what_to_write() -> None:
    events = [{"a": "1", "c": 0}, {"a": "abc", "c": 0}, {"a": "x", "c": 0}]
    bound, text = expressions("c,\n  CAST(a AS bigint) AS n")
    with pytest.raises(RowError) as error:
        evaluate(bound, from_rows(events), text)
    assert str(error.value) == (
        "Cannot cast value 'abc' of type nvarchar(max) to type bigint "
        "in expression 'CAST(a AS bigint)' at line 2, column 3. TRY_CAST gives NULL instead"
    )
    assert error.value.row == 1
    assert error.value.expression is bound[1]


def test_the_first_failing_row_is_told_whichever_expression_it_is_in() -> None:
    bound, text = expressions("1 / a AS x, CAST(b AS bigint) AS y")
    with pytest.raises(RowError, match="'no'") as error:
        evaluate(bound, from_rows([{"a": 1, "b": "1"}, {"a": 1, "b": "no"}, {"a": 0, "b": "1"}]), text)
    assert error.value.row == 1


def test_a_long_value_and_a_long_expression_are_cut_in_the_message() -> None:
    bound, text = expressions(f"CAST(CONCAT(a, '{'b' * 200}') AS bigint) AS x")
    with pytest.raises(RowError) as error:
        evaluate(bound, from_rows([{"a": "a" * 200}]), text)
    assert len(str(error.value)) < 350


def test_an_expression_written_twice_tells_the_place_that_failed() -> None:
    script = "CAST(a AS bigint) CAST(a AS bigint)"
    first, second = (
        Cast(ColumnRef("a", Span(at + 5, at + 6)), ValueType.BIGINT, safe=False, span=Span(at, at + 17))
        for at in (0, 18)
    )
    assert first == second
    batch = from_rows([{"a": "x"}])
    for node, place in ((first, 1), (second, 19)):
        with pytest.raises(RowError, match=f"column {place}"):
            evaluate([node], batch, script)


def test_a_guard_protects_what_it_guards_in_rows_of_other_types() -> None:
    events = [{"x": "5"}, {"x": "abc"}, {}, {"x": 7}, {"x": {"a": 1}}]
    assert kept("TRY_CAST(x AS bigint) IS NOT NULL AND CAST(x AS bigint) > 4", events) == [0, 3]
    assert column("CASE WHEN GETTYPE(x) = 'record' THEN x.a ELSE TRY_CAST(x AS bigint) END", events) == [
        5,
        None,
        None,
        7,
        1,
    ]
    assert column(
        "CASE WHEN GETTYPE(x) = 'record' THEN GETRECORDPROPERTYVALUE(x, 'a') ELSE 0 END", events
    ) == [
        0,
        0,
        0,
        0,
        1,
    ]


def test_a_name_that_events_spell_differently_is_one_column() -> None:
    events = [{"Kw": 1}, {"kw": 2.5}, {"KW": None}, {"kW": "x"}]
    assert column("kw", events) == [1, 2.5, None, "x"]
    assert column("GETTYPE(KW)", events) == ["bigint", "float", None, "nvarchar(max)"]
    assert column("d.V", [{"d": {"v": 1}}, {"d": {"V": "x", "v": 2}}, {"D": {"v": True}}]) == [1, "x", True]


def test_system_timestamp_is_the_time_of_the_row() -> None:
    times = pl.Series(TIME, [datetime(2026, 3, 2), datetime(2026, 3, 3)], dtype=pl.Datetime("us"))
    batch = Batch(pl.DataFrame([times]), ())
    assert evaluate([SystemTimestamp()], batch, "")[0][ValueType.DATETIME].to_list() == times.to_list()
    (planes,) = evaluate([Call("DAY", (SystemTimestamp(),))], batch, "")
    assert planes[ValueType.BIGINT].to_list() == [2, 3]
    assert evaluate([SystemTimestamp()], from_rows([{"a": 1}]), "") == [{}]


def test_a_hidden_column_is_read_by_its_name() -> None:
    hidden = from_rows([{"a": 1}, {"a": 2}]).with_column(
        f"{HIDDEN}call0", {ValueType.TEXT: pl.Series(["x", None])}
    )
    (planes,) = evaluate([Call("CONCAT", (ColumnRef(f"{HIDDEN}call0"), ColumnRef("a")))], hidden, "")
    assert planes[ValueType.TEXT].to_list() == ["x1", "2"]


def test_deep_and_long_expressions_neither_explode_nor_overflow() -> None:
    node: Expression = ColumnRef("a")
    for _ in range(80):
        node = Binary("-", Binary("/", node, Literal(1, ValueType.BIGINT)), Literal(0, ValueType.BIGINT))
    (planes,) = evaluate([node], from_rows([{"a": 7}, {"a": 2.5}]), "")
    assert planes[ValueType.BIGINT].to_list() == [7, None]
    many = " OR ".join(f"v = {number}" for number in range(400))
    assert kept(many, [{"v": 399}, {"v": "5"}, {"v": 400}]) == [0, 1]
    assert kept(f"v IN ({', '.join(map(str, range(400)))})", [{"v": 399}, {"v": -1}]) == [0]


def test_compiled_expressions_are_used_again_for_the_same_types(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = []
    compile_ = evaluation.compile_expressions

    def counted(*arguments: Any, **keywords: Any) -> Any:
        compilations.append(arguments)
        return compile_(*arguments, **keywords)

    monkeypatch.setattr(evaluation, "compile_expressions", counted)
    bound, text = expressions("v + 1 AS x")
    for events in ([{"v": 1}], [{"v": 2, "w": 3}], [{"v": 1.5}], [{"v": 3}]):
        evaluate(bound, from_rows(events), text)
    assert len(compilations) == 2


def test_the_values_of_plain_columns_are_the_columns_themselves() -> None:
    batch = Batch(pl.DataFrame({"bigint:a": [1, 2]}), (Column("a", (ValueType.BIGINT,)),))
    (planes,) = evaluate([ColumnRef("A")], batch, "")
    assert planes[ValueType.BIGINT].to_list() == [1, 2]
    found, given = (
        values.to_numpy(allow_copy=False) for values in (planes[ValueType.BIGINT], batch.frame["bigint:a"])
    )
    assert np.shares_memory(found, given)


def test_datetimes_in_messages_are_iso() -> None:
    bound, text = expressions("CAST(d AS bigint) AS x")
    with pytest.raises(RowError, match="Cannot cast value '2026-03-02T08:00:00Z' of type datetime"):
        evaluate(bound, from_rows([{"d": datetime(2026, 3, 2, 8, tzinfo=UTC)}]), text)


def test_a_condition_that_is_the_same_in_every_row_still_gives_a_value_for_each() -> None:
    events = [{"n": 0}, {"n": 1}]
    assert column("CASE WHEN 0 = 0 THEN NULL WHEN 0 = n THEN NULL ELSE 0 END", events) == [None, None]
    assert column("CASE WHEN 0 = 1 THEN n WHEN NULL = n THEN 1 ELSE 'x' END", events) == ["x", "x"]
    assert column("COALESCE('a', n)", events) == ["a", "a"]
    assert column("NULLIF('a', 'a')", events) == [None, None]
    assert column("LEFT('abc', NULL)", events) == [None, None]


def test_a_constant_is_compared_with_a_column_that_polars_keeps_as_one_value() -> None:
    frame = pl.DataFrame({"bigint:id": [1, 2]}).with_columns(pl.lit(None, dtype=pl.Float64).alias("float:v"))
    batch = Batch(frame, (Column("id", (ValueType.BIGINT,)), Column("v", (ValueType.FLOAT,))))
    script = bind("SELECT id FROM src WHERE v < 0 AND NOT (v < 0) AND id = 1")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Filter)
    assert filter_rows(batch, relation.source.predicate, script.text).height == 0
    conditions = [relation.source.predicate, ColumnRef("id")]
    assert evaluate(conditions, batch, script.text)[1][ValueType.BIGINT].to_list() == [1, 2]
