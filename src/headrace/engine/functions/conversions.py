"""GetType; CAST and TRY_CAST are expressions of their own (see `casts`). GetType of NULL is NULL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine.casts import TEXT
from headrace.engine.values import Kernel, Scope, Value, merged, of_type
from headrace.sql.plan import Call


def _gettype(_scope: Scope, _call: Call, arguments: Sequence[Value]) -> Value:
    (value,) = arguments
    names = merged(
        Value({TEXT: pl.when(plane.is_not_null()).then(pl.lit(type_.value))})
        for type_, plane in value.planes.items()
    )
    return of_type(TEXT, names.planes.get(TEXT, pl.lit(None, dtype=pl.String)), value.faults)


KERNELS: Final[dict[str, Kernel]] = {"GETTYPE": _gettype}
