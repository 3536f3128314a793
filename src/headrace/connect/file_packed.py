"""The bytes of a compressed file as they were before, held a piece at a time.

They can only be had in order: to go back further than what is held is to begin anew. So is going on after a
restart, and all before the place is unpacked once more.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from pathlib import Path
from typing import Final

from headrace.connect.file_bytes import PlainBytes, Unfinished, too_short
from headrace.events.formats.compression import Bounded, Compression, EndsInside, open_bounded
from headrace.limits import MAX_BATCH_BYTES, MAX_EVENT_BYTES

#: Bytes unpacked in one go.
_PIECE_BYTES: Final = 1024 * 1024

#: What is held at most: all that one poll asks for, and a line behind it.
_HELD_BYTES: Final = MAX_BATCH_BYTES + 2 * MAX_EVENT_BYTES


class PackedBytes:
    """A compressed file, which is whole once its end is there; to find that out is to unpack it once.

    Raises `FileNotFoundError`, `UserError` for what is no file, `Unfinished` while its end is missing, and
    `DataError` if it is damaged, or unpacks to more than real data do. `known_size` is what it unpacks to, if
    that is on record.
    """

    grows = False

    def __init__(
        self, path: Path, name: str, compression: Compression, known_size: int | None = None
    ) -> None:
        self.name = name
        self._file = PlainBytes(path, name)
        self._path, self._compression = path, compression
        self._packed_bytes = self._file.size_bytes()
        self._stream: Bounded | None = None
        self._pieces: deque[bytes] = deque()
        self._begin = self._end = 0
        # A thread may be reading ahead.
        self._turn = threading.Lock()
        try:
            self._size_bytes = self._unpacked_bytes() if known_size is None else known_size
        except BaseException:
            self._file.close()
            raise

    def size_bytes(self) -> int:
        """Return how many bytes it unpacks to."""
        return self._size_bytes

    def bytes_at(self, position: int, size_bytes: int) -> bytes:
        """Return the unpacked bytes from a position on; raises `UserError` if there are fewer."""
        with self._turn:
            if position < self._begin or self._stream is None:
                self._rewind()
            while self._end < position + size_bytes:
                self._unpack(position + size_bytes)
            at, parts = self._begin, []
            for piece in self._pieces:
                if at + len(piece) > position:
                    parts.append(piece[max(0, position - at) : position + size_bytes - at])
                at += len(piece)
                if at >= position + size_bytes:
                    break
            return b"".join(parts)

    def keep_from(self, position: int) -> None:
        """Let go of what stands well before a position."""
        with self._turn:
            while self._pieces and self._begin + len(self._pieces[0]) + _PIECE_BYTES <= position:
                self._begin += len(self._pieces.popleft())

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the compressed file, by which it is known again."""
        return self._file.head(size_bytes)

    def is_in_place(self) -> bool:
        """Tell whether the name still means this file, as it was opened, or nothing."""
        return self._file.is_in_place() and self._file.size_bytes() == self._packed_bytes

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._file.close()
            if self._stream is not None:
                self._stream.close()

    def _unpacked_bytes(self) -> int:
        if self._packed_bytes == 0:
            raise Unfinished(f"{self.name} is empty, which no {self._compression} file is")
        with contextlib.closing(open_bounded(self._path, self._compression)) as stream:
            try:
                while stream.read(_PIECE_BYTES):
                    pass
            except EndsInside as error:
                raise Unfinished(str(error)) from None
            return stream.unpacked_bytes

    def _rewind(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = open_bounded(self._path, self._compression)
        self._pieces.clear()
        self._begin = self._end = 0

    def _unpack(self, wanted: int) -> None:
        """Unpack one more piece."""
        assert self._stream is not None
        piece = self._stream.read(_PIECE_BYTES)
        if not piece:
            raise too_short(self.name, wanted, self._end)
        self._pieces.append(piece)
        self._end += len(piece)
        while self._end - self._begin > _HELD_BYTES:
            self._begin += len(self._pieces.popleft())
