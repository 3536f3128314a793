"""The functions that make rows: they stand behind CROSS APPLY or OUTER APPLY.

Of NULL they make none; OUTER APPLY keeps an event without any, with NULLs.
"""

from __future__ import annotations

from typing import Final

from headrace.sql.catalogue.entry import Entry, Example
from headrace.sql.catalogue.example_events import ITEMS
from headrace.sql.catalogue.signature import ARRAY, RECORD, Group, Parameter

ENTRIES: Final = (
    Entry(
        "GetArrayElements",
        Group.APPLY,
        (Parameter("array", ARRAY),),
        None,
        "source CROSS APPLY GetArrayElements(array) AS name",
        "Makes a row of each element: `ArrayIndex`, from 0, and `ArrayValue`.",
        Example(
            "SELECT item.id, tag.ArrayIndex AS place, tag.ArrayValue AS tag\n"
            "FROM items AS item TIMESTAMP BY t\n"
            "OUTER APPLY GetArrayElements(item.tags) AS tag",
            ITEMS,
            (
                {"id": 1, "place": 0, "tag": "red"},
                {"id": 1, "place": 1, "tag": "big"},
                {"id": 2, "place": None, "tag": None},
            ),
        ),
    ),
    Entry(
        "GetRecordProperties",
        Group.APPLY,
        (Parameter("record", RECORD),),
        None,
        "source CROSS APPLY GetRecordProperties(record) AS name",
        "Makes a row of each property: `PropertyName` and `PropertyValue`.",
        Example(
            "SELECT item.id, side.PropertyName AS side, side.PropertyValue AS length\n"
            "FROM items AS item TIMESTAMP BY t\n"
            "CROSS APPLY GetRecordProperties(item.size) AS side",
            ITEMS,
            ({"id": 1, "side": "w", "length": 3}, {"id": 1, "side": "h", "length": 2.5}),
        ),
    ),
)
