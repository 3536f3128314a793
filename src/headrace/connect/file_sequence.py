"""Files as one sequence: those that a path or pattern matches, one behind the other in order of their names.

A file gets its number when it is begun, and that is on record before anything that was read of it is handed
on: a position is a number and a byte, for ever. So a file whose name sorts behind those begun may still come,
and the last one may grow. Whatever would make positions mean something else, or leave lines unread without
anybody noticing, is a `UserError` that says what and what to do.
"""

from __future__ import annotations

import contextlib
import glob
import os
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Final

from headrace.clock import Clock
from headrace.connect.file_lines import LineFile, too_short, under_another_name
from headrace.errors import Fatal, UserError
from headrace.local.input_files import InputFile, InputFiles

#: How long a list of the files that match is good for: files that come are noticed so much later.
LISTED_FOR_S: Final = 0.2

#: Bytes by which a file is known again.
HEAD_BYTES: Final = 256

#: What makes a path a pattern.
_WILD: Final = frozenset("*?[")

#: How many bytes of a file, by its name, may be read, None if all.
Limit = Callable[[str], int | None]


class FileSequence:
    """The files of one input of a job; names and patterns start from `folder`."""

    def __init__(
        self, name: str, pattern: str, folder: Path, record: InputFiles, clock: Clock, limit: Limit
    ) -> None:
        self._name, self._pattern, self._folder = name, pattern, folder
        self._record, self._clock, self._limit = record, clock, limit
        self._saved = record.since(0)
        self._files = list(self._saved)
        self._changed_from: int | None = None
        self._listed: list[str] = []
        self._listed_until_ns = 0
        self._known_to_be_files: set[str] = set()
        self._left_checked = False
        self._open: tuple[int, LineFile] | None = None
        self._asked = (-1, -1)

    # --- reading --------------------------------------------------------------------------------------

    def file(self, number: int, at: int) -> LineFile | None:
        """Return a file to read from a position on; None if it is not there yet, or is gone and was read."""
        if self._open is not None and self._open[0] == number:
            return self._open[1]
        if number >= len(self._files) and not self._begun(number):
            return None
        known = self._files[number]
        try:
            opened = self._line_file(known.name)
        except FileNotFoundError:
            if at >= known.size_bytes:
                return None
            raise UserError(
                f"{self._whole_name(known.name)} is gone, and was read only to byte {at:,} of "
                f"{known.size_bytes:,}. Put it back; files may be removed once they were read to their end. "
                + under_another_name("what is there now")
            ) from None
        self._keep_open(number, opened)
        head = opened.bytes_at(0, min(len(known.head), opened.size_bytes()))
        if not known.head.startswith(head):
            raise self._replaced(known.name)
        return opened

    def bounds(self, number: int, at: int) -> tuple[int, bool]:
        """Return how far the open file may be read from a position on, and whether all up to there is whole.

        Where a line was taken without a newline, what was added to it later is a line of its own, and what
        was added to a file that was left is not read.
        """
        known = self._files[number]
        size_bytes = self.size_bytes(number)
        if size_bytes < at:
            raise too_short(self._whole_name(known.name), at, size_bytes)
        cut = next((cut for cut in known.cuts if cut > at), None)
        if cut is not None:
            return cut, True
        if number + 1 < len(self._files):
            return known.size_bytes, True
        return size_bytes, self._asked == (number, size_bytes)

    def begins_line(self, number: int, at: int) -> bool:
        """Tell whether a position in the open file is the first of a line."""
        assert self._open is not None
        return at in self._files[number].cuts or self._open[1].begins_line(at)

    def size_bytes(self, number: int) -> int:
        """Return how much of the open file there is to read."""
        assert self._open is not None
        return self._readable(self._open[1], self._files[number].name)

    def later(self, number: int) -> bool:
        """Tell whether a file stands behind this one, so that what this one ends with is whole."""
        if number + 1 < len(self._files):
            return True
        self._list()
        return bool(self._files and self._coming())

    def cut(self, number: int, at: int) -> None:
        """Note that a line was taken up to a position though no newline ends it."""
        known = self._files[number]
        if at not in known.cuts:
            self._change(number, known._replace(cuts=(*known.cuts, at)))

    def leave(self, number: int, at: int) -> bool:
        """Note that a file was read to its end, and begin the one behind it; false if that is gone."""
        if number + 1 < len(self._files):
            return True
        begun = self._begin_next(number + 1)
        if begun is not None:
            self._change(number, self._files[number]._replace(size_bytes=at))
            self._change(number + 1, begun)
        return begun is not None

    def save(self) -> bool:
        """Put on record what has changed, before anything that was read is handed on.

        False if another process went on meanwhile: what was read is to be read again, by its record.
        """
        first = self._changed_from
        if first is None:
            return True
        saved = self._record.save(first, self._saved[first:], self._files[first:])
        if saved:
            self._saved = list(self._files)
        else:
            self._saved.clear()
        self._changed_from = None
        if not saved:
            self._load()
        return saved

    def close(self) -> None:
        """Close what is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    # --- the end --------------------------------------------------------------------------------------

    def end(self) -> tuple[int, int]:
        """Return the number of the last file that holds something, and the position behind its last text.

        All files there are now are begun by that. Whoever asks has it that all that is in them is whole: a
        last line that no newline ends is a line, unless it goes on growing. Raises `UserError` where a single
        file is asked for that is not there.
        """
        self._begin_all()
        if not self._files and not is_pattern(self._pattern):
            raise UserError(
                f"there is no file {self._whole_name(self._pattern)}. "
                f"Check inputs.{self._name}.path, or make the file"
            )
        self._asked = (-1, -1)
        for number, known in reversed(list(enumerate(self._files))):
            with (
                contextlib.suppress(FileNotFoundError),
                contextlib.closing(self._line_file(known.name)) as file,
            ):
                size_bytes = self._readable(file, known.name)
                if self._asked[0] < 0:
                    self._asked = (number, size_bytes)
                behind = file.behind_text(size_bytes)
                if behind:
                    return number, behind
        return 0, 0

    def oldest(self) -> int:
        """Return the number of the first file that is still there, 0 if there is none."""
        self._load()
        there = (n for n, file in enumerate(self._files) if (self._folder / file.name).exists())
        return next(there, 0)

    def _begin_all(self) -> None:
        """Put all files there are on record."""
        while True:
            self._load()
            self._listed_until_ns = 0
            self._list()
            if not self._files and not self._begun(0):
                return
            number = len(self._files) - 1
            while self._coming() and self.leave(number, self._size_on_disk(number)):
                number += 1
            if self.save():
                return

    def _size_on_disk(self, number: int) -> int:
        known = self._files[number]
        with contextlib.suppress(FileNotFoundError), contextlib.closing(self._line_file(known.name)) as file:
            return self._readable(file, known.name)
        return known.size_bytes

    # --- beginning files ------------------------------------------------------------------------------

    def _begun(self, number: int) -> bool:
        """Tell whether a file is on record now, or was begun as the first one."""
        self._load()
        if number < len(self._files):
            return True
        if number:
            raise Fatal(
                f"input '{self._name}' was read into file number {number + 1}, and only {len(self._files)} "
                "are on record: the namespace was put back from a copy, or is damaged"
            )
        self._list()
        begun = self._begin_next(0)
        if begun is None:
            return False
        self._change(0, begun)
        return True

    def _begin_next(self, number: int) -> InputFile | None:
        """Open the file that comes next, and return what is on record of it."""
        for name in self._coming():
            try:
                opened = self._line_file(name)
            except FileNotFoundError:  # gone before it was begun
                continue
            self._keep_open(number, opened)
            size_bytes = self._readable(opened, name)
            return InputFile(name, opened.bytes_at(0, min(HEAD_BYTES, size_bytes)), size_bytes)
        return None

    def _change(self, number: int, file: InputFile) -> None:
        self._files[number:] = [file, *self._files[number + 1 :]]
        self._changed_from = number if self._changed_from is None else min(number, self._changed_from)

    def _load(self) -> None:
        """Take over what other processes have put on record, unless something is still to be saved."""
        if self._changed_from is not None:
            return
        first = max(0, len(self._saved) - 1)
        self._saved[first:] = self._record.since(first)
        self._files = list(self._saved)
        if self._open is not None and self._open[0] >= len(self._files):
            self.close()

    def _keep_open(self, number: int, file: LineFile) -> None:
        self.close()
        self._open = (number, file)

    def _line_file(self, name: str) -> LineFile:
        return LineFile(self._folder / name, self._whole_name(name))

    def _readable(self, file: LineFile, name: str) -> int:
        """Return how much there is to read of a file: of one that a job writes, what is committed."""
        limit = self._limit(name)
        size_bytes = file.size_bytes()
        return size_bytes if limit is None else min(limit, size_bytes)

    def _whole_name(self, name: str) -> str:
        return str(self._folder / name)

    # --- what is there --------------------------------------------------------------------------------

    def _coming(self) -> list[str]:
        """Return the names behind the last file that was begun, in order."""
        if not self._files:
            return self._listed
        return self._listed[bisect_right(self._listed, self._files[-1].name) :]

    def _list(self) -> None:
        """Look, now and then, which files there are, and whether those that were begun are as they were."""
        if self._clock.monotonic_ns() < self._listed_until_ns:
            return
        self._listed = [name for name in matching(self._folder, self._pattern) if self._is_file(name)]
        self._listed_until_ns = self._clock.monotonic_ns() + int(LISTED_FOR_S * 1e9)
        if not self._files:
            return
        begun = {file.name for file in self._files}
        between = [name for name in self._listed if name < self._files[-1].name and name not in begun]
        if between:
            raise UserError(
                f"{self._whole_name(between[0])} came too late: files are read in order of their names, and "
                f"{self._files[-1].name} has been begun. Rename it so that its name sorts behind that one, "
                f"or move it away. {under_another_name('all files')}"
            )
        if self._open is not None and not self._open[1].is_in_place():
            raise self._replaced(self._files[self._open[0]].name)
        # Of those left, only the last may still be held by its writer; a start looks at all.
        for file in self._files[-2:-1] if self._left_checked else self._files[:-1]:
            self._check_left(file)
        self._left_checked = True

    def _is_file(self, name: str) -> bool:
        if name not in self._known_to_be_files and not os.path.isdir(self._folder / name):
            self._known_to_be_files.add(name)
        return name in self._known_to_be_files

    def _check_left(self, known: InputFile) -> None:
        """Raise `UserError` if lines were added to a file after it was left; nobody would read them."""
        with contextlib.suppress(FileNotFoundError), contextlib.closing(self._line_file(known.name)) as file:
            added_bytes = self._readable(file, known.name) - known.size_bytes
            if added_bytes > 0 and file.behind_text(file.size_bytes()) > known.size_bytes:
                raise UserError(
                    f"{file.name} was read to its end, byte {known.size_bytes:,}, and left when a later file "
                    f"was there; {added_bytes:,} bytes were added since. Move them to a new file whose name "
                    f"sorts behind, and cut this one back: `truncate -s {known.size_bytes} {file.name}`"
                )

    def _replaced(self, name: str) -> UserError:
        return UserError(
            f"{self._whole_name(name)} is another file than the one that was read under this name, and the "
            "place in it means nothing. Put the old one back; new files need new names, which sort behind. "
            + under_another_name("what is there now")
        )


def is_pattern(path: str) -> bool:
    """Tell whether a path is a pattern."""
    return not _WILD.isdisjoint(path)


def matching(folder: Path, pattern: str) -> list[str]:
    """Return the names that a path or pattern matches, in order; from `folder` if it is relative."""
    names = sorted(glob.glob(pattern, root_dir=folder, recursive=True))
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the name of {name!r} is not UTF-8: rename the file") from None
    return names
