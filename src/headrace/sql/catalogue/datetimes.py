"""The functions of dates and times. All times are UTC; NULL in gives NULL out."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import BIGINT, DATETIME, NUMBER, Group, Parameter, Signature, Value

#: The spellings of each date part. Plurals are the language's own extension of T-SQL.
_SPELLINGS: Final = {
    "year": ("yy", "yyyy", "years"),
    "quarter": ("qq", "q", "quarters"),
    "month": ("mm", "m", "months"),
    "dayofyear": ("dy", "y"),
    "day": ("dd", "d", "days"),
    "week": ("wk", "ww", "weeks"),
    "weekday": ("dw", "w", "weekdays"),
    "hour": ("hh", "hours"),
    "minute": ("mi", "n", "minutes"),
    "second": ("ss", "s", "seconds"),
    "millisecond": ("ms", "milliseconds"),
    "microsecond": ("mcs", "microseconds"),
}

#: Each spelling of a date part and its full name, which is what a kernel gets.
DATE_PARTS: Final = {word: part for part, words in _SPELLINGS.items() for word in (part, *words)}

_PART: Final = Parameter("part", words=DATE_PARTS)
_DATE: Final = Parameter("date", DATETIME)


def _date_time(
    name: str, parameters: tuple[Parameter, ...], result: ValueType, doc: str, example: tuple[str, Value]
) -> Signature:
    return Signature(name, Group.DATE_TIME, parameters, result, doc, example)


SIGNATURES: Final = (
    _date_time(
        "DATEADD",
        (_PART, Parameter("count", NUMBER), _DATE),
        ValueType.DATETIME,
        "Returns `date` moved by `count` parts; a fraction of `count` is cut.",
        ("DATEADD(day, 1, CAST('2026-02-28T10:00:00Z' AS datetime))", datetime(2026, 3, 1, 10)),
    ),
    _date_time(
        "DATEDIFF",
        (_PART, Parameter("start", DATETIME), Parameter("end", DATETIME)),
        ValueType.BIGINT,
        "Returns how many boundaries of a part lie between two dates.",
        ("DATEDIFF(minute, '2026-03-02T10:00:59Z', '2026-03-02T10:01:00Z')", 1),
    ),
    _date_time(
        "DATENAME",
        (_PART, _DATE),
        ValueType.TEXT,
        "Returns a part of a date as text, months and weekdays by their English names.",
        ("DATENAME(month, '2026-03-02T10:00:00Z')", "March"),
    ),
    _date_time(
        "DATEPART",
        (_PART, _DATE),
        ValueType.BIGINT,
        "Returns a part of a date as a number.",
        ("DATEPART(hour, '2026-03-02T10:30:00Z')", 10),
    ),
    _date_time(
        "DATETIMEFROMPARTS",
        tuple(
            Parameter(part, BIGINT)
            for part in ("year", "month", "day", "hour", "minute", "second", "milliseconds")
        ),
        ValueType.DATETIME,
        "Returns the date and time of these parts; parts that make no date fail.",
        ("DATETIMEFROMPARTS(2026, 3, 2, 10, 30, 0, 125)", datetime(2026, 3, 2, 10, 30, 0, 125_000)),
    ),
    _date_time("DAY", (_DATE,), ValueType.BIGINT, "Returns the day of the month.", ("DAY('2026-03-02')", 2)),
    _date_time("MONTH", (_DATE,), ValueType.BIGINT, "Returns the month, from 1.", ("MONTH('2026-03-02')", 3)),
    _date_time("YEAR", (_DATE,), ValueType.BIGINT, "Returns the year.", ("YEAR('2026-03-02')", 2026)),
)
