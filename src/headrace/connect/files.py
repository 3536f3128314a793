"""Files as inputs: what is in all files that a path or pattern matches, as one sequence with one offset.

An offset is the number of a file and a byte in it, or a row (`file_sequence` says which file has which
number); in a compressed file it is a byte of what it unpacks to. Blank
lines are no events. A line is an event once a newline ends it: a line that is being written is never read
half. The last line of a file may stand without one; it is taken when a later file is there, or when the end
is asked for, by `end`, so that a job which runs to the end has it. What is then added to that line is a line
of its own. Whoever starts at an end where a line is being written reads on behind that line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from headrace.clock import Clock, SystemClock
from headrace.connect.file_lines import Piece
from headrace.connect.file_opening import Opener, OpenFile
from headrace.connect.file_patterns import PathPattern
from headrace.connect.file_sequence import FileSequence, Limit
from headrace.connect.read_ahead import ReadAhead
from headrace.connect.source import Poll
from headrace.errors import UserError
from headrace.events.formats.compression import Compression
from headrace.events.formats.csv_records import DELIMITERS
from headrace.events.formats.decoded import Decoded
from headrace.events.formats.decoders import Format
from headrace.events.texts import chained
from headrace.limits import MAX_INPUT_FILE_BYTES
from headrace.local.input_files import InputFiles

_SYSTEM_CLOCK: Final = SystemClock()

#: How long a line is taken to be before any was read.
_FIRST_LINE_BYTES: Final = 256

#: Of what so many lines need by their mean length this much is read, so that mostly all of it is taken: to
#: cut something off is to copy the rest.
_MARGIN: Final = 0.98

#: Lines are enough if they are this share of those asked for.
_ENOUGH: Final = 0.9

#: So few bytes are quickly copied.
_SMALL_BYTES: Final = 64 * 1024


class FileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="file", tag_field="kind"):
    """``kind = "file"``: events in files; `path` starts from the project's folder, and may be a pattern.

    What is not set is told by the name of each file.
    """

    path: str | None = None
    format: Format | None = None
    compression: Compression | None = None
    delimiter: str | None = None
    date_format: str = "YYYY-MM-DD"
    time_format: str = "HH"

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError(
                'path is missing: expected a file, or for an input a pattern such as "in/*.jsonl"'
            )
        if "\0" in self.path:
            raise ValueError("path holds a NUL, which no name can")
        if self.delimiter is not None and self.delimiter not in DELIMITERS:
            known = ", ".join(map(repr, DELIMITERS))
            raise ValueError(f"delimiter: expected one of {known}, found {self.delimiter!r}")
        _ = self.pattern

    @property
    def given_path(self) -> str:
        """The path, which there always is."""
        assert self.path is not None
        return self.path

    @property
    def pattern(self) -> PathPattern:
        """The path as a pattern."""
        return PathPattern(self.given_path, self.date_format, self.time_format)

    @property
    def opener(self) -> Opener:
        """What opens the files."""
        return Opener(self.format, self.compression, self.delimiter)


class _Window(NamedTuple):
    """How much to read of a file at a time."""

    max_events: int
    max_bytes: int

    def read(self, file: OpenFile) -> Callable[..., Piece]:
        """Return what reads so much."""
        return partial(file.read, max_events=self.max_events, max_bytes=self.max_bytes)


@dataclass(slots=True)
class _Reading:
    """What a poll has found so far: a place in the sequence, and the lines up to there."""

    number: int
    at: int
    is_checked: bool = False
    pieces: list[Piece] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    events: int = 0
    size_bytes: int = 0
    kind: tuple[Format, bytes, str] = ("json", b"", ",")

    def takes(self, piece: Piece, file: OpenFile) -> bool:
        """Tell whether a piece goes into one poll with what there is: the same columns of the same format."""
        kind = (file.format, piece.header, file.delimiter)
        if self.pieces and (kind != self.kind or piece.decoded is not None):
            return False
        self.kind = kind
        return True

    def add(self, piece: Piece) -> None:
        self.at = piece.behind
        if piece.events:
            self.pieces.append(piece)
            self.numbers.append(self.number)
            self.events += piece.events
            self.size_bytes += len(piece.text) + 1

    @property
    def decoded(self) -> Decoded | None:
        """The rows with types, which are alone in a poll."""
        return self.pieces[0].decoded if self.pieces else None


class FileSource:
    """Reads files as one partition; `limit` says how much may be read of files that are not all committed."""

    kind = "file"
    identity = "file"  # whether they are the same files is seen in them; a folder may move
    ends = True
    partitions = 1

    def __init__(
        self,
        input_name: str,
        settings: FileSettings,
        folder: Path,
        record: InputFiles,
        *,
        clock: Clock = _SYSTEM_CLOCK,
        limit: Limit = lambda _: None,
    ) -> None:
        self.place = settings.given_path
        self._input, self._identity = input_name, f"file:{folder / self.place}"
        self._sequence = FileSequence(
            input_name, settings.pattern, folder, record, settings.opener, clock, limit
        )
        self._line_bytes = float(_FIRST_LINE_BYTES)
        self._nothing_to: tuple[int, _Reading] | None = None
        self._ahead = ReadAhead[Piece]("file")
        # The end may be asked for while a thread reads ahead.
        self._turn = threading.Lock()

    def begin(self, partition: int) -> int:
        """Return the first offset, though its file may be gone by now; reading there then says so."""
        return 0

    def end(self, partition: int) -> int:
        """Return the offset behind the last event, of all files there are now.

        Asking is what makes a last line without a newline an event: ask only to run to the end.
        """
        with self._turn:
            return _offset(*self._sequence.end())

    def offset_at(self, partition: int, time_us: int) -> int:
        """Return the first offset that is still there: nothing says when a line arrived."""
        with self._turn:
            return _offset(*self._sequence.oldest())

    def quiet_since(self, offsets: Mapping[int, int], now_us: int) -> dict[int, int]:
        """Return nothing: a line that comes later may have any time."""
        return {}

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        """Return events from `offset` on, None when there are none yet.

        Their bytes stay below `max_bytes`, a first event excepted. Raises `UserError` when files changed so
        that the offset means nothing any more, or lines would be lost.
        """
        with self._turn:
            reading = _Reading(*divmod(offset, MAX_INPUT_FILE_BYTES))
            if self._nothing_to is not None and self._nothing_to[0] == offset:
                reading = self._nothing_to[1]
            self._nothing_to = None
            self._read(reading, max_events, max_bytes)
            if not self._sequence.save():
                return None
            if not reading.pieces:
                self._nothing_to = (offset, reading)
                return None
            if reading.events >= max_events * _ENOUGH:
                self._read_ahead(reading, max_events, max_bytes)
            return self._poll(reading)

    @property
    def waits_for(self) -> str | None:
        """Why a file that comes next cannot be read yet: it is not whole."""
        return self._sequence.waits_for

    def close(self) -> None:
        """Close what is open."""
        self._ahead.close()
        self._sequence.close()

    def _read_ahead(self, reading: _Reading, max_events: int, max_bytes: int) -> None:
        """Begin to read what the next poll will ask for if it is like this one."""
        file = self._sequence.file(reading.number, reading.at)
        if file is not None:
            at, (until, _) = reading.at, self._sequence.bounds(reading.number, reading.at)
            window = self._window(file, max_events, max_bytes)
            if at + window.max_bytes <= until:
                self._ahead.begin(0, (file, at, window), partial(window.read(file), at, until, whole=False))

    def _window(self, file: OpenFile, events: int, room_bytes: int) -> _Window:
        size_bytes = max(room_bytes, 1)
        if not file.of_rows:
            size_bytes = min(size_bytes, max(_SMALL_BYTES, int(events * self._line_bytes * _MARGIN)))
        return _Window(events, size_bytes)

    def _read(self, reading: _Reading, max_events: int, max_bytes: int) -> None:
        """Read on until there is enough, or nothing more."""
        while reading.events < max_events * _ENOUGH:
            wanted = max_events - reading.events
            room = max_bytes - reading.size_bytes
            if reading.events and room < self._line_bytes * 2:
                return
            found = self._piece(reading, wanted, room)
            if found is None:
                return
            piece, file = found
            if piece.events:
                if reading.events and piece.decoded is None and len(piece.text) > room:
                    return
                if not reading.takes(piece, file):
                    return
                if piece.decoded is None:
                    self._line_bytes = (len(piece.text) + 1) / piece.events
            reading.add(piece)
            if reading.decoded is not None:
                return

    def _piece(self, reading: _Reading, events: int, room_bytes: int) -> tuple[Piece, OpenFile] | None:
        """Return the next lines and their file, the next one if this has no more; None if there are none."""
        sequence = self._sequence
        while True:
            number, at = reading.number, reading.at
            file = sequence.file(number, at)
            if file is not None:
                until, whole = sequence.bounds(number, at)
                read: Callable[..., Piece] = file.rest_of_line
                ahead: Piece | None = None
                if reading.is_checked or sequence.begins_line(number, at):
                    window = self._window(file, events, room_bytes)
                    read = window.read(file)
                    ahead = self._ahead.take(0, (file, at, window))
                piece = ahead if ahead and at < ahead.behind <= until else read(at, until, whole=whole)
                if piece.behind == at and not whole and sequence.later(number):
                    piece = read(at, sequence.size_bytes(number), whole=True)
                if piece.behind > at:
                    reading.is_checked = True
                    _check_size(file.name, piece.behind)
                    if not piece.ended:
                        sequence.cut(number, piece.behind)
                    return piece, file
            if not sequence.later(number) or not sequence.leave(number, at):
                return None
            reading.number, reading.at, reading.is_checked = number + 1, 0, True

    def _poll(self, reading: _Reading) -> Poll:
        offsets = np.concatenate(
            [
                piece.starts + _offset(number, 0)
                for number, piece in zip(reading.numbers, reading.pieces, strict=True)
            ]
        )
        chunks: Sequence[bytes] | None = None
        bodies: Sequence[bytes] = reading.pieces[0].rows
        if reading.decoded is None:
            bodies = chained([piece.bodies for piece in reading.pieces])
            texts = [piece.text for piece in reading.pieces]
            newlines = sum(text.count(b"\n") for text in texts) if reading.kind[0] == "csv" else 0
            if newlines + len(texts) <= len(bodies):  # else a record holds one
                chunks = texts
        form, header, delimiter = reading.kind
        return Poll(
            self._input,
            bodies,
            chunks,
            None,
            0,
            offsets.data,
            identity=self._identity,
            behind=_offset(reading.number, reading.at),
            format=form,
            header=header,
            delimiter=delimiter,
            decoded=reading.decoded,
        )


def _offset(number: int, position: int) -> int:
    return number * MAX_INPUT_FILE_BYTES + position


def _check_size(name: str, position: int) -> None:
    if position >= MAX_INPUT_FILE_BYTES:
        raise UserError(f"{name} is larger than {MAX_INPUT_FILE_BYTES:,} bytes: cut it into several files")
