"""The compiled parser: one pass over the bytes of a file (sensor_lines.c); what it does not know it leaves.

A line in the layout that files have (a GUID in five groups, ``yyyy-mm-ddThh:mm:ss.fff`` with a Z, a number)
is read there, exactly as `lines.read_line` would: of up to 15 digits the number is a whole one below 2**53,
which is divided once by a power of ten. All else goes to `read_line`.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from pathlib import Path
from typing import Final

import numpy as np

from headrace.native import library
from headrace.series.lines import BadLine, BadLines, Parsed, read_line
from headrace.series.points import GUID_BYTES, Codes, Points, Times, Values

#: No line that is read in the pass is shorter: a GUID, a time of seconds, a digit, two commas and an end.
_SHORTEST_BYTES: Final = 36 + 20 + 1 + 2 + 1

#: Lines that the pass leaves before it stops for them.
_LEFT_LINES: Final = 4_096


class _Tags(ctypes.Structure):
    """What begins a `struct sensor_tags`."""

    _fields_ = (("count", ctypes.c_int64), ("guids", ctypes.c_void_p))


class _Pass(ctypes.Structure):
    """A `struct sensor_pass`."""

    _fields_ = (
        *(("at", ctypes.c_int64), ("line", ctypes.c_int64)),
        *(("room", ctypes.c_int64), ("points", ctypes.c_int64)),
        *(("codes", ctypes.c_void_p), ("times_us", ctypes.c_void_p), ("values", ctypes.c_void_p)),
        *(("left_room", ctypes.c_int64), ("left_count", ctypes.c_int64), ("left", ctypes.c_void_p)),
    )


_LIBRARY: Final = library(Path(__file__).with_name("sensor_lines.c"))

#: Whether this parser is there.
COMPILED: Final = _LIBRARY is not None

if _LIBRARY is not None:
    _LIBRARY.sensor_tags_new.restype = ctypes.POINTER(_Tags)
    _LIBRARY.sensor_tags_new.argtypes = (ctypes.c_uint64, ctypes.c_uint64)
    _LIBRARY.sensor_tags_free.argtypes = (ctypes.POINTER(_Tags),)
    _LIBRARY.sensor_tags_code.restype = ctypes.c_int64
    _LIBRARY.sensor_tags_code.argtypes = (ctypes.POINTER(_Tags), ctypes.c_char_p)
    _LIBRARY.sensor_lines_read.restype = ctypes.c_bool
    _LIBRARY.sensor_lines_read.argtypes = (
        *(ctypes.POINTER(_Tags), ctypes.c_void_p, ctypes.c_int64),
        ctypes.POINTER(_Pass),
    )


class CompiledParser:
    """Parses in one compiled pass; see `lines.Parser`. One thread uses it at a time."""

    def __init__(self) -> None:
        assert _LIBRARY is not None
        self._library = _LIBRARY
        seeds = os.urandom(16)
        self._tags = _LIBRARY.sensor_tags_new(
            int.from_bytes(seeds[:8], "little"), int.from_bytes(seeds[8:], "little")
        )
        if not self._tags:
            raise MemoryError
        weakref.finalize(self, _LIBRARY.sensor_tags_free, self._tags)
        self._codes: Codes = np.empty(0, np.uint32)
        self._times_us: Times = np.empty(0, np.int64)
        self._values: Values = np.empty(0, np.float64)
        self._left = np.empty((_LEFT_LINES, 4), np.int64)

    def parse(self, text: bytes | memoryview, first_line: int = 1) -> Parsed:
        """Return what whole lines say; see `lines.Parser`."""
        buffer = np.frombuffer(text, np.uint8)
        self._have_room(buffer.size // _SHORTEST_BYTES + 1)
        bad, exact = BadLines(), _Exact()
        filled = 0
        step = _Pass(line=first_line, left_room=_LEFT_LINES, left=self._left.ctypes.data)
        while step.at < buffer.size:
            step.room = len(self._codes) - filled
            step.codes = self._codes[filled:].ctypes.data
            step.times_us = self._times_us[filled:].ctypes.data
            step.values = self._values[filled:].ctypes.data
            if not self._library.sensor_lines_read(
                self._tags, buffer.ctypes.data, buffer.size, ctypes.byref(step)
            ):
                raise MemoryError
            for before, begin, end, number in self._left[: step.left_count].tolist():
                self._read_exactly(bytes(text[begin:end]), number, filled + before, exact, bad)
            filled += step.points
        points = Points(self._codes[:filled], self._times_us[:filled], self._values[:filled])
        return Parsed(exact.put_into(points), bad.first, step.line - first_line, bad.count)

    def guids(self, first: int = 0) -> list[bytes]:
        """Return the 16 bytes of the tags from number `first` on."""
        tags = self._tags.contents
        if first >= tags.count:
            return []
        held = ctypes.string_at(tags.guids + first * GUID_BYTES, (tags.count - first) * GUID_BYTES)
        return [held[at : at + GUID_BYTES] for at in range(0, len(held), GUID_BYTES)]

    def _read_exactly(self, line: bytes, number: int, before: int, exact: _Exact, bad: BadLines) -> None:
        if not line.strip():
            return
        try:
            reading = read_line(line)
        except BadLine as error:
            bad.add(number, line, str(error))
            return
        code = self._library.sensor_tags_code(self._tags, reading.guid)
        if code < 0:
            raise MemoryError
        exact.add(before, code, reading.time_us, reading.value)

    def _have_room(self, points: int) -> None:
        """Have memory for so many points; what was there is used again, as fresh memory is slow."""
        if len(self._codes) < points:
            self._codes = np.empty(points, np.uint32)
            self._times_us = np.empty(points, np.int64)
            self._values = np.empty(points, np.float64)


class _Exact:
    """Points of lines that the pass has left, and how many of its own are before each."""

    def __init__(self) -> None:
        self._before: list[int] = []
        self._codes: list[int] = []
        self._times_us: list[int] = []
        self._values: list[float] = []

    def add(self, before: int, code: int, time_us: int, value: float) -> None:
        """Put down a point."""
        self._before.append(before)
        self._codes.append(code)
        self._times_us.append(time_us)
        self._values.append(value)

    def put_into(self, points: Points) -> Points:
        """Return the points of the pass and these, in the order of their lines."""
        if not self._before:
            return points
        return Points(
            np.insert(points.codes, self._before, np.array(self._codes, np.uint32)),
            np.insert(points.times_us, self._before, np.array(self._times_us, np.int64)),
            np.insert(points.values, self._before, np.array(self._values, np.float64)),
        )
