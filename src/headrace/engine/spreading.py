"""Which partition a row goes to by its key: the same for equal values, for ever and everywhere.

Rows are stored by it, so it depends on nothing that another version of a library may do in another way. What
is equal is what the language takes for equal (see `equality`): 1 and 1.0 go together, and so do NULLs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.engine.equality import canonical
from headrace.engine.evaluation import Planes
from headrace.events.batch import ValueType

_Hashes = npt.NDArray[np.uint64]

_TEXTS: Final = (ValueType.TEXT, ValueType.RECORD, ValueType.ARRAY)


def partitions_of(keys: Sequence[Planes], height: int, count: int) -> pl.Series:
    """Return for each of `height` rows which of `count` partitions its keys put it in; NULLs go to the first.

    `keys` are the values of each key.
    """
    hashes = np.zeros(height, np.uint64)
    for planes in keys:
        own = np.zeros(height, np.uint64)
        for type_, values in canonical(planes).items():
            own |= np.where(values.is_not_null().to_numpy(), _hashes(type_, values), np.uint64(0))
        hashes = _mixed(_mixed(hashes) + own)
    return pl.Series("partition", (hashes % np.uint64(count)).astype(np.int64))


def _hashes(type_: ValueType, values: pl.Series) -> _Hashes:
    """Return a number for each value; any for NULL."""
    salt = np.uint64(zlib.crc32(type_.name.encode()))
    if type_ in _TEXTS:
        numbers = _of_texts(values)
    elif type_ is ValueType.FLOAT:
        # Every NaN is one key, however it is written.
        floats = values.fill_null(0.0).to_numpy()
        numbers = np.where(np.isnan(floats), np.nan, floats).view(np.uint64)
    else:
        integers = values.to_physical().cast(pl.Int64).fill_null(0)
        numbers = integers.to_numpy().view(np.uint64)
    return _mixed(numbers + salt)


def _of_texts(values: pl.Series) -> _Hashes:
    """Return a checksum of each text, computed once for each that occurs."""
    texts = values.unique().drop_nulls()
    if not len(texts):
        return np.zeros(len(values), np.uint64)
    sums = pl.Series([zlib.crc32(text.encode()) for text in texts], dtype=pl.UInt64)
    found = values.replace_strict(texts, sums, default=None, return_dtype=pl.UInt64)
    return found.fill_null(0).to_numpy()


def _mixed(numbers: _Hashes) -> _Hashes:
    """Return numbers whose low digits depend on all digits (the finalizer of splitmix64); 0 stays 0."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
