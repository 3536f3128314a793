"""Papers from a file, as event bytes: a feed document, Parquet, CSV, or JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from headrace.connect.feeds.parse import parse_feed
from headrace.errors import DataError, UserError, did_you_mean
from headrace.limits import MAX_BLOCK_EVENTS, MAX_EVENT_BYTES, MAX_FEED_BYTES, MAX_PUBLISH_BYTES

#: The one column without which a row is no paper.
TEXT_COLUMN: Final = "doc"


def papers_from_file(path: Path, *, limit: int | None = None) -> Iterator[list[bytes]]:
    """Yield the papers of a file as JSON events, in the file's order, in blocks fit for one publish.

    Parquet and CSV give one event a row with all columns, of which ``doc`` must be there (``class``,
    ``title`` and ``id`` are usual; names match ignoring case); every text comes out of the JSON as it was in
    the file, to the byte. JSON lines are events already and pass untouched. A feed document gives the events
    that polling it would. The kind is told by the name's ending. `limit` bounds the papers in all.

    Raises `UserError` for a file that cannot be opened, is of no known kind or has no column ``doc``, and
    `DataError` for one that is damaged or has an event larger than a hub takes.
    """
    events = _READERS.get(path.suffix.lower())
    if events is None:
        raise UserError(f"{path}: papers are read from files ending in {', '.join(_READERS)}")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return _blocks(path, islice(events(path), limit))


def _blocks(path: Path, events: Iterable[bytes]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    block_bytes = 0
    for number, event in enumerate(events, start=1):
        size = len(event)
        if size > MAX_EVENT_BYTES:
            raise DataError(f"{path}: paper {number:,} is larger than an event, {MAX_EVENT_BYTES:,} bytes")
        if len(block) == MAX_BLOCK_EVENTS or block_bytes + size > MAX_PUBLISH_BYTES:
            yield block
            block, block_bytes = [], 0
        block.append(event)
        block_bytes += size
    if block:
        yield block


def _of_feed(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        body = file.read(MAX_FEED_BYTES + 1)
    for paper in parse_feed(body).papers:
        announced = (paper.announce_type or "").startswith("replace")
        yield msgspec.structs.replace(paper, replaces=announced).event()


def _of_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_EVENT_BYTES + 2), b""), start=1):
            event = line.strip(b" \t\r\n")
            if number == 1:
                event = event.removeprefix(b"\xef\xbb\xbf")
                _check_first(path, event)
            if event:
                yield event


def _check_first(path: Path, line: bytes) -> None:
    """Refuse a JSON array or an indented object at once, instead of sending its lines as events."""
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UserError(f"{path} is not JSON lines: its first line must be one whole JSON object") from None


def _of_parquet(path: Path) -> Iterator[bytes]:
    return _of_rows(path, lambda: pl.scan_parquet(path, glob=False, hive_partitioning=False))


def _of_csv(path: Path) -> Iterator[bytes]:
    return _of_rows(path, lambda: pl.scan_csv(path, glob=False, infer_schema=False))


def _of_rows(path: Path, scan: Callable[[], pl.LazyFrame]) -> Iterator[bytes]:
    """Make each row a JSON object, thousands at a time within Polars."""
    try:
        frame = scan()
        _check_columns(path, frame.collect_schema())
        text = pl.struct(pl.all()).struct.json_encode().cast(pl.Binary).alias("event")
        for batch in frame.select(text).collect_batches(chunk_size=MAX_BLOCK_EVENTS, lazy=True):
            yield from batch["event"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{path} is damaged or not what its name says: {_first_line(error)}") from None


def _check_columns(path: Path, schema: pl.Schema) -> None:
    if TEXT_COLUMN not in {name.casefold() for name in schema}:
        raise UserError(
            f"{path} has no column {TEXT_COLUMN!r}, the text of a paper, only {', '.join(schema)}. "
            f"{did_you_mean(TEXT_COLUMN, schema)}".rstrip()
        )
    for name, dtype in schema.items():
        if dtype in (pl.Binary, pl.Object):
            raise UserError(f"{path}: column {name!r} holds bytes, which JSON cannot; make it text")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]


_READERS: Final[dict[str, Callable[[Path], Iterator[bytes]]]] = {
    ".parquet": _of_parquet,
    ".csv": _of_csv,
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), _of_lines),
    **dict.fromkeys((".xml", ".atom", ".rss", ".rdf"), _of_feed),
}
