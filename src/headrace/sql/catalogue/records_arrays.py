"""The functions that look into records and arrays. NULL in, or nothing there, gives NULL out."""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import (
    ARRAY,
    BIGINT,
    RECORD,
    TEXT,
    Group,
    Parameter,
    ResultRule,
    Signature,
)

SIGNATURES: Final = (
    Signature(
        "GetArrayElement",
        Group.RECORD_ARRAY,
        (Parameter("array", ARRAY), Parameter("index", BIGINT)),
        ResultRule.FOUND,
        "Returns the element at `index`, counted from 0.",
        ("GetArrayElement(GetRecordPropertyValue(JSON_PARSE('{\"a\": [5, 6]}'), 'a'), 1)", 6),
    ),
    Signature(
        "GetArrayLength",
        Group.RECORD_ARRAY,
        (Parameter("array", ARRAY),),
        ValueType.BIGINT,
        "Returns the number of elements.",
        ("GetArrayLength(GetRecordPropertyValue(JSON_PARSE('{\"a\": [5, 6]}'), 'a'))", 2),
    ),
    Signature(
        "GetRecordPropertyValue",
        Group.RECORD_ARRAY,
        (Parameter("record", RECORD), Parameter("name", TEXT)),
        ResultRule.FOUND,
        "Returns the property called `name`.",
        ("GetRecordPropertyValue(JSON_PARSE('{\"a\": 1}'), 'a')", 1),
    ),
)
