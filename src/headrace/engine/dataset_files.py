"""One file of a dataset: read in chunks of whole lines, parsed, judged, and handed on piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.clock import Clock
from headrace.errors import DataError, HeadraceError, Transient, UserError
from headrace.limits import MAX_SENSOR_LINE_BYTES
from headrace.local.dead_letters import DeadLetter
from headrace.series.dataset import FileChanged, FileMessage, FileStore
from headrace.series.line_chunks import CHUNK_BYTES, Chunk, LineChunks, bad_line
from headrace.series.lines import Bad, Parsed, Parser
from headrace.series.points import Points

#: Dead letters that one file makes; the others of its bad lines are counted in one more.
MOST_LETTERS: Final = 100

#: The kind of source of these letters: their source is the file, their position a line's number from 1, or 0
#: where the letter is the whole file. In partition 1 are points that a query failed on, numbered from 0.
DEAD_LINE: Final = "file"


class SetAsideError(DataError):
    """A file of which nothing is to be stored."""


class ReadLaterError(HeadraceError):
    """A file that cannot be read now: its message is to come again, and those of other files go on."""


@dataclass(slots=True)
class Work:
    """What became of one file: counts, the letters of what failed, and times.

    `read_ns` and `parse_ns` are those of all its pieces; `began_us` is when reading began, `parsing_us` when
    parsing did.
    """

    message_id: int
    file: FileMessage
    body: bytes
    points: int = 0
    bad: int = 0
    size_bytes: int = 0
    began_us: int = 0
    parsing_us: int = 0
    read_ns: int = 0
    parse_ns: int = 0
    query_ns: int = 0
    first_bad: list[Bad] = field(default_factory=list)
    failed: int = 0
    first_failed: list[tuple[int, str]] = field(default_factory=list)
    set_aside: str = ""

    @property
    def source(self) -> str:
        """What names the file in dead letters, in ids of rows and to people."""
        return f"{self.file.tenant}/{self.file.store}/{self.file.file}"

    def note_failed(self, points: Mapping[int, str]) -> None:
        """Note points, by their numbers, that the query failed on, and why."""
        self.failed += len(points)
        if points and (room := MOST_LETTERS - len(self.first_failed)) > 0:
            self.first_failed += sorted(points.items())[:room]


class FileReading:
    """Reads files with one parser and one piece of memory; one thread uses it."""

    def __init__(
        self, stores: Mapping[str, FileStore], parser: Parser, max_bad_share: float, clock: Clock
    ) -> None:
        self._stores, self._parser, self._clock = stores, parser, clock
        self._max_bad_share = max_bad_share
        self._memory = bytearray(CHUNK_BYTES + 2 * MAX_SENSOR_LINE_BYTES)

    def points(self, work: Work) -> Iterator[Points]:
        """Yield the points of a file, piece by piece; each is valid until the next is taken.

        Raises `SetAsideError` at the end of a file with too many bad lines, `DataError` for what can never be
        read, `ReadLaterError` for what may go through later.
        """
        work.began_us = self._clock.now_us()
        try:
            reader = self._store(work).open(work.file.tenant, work.file.file)
        except UserError as error:  # a name that leads out of the tenant's folder, or a file that is not ours
            raise SetAsideError(str(error)) from None
        except (Transient, FileChanged) as error:
            raise ReadLaterError(str(error)) from None
        try:
            work.size_bytes = reader.size_bytes
            chunks = iter(LineChunks(reader, self._memory))
            line = 1
            while (chunk := self._timed(work, chunks)) is not None:
                parsed = self._parsed(work, chunk, line)
                line += parsed.lines
                if chunk.too_long is not None:
                    self._note_bad(work, [bad_line(line, chunk.too_long)], 1)
                    line += 1
                if len(parsed.points):
                    yield parsed.points
        finally:
            reader.close()
        self._judge(work)

    def _store(self, work: Work) -> FileStore:
        store = self._stores.get(work.file.store)
        if store is None:
            known = ", ".join(self._stores)
            raise SetAsideError(f"there is no store {work.file.store!r} in the settings, only {known}")
        return store

    def _parsed(self, work: Work, chunk: Chunk, line: int) -> Parsed:
        work.parsing_us = work.parsing_us or self._clock.now_us()
        began_ns = self._clock.monotonic_ns()
        parsed = self._parser.parse(chunk.text, line)
        work.parse_ns += self._clock.monotonic_ns() - began_ns
        work.points += len(parsed.points)
        self._note_bad(work, parsed.bad, parsed.bad_lines)
        return parsed

    def _timed(self, work: Work, chunks: Iterator[Chunk]) -> Chunk | None:
        began_ns = self._clock.monotonic_ns()
        try:
            chunk = next(chunks, None)
        except (Transient, FileChanged) as error:
            raise ReadLaterError(str(error)) from None
        work.read_ns += self._clock.monotonic_ns() - began_ns
        return chunk

    @staticmethod
    def _note_bad(work: Work, bad: list[Bad], bad_lines: int) -> None:
        work.bad += bad_lines
        if (room := MOST_LETTERS - len(work.first_bad)) > 0:
            work.first_bad += bad[:room]

    def _judge(self, work: Work) -> None:
        lines = work.points + work.bad
        if work.bad > self._max_bad_share * lines:
            first = work.first_bad[0]
            raise SetAsideError(
                f"{work.bad:,} of its {lines:,} lines are bad ({work.bad / lines:.0%}), more than "
                f"max_bad_share = {self._max_bad_share:g} allows, so nothing of it was stored. "
                f"Line {first.line}: {first.reason}"
            )


def letters_of(job: str, work: Work) -> Iterator[DeadLetter]:
    """Yield the dead letters of a file: of itself where it was set aside, else of what failed in it."""
    if work.set_aside:
        yield _letter(job, work, 0, work.body, work.set_aside)
        return
    for bad in work.first_bad:
        yield _letter(job, work, bad.line, bad.text, bad.reason)
    if further := work.bad - len(work.first_bad):
        reason = f"{further:,} further lines of this file are bad; only the first {MOST_LETTERS} are kept"
        yield _letter(job, work, work.first_bad[-1].line + 1, b"", reason)
    for number, reason in work.first_failed:
        yield _letter(job, work, number, work.body, reason, partition=1)
    if further := work.failed - len(work.first_failed):
        reason = f"the query failed on {further:,} further points of this file"
        yield _letter(job, work, work.first_failed[-1][0] + 1, work.body, reason, partition=1)


def _letter(
    job: str, work: Work, position: int, body: bytes, reason: str, *, partition: int = 0
) -> DeadLetter:
    return DeadLetter(
        job=job,
        source_kind=DEAD_LINE,
        source=work.source,
        partition=partition,
        position=position,
        body=body,
        reason=reason,
        tenant=work.file.tenant,
    )
