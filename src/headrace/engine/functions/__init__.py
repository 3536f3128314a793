"""Kernels of the catalogue's functions, by name: an upper-case name to what compiles a call of it.

The two functions whose result has the type of what they find in the data, GETRECORDPROPERTYVALUE and
GETARRAYELEMENT, are read before anything is compiled (see `records`) and have no kernel here.
"""

from __future__ import annotations

from typing import Final

from headrace.engine.functions import (
    conditionals,
    conversions,
    datetimes,
    geospatial,
    maths,
    records,
    strings,
)
from headrace.engine.values import Kernel

KERNELS: Final[dict[str, Kernel]] = {
    **conditionals.KERNELS,
    **conversions.KERNELS,
    **datetimes.KERNELS,
    **geospatial.KERNELS,
    **maths.KERNELS,
    **records.KERNELS,
    **strings.KERNELS,
}
