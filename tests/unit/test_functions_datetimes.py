"""Dates and times: their functions, and their reading and writing as text."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.engine import timestamps
from headrace.engine.expressions import RowError
from tests.unit.evaluating import same, value


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("DATEADD(hour, -9, t)", at("2026-03-01T23:00:00")),
        ("DATEADD(day, 1, t)", at("2026-03-03T08:00:00")),
        ("DATEADD(second, 1.9, t)", at("2026-03-02T08:00:01")),
        ("DATEADD(second, -1.9, t)", at("2026-03-02T07:59:59")),
        ("DATEADD(ms, 1500, t)", at("2026-03-02T08:00:01.500")),
        ("DATEADD(mcs, 1, t)", at("2026-03-02T08:00:00.000001")),
        ("DATEADD(week, 2, t)", at("2026-03-16T08:00:00")),
        ("DATEADD(dayofyear, 1, t)", at("2026-03-03T08:00:00")),
        ("DATEADD(weekday, 1, t)", at("2026-03-03T08:00:00")),
        ("DATEADD(month, 1, '2026-01-31')", at("2026-02-28")),
        ("DATEADD(month, -1, '2024-03-31T12:00')", at("2024-02-29T12:00")),
        ("DATEADD(quarter, 1, '2025-11-30')", at("2026-02-28")),
        ("DATEADD(year, -1, '2024-02-29')", at("2023-02-28")),
        ("DATEADD(month, 11, '0001-01-01')", at("0001-12-01")),
        ("DATEDIFF(minute, '2026-03-02T10:00:59Z', '2026-03-02T10:01:00Z')", 1),
        ("DATEDIFF(minute, '2026-03-02T10:00:00Z', '2026-03-02T10:00:59Z')", 0),
        ("DATEDIFF(minute, '2026-03-02T10:01:00Z', '2026-03-02T10:00:59Z')", -1),
        ("DATEDIFF(year, '2025-12-31', '2026-01-01')", 1),
        ("DATEDIFF(quarter, '2025-12-31', '2026-01-01')", 1),
        ("DATEDIFF(month, '2025-11-30', '2026-01-01')", 2),
        ("DATEDIFF(week, '2026-03-07', '2026-03-08')", 1),
        ("DATEDIFF(week, '2026-03-01', '2026-03-07')", 0),
        ("DATEDIFF(day, '1969-12-31T23:59:59', '1970-01-01')", 1),
        ("DATEDIFF(hour, '2026-03-02T10:59:00+01:00', '2026-03-02T10:00:00Z')", 1),
        ("DATEDIFF(mcs, '2026-03-02', '2026-03-02T00:00:00.0000015Z')", 1),
        ("DATEPART(year, t)", 2026),
        ("DATEPART(quarter, t)", 1),
        ("DATEPART(mm, t)", 3),
        ("DATEPART(dayofyear, t)", 61),
        ("DATEPART(dd, t)", 2),
        ("DATEPART(week, '2026-01-03')", 1),
        ("DATEPART(week, '2026-01-04')", 2),
        ("DATEPART(weekday, '2026-03-01')", 1),
        ("DATEPART(weekday, '2026-03-07')", 7),
        ("DATEPART(hour, t)", 8),
        ("DATEPART(ms, '2026-03-02T08:00:00.1234567Z')", 123),
        ("DATEPART(mcs, '2026-03-02T08:00:00.1234567Z')", 123456),
        ("DATENAME(month, t)", "March"),
        ("DATENAME(weekday, t)", "Monday"),
        ("DATENAME(year, t)", "2026"),
        ("DAY(t)", 2),
        ("MONTH(t)", 3),
        ("YEAR(t)", 2026),
        ("DATETIMEFROMPARTS(2026, 2, 28, 23, 59, 58, 125)", at("2026-02-28T23:59:58.125")),
        ("DATETIMEFROMPARTS(2024, 2, 29, 0, 0, 0, 0)", at("2024-02-29")),
        ("DATETIMEFROMPARTS(1, 1, 1, 0, 0, 0, 0)", at("0001-01-01")),
        ("DATEADD(day, NULL, t)", None),
        ("DATEPART(day, NULL)", None),
    ],
)
def test_a_date_function_gives_what_the_reference_says(expression: str, expected: Any) -> None:
    assert same(value(expression, t="2026-03-02T08:00:00Z"), expected)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            "DATEADD(year, 9999, '2026-01-01')",
            "9999 years from 2026-01-01T00:00:00Z is outside the years 1 to 9999",
        ),
        ("DATEADD(day, 9223372036854775807, '2026-01-01')", "is outside the years 1 to 9999"),
        ("DATEADD(microsecond, -9223372036854775807, '2026-01-01')", "is outside the years 1 to 9999"),
        ("DATETIMEFROMPARTS(2026, 2, 29, 0, 0, 0, 0)", "Year 2026, month 2, day 29"),
        ("DATETIMEFROMPARTS(2026, 13, 1, 0, 0, 0, 0)", "month 13"),
        ("DATETIMEFROMPARTS(2026, 1, 1, 24, 0, 0, 0)", "24:0:0"),
        ("DATETIMEFROMPARTS(0, 1, 1, 0, 0, 0, 0)", "Year 0"),
        ("YEAR(word)", "Cannot cast value 'soon' of type nvarchar(max) to type datetime"),
        ("YEAR(number)", "Cannot cast value 5 of type bigint to type datetime"),
    ],
)
def test_what_a_date_function_refuses_stops_the_job(expression: str, said: str) -> None:
    with pytest.raises(RowError, match=re.escape(said)):
        value(expression, word="soon", number=5)


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(-30, 30))
@settings(max_examples=60, deadline=None)
def test_a_datetime_goes_to_text_and_back(moment: datetime, quarter_hours: int) -> None:
    moment = moment.replace(tzinfo=UTC)
    texts = [moment.isoformat(), f"{moment:%Y-%m-%dT%H:%M:%S.%f}0Z".rjust(28, "0")]
    zone = timezone(timedelta(minutes=15 * quarter_hours))
    with contextlib.suppress(OverflowError):
        texts += [moment.astimezone(zone).isoformat(), moment.astimezone(zone).isoformat(sep=" ")]
    found = timestamps.read(pl.Series(texts))
    assert found.to_list() == [moment.replace(tzinfo=None)] * len(texts)
    assert pl.select(timestamps.written(pl.lit(found))).item(0, 0) == texts[1]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "2026", "2026-03", "2026-02-30", "2026-13-01", "0000-01-01", "2026-3-2", "02/03/2026",
        "2026-03-02Z", "2026-03-02T8:00", "2026-03-02T08", "2026-03-02T24:00", "2026-03-02T23:60",
        "2026-03-02T23:59:60", "2026-03-02T08:00:00.", "2026-03-02T08:00:00.1234567890",
        "2026-03-02T08:00:00+1", "2026-03-02T08:00:00+15:00", "2026-03-02X08:00:00",
        "2026-03-02T08:00:00 Z", "0001-01-01T00:00+01:00", "\u0662026-03-02", "2026-03-0\u00e9",
    ],
)  # fmt: skip
def test_a_text_that_is_no_datetime_is_none(text: str) -> None:
    assert timestamps.read(pl.Series([text, "2026-03-02"])).to_list() == [None, datetime(2026, 3, 2)]


def test_what_is_finer_than_a_microsecond_is_cut() -> None:
    texts = [f"2026-03-02T08:00:00.{'123456789'[:digits]}Z" for digits in range(1, 10)]
    micros = [found.microsecond for found in timestamps.read(pl.Series(texts))]
    assert micros == [100_000, 120_000, 123_000, 123_400, 123_450, 123_456, 123_456, 123_456, 123_456]
