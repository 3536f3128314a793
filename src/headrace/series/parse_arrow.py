"""The parser that needs no compiler: pyarrow's CSV reader, which reads times and numbers as they come.

It takes somewhat more than `lines.read_line` does (``nan``, spaces around a time) and somewhat less (times
far from now), and all of a text or nothing. So a text that it does not take is cut in halves until what is
wrong stands in few lines, and those are read one by one; what it alone takes is looked for.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from headrace.series.lines import SHOWN_BYTES, Bad, BadLine, Parsed, read_line
from headrace.series.points import GUID_CHARS, Codes, Points, TagTable, concat, guid_of

#: So few bytes are read line by line.
_FEW_BYTES: Final = 4 * 1024

#: With an offset from UTC in every line, or in none.
_FORMATS: Final = (pa.timestamp("ns", "UTC"), pa.timestamp("ns"))

_READ: Final = csv.ReadOptions(use_threads=False, column_names=["tag", "time", "value"], block_size=1 << 28)
_PARSE: Final = csv.ParseOptions(quote_char=False, newlines_in_values=False, ignore_empty_lines=True)


class ArrowParser:
    """Parses by pyarrow; see `lines.Parser`. One thread uses it at a time."""

    def __init__(self) -> None:
        self._tags = TagTable()

    def guids(self, first: int = 0) -> list[bytes]:
        """Return the 16 bytes of the tags from number `first` on."""
        return self._tags.guids(first)

    def parse(self, text: bytes | memoryview, first_line: int = 1) -> Parsed:
        """Return what whole lines say; see `lines.Parser`."""
        parts: list[Points] = []
        bad: list[Bad] = []
        line = first_line
        waiting = [bytes(text)]
        while waiting:
            piece = waiting.pop()
            points = self._read(piece)
            if points is not None:
                parts.append(points)
                line += _lines(piece)
                continue
            cut = piece.rfind(b"\n", 0, len(piece) // 2) + 1 if len(piece) > _FEW_BYTES else 0
            if cut:
                waiting += [piece[cut:], piece[:cut]]
                continue
            one_by_one = piece.removesuffix(b"\n").split(b"\n")
            parts.append(self._exact(one_by_one, line, bad))
            line += len(one_by_one)
        return Parsed(parts[0] if len(parts) == 1 else concat(parts), bad, line - first_line)

    def _read(self, text: bytes) -> Points | None:
        """Return the points of a text; None where a line might be bad, or be read in another way."""
        if not text.strip():
            return concat([])
        if b" " in text or b"\t" in text or b"\0" in text or not text.isascii():
            return None
        for form in _FORMATS:
            table = _table(text, form)
            if table is not None:
                break
        else:
            return None
        values = table["value"].to_numpy()
        codes = self._codes(table["tag"])
        if codes is None or not np.isfinite(values).all():
            return None
        times = table["time"].cast(pa.int64()).to_numpy()
        return Points(codes, times // 1_000, values)

    def _codes(self, column: pa.ChunkedArray) -> Codes | None:
        """Return the numbers of tags, None if any is no GUID."""
        whole = column.combine_chunks()
        known: pa.Array = whole.dictionary
        if pc.any(pc.not_equal(pc.binary_length(known), GUID_CHARS)).as_py():
            return None
        try:
            numbers = self._tags.codes([guid_of(text) for text in known.to_pylist()])
        except ValueError:
            return None
        indices: NDArray[np.int32] = whole.indices.to_numpy()
        return numbers[indices]

    def _exact(self, lines: list[bytes], first_line: int, bad: list[Bad]) -> Points:
        readings = []
        for number, line in enumerate(lines, first_line):
            if line.strip():
                try:
                    readings.append(read_line(line))
                except BadLine as error:
                    bad.append(Bad(number, line[:SHOWN_BYTES], str(error)))
        return Points(
            self._tags.codes(reading.guid for reading in readings),
            np.array([reading.time_us for reading in readings], np.int64),
            np.array([reading.value for reading in readings], np.float64),
        )


def _table(text: bytes, time: pa.DataType) -> pa.Table | None:
    types = {"tag": pa.dictionary(pa.int32(), pa.string()), "time": time, "value": pa.float64()}
    convert = csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False)
    try:
        return csv.read_csv(
            pa.BufferReader(text), read_options=_READ, parse_options=_PARSE, convert_options=convert
        )
    except pa.ArrowInvalid:
        return None


def _lines(text: bytes) -> int:
    return text.count(b"\n") + (not text.endswith(b"\n"))
