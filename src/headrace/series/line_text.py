"""Points written as lines of sensor files, many at a time: ``GUID,2013-05-05T05:58:17.599Z,26.7074``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from headrace.series.points import GUID_CHARS, Codes, Times, Values, guid_text

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]

#: Decimal places of a tag whose values are full doubles.
FULL: Final = -1

#: Most decimal places that are written as such, and most digits before them.
_PLACES: Final = 4
_WHOLE_DIGITS: Final = 12

#: The longest text of a double, such as -2.2250738585072014e-308.
_VALUE_CHARS: Final = 24

_TIME_CHARS: Final = len("2013-05-05T05:58:17.599Z")

_FOUR: Final = np.array([list(b"%04d" % number) for number in range(10_000)], np.uint8)
_POWERS: Final = 10 ** np.arange(_WHOLE_DIGITS - 1, 0, -1, dtype=np.int64)


def guid_table(guids: Sequence[bytes]) -> Bytes:
    """Return the texts of tags, a row each."""
    text = "".join(map(guid_text, guids)).encode()
    return np.frombuffer(text, np.uint8).reshape(-1, GUID_CHARS)


def lines(guids: Bytes, codes: Codes, times_us: Times, values: Values, decimals: NDArray[np.int8]) -> bytes:
    """Return points as text; times are cut to milliseconds, `decimals` has the places of each tag's values.

    Values with places are below 10^12.
    """
    before = GUID_CHARS + 1 + _TIME_CHARS + 1
    text = np.full((len(codes), before + _VALUE_CHARS + 1), ord(","), np.uint8)
    kept = np.ones(text.shape, bool)
    text[:, :GUID_CHARS] = guids[codes]
    text[:, GUID_CHARS + 1 : before - 1] = _times(times_us // 1000)
    places = decimals[codes]
    full = np.flatnonzero(places == FULL)
    text[:, before:-1], kept[:, before:-1] = _decimals(np.where(places == FULL, 0, values), places)
    if len(full):
        shown = np.array([repr(value).encode() for value in values[full].tolist()], f"S{_VALUE_CHARS}")
        text[full, before:-1] = shown.view(np.uint8).reshape(-1, _VALUE_CHARS)
        kept[full, before:-1] = text[full, before:-1] != 0
    text[:, -1] = ord("\n")
    return text[kept].tobytes()


def _times(times_ms: Whole) -> Bytes:
    seconds, index = np.unique(times_ms // 1000, return_inverse=True)
    shown = np.datetime_as_string(seconds.astype("datetime64[s]")).astype("S19")
    text = np.empty((len(times_ms), _TIME_CHARS), np.uint8)
    text[:, :19] = shown.view(np.uint8).reshape(-1, 19)[index]
    text[:, 20:23] = _FOUR[times_ms % 1000, 1:]
    text[:, 19], text[:, 23] = ord("."), ord("Z")
    return text


def _decimals(values: Values, places: NDArray[np.int8]) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return the digits of values, and which of them are written."""
    places = np.maximum(places, 0).astype(np.int64)
    power = 10**places
    scaled = np.rint(values * power).astype(np.int64)
    whole, rest = np.divmod(np.abs(scaled), power)
    text = np.zeros((len(values), _VALUE_CHARS), np.uint8)
    kept = np.zeros(text.shape, bool)
    text[:, 0], kept[:, 0] = ord("-"), scaled < 0
    point = 1 + _WHOLE_DIGITS
    text[:, 1:5] = _FOUR[whole // 10**8]
    text[:, 5:9] = _FOUR[whole // 10**4 % 10**4]
    text[:, 9:point] = _FOUR[whole % 10**4]
    kept[:, 1 : point - 1] = whole[:, None] >= _POWERS
    kept[:, point - 1] = True
    text[:, point], kept[:, point] = ord("."), places > 0
    text[:, point + 1 : point + 1 + _PLACES] = _FOUR[rest * 10 ** (_PLACES - places)]
    kept[:, point + 1 : point + 1 + _PLACES] = np.arange(_PLACES) < places[:, None]
    return text, kept
