"""The names of functions that are no scalar functions, kind by kind, and of those of other SQLs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from headrace.sql.catalogue import aggregates, analytic, rows, windows
from headrace.sql.catalogue.entry import Entry


def _names(entries: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(name for entry in entries for name in entry.names)


#: Aggregates: they need a window in GROUP BY, or OVER.
AGGREGATES: Final = _names(aggregates.ENTRIES)

#: Analytic functions: they need OVER (LIMIT DURATION(...)), ISFIRST apart.
ANALYTIC: Final = _names(analytic.ENTRIES)

#: Functions that make rows: they stand after CROSS APPLY or OUTER APPLY.
ROWS: Final = _names(rows.ENTRIES)

#: Window functions: they stand in GROUP BY.
WINDOWS: Final = _names(windows.ENTRIES)

_NOW: Final = (
    "Write System.Timestamp(), the time of the event: a query gives the same rows whenever it is run."
)

#: What other SQLs have, and what to write here.
FOREIGN: Final = {
    **dict.fromkeys(
        ("CURRENT_TIMESTAMP", "GETDATE", "GETUTCDATE", "NOW", "SYSDATETIME", "SYSUTCDATETIME"), _NOW
    ),
    "CEIL": "Write CEILING(number).",
    "CONVERT": "Write CAST(value AS type).",
    "TRY_CONVERT": "Write TRY_CAST(value AS type).",
    "IFNULL": "Write COALESCE(value, other).",
    "ISNULL": "Write COALESCE(value, other), or value IS NULL in a condition.",
    "NVL": "Write COALESCE(value, other).",
    "DATE_TRUNC": "Write DATEADD(minute, DATEDIFF(minute, '2000-01-01', date), '2000-01-01').",
    "FIRST_VALUE": "Write LAG(value, n) OVER (LIMIT DURATION(...)), or TopOne(value) OVER (ORDER BY ...).",
    "FORMAT": "Write DATENAME(part, date), or CAST(value AS nvarchar(max)).",
    "IIF": "Write CASE WHEN condition THEN value ELSE other END.",
    "CHOOSE": "Write CASE index WHEN 1 THEN ... END.",
    "INSTR": "Write CHARINDEX(find, text).",
    "LAST_VALUE": "Write LAST(value) OVER (LIMIT DURATION(...)).",
    "LEAD": "A stream has no later events yet: write LAG(value), and look back from the later one.",
    "LENGTH": "Write LEN(text).",
    "MEDIAN": "Write PERCENTILE_CONT(0.5) OVER (ORDER BY value).",
    "JSON_VALUE": "Name the property with a dot: record.property, or JSON_PARSE(text).property.",
    "MOD": "Write number % other.",
    "POW": "Write POWER(number, exponent).",
    **dict.fromkeys(
        ("RANK", "DENSE_RANK"), "Write CollectTop(n) OVER (ORDER BY ...), which ranks rows inside a window."
    ),
    "ROW_NUMBER": "Write CollectTop(n) OVER (ORDER BY ...), which ranks rows inside a window.",
    "STRING_AGG": "Write COLLECT(value), which gives an array.",
    "SUBSTR": "Write SUBSTRING(text, start, length).",
    "TO_CHAR": "Write CAST(value AS nvarchar(max)).",
    "UCASE": "Write UPPER(text).",
    "LCASE": "Write LOWER(text).",
}
