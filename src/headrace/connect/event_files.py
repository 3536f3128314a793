"""Files as events: JSON lines, JSON arrays, CSV, Parquet and lines of text, each event the bytes of one body.

Whoever sends a file again must get the same events in the same order, so nothing here depends on time or
chance. JSON passes untouched, valid or not: what becomes of a body is for the job to say, which keeps a bad
one as a dead letter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import polars as pl

from headrace.errors import DataError, UserError
from headrace.events.batch import POLARS_FAULTS
from headrace.limits import MAX_BLOCK_EVENTS, MAX_EVENT_BYTES, MAX_JSON_ARRAY_BYTES

_WHITESPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_CHUNK_BYTES: Final = 1024 * 1024

#: Naive datetimes are UTC; ISO 8601 with its T is what the language casts.
_ISO_DATETIMES: Final = pl.selectors.datetime(time_zone=None).dt.to_string("iso:strict")

Refuse = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file of events; its kind is told by the name's ending.

    JSON (``.json``, ``.jsonl``, ``.ndjson``) is lines, one array of events, or one single event. CSV and TSV
    (first line: names) and Parquet give an object a row; CSV cells are texts. With `line_field` the file is
    text, each line an object with that one field.
    """

    path: Path
    line_field: str | None = None

    def events(self, refuse: Refuse) -> Iterator[bytes]:
        """Yield the events; what is too large for one is passed over, and `refuse` is told where and why.

        Raises `UserError` for a file that cannot be opened or is of no known kind, `DataError` for one that
        is damaged.
        """
        reader = text_events(self.line_field) if self.line_field is not None else self._reader()
        try:
            with self.path.open("rb") as file:
                yield from reader(file, str(self.path), refuse)
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from None

    def digest(self) -> str:
        """Return a name for these events: the same for the same bytes in a file of the same name."""
        try:
            with self.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from None
        return hashlib.sha256(f"{self.path.name}\0{self.line_field}\0{content}".encode()).hexdigest()

    def _reader(self) -> Reader:
        reader = _READERS.get(self.path.suffix.lower())
        if reader is None:
            raise UserError(
                f"{self.path}: events are read from files ending in {', '.join(_READERS)}. "
                "For a file of text, --lines FIELD sends each line as {FIELD: line}"
            )
        return reader


#: Yields the events of an open file called so, telling where it passed one over.
Reader = Callable[[BinaryIO, str, Refuse], Iterator[bytes]]


def text_events(field: str) -> Reader:
    """Return a reader of text: each line that is not blank becomes a JSON object with this one field."""

    def read(file: BinaryIO, name: str, refuse: Refuse) -> Iterator[bytes]:
        for place, line in _lines(file, name, refuse):
            try:
                event = msgspec.json.encode({field: line.decode()})
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{place} is not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}. "
                    "Convert the file, for example with iconv"
                ) from None
            if _fits(event, place, refuse):
                yield event

    return read


def line_events(file: BinaryIO, name: str, refuse: Refuse) -> Iterator[bytes]:
    """Yield each line that is not blank as it is; raises `UserError` for JSON that is laid out over lines."""
    for number, (_, line) in enumerate(_lines(file, name, refuse)):
        if number == 0 and line in {b"[", b"{"}:
            raise UserError(
                f"{name} is not JSON lines, where each line is a whole event: its first line is only "
                f"{line.decode()!r}. A file whose name ends in .json may be one array or one object"
            )
        yield line


def _lines(file: BinaryIO, name: str, refuse: Refuse) -> Iterator[tuple[str, bytes]]:
    """Yield the lines that are not blank with their place, holding no more of one than an event may have."""
    number = 0
    while line := file.readline(MAX_EVENT_BYTES + 2):
        number += 1
        place = f"{name}, line {number:,}"
        size_bytes = len(line)
        while not line.endswith(b"\n") and (rest := file.readline(_CHUNK_BYTES)):
            line, size_bytes = rest, size_bytes + len(rest)
        if size_bytes > MAX_EVENT_BYTES + 2:
            refuse(_too_large(place, size_bytes - line.endswith(b"\n")))
            continue
        text = (line.removeprefix(_BOM) if number == 1 else line).strip(_WHITESPACE)
        if text and _fits(text, place, refuse):
            yield place, text


def _fits(event: bytes, place: str, refuse: Refuse) -> bool:
    if len(event) <= MAX_EVENT_BYTES:
        return True
    refuse(_too_large(place, len(event)))
    return False


def _too_large(place: str, size_bytes: int) -> str:
    return f"{place}: {size_bytes:,} bytes, more than the {MAX_EVENT_BYTES:,} of one event"


# --- JSON -------------------------------------------------------------------------------------------------


def _json(file: BinaryIO, name: str, refuse: Refuse) -> Iterator[bytes]:
    """Yield the elements of an array, the lines, or the one value that the file is."""
    head = file.read(64 * 1024)
    file.seek(0)
    first_line, newline, others = head.removeprefix(_BOM).lstrip(_WHITESPACE).partition(b"\n")
    if _is_json(first_line) and others.strip(_WHITESPACE):
        return line_events(file, name, refuse)
    if first_line.startswith(b"["):
        return _array(file, name, refuse)
    return _single(file, name, refuse) if newline else line_events(file, name, refuse)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _array(file: BinaryIO, name: str, refuse: Refuse) -> Iterator[bytes]:
    content = _whole(file, name)
    try:
        elements = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataError(
            f"{name} begins as a JSON array but is none: {error}. Nothing of it was sent"
        ) from None
    for number, element in enumerate(elements, start=1):
        event = bytes(element)
        if _fits(event, f"{name}, element {number:,}", refuse):
            yield event


def _single(file: BinaryIO, name: str, refuse: Refuse) -> Iterator[bytes]:
    content = _whole(file, name)
    if not _is_json(content):
        raise DataError(
            f"{name} is neither JSON lines (one whole object a line), nor a JSON array, nor one JSON object. "
            "Nothing of it was sent"
        )
    if _fits(content, name, refuse):
        yield content


def _whole(file: BinaryIO, name: str) -> bytes:
    content = file.read(MAX_JSON_ARRAY_BYTES + 1)
    if len(content) > MAX_JSON_ARRAY_BYTES:
        raise UserError(
            f"{name} is one JSON value of more than {MAX_JSON_ARRAY_BYTES:,} bytes, which would be held in "
            "memory whole. Make it JSON lines, for example with `jq -c '.[]'`"
        )
    return content.removeprefix(_BOM).strip(_WHITESPACE)


# --- tables -----------------------------------------------------------------------------------------------


def _rows(
    file: BinaryIO, name: str, refuse: Refuse, *, scan: Callable[[Path], pl.LazyFrame]
) -> Iterator[bytes]:
    """Make each row a JSON object, thousands at a time within Polars."""
    try:
        frame = scan(Path(name))
        for column, dtype in frame.collect_schema().items():
            if _holds_bytes(dtype):
                raise UserError(f"{name}: column {column!r} holds bytes, which JSON cannot; make it text")
        text = pl.struct(pl.all()).struct.json_encode().cast(pl.Binary)
        rows = frame.with_columns(_ISO_DATETIMES).select(text.alias("event"))
        yield from _numbered(rows, name, refuse)
    except POLARS_FAULTS as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise DataError(f"{name} is damaged or not what its name says: {reason}") from None


def _numbered(rows: pl.LazyFrame, name: str, refuse: Refuse) -> Iterator[bytes]:
    number = 0
    for batch in rows.collect_batches(chunk_size=MAX_BLOCK_EVENTS, maintain_order=True, lazy=True):
        for event in batch["event"]:
            number += 1
            if _fits(event, f"{name}, row {number:,}", refuse):
                yield event


def _holds_bytes(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_holds_bytes(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_bytes(dtype.inner)  # type: ignore[arg-type]
    return dtype in (pl.Binary, pl.Object)


def _scan_parquet(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _scan_csv(path: Path, *, separator: str) -> pl.LazyFrame:
    return pl.scan_csv(path, glob=False, infer_schema=False, separator=separator)


_READERS: Final[dict[str, Reader]] = {
    ".jsonl": line_events,
    ".ndjson": line_events,
    ".json": _json,
    ".csv": partial(_rows, scan=partial(_scan_csv, separator=",")),
    ".tsv": partial(_rows, scan=partial(_scan_csv, separator="\t")),
    ".parquet": partial(_rows, scan=_scan_parquet),
}


def in_blocks(events: Iterable[bytes], max_events: int, max_bytes: int) -> Iterator[list[bytes]]:
    """Yield the events in blocks of at most so many and so large, cut at the same places every time."""
    block: list[bytes] = []
    block_bytes = 0
    for event in events:
        if block and (len(block) == max_events or block_bytes + len(event) > max_bytes):
            yield block
            block, block_bytes = [], 0
        block.append(event)
        block_bytes += len(event)
    if block:
        yield block
