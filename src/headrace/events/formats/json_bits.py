"""Masks of bytes as bits, 64 in a word, the first in the lowest: an eighth of the memory to pass over."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Bits = NDArray[np.uint64]

_WORD_BITS: Final = 64

#: Shifts that spread each bit over all that follow in its word.
_SPREADING: Final = [np.uint64(shift) for shift in (1, 2, 4, 8, 16, 32)]


def bits_of(mask: Mask) -> Bits:
    """Return a mask as bits; those behind its end are 0."""
    packed = np.packbits(mask, bitorder="little")
    padded = np.zeros(-(-mask.size // _WORD_BITS) * 8, np.uint8)
    padded[: packed.size] = packed
    return padded.view("<u8")


def count(bits: Bits) -> int:
    """Return how many bits are set."""
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def places_of(bits: Bits) -> NDArray[np.int64]:
    """Return where bits are set."""
    return np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little").view(np.bool_))


def odd_up_to(bits: Bits) -> Bits:
    """Return which bits have an odd number of set bits at or before their own place."""
    odd = bits.copy()
    shifted = np.empty_like(odd)
    for shift in _SPREADING:
        np.left_shift(odd, shift, out=shifted)
        odd ^= shifted
    before = np.bitwise_xor.accumulate(np.bitwise_count(bits) & 1)[:-1]
    odd[1:] ^= np.negative(before.astype(np.uint64))  # all ones where an odd number is in earlier words
    return odd
