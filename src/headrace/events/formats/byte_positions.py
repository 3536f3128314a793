"""Where a byte occurs in a text."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.native import library

Positions = NDArray[np.int64]
Bytes = NDArray[np.uint8]

#: Bytes looked at in one go by NumPy: their masks stay in the processor's cache.
_CHUNK_BYTES: Final = 256 * 1024

#: Texts in which a byte occurs more often than once in so many are looked at in several goes.
_SPARSE: Final = 64
_LEAST_ROOM: Final = 1_024

_LIBRARY: Final = library(Path(__file__).with_suffix(".c"))

if _LIBRARY is not None:
    _LIBRARY.byte_positions.restype = ctypes.c_size_t
    _LIBRARY.byte_positions.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint8, ctypes.c_uint8),
        *(ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p, ctypes.c_size_t),
    )


def positions(buffer: Bytes, byte: int, fold: int = 0) -> Positions:
    """Return where a byte occurs; the bits in `fold` are set before it is compared."""
    found = list(
        _by_numpy(buffer, byte, fold) if _LIBRARY is None else _compiled(_LIBRARY, buffer, byte, fold)
    )
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.int64), *found])


def _compiled(functions: ctypes.CDLL, buffer: Bytes, byte: int, fold: int) -> Iterator[Positions]:
    text = np.ascontiguousarray(buffer)
    at = ctypes.c_size_t(0)
    while at.value < text.size:
        places = np.empty((text.size - at.value) // _SPARSE + _LEAST_ROOM, np.int64)
        sizes = text.ctypes.data, text.size, byte, fold, ctypes.byref(at), places.ctypes.data, places.size
        yield places[: functions.byte_positions(*sizes)]


def _by_numpy(buffer: Bytes, byte: int, fold: int) -> Iterator[Positions]:
    for begin in range(0, buffer.size, _CHUNK_BYTES):
        chunk = buffer[begin : begin + _CHUNK_BYTES]
        yield np.flatnonzero((chunk | fold if fold else chunk) == byte) + begin
