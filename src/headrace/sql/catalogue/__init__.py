"""The catalogue: every function of the language, one file a group; docs, hints and binding read it."""

from __future__ import annotations

from typing import Final

from headrace.sql.catalogue import (
    aggregates,
    analytic,
    conditionals,
    conversions,
    datetimes,
    geospatial,
    maths,
    records_arrays,
    rows,
    strings,
    system,
    windows,
)
from headrace.sql.catalogue.entry import Entry, Example
from headrace.sql.catalogue.signature import Group, Parameter, ResultRule, Signature

__all__ = [
    "Entry",
    "Example",
    "Group",
    "Parameter",
    "ResultRule",
    "Signature",
    "all_entries",
    "all_signatures",
    "find_entry",
    "lookup",
]

_SIGNATURES: Final = {
    signature.kernel: signature
    for group in (strings, maths, conversions, conditionals, records_arrays, datetimes, geospatial)
    for signature in group.SIGNATURES
}

_ENTRIES: Final = tuple(
    entry for group in (aggregates, analytic, windows, rows, system) for entry in group.ENTRIES
)
_ENTRY_BY_NAME: Final = {name.upper(): entry for entry in _ENTRIES for name in entry.names}


def lookup(name: str) -> Signature | None:
    """Return the scalar function called `name`, ignoring case, or None."""
    return _SIGNATURES.get(name.upper())


def all_signatures() -> tuple[Signature, ...]:
    """Return every scalar function, group by group."""
    return tuple(_SIGNATURES.values())


def find_entry(name: str) -> Entry | None:
    """Return the function called `name` that is no scalar function, ignoring case, or None."""
    return _ENTRY_BY_NAME.get(name.upper())


def all_entries() -> tuple[Entry, ...]:
    """Return every function that is no scalar function, group by group."""
    return _ENTRIES
