"""The date and time functions. All are UTC; NULL in gives NULL out; a text is taken for a datetime.

- DATEDIFF counts the boundaries of the part between two datetimes, not the time between them: from 10:00:59
  to 10:01:00 is one minute. Weeks begin on Sunday there and in DATEPART, whose week 1 holds January 1st.
- DATEPART(weekday) is 1 on Sunday. DATENAME gives English names for month and weekday, digits for the rest.
- DATEADD cuts a fraction of the count; a day that the new month lacks becomes its last. For it dayofyear and
  weekday are days. Leaving the years 1 to 9999 is a fault.
- DATETIMEFROMPARTS refuses parts that make no datetime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine.casts import BIGINT, DATETIME, TEXT
from headrace.engine.functions.kernels import Check, cast_arguments, checked, plain, planes_of, refuses
from headrace.engine.timestamps import DAY_US, FIRST_US, LAST_US, SECOND_US, days_since_1970
from headrace.engine.values import Kernel, Scope, Value, faults_of, of_type
from headrace.events.batch import DTYPES
from headrace.sql.catalogue.datetimes import DATE_PARTS
from headrace.sql.plan import Call

_WEEK_US: Final = 7 * DAY_US

#: 1970-01-01 was a Thursday: from here on weeks begin on Sunday.
_SUNDAY_BEFORE_1970_US: Final = -4 * DAY_US

#: Parts of a fixed length.
_UNITS_US: Final = {
    "week": _WEEK_US,
    "day": DAY_US,
    "dayofyear": DAY_US,
    "weekday": DAY_US,
    "hour": 3_600 * SECOND_US,
    "minute": 60 * SECOND_US,
    "second": SECOND_US,
    "millisecond": 1_000,
    "microsecond": 1,
}
_MONTHS: Final = {"year": 12, "quarter": 3, "month": 1}

#: Twice the months of all datetimes: a count beyond leaves them from anywhere.
_FAR_MONTHS: Final = 2 * 12 * 10_000


def _part(call: Call) -> str:
    word = call.arguments[0]
    return DATE_PARTS[str(getattr(word, "value", "")).lower()]


def _micros(date: pl.Expr) -> pl.Expr:
    return date.to_physical()


def _datetime(micros: pl.Expr) -> pl.Expr:
    return micros.cast(DTYPES[DATETIME])


def _month_number(date: pl.Expr) -> pl.Expr:
    return date.dt.year().cast(pl.Int64) * 12 + date.dt.month().cast(pl.Int64) - 1


def _dateadd(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    part = _part(call)
    call_of_rest = Call(call.function, call.arguments[1:], call.span)
    values = cast_arguments(scope, call_of_rest, arguments[1:], [BIGINT, DATETIME])
    count, date = planes_of(values, [BIGINT, DATETIME])
    if part in _MONTHS:
        micros = scope.once(_months_later(count.clip(-_FAR_MONTHS, _FAR_MONTHS) * _MONTHS[part], date))
    else:
        unit_us = _UNITS_US[part]
        far = (LAST_US - FIRST_US) // unit_us + 1
        micros = scope.once(_micros(date) + count.clip(-far, far) * unit_us)
    outside = Check(
        lambda *_: (micros < FIRST_US) | (micros > LAST_US),
        refuses(f"{{0}} {part}s from {{1}} is outside the years 1 to 9999"),
    )
    faults = (*faults_of(values), *checked(call, values, [count, date], [outside]))
    return of_type(DATETIME, _datetime(micros.clip(FIRST_US, LAST_US)), faults)


def _months_later(months: pl.Expr, date: pl.Expr) -> pl.Expr:
    """Return microseconds of `date` moved by `months`, kept within the month that it lands in."""
    month_number = _month_number(date) + months
    one = pl.lit(1, dtype=pl.Int64)
    first = days_since_1970(month_number // 12, month_number % 12 + 1, one)
    next_first = days_since_1970((month_number + 1) // 12, (month_number + 1) % 12 + 1, one)
    day = pl.min_horizontal(date.dt.day().cast(pl.Int64), next_first - first)
    return (first + day - 1) * DAY_US + _micros(date) % DAY_US


def _datediff(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    part = _part(call)
    call_of_rest = Call(call.function, call.arguments[1:], call.span)
    values = cast_arguments(scope, call_of_rest, arguments[1:], [DATETIME, DATETIME])
    start, end = (_boundaries(part, date) for date in planes_of(values, [DATETIME, DATETIME]))
    return of_type(BIGINT, end - start, faults_of(values))


def _boundaries(part: str, date: pl.Expr) -> pl.Expr:
    """Return how many boundaries of `part` lie before `date`, counted from a fixed one."""
    if part in _MONTHS:
        return _month_number(date) // _MONTHS[part]
    start_us = _SUNDAY_BEFORE_1970_US if part == "week" else 0
    return (_micros(date) - start_us) // _UNITS_US[part]


def _number_of(part: str, date: pl.Expr) -> pl.Expr:
    """Return DATEPART of `date`."""
    numbers = {
        "year": date.dt.year,
        "quarter": date.dt.quarter,
        "month": date.dt.month,
        "dayofyear": date.dt.ordinal_day,
        "day": date.dt.day,
        "hour": date.dt.hour,
        "minute": date.dt.minute,
        "second": date.dt.second,
        "millisecond": date.dt.millisecond,
        "microsecond": date.dt.microsecond,
    }
    if part in numbers:
        return numbers[part]().cast(pl.Int64)
    weekday = date.dt.weekday().cast(pl.Int64) % 7  # Sunday 0
    if part == "weekday":
        return weekday + 1
    new_year_weekday = (weekday - date.dt.ordinal_day().cast(pl.Int64) + 1) % 7
    return (date.dt.ordinal_day().cast(pl.Int64) - 1 + new_year_weekday) // 7 + 1


def _datepart(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    value = _date_argument(scope, call, arguments)
    return of_type(BIGINT, _number_of(_part(call), value.planes[DATETIME]), value.faults)


def _datename(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    value = _date_argument(scope, call, arguments)
    part, date = _part(call), value.planes[DATETIME]
    formats = {"month": "%B", "weekday": "%A"}
    named = date.dt.strftime(formats[part]) if part in formats else _number_of(part, date).cast(pl.String)
    return of_type(TEXT, named, value.faults)


def _date_argument(scope: Scope, call: Call, arguments: Sequence[Value]) -> Value:
    call_of_rest = Call(call.function, call.arguments[1:], call.span)
    (value,) = cast_arguments(scope, call_of_rest, arguments[1:], [DATETIME])
    return value


#: The largest value of each argument of DATETIMEFROMPARTS, the smallest being 1 for the first three, else 0.
_MOST_OF_PARTS: Final = (9_999, 12, 31, 23, 59, 59, 999)


def _outside_parts(*parts: pl.Expr) -> pl.Expr:
    inside = [
        part.is_between(1 if place < 3 else 0, most)
        for place, (part, most) in enumerate(zip(parts, _MOST_OF_PARTS, strict=True))
    ]
    year, month, day = parts[:3]
    return ~pl.all_horizontal(*inside, _datetime(_days(year, month, day) * DAY_US).dt.day() == day)


def _days(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    return days_since_1970(year.clip(1, 9_999), month.clip(1, 12), day.clip(1, 31))


def _from_parts(*parts: pl.Expr) -> pl.Expr:
    year, month, day, *time = parts
    hour, minute, second, milli = (
        part.clip(0, most) for part, most in zip(time, _MOST_OF_PARTS[3:], strict=True)
    )
    seconds = _days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
    return _datetime(seconds * SECOND_US + milli * 1_000)


KERNELS: Final[dict[str, Kernel]] = {
    "DATEADD": _dateadd,
    "DATEDIFF": _datediff,
    "DATENAME": _datename,
    "DATEPART": _datepart,
    "DATETIMEFROMPARTS": plain(
        [BIGINT] * 7,
        DATETIME,
        _from_parts,
        Check(
            _outside_parts,
            refuses("Year {0}, month {1}, day {2}, {3}:{4}:{5} and {6} milliseconds make no datetime"),
        ),
    ),
    "DAY": plain([DATETIME], BIGINT, lambda date: _number_of("day", date)),
    "MONTH": plain([DATETIME], BIGINT, lambda date: _number_of("month", date)),
    "YEAR": plain([DATETIME], BIGINT, lambda date: _number_of("year", date)),
}
