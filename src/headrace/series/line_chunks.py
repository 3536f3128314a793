"""A file of lines in chunks of whole lines, in memory that is used again and never grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from headrace.limits import MAX_SENSOR_LINE_BYTES
from headrace.series.dataset import FileReader
from headrace.series.lines import SHOWN_BYTES, Bad

#: Memory that holds most files whole, as they have 1 to 4 MB.
CHUNK_BYTES: Final = 8 * 1024 * 1024


class Chunk(NamedTuple):
    """Whole lines, valid until the next chunk is taken; the last line of a file may lack its end.

    `too_long` is how the line behind them begins if that is longer than a line may be; it is not in `text`.
    """

    text: memoryview
    too_long: bytes | None


class LineChunks:
    """The chunks of a file, read through `memory`, which nobody else may use meanwhile.

    A line over `max_line_bytes` is passed over, however long it is. Lines are numbered by whoever parses
    them: behind ``parsed = parser.parse(chunk.text, line)`` comes ``line += parsed.lines``, and one more for
    a line that is too long, see `bad_line`.
    """

    def __init__(
        self, reader: FileReader, memory: bytearray, *, max_line_bytes: int = MAX_SENSOR_LINE_BYTES
    ) -> None:
        if len(memory) < 2 * max_line_bytes:
            raise ValueError(f"chunks of lines up to {max_line_bytes} bytes need twice as much memory")
        self._reader, self._memory, self._max_line_bytes = reader, memory, max_line_bytes

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks; raises what `FileReader.readinto` raises."""
        memory, view = self._memory, memoryview(self._memory)
        held, skipping = 0, False
        while True:
            end = self._filled(view, held)
            last = end < len(memory)
            start = 0
            if skipping:
                start = memory.find(b"\n", 0, end) + 1
                skipping = not start
                start = start or end
            cut = end if last else max(start, memory.rfind(b"\n", start, end) + 1)
            yield from self._split(view, start, cut)
            held = end - cut
            if held > self._max_line_bytes:
                yield Chunk(view[:0], bytes(view[cut : cut + SHOWN_BYTES]))
                held, skipping = 0, True
            if last:
                return
            view[:held] = bytes(view[cut : cut + held])

    def _filled(self, view: memoryview, held: int) -> int:
        """Fill the memory behind what it holds; returns where the bytes end, before its end at the last."""
        end = held
        while end < len(view) and (read := self._reader.readinto(view[end:])):
            end += read
        return end

    def _split(self, view: memoryview, start: int, end: int) -> Iterator[Chunk]:
        """Yield the lines from `start` to `end`, cut where one is too long."""
        memory, step = self._memory, (self._max_line_bytes + 1) // 2
        at = start
        # A line that is too long has a stretch of half its length without an end, wherever that begins.
        while at < end:
            found = memory.find(b"\n", at, min(at + step, end))
            if found < 0:
                begins = memory.rfind(b"\n", start, at) + 1 or start
                found = memory.find(b"\n", at, end)
                found = end if found < 0 else found
                if found - begins > self._max_line_bytes:
                    yield Chunk(view[start:begins], bytes(view[begins : begins + SHOWN_BYTES]))
                    start = min(found + 1, end)
                at = max(found + 1, at + step)
            else:
                at += step
        if start < end:
            yield Chunk(view[start:end], None)


def bad_line(line: int, begins: bytes, *, max_line_bytes: int = MAX_SENSOR_LINE_BYTES) -> Bad:
    """Return a line that is too long, number `line` of its file, as what it is."""
    return Bad(line, begins, f"it is longer than {max_line_bytes:,} bytes")
