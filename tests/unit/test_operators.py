"""Filter, project and union: which rows and columns they give."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.engine.expressions import RowError
from headrace.engine.operators.filter import filter_rows
from headrace.engine.operators.project import project
from headrace.engine.operators.qualify import qualify
from headrace.engine.operators.union import union
from headrace.events.batch import HIDDEN, ORIGIN, TIME, Batch, Column, ValueType
from headrace.events.formats.json import from_rows, rows
from headrace.sql.bind import bind
from headrace.sql.plan import AllColumns, ColumnRef, Filter, Item, Literal, Project

A, B = ColumnRef("a"), ColumnRef("b")
CALL = f"{HIDDEN}call0"
ONE = Literal(1, ValueType.BIGINT)


def selected(items: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    script = bind(f"SELECT {items} FROM src")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    return rows(project(from_rows(events), relation.items, script.text))


def test_a_projection_has_its_items_in_order_and_the_engines_own_columns() -> None:
    batch = from_rows([{"a": 1, "b": "x"}, {"a": 2}])
    found = project(batch, [Item("B", B), Item("one", ONE), Item("a", A)], "")
    assert [column.name for column in found.columns] == ["B", "one", "a"]
    assert not any(column.open for column in found.columns)
    assert found.frame[ORIGIN].to_list() == [0, 1]
    assert rows(found) == [{"B": "x", "one": 1, "a": 1}, {"B": None, "one": 1, "a": 2}]


def test_columns_that_are_only_renamed_are_not_copied() -> None:
    batch = from_rows([{"a": 1}, {"a": 2}])
    found = project(batch, [Item("x", A), Item("y", A)], "")
    given = batch.frame["bigint:a"].to_numpy(allow_copy=False)
    for name in ("bigint:x", "bigint:y"):
        assert np.shares_memory(found.frame[name].to_numpy(allow_copy=False), given)


def test_hidden_columns_leave_unless_an_item_reads_them() -> None:
    batch = from_rows([{"a": 1}]).with_column(CALL, {ValueType.TEXT: pl.Series(["x"])})
    assert rows(project(batch, [AllColumns()], "")) == [{"a": 1}]
    found = project(batch, [Item("guess", ColumnRef(CALL))], "")
    assert found.columns == (Column("guess", (ValueType.TEXT,)),)


def test_star_gives_open_columns_that_show_only_where_an_event_has_them() -> None:
    assert selected("*", [{"a": 1}, {"b": "x"}]) == [{"a": 1}, {"b": "x"}]


def test_a_column_of_star_whose_name_stands_to_its_left_is_ignored() -> None:
    assert selected("UPPER(name) AS name, *", [{"name": "pump", "bar": 3}]) == [{"name": "PUMP", "bar": 3}]
    assert selected("1 AS NAME, *", [{"name": "pump", "bar": 3}]) == [{"NAME": 1, "bar": 3}]
    assert selected("NULL AS name, *", [{"name": "pump", "bar": 3}]) == [{"name": None, "bar": 3}]


def test_a_name_behind_star_counts_only_in_the_rows_where_star_did_not_give_it() -> None:
    events = [{"name": "pump", "d": {"name": "x", "bar": 1}}, {"d": {"name": "y"}}]
    assert selected("*, d.*", events) == [
        {"name": "pump", "d": {"name": "x", "bar": 1}, "bar": 1},
        {"name": "y", "d": {"name": "y"}},
    ]
    for event, expected in zip(events, selected("*, d.*", events), strict=True):
        assert selected("*, d.*", [event]) == [expected]
    assert [row["name"] for row in selected("*, 'none' AS name", events)] == ["pump", "none"]


def test_a_record_star_spreads_the_record_and_nothing_else() -> None:
    assert selected("d.*", [{"d": {"x": 1, "Y": "s"}}, {"d": 5}, {"d": None}, {"d": {}}]) == [
        {"x": 1, "Y": "s"},
        {},
        {},
        {},
    ]
    assert selected("d.*", [{"a": 1}]) == [{}]


def test_a_star_of_sources_gives_their_columns_in_order_and_the_left_one_wins() -> None:
    left, right = qualify(from_rows([{"id": 1, "a": "x"}]), "l"), qualify(from_rows([{"b": 2, "ID": 9}]), "R")
    both = Batch(
        pl.concat([left.frame, right.frame.drop(ORIGIN)], how="horizontal"), left.columns + right.columns
    )
    assert rows(project(both, [AllColumns(sources=("L", "r"))], "")) == [{"id": 1, "a": "x", "b": 2}]
    assert rows(project(both, [AllColumns(sources=("r",)), Item("n", ONE)], "")) == [
        {"b": 2, "ID": 9, "n": 1}
    ]
    assert rows(project(both, [AllColumns()], "")) == [{}]


def test_a_record_star_never_makes_an_engines_own_column() -> None:
    assert selected("record.*", [{"record": {f"{HIDDEN}key": 1, "a": 2}}]) == [{"a": 2}]
    found = project(from_rows([{"record": {f"{HIDDEN}key": 1}}]), [AllColumns(ColumnRef("record"))], "")
    assert found.columns == ()


def test_a_record_star_that_cannot_be_read_stops_the_job() -> None:
    frame = pl.DataFrame({"record:d": ["{}", '{"n": 1e999}']})
    batch = Batch(frame, (Column("d", (ValueType.RECORD,)),))
    with pytest.raises(RowError, match="cannot be read") as error:
        project(batch, [AllColumns(ColumnRef("d"))], "")
    assert error.value.row == 1


def test_a_projection_of_no_rows_has_no_rows() -> None:
    found = project(from_rows([{"a": 1}]).filter(pl.Series([False])), [Item("x", A), AllColumns()], "")
    assert found.height == 0
    assert rows(found) == []


def test_a_filter_keeps_all_columns_of_the_rows_that_it_keeps() -> None:
    script = bind("SELECT * FROM src WHERE a > 1 AND d.v = 'x'")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    assert isinstance(relation.source, Filter)
    batch = from_rows([{"a": 1, "d": {"v": "x"}}, {"a": 2, "d": {"v": "x"}}, {"a": 3, "d": {"v": "y"}}])
    found = filter_rows(batch, relation.source.predicate, script.text)
    assert rows(found) == [{"a": 2, "d": {"v": "x"}}]
    assert found.frame.columns == batch.frame.columns
    nothing = filter_rows(found.filter(pl.Series([False])), relation.source.predicate, script.text)
    assert nothing.height == 0


def test_a_union_keeps_duplicates_and_the_types_of_each_value() -> None:
    first, second = from_rows([{"a": 1}, {"a": "x"}]), from_rows([{"a": 1}, {"b": 2.5}])
    found = union([first, second])
    assert sorted(map(str, rows(found))) == sorted(
        map(str, [{"a": 1, "b": None}, {"a": 1, "b": None}, {"a": "x", "b": None}, {"a": None, "b": 2.5}])
    )


def test_a_union_is_in_order_of_time_and_then_of_the_events() -> None:
    def batch(name: str, times: list[int]) -> Batch:
        made = from_rows([{"v": f"{name}{time}"} for time in times])
        stamps = pl.Series(
            TIME, [datetime(2026, 3, 2, 8, 0, time) for time in times], dtype=pl.Datetime("us")
        )
        return Batch(made.frame.with_columns(stamps), made.columns)

    found = union([batch("a", [1, 3, 3]), batch("b", [1, 2, 3])])
    assert [row["v"] for row in rows(found)] == ["a1", "b1", "b2", "a3", "a3", "b3"]


def test_a_union_with_batches_of_no_rows_has_the_rows_of_the_others() -> None:
    some = from_rows([{"a": 1}])
    assert union([some.filter(pl.Series([False])), some]) is some
    assert union([some.filter(pl.Series([False]))]).height == 0
