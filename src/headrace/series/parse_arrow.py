"""The parser that needs no compiler: pyarrow's CSV reader, which reads times and numbers as they come.

It takes somewhat more than `lines.read_line` does (``nan``, spaces around a time) and somewhat less (times
far from now), and all of a text or nothing. So a text that it does not take is cut in halves until what is
wrong stands in few lines, and those are read one by one; what it alone takes is looked for.
"""

from __future__ import annotations

import contextlib
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from headrace.series.lines import BadLine, BadLines, Parsed, read_line
from headrace.series.points import GUID_BYTES, GUID_CHARS, Codes, Points, TagTable, concat

#: So few bytes are read line by line.
_FEW_BYTES: Final = 4 * 1024

#: With an offset from UTC in every line, or in none.
_FORMATS: Final = (pa.timestamp("ns", "UTC"), pa.timestamp("ns"))

_DASH_AT: Final = (8, 13, 18, 23)
_DIGIT_AT: Final = [at for at in range(GUID_CHARS) if at not in _DASH_AT]

_READ: Final = csv.ReadOptions(use_threads=False, column_names=["tag", "time", "value"], block_size=1 << 28)

#: Where no line is blank there are as many lines as rows, and they need not be counted.
_NO_BLANKS: Final = csv.ParseOptions(quote_char=False, newlines_in_values=False, ignore_empty_lines=False)
_BLANKS: Final = csv.ParseOptions(quote_char=False, newlines_in_values=False, ignore_empty_lines=True)


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
        bad = BadLines()
        line = first_line
        waiting = [bytes(text)]
        while waiting:
            piece = waiting.pop()
            found = self._read(piece)
            if found is not None:
                parts.append(found[0])
                line += found[1]
                continue
            cut = piece.rfind(b"\n", 0, len(piece) // 2) + 1 if len(piece) > _FEW_BYTES else 0
            if cut:
                waiting += [piece[cut:], piece[:cut]]
                continue
            one_by_one = piece.removesuffix(b"\n").split(b"\n")
            parts.append(self._exact(one_by_one, line, bad))
            line += len(one_by_one)
        return Parsed(parts[0] if len(parts) == 1 else concat(parts), bad.first, line - first_line, bad.count)

    def _read(self, text: bytes) -> tuple[Points, int] | None:
        """Return a text's points and lines; None where a line might be bad, or be read in another way."""
        if not text or text.isspace():
            return concat([]), _lines(text)
        if b" " in text or b"\t" in text or b"\0" in text or not text.isascii():
            return None
        blanks = b"\n\n" in text[:_FEW_BYTES]
        table = _table(text, _BLANKS if blanks else _NO_BLANKS)
        if table is None and not blanks and (b"\n\n" in text or b"\n\r\n" in text):
            blanks, table = True, _table(text, _BLANKS)
        if table is None:
            return None
        values = table["value"].to_numpy()
        codes = self._codes(table["tag"])
        if codes is None or not np.isfinite(values).all():
            return None
        times = table["time"].cast(pa.int64()).to_numpy()
        lines = _lines(text) if blanks else len(values)
        return Points(codes, times // 1_000, values), lines

    def _codes(self, column: pa.ChunkedArray) -> Codes | None:
        """Return the numbers of tags, None if any is no GUID."""
        whole = column.combine_chunks()
        guids = _guids(whole.dictionary)
        return None if guids is None else self._tags.codes(guids)[whole.indices.to_numpy()]

    def _exact(self, lines: list[bytes], first_line: int, bad: BadLines) -> Points:
        readings = []
        for number, line in enumerate(lines, first_line):
            if line.strip():
                try:
                    readings.append(read_line(line))
                except BadLine as error:
                    bad.add(number, line, str(error))
        return Points(
            self._tags.codes(reading.guid for reading in readings),
            np.array([reading.time_us for reading in readings], np.int64),
            np.array([reading.value for reading in readings], np.float64),
        )


def _table(text: bytes, parse: csv.ParseOptions) -> pa.Table | None:
    for time in _FORMATS:
        types = {"tag": pa.dictionary(pa.int32(), pa.binary()), "time": time, "value": pa.float64()}
        convert = csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False)
        with contextlib.suppress(pa.ArrowInvalid):
            return csv.read_csv(
                pa.BufferReader(text), read_options=_READ, parse_options=parse, convert_options=convert
            )
    return None


def _guids(texts: pa.Array) -> list[bytes] | None:
    """Return the 16 bytes of each GUID, all of them at once; None if any text is none."""
    if pc.any(pc.not_equal(pc.binary_length(texts), GUID_CHARS)).as_py():
        return None
    chars = np.frombuffer(texts.buffers()[2], np.uint8, len(texts) * GUID_CHARS, texts.offset * GUID_CHARS)
    chars = chars.reshape(-1, GUID_CHARS)
    if (chars[:, _DASH_AT] != ord("-")).any():
        return None
    try:
        held = bytes.fromhex(chars[:, _DIGIT_AT].tobytes().decode("ascii"))
    except ValueError:
        return None
    # White space among the digits is passed over: then there are too few bytes.
    guids: list[bytes] = np.frombuffer(held, f"V{GUID_BYTES}").tolist() if len(held) % GUID_BYTES == 0 else []
    return guids if len(guids) == len(texts) else None


def _lines(text: bytes) -> int:
    return text.count(b"\n") + (not text.endswith(b"\n"))
