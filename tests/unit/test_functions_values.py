"""Conversions, conditionals, records and arrays."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from headrace.engine.evaluation import READING
from headrace.engine.expressions import RowError
from headrace.engine.functions import KERNELS
from headrace.engine.operators.project import project
from headrace.events.batch import Batch, Column, ValueType
from headrace.events.formats.json import from_rows
from headrace.sql.bind import bind
from headrace.sql.catalogue import all_signatures
from headrace.sql.plan import Project
from tests.unit.evaluating import same, value


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CAST(yes AS bigint)", 1),
        ("CAST(yes AS float)", 1.0),
        ("CAST(yes AS nvarchar(max))", "true"),
        ("CAST(5 AS bit)", True),
        ("CAST(0 AS bit)", False),
        ("CAST(5 AS float)", 5.0),
        ("CAST(5 AS nvarchar(max))", "5"),
        ("CAST(0.0 AS bit)", False),
        ("CAST(0.3 AS bit)", True),
        ("CAST(2.9 AS bigint)", 2),
        ("CAST(-2.9 AS bigint)", -2),
        ("CAST(3.0 AS nvarchar(max))", "3"),
        ("CAST(0.1 AS nvarchar(max))", "0.1"),
        ("CAST(1e16 AS nvarchar(max))", "1e+16"),
        ("CAST(-0.0 AS nvarchar(max))", "0"),
        ("CAST('true' AS bit)", True),
        ("CAST(' FALSE ' AS bit)", False),
        ("CAST('1' AS bit)", True),
        ("CAST(' -12 ' AS bigint)", -12),
        ("CAST('+7' AS bigint)", 7),
        ("CAST('9223372036854775807' AS bigint)", 2**63 - 1),
        ("CAST('1e3' AS float)", 1000.0),
        ("CAST('.5' AS float)", 0.5),
        ("CAST('2026-03-02' AS datetime)", datetime(2026, 3, 2, tzinfo=UTC)),
        (
            "CAST(' 2026-03-02T08:00:00.5+01:00 ' AS datetime)",
            datetime(2026, 3, 2, 7, 0, 0, 500_000, tzinfo=UTC),
        ),
        ("CAST(CAST('2026-03-02 08:00' AS datetime) AS nvarchar(max))", "2026-03-02T08:00:00.0000000Z"),
        ("CAST(doc AS nvarchar(max))", '{"a":[1,2]}'),
        ("CAST(list AS nvarchar(max))", '[1,"x"]'),
        ("CAST(' {\"b\": 1} ' AS record)", {"b": 1}),
        ("CAST('[1, {}]' AS array)", [1, {}]),
        ("CAST(doc AS record)", {"a": [1, 2]}),
        ("CAST(NULL AS bigint)", None),
    ],
)
def test_a_cast_converts_as_the_table_of_conversions_says(expression: str, expected: Any) -> None:
    assert same(value(expression, **EVENT), expected)


@pytest.mark.parametrize(
    "cast",
    [
        "word AS bigint", "word AS float", "word AS bit", "word AS datetime", "word AS record",
        "word AS array", "half AS bigint", "big AS bigint", "nan AS float", "inf AS float",
        "huge AS float", "hex AS bigint", "huge AS bigint", "two AS bit", "moment AS bigint",
        "moment AS float", "moment AS bit", "moment AS record", "doc AS bigint", "doc AS array",
        "list AS record", "list AS datetime", "number AS datetime", "number AS record",
        "yes AS datetime", "jsonlist AS record", "jsondoc AS array", "twice AS record",
    ],
)  # fmt: skip
def test_what_cannot_be_cast_stops_the_job_and_is_null_under_try_cast(cast: str) -> None:
    assert value(f"TRY_CAST({cast})", **EVENT) is None
    type_ = cast.partition(" AS ")[2]
    with pytest.raises(RowError, match=r"Cannot cast value .* of type .* to type") as error:
        value(f"CAST({cast})", **EVENT)
    assert str(error.value).endswith(
        f"to type {type_} in expression 'CAST({cast})' at line 1, column 8. TRY_CAST gives NULL instead"
    )


EVENT: dict[str, Any] = {
    "yes": True,
    "word": "abc",
    "half": "1.5",
    "big": 9.3e18,
    "nan": "NaN",
    "inf": "-Infinity",
    "huge": "1e999",
    "hex": "0x10",
    "two": "2",
    "number": 5,
    "moment": datetime(2026, 3, 2),
    "doc": {"a": [1, 2]},
    "list": [1, "x"],
    "jsonlist": "[1]",
    "jsondoc": "{}",
    "twice": '{"a": 1, "a": 2}',
}


def test_try_cast_does_not_hide_what_fails_inside_it() -> None:
    with pytest.raises(RowError, match="Cannot divide 1 by zero"):
        value("TRY_CAST(1 / zero AS float)", zero=0)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("GETTYPE(yes)", "bit"),
        ("GETTYPE(number)", "bigint"),
        ("GETTYPE(big)", "float"),
        ("GETTYPE(word)", "nvarchar(max)"),
        ("GETTYPE(moment)", "datetime"),
        ("GETTYPE(doc)", "record"),
        ("GETTYPE(list)", "array"),
        ("GETTYPE(missing)", None),
        ("GETTYPE(7 / 2)", "bigint"),
        ("GETTYPE(~yes)", "bit"),
        ("GETTYPE(yes & number)", "bigint"),
    ],
)
def test_gettype_names_the_type_of_the_value(expression: str, expected: Any) -> None:
    assert value(expression, **EVENT) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("COALESCE(0, 'a')", 0),
        ("COALESCE(NULL, 'a')", "a"),
        ("COALESCE(NULL, NULL)", None),
        ("COALESCE(NULL, NULL, 2, NULL)", 2),
        ("COALESCE(missing, word, 1 / 0)", "abc"),
        ("NULLIF(4, 4)", None),
        ("NULLIF(5, 7)", 5),
        ("NULLIF(5, 5.0)", None),
        ("NULLIF(number, NULL)", 5),
        ("NULLIF(NULL, 1)", None),
        ("CASE number WHEN 4 THEN 'four' WHEN 5 THEN 'five' ELSE 'many' END", "five"),
        ("CASE WHEN number > 9 THEN 'big' ELSE 'small' END", "small"),
        ("CASE WHEN missing > 9 THEN 'big' WHEN NOT missing > 9 THEN 'small' ELSE 'neither' END", "neither"),
        ("CASE WHEN number = 5 THEN 1 ELSE 2.5 END", 1.0),
        ("CASE WHEN number = 5 THEN CAST(1 AS bit) ELSE 2 END", 1),
        ("CASE WHEN number = 5 THEN 'a' ELSE 2 END", "a"),
        ("CASE WHEN number = 5 THEN number ELSE 2.5 END", 5),
        ("CASE WHEN number = 4 THEN 1 ELSE NULL END", None),
        ("CASE WHEN number = 5 THEN 1 ELSE 1 / 0 END", 1),
        ("CASE WHEN number = 5 OR 1 / 0 = 1 THEN 1 ELSE 0 END", 1),
        ("CASE WHEN number = 4 AND 1 / 0 = 1 THEN 1 ELSE 0 END", 0),
        ("CASE WHEN missing = 4 AND 1 / 0 = 1 THEN 1 ELSE 0 END", 0),
        ("CASE WHEN number IN (5, 1 / 0) THEN 1 ELSE 0 END", 1),
    ],
)
def test_what_chooses_between_values_looks_only_at_what_it_needs(expression: str, expected: Any) -> None:
    assert same(value(expression, **EVENT), expected)


@pytest.mark.parametrize(
    "expression",
    [
        "COALESCE(missing, 1 / 0)",
        "CASE WHEN number = 4 THEN 1 ELSE 1 / 0 END",
        "CASE WHEN 1 / 0 = 1 THEN 1 ELSE 2 END",
        "CASE WHEN number = 4 OR 1 / 0 = 1 THEN 1 ELSE 0 END",
        "CASE WHEN number IN (4, 1 / 0) THEN 1 ELSE 0 END",
        "NULLIF(1 / 0, 1)",
    ],
)
def test_what_is_needed_may_fail(expression: str) -> None:
    with pytest.raises(RowError, match="Cannot divide 1 by zero in expression '1 / 0' at line 1"):
        value(expression, **EVENT)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("doc.a", [1, 2]),
        ("DOC.A", [1, 2]),
        ("doc.b", None),
        ("doc.a.b", None),
        ("number.a", None),
        ("deep.x.y.z", 7),
        ("GETRECORDPROPERTYVALUE(doc, 'a')", [1, 2]),
        ("GETRECORDPROPERTYVALUE(doc, key)", [1, 2]),
        ("GETRECORDPROPERTYVALUE(doc, 'nothing')", None),
        ("GETRECORDPROPERTYVALUE(missing, 'a')", None),
        ("GETRECORDPROPERTYVALUE(doc, missing)", None),
        ("GETRECORDPROPERTYVALUE(JSON_PARSE('{\"a\": 1.0}'), 'a')", 1.0),
        ("GETARRAYELEMENT(doc.a, 1)", 2),
        ("GETARRAYELEMENT(list, 1)", "x"),
        ("GETARRAYELEMENT(list, 2)", None),
        ("GETARRAYELEMENT(list, -1)", None),
        ("GETARRAYELEMENT(missing, 0)", None),
        ("GETARRAYELEMENT(mixed, 0)", None),
        ("GETARRAYELEMENT(mixed, 1)", True),
        ("GETARRAYELEMENT(mixed, 2)", {"k": "v"}),
        ("GETARRAYELEMENT(mixed, 3)", 2**53 + 1),
        ("GETARRAYELEMENT(mixed, number - 1)", 2.0),
        ("GETARRAYELEMENT(mixed, 2).k", "v"),
        ("GETARRAYLENGTH(mixed)", 5),
        ("GETARRAYLENGTH(JSON_PARSE('{\"a\": []}').a)", 0),
        ("GETARRAYLENGTH(missing)", None),
    ],
)
def test_records_and_arrays_give_values_with_the_types_that_they_have_there(
    expression: str, expected: Any
) -> None:
    fields = {"deep": {"x": {"Y": {"z": 7}}}, "key": "A", "mixed": [None, True, {"k": "v"}, 2**53 + 1, 2.0]}
    assert same(value(expression, **{**EVENT, **fields}), expected)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            "GETARRAYELEMENT(doc, 0)",
            "Cannot cast value {\"a\":[1,2]} of type record to type array in expression 'doc'",
        ),
        ("GETARRAYLENGTH(jsonlist)", "Cannot cast value '[1]' of type nvarchar(max) to type array"),
        ("GETRECORDPROPERTYVALUE(list, 'a')", "to type record"),
        ("wide.n", "A record or array cannot be read"),
        ("GETARRAYELEMENT(bad, 0)", "A record or array cannot be read"),
    ],
)
def test_what_cannot_be_read_stops_the_job(expression: str, said: str) -> None:
    batch = from_rows([EVENT])
    texts = {"record:wide": '{"n": 9223372036854775808}', "array:bad": "[9223372036854775808]"}
    columns = (Column("wide", (ValueType.RECORD,)), Column("bad", (ValueType.ARRAY,)))
    batch = Batch(
        batch.frame.with_columns(**{k: pl.lit(v) for k, v in texts.items()}), batch.columns + columns
    )
    script = bind(f"SELECT {expression} AS x FROM src")
    relation = script.outputs[0].relation
    assert isinstance(relation, Project)
    with pytest.raises(RowError, match=re.escape(said)):
        project(batch, relation.items, script.text)


def test_each_function_of_the_catalogue_has_a_kernel() -> None:
    own_syntax = {"CAST", "TRY_CAST", *READING}
    assert {signature.kernel for signature in all_signatures()} - own_syntax == set(KERNELS)
