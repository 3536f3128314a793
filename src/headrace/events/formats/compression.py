"""Compressed files read as streams, a piece at a time, and no further than a bomb would reach."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Literal

import zstandard

from headrace.errors import DataError, UserError, disk_error
from headrace.limits import MAX_INPUT_FILE_BYTES, MAX_UNPACKED_RATIO, UNPACKED_FREELY_BYTES

#: How a file is compressed.
Compression = Literal["none", "gzip", "zstd"]

#: Names that say how a file is compressed, for those that are not told.
SUFFIXES: Final[dict[str, Compression]] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}

#: Compressed bytes unpacked in one go. A zstd block of 4 bytes makes 128 KB, so these make 32 MB at most.
_PIECE_BYTES: Final = 1024

#: Unpacked bytes that gzip makes in one go.
_GZIP_BYTES: Final = 256 * 1024

#: A zstd window that a reader must hold; 128 MB is what `zstd --long` makes.
_MAX_WINDOW_BYTES: Final = 128 * 1024 * 1024


class EndsInside(DataError):
    """A compressed file stops inside a member or frame: it was cut, or is still being written."""


def compression_of(path: Path) -> Compression:
    """Return how a file is compressed by what its name ends in."""
    return SUFFIXES.get(path.suffix.lower(), "none")


def compress(data: bytes, compression: Compression) -> bytes:
    """Return bytes as one gzip member or zstd frame; several behind each other are a file, too."""
    if compression == "gzip":
        return gzip.compress(data, compresslevel=6, mtime=0)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)
    return data


def open_bounded(path: Path, compression: Compression) -> Bounded:
    """Open a file whose unpacked bytes are read in order; raises UserError if there is none to read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise disk_error(error.errno or 0, path, "read") from None
    return Bounded(file, path, compression)


class Bounded:
    """A compressed file being read: members or frames one behind the other are one stream.

    Reading raises DataError when the file is damaged, ends inside a member, or unpacks to more than
    MAX_UNPACKED_RATIO times its bytes (from UNPACKED_FREELY_BYTES on).
    """

    def __init__(self, file: BinaryIO, path: Path, compression: Compression) -> None:
        self._file, self._path = file, path
        self._held = bytearray()
        self.taken_bytes = 0  # of the file
        self.unpacked_bytes = 0
        match compression:
            case "gzip":
                self._pieces = self._gzip()
            case "zstd":
                self._pieces = self._zstd()
            case _:
                self._pieces = self._plain()

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end; all that are left with a negative size."""
        while size < 0 or len(self._held) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._held += piece
        end = len(self._held) if size < 0 else size
        taken = bytes(self._held[:end])
        del self._held[:end]
        return taken

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Bounded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _taken(self, size: int) -> bytes:
        try:
            piece = self._file.read(size)
        except OSError as error:
            raise disk_error(error.errno or 0, self._path, "read") from None
        self.taken_bytes += len(piece)
        return piece

    def _plain(self) -> Iterator[bytes]:
        while piece := self._taken(_GZIP_BYTES):
            yield piece

    def _gzip(self) -> Iterator[bytes]:
        packed = self._taken(_GZIP_BYTES)
        while packed:
            member = zlib.decompressobj(wbits=31)
            while not member.eof:
                if not packed:
                    packed = self._taken(_GZIP_BYTES) or self._refuse_end("gzip")
                try:
                    piece = member.decompress(packed, _GZIP_BYTES)
                except zlib.error as error:
                    raise self._damaged("gzip", error) from None
                packed = member.unconsumed_tail
                yield self._counted(piece)
            # Zeros may fill a file up behind its last member.
            packed = (member.unused_data or self._taken(_GZIP_BYTES)).lstrip(b"\0")
            while not packed and (more := self._taken(_GZIP_BYTES)):
                packed = more.lstrip(b"\0")

    def _zstd(self) -> Iterator[bytes]:
        packed = self._taken(_PIECE_BYTES)
        while packed:
            frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj()
            while not frame.eof:
                packed = packed or self._taken(_PIECE_BYTES) or self._refuse_end("zstd")
                try:
                    piece = frame.decompress(packed)
                except zstandard.ZstdError as error:
                    raise self._damaged("zstd", error) from None
                packed = b""
                yield self._counted(piece)
            packed = frame.unused_data or self._taken(_PIECE_BYTES)

    def _counted(self, piece: bytes) -> bytes:
        self.unpacked_bytes += len(piece)
        most = max(UNPACKED_FREELY_BYTES, self.taken_bytes * MAX_UNPACKED_RATIO)
        if self.unpacked_bytes > min(most, MAX_INPUT_FILE_BYTES):
            raise DataError(
                f"{self._path} unpacks to more than {self.unpacked_bytes:,} bytes from its first "
                f"{self.taken_bytes:,}: no real data does. If they are, unpack the file before it is read"
            )
        return piece

    def _refuse_end(self, kind: str) -> bytes:
        raise EndsInside(
            f"{self._path} ends inside its {kind} data, at byte {self.taken_bytes:,} "
            f"({self.unpacked_bytes:,} unpacked): it was cut, or is still being written"
        )

    def _damaged(self, kind: str, error: Exception) -> UserError | DataError:
        return DataError(
            f"{self._path} is no sound {kind} file: {error}, near byte {self.taken_bytes:,} "
            f"({self.unpacked_bytes:,} unpacked). Put a sound one in its place; if it is not {kind}, neither "
            "its name nor the settings may say so"
        )
