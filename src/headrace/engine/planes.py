"""Planes as columns of frames that are no batches: partial results, keys and whatever else operators keep.

The planes of one value are the columns whose names begin with its prefix.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from headrace.engine.evaluation import Planes
from headrace.events.batch import DTYPES, ValueType


def plane_name(prefix: str, type_: ValueType) -> str:
    """Return the name of the column that holds the plane of `type_`."""
    return f"{prefix}{type_.name.lower()}"


def named(prefix: str, planes: Mapping[ValueType, pl.Series]) -> list[pl.Series]:
    """Return `planes` under their names in a frame."""
    return [plane.alias(plane_name(prefix, type_)) for type_, plane in planes.items()]


def planes_among(prefix: str, columns: Collection[str]) -> dict[ValueType, str]:
    """Return the names of the planes under `prefix` that are among `columns`, in the order of the types."""
    names = ((type_, plane_name(prefix, type_)) for type_ in ValueType)
    return {type_: name for type_, name in names if name in columns}


def occurring(planes: Mapping[ValueType, pl.Series]) -> Planes:
    """Return the planes that hold anything, stored as DTYPES says."""
    return {
        type_: plane.cast(DTYPES[type_]) for type_, plane in planes.items() if plane.null_count() < len(plane)
    }
