"""Decimals as whole numbers: 26.7074 is 267074 and a scale of 4, which packs far better than its double.

A value is its whole number divided by a power of ten, exactly the double that its text stands for, because
both are exact below 2**53 and 10**22 and one division rounds once (W. D. Clinger, How to read floating point
numbers accurately, PLDI 1990). It is the idea of ALP (A. Afroozeh et al., SIGMOD 2024): a tag has one scale.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.series.points import Values

Scales = NDArray[np.int8]
Whole = NDArray[np.int64]

#: More digits behind the point are kept as doubles.
MOST_DIGITS: Final = 9

#: The scale of tags whose values are no such decimals.
DOUBLE: Final = -1

POWERS: Final = 10.0 ** np.arange(MOST_DIGITS + 1)

_EXACT: Final = 2.0**53

#: So many values of a tag, spread over it, say which scale to try first.
_PROBES: Final = 4


def scaled(values: Values, starts: NDArray[np.int64]) -> tuple[Whole, Scales]:
    """Return values as whole numbers and the scale of each tag, whose values begin at `starts`.

    Where the scale is `DOUBLE` the whole numbers mean nothing.
    """
    counts = np.diff(starts, append=len(values))
    scales = _probed(values, starts, counts)
    whole, exact = _tried(values, _spread(scales, counts))
    open_tags = np.flatnonzero(~np.logical_and.reduceat(exact, starts)) if len(starts) else starts
    for tag in open_tags:
        mine = slice(starts[tag], starts[tag] + counts[tag])
        scales[tag], whole[mine] = _scale_of(values[mine], int(scales[tag]))
    return whole, scales


def _probed(values: Values, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Scales:
    """Return the least scale at which some values of each tag are exact; the least of all if none is."""
    scales = np.zeros(len(starts), np.int8)
    for probe in range(_PROBES):
        some = values[starts + (counts - 1) * probe // (_PROBES - 1)]
        left = np.arange(len(starts))
        for digits in range(MOST_DIGITS + 1):
            _, exact = _tried(some[left], np.array([digits], np.int8))
            scales[left[exact]] = np.maximum(scales[left[exact]], digits)
            left = left[~exact]
            if not len(left):
                break
    return scales


def _tried(values: Values, scales: Scales) -> tuple[Whole, NDArray[np.bool_]]:
    """Return values as whole numbers of their scales, or of one for all, and which are exactly that.

    Minus zero is no whole number.
    """
    powers = POWERS[scales]
    with np.errstate(over="ignore"):  # what is too large is no decimal
        whole = values * powers
    np.rint(whole, out=whole)
    exact = whole / powers == values
    if len(whole) and max(-whole.min(), whole.max()) > _EXACT:
        exact &= np.abs(whole) <= _EXACT
    if not values.all():
        exact &= ~((values == 0) & np.signbit(values))
    if not exact.all():
        whole[~exact] = 0
    return whole.astype(np.int64), exact


def _spread(scales: Scales, counts: NDArray[np.int64]) -> Scales:
    """Return the scale of each value, or the one that all have."""
    return scales[:1] if len(scales) and (scales == scales[0]).all() else np.repeat(scales, counts)


def _scale_of(values: Values, first: int) -> tuple[int, Whole]:
    """Return the least scale from `first` on at which all values are exact, and those as whole numbers."""
    for digits in range(first, MOST_DIGITS + 1):
        whole, exact = _tried(values, np.array([digits], np.int8))
        if exact.all():
            return digits, whole
    return DOUBLE, np.zeros(len(values), np.int64)
