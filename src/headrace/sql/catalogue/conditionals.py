"""The functions that choose between values."""

from __future__ import annotations

from typing import Final

from headrace.sql.catalogue.signature import Group, Parameter, ResultRule, Signature

_VALUE: Final = Parameter("value")

SIGNATURES: Final = (
    Signature(
        "COALESCE",
        Group.CONDITIONAL,
        (_VALUE, _VALUE),
        ResultRule.FOUND,
        "Returns the first value that is not NULL.",
        ("COALESCE(NULL, 2, 3)", 2),
        variadic=True,
    ),
    Signature(
        "NULLIF",
        Group.CONDITIONAL,
        (_VALUE, Parameter("other")),
        ResultRule.FIRST,
        "Returns NULL where the two values are equal, else the first.",
        ("NULLIF(3, 4)", 3),
    ),
)
