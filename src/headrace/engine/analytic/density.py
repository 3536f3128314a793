"""How unusual a value is beside others: a tail of their kernel density.

Each value of the history spreads over its surroundings by a kernel, here the logistic one, whose tails have a
closed form; the share of that density above a new value is the p-value of "it is no higher than usual". The
width of the kernels adapts to the history: it is a share of its spread, the lesser of standard deviation and
interquartile range (Silverman, Density Estimation for Statistics and Data Analysis, 1986, 3.4.2), so that an
outlier that was seen does not hide the next one. Wide kernels make p-values err on the side of silence.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.analytic.lookback import Flags, Numbers

Floats = NDArray[np.float64]

#: A history with fewer values tells nothing, except that one asked for so few.
LEAST_HISTORY: Final = 10

#: The logistic distribution with this slope differs from the normal one by less than 0.01 everywhere.
_SLOPE: Final = 1.702

#: Interquartile range of a normal distribution of standard deviation 1.
_NORMAL_RANGE: Final = 1.349

#: The spread of few values is often too small by chance: it is widened by this, divided by their number.
_WIDENING: Final = 2.0

#: A kernel is at least this wide, as a share of the values: equal values may still differ by rounding.
_LEAST_WIDTH: Final = 1e-9

#: Values of histories that are looked at together, which bounds memory: some tens of megabytes.
_VALUES_AT_ONCE: Final = 1 << 20


def upper_tails(values: Floats, places: Numbers, begins: Numbers, ends: Numbers, *, width: float) -> Floats:
    """Return the p-value of each of `places` being no higher than usual, in 0 to 1; low for a spike.

    Usual are the `values` from its `begins` to before its `ends`, one at least. `width` is the kernels' share
    of their spread. A result depends on these alone, whatever else is asked for at the same time.
    """
    longest = int((ends - begins).max(initial=1))
    rows = max(1, _VALUES_AT_ONCE // longest)
    found = np.empty(len(places))
    for start in range(0, len(places), rows):
        part = slice(start, start + rows)
        found[part] = _upper_tails(values, values[places[part]], begins[part], ends[part], width)
    return found


def _upper_tails(values: Floats, judged: Floats, begins: Numbers, ends: Numbers, width: float) -> Floats:
    sizes = ends - begins
    places = begins[:, np.newaxis] + np.arange(_power_of_2(int(sizes.max())))
    within: Flags = places < ends[:, np.newaxis]
    usual = np.where(within, values[np.where(within, places, 0)], np.inf)
    usual.sort(axis=1)
    # In order, the values stand first and what fills the row up behind them: `within` tells them as before.
    widths = width * _widths(np.where(within, usual, 0.0), within, sizes)
    with np.errstate(over="ignore"):
        distances = (judged[:, np.newaxis] - usual) / widths[:, np.newaxis]
        above = 1 / (1 + np.exp(_SLOPE * distances))
    tails: Floats = _row_sums(np.where(within, above, 0.0)) / sizes
    return tails


def _widths(usual: Floats, within: Flags, sizes: Numbers) -> Floats:
    """Return the width of the kernels of each row of sorted values."""
    rows = np.arange(len(sizes))
    quarter = (sizes - 1) // 4
    between = (usual[rows, sizes - 1 - quarter] - usual[rows, quarter]) / _NORMAL_RANGE
    mean = _row_sums(usual) / sizes
    squares = np.where(within, usual - mean[:, np.newaxis], 0.0) ** 2
    deviation = np.sqrt(_row_sums(squares) / np.maximum(sizes - 1, 1))
    spread = np.where(between > 0, np.minimum(between, deviation), deviation) * (1 + _WIDENING / sizes)
    return np.maximum(spread, _LEAST_WIDTH * np.maximum(np.abs(mean), 1.0))


def _row_sums(rows: Floats) -> Floats:
    """Return the sum of each row, whose length is a power of 2.

    Neighbours are added first, so that zeros behind the last value, however many, do not change the order.
    """
    while rows.shape[1] > 1:
        rows = rows[:, 0::2] + rows[:, 1::2]
    return rows[:, 0]


def _power_of_2(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
