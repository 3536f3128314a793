"""What tells of an event or window beside its columns: time, window and metadata."""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.entry import Entry, Example
from headrace.sql.catalogue.example_events import READINGS, at
from headrace.sql.catalogue.signature import TEXT, Group, Parameter, ResultRule

ENTRIES: Final = (
    Entry(
        "System.Timestamp",
        Group.SYSTEM,
        (),
        ValueType.DATETIME,
        "System.Timestamp()",
        "Returns the time of an event, or the end of a window; in GROUP BY it makes a window of each "
        "instant.",
        Example(
            "SELECT System.Timestamp() AS time, SUM(v) AS x\n"
            "FROM readings TIMESTAMP BY t\n"
            "WHERE v > 4\n"
            "GROUP BY System.Timestamp()",
            READINGS,
            ({"time": at(0, 20), "x": 8}, {"time": at(0, 30), "x": 6}, {"time": at(1, 10), "x": 5}),
        ),
    ),
    Entry(
        "System.Window",
        Group.SYSTEM,
        (),
        ValueType.TEXT,
        "System.Window().Id",
        "Returns the id that Windows() gives the window of a group, NULL where it gives none.",
        Example(
            "SELECT System.Window().Id AS id, COUNT(*) AS n\n"
            "FROM readings TIMESTAMP BY t\n"
            "GROUP BY Windows(Window('minute', TumblingWindow(minute, 1)))",
            READINGS,
            ({"id": "minute", "n": 3}, {"id": "minute", "n": 1}),
        ),
    ),
    Entry(
        "GetMetadataPropertyValue",
        Group.SYSTEM,
        (Parameter("input"), Parameter("path", TEXT)),
        ResultRule.FOUND,
        "GetMetadataPropertyValue(input, 'path')",
        "Returns what came beside an event: 'EventId', '[EventHub].[Offset]', '[User].[name]', or all of a "
        "kind as a record, as 'EventHub'; NULL where there is no such thing.",
        Example(
            "SELECT v, GetMetadataPropertyValue(readings, '[User].[room]') AS room\n"
            "FROM readings TIMESTAMP BY t",
            READINGS[:2],
            ({"v": 4, "room": "hall"}, {"v": 8, "room": None}),
            metadata=({"User": {"room": "hall"}}, {"EventId": "e2"}),
        ),
    ),
)
