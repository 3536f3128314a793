"""The aggregates: over the events of a window in GROUP BY, or OVER the events up to each event.

All but COUNT take no notice of NULL; of nothing but NULL they are NULL, COUNT is 0.
"""

from __future__ import annotations

from typing import Any, Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.entry import Entry, Example, Row
from headrace.sql.catalogue.example_events import READINGS
from headrace.sql.catalogue.signature import NUMBER, Group, Parameter, ResultRule

_PER_MINUTE: Final = "\nFROM readings TIMESTAMP BY t\nGROUP BY TumblingWindow(minute, 1)"
_OF_A: Final = "\nFROM readings TIMESTAMP BY t\nWHERE device = 'a'\nGROUP BY TumblingWindow(minute, 1)"

_NUMBER: Final = (Parameter("number", NUMBER),)
_VALUE: Final = (Parameter("value"),)
_OPTIONAL_VALUE: Final = Parameter("value", optional=True)
_SHARE: Final = (Parameter("share", NUMBER),)


def _aggregate(
    written: str,
    parameters: tuple[Parameter, ...],
    result: ValueType | ResultRule,
    doc: str,
    example: tuple[str, tuple[Row, ...]],
    **clauses: Any,
) -> Entry:
    """Return the entry of an aggregate; `written` is its syntax, `example` a query over READINGS."""
    query, rows = example
    return Entry(
        written.partition("(")[0],
        Group.AGGREGATE,
        parameters,
        result,
        written,
        doc,
        Example(query, READINGS, rows),
        looks_back=True,
        **clauses,
    )


def _of_numbers(name: str, doc: str, rows: tuple[Row, ...], source: str = _PER_MINUTE) -> Entry:
    """Return the entry of an aggregate that gives a float."""
    example = (f"SELECT {name}(v) AS x{source}", rows)
    return _aggregate(f"{name}(number)", _NUMBER, ValueType.FLOAT, doc, example)


def _percentile(name: str, result: ValueType | ResultRule, doc: str, rows: tuple[Row, ...]) -> Entry:
    query = f"SELECT {name}(0.25) OVER (ORDER BY v) AS x{_PER_MINUTE}"
    usage = f"{name}(share) OVER (ORDER BY number [DESC])"
    return _aggregate(usage, _SHARE, result, doc, (query, rows), ordered=True)


ENTRIES: Final = (
    _of_numbers("AVG", "Returns the mean of the numbers, with its fraction.", ({"x": 6.0}, {"x": 5.0})),
    _aggregate(
        "COLLECT([value])",
        (_OPTIONAL_VALUE,),
        ValueType.ARRAY,
        "Returns an array of the values, or of the whole events.",
        (f"SELECT COLLECT(v) AS x{_PER_MINUTE}", ({"x": [4, 8, 6]}, {"x": [5]})),
    ),
    _aggregate(
        "CollectTop(count [, value]) OVER (ORDER BY key [DESC], ...)",
        (Parameter("count"), _OPTIONAL_VALUE),
        ValueType.ARRAY,
        "Returns an array of the first `count` values (or whole events) in an order, as records of `rank` "
        "and `value`; NULL is the least key.",
        (
            f"SELECT CollectTop(2, device) OVER (ORDER BY v DESC) AS x{_PER_MINUTE}",
            (
                {"x": [{"rank": 1, "value": "b"}, {"rank": 2, "value": "a"}]},
                {"x": [{"rank": 1, "value": "a"}]},
            ),
        ),
        ordered=True,
    ),
    _aggregate(
        "COUNT(*), COUNT(value) or COUNT(DISTINCT value)",
        (_OPTIONAL_VALUE,),
        ValueType.BIGINT,
        "Returns how many events there are, values that are not NULL, or different ones of these.",
        (
            f"SELECT COUNT(*) AS n, COUNT(DISTINCT device) AS devices{_PER_MINUTE}",
            ({"n": 3, "devices": 2}, {"n": 1, "devices": 1}),
        ),
        distinct=True,
    ),
    _aggregate(
        "MAX(value)",
        _VALUE,
        ResultRule.FIRST,
        "Returns the largest number, datetime or bit; a text counts as a number, unless it is "
        "CAST(... AS nvarchar(max)).",
        (f"SELECT MAX(v) AS x{_PER_MINUTE}", ({"x": 8}, {"x": 5})),
    ),
    _aggregate(
        "MIN(value)",
        _VALUE,
        ResultRule.FIRST,
        "Returns the smallest number, datetime or bit; a text counts as for MAX.",
        (f"SELECT MIN(v) AS x{_PER_MINUTE}", ({"x": 4}, {"x": 5})),
    ),
    _percentile(
        "PERCENTILE_CONT",
        ValueType.FLOAT,
        "Returns the number below which a share (0 to 1) of the numbers lies, interpolated between two.",
        ({"x": 5.0}, {"x": 5.0}),
    ),
    _percentile(
        "PERCENTILE_DISC",
        ResultRule.FOUND,
        "Returns the smallest of the numbers up to which at least a share (0 to 1) of them lies.",
        ({"x": 4}, {"x": 5}),
    ),
    _of_numbers(
        "STDEV",
        "Returns the standard deviation of a sample; NULL of one number.",
        ({"x": 2.0}, {"x": None}),
    ),
    _of_numbers(
        "STDEVP",
        "Returns the standard deviation of the whole population.",
        ({"x": 1.0}, {"x": 0.0}),
        _OF_A,
    ),
    _aggregate(
        "SUM(number)",
        _NUMBER,
        ResultRule.FIRST,
        "Returns the sum of the numbers, a float if one of them is; a bigint out of range fails.",
        (f"SELECT SUM(v) AS x{_PER_MINUTE}", ({"x": 18}, {"x": 5})),
    ),
    _aggregate(
        "TopOne([value]) OVER (ORDER BY key [DESC], ...)",
        (_OPTIONAL_VALUE,),
        ResultRule.FOUND,
        "Returns the value of the first event in an order, or that whole event as a record.",
        (
            f"SELECT TopOne() OVER (ORDER BY v DESC) AS x{_OF_A}",
            ({"x": dict(sorted(READINGS[2].items()))}, {"x": dict(sorted(READINGS[3].items()))}),
        ),
        ordered=True,
    ),
    _of_numbers("VAR", "Returns the variance of a sample; NULL of one number.", ({"x": 4.0}, {"x": None})),
    _of_numbers("VARP", "Returns the variance of the whole population.", ({"x": 1.0}, {"x": 0.0}), _OF_A),
)
