"""A curve in a terminal, drawn with the dots of Braille characters: two by four to a character."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: The bit of each dot of a character, row by row (Unicode, Braille Patterns).
_DOTS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)

_BLANK: Final = 0x2800


def drawn(title: str, times: pl.Series, values: pl.Series, columns: int, height: int) -> list[str]:
    """Return lines, `columns` wide, with a curve `height` characters high, its values and its times."""
    low, high = values.min(), values.max()
    assert isinstance(low, float)
    assert isinstance(high, float)
    labels = [f"{value:.6g}" for value in (high, low)]
    margin = max(map(len, labels))
    width = max(10, columns - margin - 2)
    x = _scaled(times.dt.epoch("us").to_numpy().astype(np.float64), 2 * width)
    rows = _characters(x, 4 * height - 1 - _scaled(values.to_numpy(), 4 * height), width, height)
    sides = [labels[0], *[""] * (height - 2), labels[1]] if low != high else [""] * height
    if low == high:
        sides[height // 2] = labels[0]
    first, last = (moment.isoformat(" ", "seconds")[:19] for moment in (times[0], times[-1]))
    return [
        " " * (margin + 2) + title,
        *(f"{side:>{margin}} ┤{row}" for side, row in zip(sides, rows, strict=True)),
        " " * (margin + 2) + first + last.rjust(max(len(last) + 1, width - len(first))),
        "",
    ]


def _scaled(numbers: NDArray[np.float64], dots: int) -> NDArray[np.int64]:
    """Return the dot of each number, from 0 to `dots` - 1; the middle one where all are the same."""
    half: NDArray[np.float64] = numbers / 2  # differences of the largest doubles are doubles, too
    span = half.max() - half.min()
    if span == 0:
        return np.full(len(numbers), dots // 2)
    places: NDArray[np.int64] = np.rint((half - half.min()) / span * (dots - 1)).astype(np.int64)
    return places


def _characters(x: NDArray[np.int64], y: NDArray[np.int64], width: int, height: int) -> list[str]:
    cells = np.zeros((height, width), np.uint8)
    ends = zip(x, y, np.append(x[1:], x[-1:]), np.append(y[1:], y[-1:]), strict=True)
    for from_x, from_y, to_x, to_y in ends:
        steps = int(max(abs(to_x - from_x), abs(to_y - from_y))) + 1
        line_x = np.rint(np.linspace(from_x, to_x, steps)).astype(np.int64)
        line_y = np.rint(np.linspace(from_y, to_y, steps)).astype(np.int64)
        np.bitwise_or.at(cells, (line_y // 4, line_x // 2), _DOTS[line_y % 4, line_x % 2])
    return ["".join(chr(_BLANK + cell) for cell in row).rstrip(chr(_BLANK)) for row in cells.tolist()]
