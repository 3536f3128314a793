"""Files as inputs: JSON lines of all files that a path or pattern matches, as one sequence with one offset.

An offset is the number of a file and a byte in it (`file_sequence` says which file has which number). Blank
lines are no events. A line is an event once a newline ends it: a line that is being written is never read
half. The last line of a file may stand without one; it is taken when a later file is there, or when the end
is asked for, by `end`, so that a job which runs to the end has it. What is then added to that line is a line
of its own. Whoever starts at an end where a line is being written reads on behind that line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from headrace.clock import Clock, SystemClock
from headrace.connect.file_ahead import ReadAhead, Window
from headrace.connect.file_lines import Bodies, Piece
from headrace.connect.file_sequence import FileSequence, Limit
from headrace.connect.source import Poll
from headrace.errors import UserError
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
    """``kind = "file"``: JSON lines in files; `path` starts from the project's folder.

    For an input it may be a pattern. For an output it is one file, to which each further instance adds one of
    its own.
    """

    path: str | None = None
    format: Literal["json"] = "json"

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError(
                'path is missing: expected a file, or for an input a pattern such as "in/*.jsonl"'
            )
        if "\0" in self.path:
            raise ValueError("path holds a NUL, which no name can")

    @property
    def given_path(self) -> str:
        """The path, which there always is."""
        assert self.path is not None
        return self.path


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

    def add(self, piece: Piece) -> None:
        self.at = piece.behind
        if piece.events:
            self.pieces.append(piece)
            self.numbers.append(self.number)
            self.events += piece.events
            self.size_bytes += len(piece.text) + 1


class FileSource:
    """Reads files as one partition; `limit` says how much may be read of files that are not all committed."""

    kind = "file"
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
        self._sequence = FileSequence(input_name, self.place, folder, record, clock, limit)
        self._line_bytes = float(_FIRST_LINE_BYTES)
        self._nothing_to: tuple[int, _Reading] | None = None
        self._ahead = ReadAhead()
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
            return _offset(self._sequence.oldest(), 0)

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

    def close(self) -> None:
        """Close what is open."""
        self._ahead.close()
        self._sequence.close()

    def _read_ahead(self, reading: _Reading, max_events: int, max_bytes: int) -> None:
        """Begin to read what the next poll will ask for if it is like this one."""
        file = self._sequence.file(reading.number, reading.at)
        if file is not None:
            until, _ = self._sequence.bounds(reading.number, reading.at)
            self._ahead.begin(file, self._window(reading.at, max_events, max_bytes), until)

    def _window(self, at: int, events: int, room_bytes: int) -> Window:
        size_bytes = max(_SMALL_BYTES, int(events * self._line_bytes * _MARGIN))
        return Window(at, events, min(max(room_bytes, 1), size_bytes))

    def _read(self, reading: _Reading, max_events: int, max_bytes: int) -> None:
        """Read on until there is enough, or nothing more."""
        while reading.events < max_events * _ENOUGH:
            wanted = max_events - reading.events
            room = max_bytes - reading.size_bytes
            if reading.events and room < self._line_bytes * 2:
                return
            piece = self._piece(reading, wanted, room)
            if piece is None:
                return
            if piece.events:
                self._line_bytes = (len(piece.text) + 1) / piece.events
            reading.add(piece)

    def _piece(self, reading: _Reading, events: int, room_bytes: int) -> Piece | None:
        """Return the next lines, of the next file if this one has no more; None if there are none yet."""
        sequence = self._sequence
        while True:
            number, at = reading.number, reading.at
            file = sequence.file(number, at)
            if file is not None:
                until, whole = sequence.bounds(number, at)
                read: Callable[..., Piece] = file.rest_of_line
                ahead: Piece | None = None
                if reading.is_checked or sequence.begins_line(number, at):
                    window = self._window(at, events, room_bytes)
                    ahead = self._ahead.take(file, window, until)
                    read = partial(file.read, max_events=events, max_bytes=window.max_bytes)
                piece = ahead or read(at, until, whole=whole)
                if piece.behind == at and not whole and sequence.later(number):
                    piece = read(at, sequence.size_bytes(number), whole=True)
                if piece.behind > at:
                    reading.is_checked = True
                    _check_size(file.name, piece.behind)
                    if not piece.ended:
                        sequence.cut(number, piece.behind)
                    return piece
            if not sequence.later(number) or not sequence.leave(number, at):
                return None
            reading.number, reading.at, reading.is_checked = number + 1, 0, True

    def _poll(self, reading: _Reading) -> Poll:
        bodies = Bodies.of(reading.pieces)
        offsets = np.concatenate(
            [
                piece.starts + _offset(number, 0)
                for number, piece in zip(reading.numbers, reading.pieces, strict=True)
            ]
        )
        return Poll(
            self._input,
            bodies,
            bodies.text,
            None,
            0,
            offsets.data,
            identity=self._identity,
            behind=_offset(reading.number, reading.at),
        )


def _offset(number: int, position: int) -> int:
    return number * MAX_INPUT_FILE_BYTES + position


def _check_size(name: str, position: int) -> None:
    if position >= MAX_INPUT_FILE_BYTES:
        raise UserError(f"{name} is larger than {MAX_INPUT_FILE_BYTES:,} bytes: cut it into several files")
