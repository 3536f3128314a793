"""The conversions: CAST and TRY_CAST, which have a syntax of their own, and GetType."""

from __future__ import annotations

from typing import Final

from headrace.events.batch import ValueType
from headrace.sql.catalogue.signature import Group, Parameter, ResultRule, Signature

_VALUE: Final = Parameter("value")

#: The types that may stand after AS, by the name that the language gives them.
TYPES: Final = {type_.value: type_ for type_ in ValueType}

#: What other SQLs call these types, and the name to write here.
FOREIGN_TYPES: Final = {
    **dict.fromkeys(("int", "integer", "smallint", "tinyint", "long"), ValueType.BIGINT),
    **dict.fromkeys(("double", "real", "decimal", "numeric", "money", "number"), ValueType.FLOAT),
    **dict.fromkeys(("nvarchar", "varchar", "char", "nchar", "text", "ntext", "string"), ValueType.TEXT),
    **dict.fromkeys(
        ("datetime2", "datetimeoffset", "smalldatetime", "date", "time", "timestamp"), ValueType.DATETIME
    ),
    **dict.fromkeys(("bool", "boolean"), ValueType.BIT),
    **dict.fromkeys(("object", "struct", "map", "json"), ValueType.RECORD),
    "list": ValueType.ARRAY,
}

SIGNATURES: Final = (
    Signature(
        "CAST",
        Group.CONVERSION,
        (_VALUE, Parameter("type")),
        ResultRule.WRITTEN,
        "Returns the value as another type; a value that does not fit stops the job.",
        ("CAST('12' AS bigint)", 12),
        form="CAST(value AS type)",
    ),
    Signature(
        "TRY_CAST",
        Group.CONVERSION,
        (_VALUE, Parameter("type")),
        ResultRule.WRITTEN,
        "Returns the value as another type; NULL where it does not fit.",
        ("TRY_CAST('x1' AS bigint)", None),
        form="TRY_CAST(value AS type)",
    ),
    Signature(
        "GetType",
        Group.CONVERSION,
        (_VALUE,),
        ValueType.TEXT,
        "Returns the name of the value's type: bigint, float, nvarchar(max), datetime, bit, record or array.",
        ("GetType(1.5)", "float"),
    ),
)
