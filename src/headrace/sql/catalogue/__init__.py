"""The catalogue: every scalar function of the language, one file a group; docs, hints and binding read it."""

from __future__ import annotations

from typing import Final

from headrace.sql.catalogue import (
    conditionals,
    conversions,
    datetimes,
    geospatial,
    maths,
    records_arrays,
    strings,
)
from headrace.sql.catalogue.signature import Group, Parameter, ResultRule, Signature

__all__ = ["Group", "Parameter", "ResultRule", "Signature", "all_signatures", "lookup"]

_SIGNATURES: Final = {
    signature.kernel: signature
    for group in (strings, maths, conversions, conditionals, records_arrays, datetimes, geospatial)
    for signature in group.SIGNATURES
}


def lookup(name: str) -> Signature | None:
    """Return the function called `name`, ignoring case, or None."""
    return _SIGNATURES.get(name.upper())


def all_signatures() -> tuple[Signature, ...]:
    """Return every function, group by group."""
    return tuple(_SIGNATURES.values())
