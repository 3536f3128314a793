"""The blocks of an Avro object container file: found by their headers, unpacked within bounds."""

from __future__ import annotations

import bz2
import lzma
import zlib
from dataclasses import dataclass
from io import BytesIO
from types import ModuleType
from typing import Any, BinaryIO, Final

import zstandard

from headrace.errors import UserError
from headrace.limits import MAX_AVRO_BLOCK_BYTES, MAX_AVRO_BLOCK_ROWS

_SYNC_BYTES: Final = 16

#: A number has seven bits a byte and 64 in all.
_MAX_NUMBER_BYTES: Final = 10

_ADVICE: Final = "It was cut, damaged, or is still being written: put a whole one in its place"


def avro_library() -> ModuleType:
    """Return fastavro; raises UserError when it is not installed."""
    try:
        import fastavro  # noqa: PLC0415
    except ImportError:
        raise UserError("Avro needs a package that is not installed: pip install 'headrace[avro]'") from None
    return fastavro


@dataclass(frozen=True, slots=True)
class Block:
    """Where the data of a block are, and how many rows they hold from which on."""

    first: int
    rows: int
    start: int
    size_bytes: int


class Blocks:
    """The blocks of an open file; `schema` is that of its rows."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._library = avro_library()
        try:
            file.seek(0)
            reader = self._library.reader(file)
            self.schema: Any = reader.writer_schema
            self._codec = str(reader.codec)
            self._sync: bytes = reader._header["sync"]
        except Exception as error:
            raise self._damaged(f"its header cannot be read ({str(error) or type(error).__name__})") from None
        self._end = file.seek(0, 2)
        self.blocks = self._found(self._after_header())

    def rows_of(self, block: Block) -> list[Any]:
        """Return the rows of a block; raises UserError when it is damaged."""
        where = f"the block at byte {block.start:,}"
        if block.rows > MAX_AVRO_BLOCK_ROWS:
            raise self._damaged(f"{where} says that it has {block.rows:,} rows")
        self._file.seek(block.start)
        packed = self._file.read(block.size_bytes)
        try:
            data, codec = _unpacked(packed, self._codec)
            alone = self._alone(block.rows, data, codec)
            return list(self._library.reader(alone, return_record_name=False))
        except UserError:
            raise
        except Exception as error:
            found = str(error) or type(error).__name__
            raise self._damaged(f"{where} cannot be read ({found})") from None

    def _alone(self, rows: int, data: bytes, codec: str) -> BytesIO:
        """Return a file of one block, whose data are unpacked already."""
        file = BytesIO()
        self._library.writer(file, self.schema, [], codec=codec, sync_marker=self._sync)
        file.write(_number(rows) + _number(len(data)) + data + self._sync)
        file.seek(0)
        return file

    def _after_header(self) -> int:
        """Return where the first block begins: behind the first sync marker, which ends the header."""
        self._file.seek(4)
        while (count := self._read_number()) != 0:
            if count < 0:
                self._read_number()
            for _ in range(2 * abs(count)):
                self._file.seek(self._read_number(), 1)
        return self._file.tell() + _SYNC_BYTES

    def _found(self, start: int) -> list[Block]:
        blocks, first = [], 0
        while start < self._end:
            self._file.seek(start)
            rows, size_bytes = self._read_number(), self._read_number()
            data = self._file.tell()
            behind = data + size_bytes + _SYNC_BYTES
            if rows < 0 or size_bytes < 0:
                raise self._damaged(f"the block at byte {start:,} is none")
            if behind > self._end:
                raise self._damaged(f"it ends inside the block at byte {start:,}, behind {first:,} rows")
            self._file.seek(data + size_bytes)
            if self._file.read(_SYNC_BYTES) != self._sync:
                raise self._damaged(f"the block at byte {start:,} does not end as it should")
            blocks.append(Block(first, rows, data, size_bytes))
            first, start = first + rows, behind
        return blocks

    def _read_number(self) -> int:
        value = 0
        for place in range(_MAX_NUMBER_BYTES):
            byte = self._file.read(1)
            if not byte:
                raise self._damaged(f"it ends inside a number, at byte {self._file.tell():,}")
            value |= (byte[0] & 0x7F) << 7 * place
            if byte[0] < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise self._damaged(f"the number before byte {self._file.tell():,} has no end")

    def _damaged(self, problem: str) -> UserError:
        return UserError(f"{self._name} is no sound Avro file: {problem}. {_ADVICE}")


def _number(value: int) -> bytes:
    """Return a length as Avro writes it."""
    rest, written = value << 1, bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


def _unpacked(packed: bytes, codec: str) -> tuple[bytes, str]:
    """Return the data of a block and the codec left: one that knows no bounds is left to fastavro."""
    most = MAX_AVRO_BLOCK_BYTES
    match codec:
        case "deflate":
            data = zlib.decompressobj(-15).decompress(packed, most + 1)
        case "bzip2":
            data = bz2.BZ2Decompressor().decompress(packed, most + 1)
        case "xz":
            data = lzma.LZMADecompressor().decompress(packed, most + 1)
        case "zstandard":
            data = zstandard.ZstdDecompressor().stream_reader(packed).read(most + 1)
        case _:
            return packed, codec
    if len(data) > most:
        raise UserError(f"a block of the Avro file unpacks to more than {most:,} bytes: write smaller blocks")
    return data, "null"
