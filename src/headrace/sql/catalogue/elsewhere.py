"""Functions that are no scalar functions of the catalogue: those still to come, and those of other SQLs."""

from __future__ import annotations

from typing import Final

#: Aggregates: they need a window in GROUP BY, or OVER.
AGGREGATES: Final = (
    "AVG",
    "COLLECT",
    "CollectTop",
    "COUNT",
    "MAX",
    "MIN",
    "PERCENTILE_CONT",
    "PERCENTILE_DISC",
    "STDEV",
    "STDEVP",
    "SUM",
    "TopOne",
    "VAR",
    "VARP",
)

#: Analytic functions: they need OVER (LIMIT DURATION(...)), ISFIRST apart.
ANALYTIC: Final = ("AnomalyDetection_ChangePoint", "AnomalyDetection_SpikeAndDip", "ISFIRST", "LAG", "LAST")

#: Functions that make rows: they stand after CROSS APPLY or OUTER APPLY.
ROWS: Final = ("GetArrayElements", "GetRecordProperties")

#: Window functions: they stand in GROUP BY.
WINDOWS: Final = (
    "Hopping",
    "HoppingWindow",
    "Session",
    "SessionWindow",
    "Sliding",
    "SlidingWindow",
    "Tumbling",
    "TumblingWindow",
    "Windows",
)

#: Scalar functions of the language that no kernel computes yet.
TO_COME: Final = ("GetMetadataPropertyValue",)

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
    "IIF": "Write CASE WHEN condition THEN value ELSE other END.",
    "CHOOSE": "Write CASE index WHEN 1 THEN ... END.",
    "INSTR": "Write CHARINDEX(find, text).",
    "LENGTH": "Write LEN(text).",
    "JSON_VALUE": "Name the property with a dot: record.property, or JSON_PARSE(text).property.",
    "MOD": "Write number % other.",
    "POW": "Write POWER(number, exponent).",
    "ROW_NUMBER": "Write CollectTop(n) OVER (ORDER BY ...), which ranks rows inside a window.",
    "STRING_AGG": "Write COLLECT(value), which gives an array.",
    "SUBSTR": "Write SUBSTRING(text, start, length).",
    "TO_CHAR": "Write CAST(value AS nvarchar(max)).",
    "UCASE": "Write UPPER(text).",
    "LCASE": "Write LOWER(text).",
}
