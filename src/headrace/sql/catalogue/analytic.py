"""The analytic functions: for each event something of the events before it, in order of time.

They see all events of FROM, before WHERE. OVER takes PARTITION BY keys, LIMIT DURATION(unit, n), which says
how far back they look, and WHEN condition, which says at which events.
"""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.entry import Entry, Example, Row
from headrace.sql.catalogue.example_events import READINGS
from headrace.sql.catalogue.signature import BIGINT, NUMBER, Group, Parameter, ResultRule

_VALUE: Final = Parameter("value")
_DEFAULT: Final = Parameter("default", optional=True)
_NUMBER: Final = Parameter("number", NUMBER)
_CONFIDENCE: Final = Parameter("confidence", NUMBER)
_HISTORY: Final = Parameter("history", BIGINT)

_OVER: Final = "OVER ([PARTITION BY key] LIMIT DURATION(unit, n) [WHEN condition])"

#: A level reading that leaps at the end.
_LEAP: Final[tuple[Row, ...]] = tuple(
    {"t": f"2026-03-02T10:00:{second:02}Z", "v": value}
    for second, value in enumerate([20, 21, 19, 20, 21, 20, 19, 20, 21, 20, 20, 95])
)


_JUDGED: Final = """WITH judged AS (
    SELECT v, {} OVER (LIMIT DURATION(second, 12)) AS judgement
    FROM readings TIMESTAMP BY t)
SELECT v, judgement.IsAnomaly AS anomaly
FROM judged
WHERE v > 90"""


def _anomaly(name: str, parameters: str, doc: str, called: str, rows: tuple[Row, ...]) -> Entry:
    modes = (Parameter("mode", frozenset({ValueType.TEXT})),) if "mode" in parameters else ()
    return Entry(
        name,
        Group.ANALYTIC,
        (_NUMBER, _CONFIDENCE, _HISTORY, *modes),
        ValueType.RECORD,
        f"{name}({parameters}) {_OVER}",
        doc,
        Example(_JUDGED.format(called), _LEAP, rows),
        looks_back=True,
    )


ENTRIES: Final = (
    Entry(
        "ISFIRST",
        Group.ANALYTIC,
        (Parameter("unit"), Parameter("n", BIGINT)),
        ValueType.BIGINT,
        "ISFIRST(unit, n) [OVER ([PARTITION BY key] [WHEN condition])]",
        "Returns 1 at the first event of each interval of this length (and key), else 0.",
        Example(
            "SELECT device, v, ISFIRST(minute, 1) OVER (PARTITION BY device) AS first\n"
            "FROM readings TIMESTAMP BY t",
            READINGS,
            (
                {"device": "a", "v": 4, "first": 1},
                {"device": "b", "v": 8, "first": 1},
                {"device": "a", "v": 6, "first": 0},
                {"device": "a", "v": 5, "first": 1},
            ),
        ),
    ),
    Entry(
        "LAG",
        Group.ANALYTIC,
        (_VALUE, Parameter("offset", BIGINT, optional=True), _DEFAULT),
        ResultRule.FIRST,
        f"LAG(value [, offset [, default]]) {_OVER}",
        "Returns the value at the event before, or `offset` events before; `default`, or NULL, where there "
        "is no such event.",
        Example(
            "SELECT v,\n"
            "    LAG(v) OVER (LIMIT DURATION(minute, 5)) AS earlier,\n"
            "    LAG(v, 2, 0) OVER (LIMIT DURATION(minute, 5)) AS second\n"
            "FROM readings TIMESTAMP BY t",
            READINGS,
            (
                {"v": 4, "earlier": None, "second": 0},
                {"v": 8, "earlier": 4, "second": 0},
                {"v": 6, "earlier": 8, "second": 4},
                {"v": 5, "earlier": 6, "second": 8},
            ),
        ),
        looks_back=True,
    ),
    Entry(
        "LAST",
        Group.ANALYTIC,
        (_VALUE, _DEFAULT),
        ResultRule.FIRST,
        f"LAST(value [, default]) {_OVER}",
        "Returns the value at the last event, the event itself included; `default`, or NULL, where there is "
        "none.",
        Example(
            "SELECT v, LAST(v, 0) OVER (LIMIT DURATION(minute, 5) WHEN device = 'b') AS of_b\n"
            "FROM readings TIMESTAMP BY t",
            READINGS,
            (
                {"v": 4, "of_b": 0},
                {"v": 8, "of_b": 8},
                {"v": 6, "of_b": 8},
                {"v": 5, "of_b": 8},
            ),
        ),
        looks_back=True,
    ),
    _anomaly(
        "AnomalyDetection_ChangePoint",
        "number, confidence, history",
        "Returns whether a level or trend has changed, as a record of `IsAnomaly` (0 or 1) and `Score`; "
        "`confidence` is in 1 to 100, `history` how many events are looked at.",
        "AnomalyDetection_ChangePoint(v, 90, 12)",
        ({"v": 95, "anomaly": 0},),
    ),
    _anomaly(
        "AnomalyDetection_SpikeAndDip",
        "number, confidence, history, mode",
        "Returns whether a number leaps out of those before it, as a record of `IsAnomaly` (0 or 1) and "
        "`Score`; `mode` is 'spikes', 'dips' or 'spikesanddips'.",
        "AnomalyDetection_SpikeAndDip(v, 90, 12, 'spikes')",
        ({"v": 95, "anomaly": 1},),
    ),
)
