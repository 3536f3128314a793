"""When two values are one key: GROUP BY, PARTITION BY, COUNT(DISTINCT ...) and ON a = b.

NULLs are one key (joins leave them out themselves). A bigint and a float are equal by value (1 and 1.0);
texts are equal to the letter, records and arrays by their JSON text, and values of other types never are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from headrace.engine.evaluation import Planes
from headrace.events.batch import ValueType

#: The bigints end before it.
_END: Final = float(2**63)


def canonical(planes: Mapping[ValueType, pl.Series]) -> Planes:
    """Return `planes` so that equal values are equal plane by plane: whole floats are bigints."""
    result = dict(planes)
    floats = result.get(ValueType.FLOAT)
    if floats is None:
        return result
    is_whole = whole_floats(floats)
    if not is_whole.any():
        return result
    wholes = floats.zip_with(is_whole, floats.clear(len(floats))).cast(pl.Int64)
    bigints = result.get(ValueType.BIGINT)
    result[ValueType.BIGINT] = wholes if bigints is None else bigints.zip_with(bigints.is_not_null(), wholes)
    rest = floats.zip_with(~is_whole, floats.clear(len(floats)))
    if rest.null_count() == len(rest):
        del result[ValueType.FLOAT]
    else:
        result[ValueType.FLOAT] = rest
    return result


def whole_floats(floats: pl.Series) -> pl.Series:
    """Return where `floats` are equal to a bigint; false for NULL."""
    value = pl.col("value")
    whole = (value == value.floor()) & (value >= -_END) & (value < _END)
    return floats.alias("value").to_frame().select(whole.fill_null(value=False)).to_series()
