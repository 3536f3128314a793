"""Files as one sequence: those that a path or pattern matches, one behind the other in their order.

A file gets its number when it is begun, and that is on record before anything that was read of it is handed
on: a position is a number and a byte or row, for ever. So a file that stands behind those begun may still
come, and the last one may grow. Where names tell a time a file may come late, and is the next one then: it is
the order in which they were begun that is on record. A file that is not whole when it must be, as one that is
compressed, is waited for. Whatever would make positions mean something else, or leave lines unread without
anybody noticing, is a `UserError` that says what and what to do.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Final

from headrace.clock import Clock
from headrace.connect.file_bytes import Unfinished, too_short, under_another_name
from headrace.connect.file_opening import Opener, OpenFile
from headrace.connect.file_patterns import PathPattern, closed_folder
from headrace.errors import Fatal, UserError
from headrace.local.input_files import InputFile, InputFiles

#: How long a list of the files that match is good for: files that come are noticed so much later.
LISTED_FOR_S: Final = 0.2

#: Bytes by which a file is known again.
HEAD_BYTES: Final = 256

#: How often folders are looked at that may not be looked into.
_CHECKED_FOR_S: Final = 10.0

#: A file that is not whole is not looked at for so many times as long as that took.
_PAUSE_PER_LOOK: Final = 9

#: What a file was when it was looked at: which one, its size and when it was written.
_Seen = tuple[int, int, int]

#: How many bytes of a file, by its name, may be read, None if all.
Limit = Callable[[str], int | None]


class FileSequence:
    """The files of one input of a job; names and patterns start from `folder`."""

    def __init__(
        self,
        name: str,
        pattern: PathPattern,
        folder: Path,
        record: InputFiles,
        opener: Opener,
        clock: Clock,
        limit: Limit,
    ) -> None:
        self._name, self._pattern, self._folder = name, pattern, folder
        self._record, self._opener, self._clock, self._limit = record, opener, clock, limit
        self._saved = record.since(0)
        self._files = list(self._saved)
        self._changed_from: int | None = None
        self._listed: list[str] = []
        self._listed_until_ns = self._checked_until_ns = 0
        #: Why the file that comes next cannot be begun yet, None if nothing is known against it.
        self.waits_for: str | None = None
        self._unfinished: tuple[str, _Seen, int] | None = None
        self._looking_since_ns = 0
        self._known_to_be_files: set[str] = set()
        self._left_checked = False
        self._open: tuple[int, OpenFile] | None = None
        self._asked = (-1, -1)

    # --- reading --------------------------------------------------------------------------------------

    def file(self, number: int, at: int) -> OpenFile | None:
        """Return a file to read from a position on; None if it is not there yet, or is gone and was read."""
        if self._open is not None and self._open[0] == number:
            return self._open[1]
        if number >= len(self._files) and not self._begun(number):
            return None
        known = self._files[number]
        try:
            opened = self._opened(known.name, known.size_bytes)
        except FileNotFoundError:
            if at >= known.size_bytes:
                return None
            raise UserError(
                f"{self._whole_name(known.name)} is gone, and was read only to byte {at:,} of "
                f"{known.size_bytes:,}. Put it back; files may be removed once they were read to their end. "
                + under_another_name("what is there now")
            ) from None
        self._keep_open(number, opened)
        if not known.head.startswith(opened.head(len(known.head))):
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
        whole = not self._open_now.grows or self._asked == (number, size_bytes)
        return size_bytes, whole

    def begins_line(self, number: int, at: int) -> bool:
        """Tell whether a position in the open file is the first of a line."""
        return at in self._files[number].cuts or self._open_now.begins_line(at)

    def size_bytes(self, number: int) -> int:
        """Return how much of the open file there is to read."""
        return self._readable(self._open_now, self._files[number].name)

    @property
    def _open_now(self) -> OpenFile:
        assert self._open is not None
        return self._open[1]

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
        file is asked for that is not there, and for one that is not whole.
        """
        self._begin_all()
        if self.waits_for is not None:
            raise UserError(f"{self.waits_for}. It is read once it is whole: finish it, or move it away")
        if not self._files and not self._pattern.is_pattern:
            raise UserError(f"{self._pattern.missing(self._folder)}. Check inputs.{self._name}.path")
        self._asked = (-1, -1)
        for number, known in reversed(list(enumerate(self._files))):
            with (
                contextlib.suppress(FileNotFoundError),
                contextlib.closing(self._opened(known.name, known.size_bytes)) as file,
            ):
                size_bytes = self._readable(file, known.name)
                if self._asked[0] < 0:
                    self._asked = (number, size_bytes)
                behind = file.behind_text(size_bytes)
                if behind:
                    return number, behind
        return 0, 0

    def oldest(self) -> tuple[int, int]:
        """Return the number of the first file that is still there, and its beginning.

        Where all that match a pattern are gone it is the end of the last one: what comes next is behind that.
        """
        self._load()
        there = (n for n, file in enumerate(self._files) if (self._folder / file.name).exists())
        number = next(there, None)
        if number is None and self._files and self._pattern.is_pattern:
            return len(self._files) - 1, self._files[-1].size_bytes
        return number or 0, 0

    def _begin_all(self) -> None:
        """Put all files there are on record."""
        while True:
            self._load()
            self._listed_until_ns, self._unfinished = 0, None
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
        with (
            contextlib.suppress(FileNotFoundError),
            contextlib.closing(self._opened(known.name, known.size_bytes)) as file,
        ):
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
                if self._is_unfinished(name):
                    return None
                self._looking_since_ns = self._clock.monotonic_ns()
                seen = _seen(self._folder / name)
                opened = self._opened(name)
            except FileNotFoundError:  # gone before it was begun
                continue
            except Unfinished as error:
                self._wait_for(name, seen, error)
                return None
            self.waits_for = None
            self._keep_open(number, opened)
            return InputFile(name, opened.head(HEAD_BYTES), self._readable(opened, name))
        self.waits_for = None
        return None

    def _is_unfinished(self, name: str) -> bool:
        """Tell whether a file was found not to be whole, and is as it was or was just looked at."""
        if self._unfinished is None or self._unfinished[0] != name:
            return False
        _, seen, again_ns = self._unfinished
        return _seen(self._folder / name) == seen or self._clock.monotonic_ns() < again_ns

    def _wait_for(self, name: str, seen: _Seen, error: Unfinished) -> None:
        """Note that a file is not whole yet: to look takes a while, so it is done less often the longer."""
        now_ns = self._clock.monotonic_ns()
        again_ns = now_ns + _PAUSE_PER_LOOK * (now_ns - self._looking_since_ns)
        self._unfinished = (name, seen, again_ns)
        self.waits_for = str(error)

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

    def _keep_open(self, number: int, file: OpenFile) -> None:
        self.close()
        self._open = (number, file)

    def _opened(self, name: str, known_size: int | None = None) -> OpenFile:
        return self._opener.open(self._folder / name, self._whole_name(name), known_size)

    def _readable(self, file: OpenFile, name: str) -> int:
        """Return how much there is to read of a file: of one that a job writes, what is committed."""
        limit = self._limit(name) if file.grows else None
        return file.size() if limit is None else min(limit, file.size())

    def _whole_name(self, name: str) -> str:
        return str(self._folder / name)

    # --- what is there --------------------------------------------------------------------------------

    def _coming(self) -> list[str]:
        """Return the names that come next, in order: those behind the last file begun, and late ones."""
        if not self._files:
            return self._listed
        if self._pattern.is_timed:
            begun = {file.name for file in self._files}
            return [name for name in self._listed if name not in begun]
        last = self._files[-1].name
        return self._listed[bisect_right(self._listed, last) :]

    def _list(self) -> None:
        """Look, now and then, which files there are, and whether those that were begun are as they were."""
        if self._clock.monotonic_ns() < self._listed_until_ns:
            return
        self._check_folders()
        self._listed = [name for name in self._pattern.matching(self._folder) if self._is_file(name)]
        self._listed_until_ns = self._clock.monotonic_ns() + int(LISTED_FOR_S * 1e9)
        if not self._files:
            return
        if not self._pattern.is_timed:
            self._check_order()
        if self._open is not None and not self._open[1].is_in_place():
            raise self._replaced(self._files[self._open[0]].name)
        # Of those left, only the last may still be held by its writer; a start looks at all.
        for file in self._files[-2:-1] if self._left_checked else self._files[:-1]:
            self._check_left(file)
        self._left_checked = True

    def _check_order(self) -> None:
        """Raise `UserError` for a file that came too late for its place."""
        begun = {file.name for file in self._files}
        between = [name for name in self._listed if name < self._files[-1].name and name not in begun]
        if between:
            raise UserError(
                f"{self._whole_name(between[0])} came too late: files are read in order of their names, and "
                f"{self._files[-1].name} has been begun. Rename it so that its name sorts behind that one, "
                f"or move it away. {under_another_name('all files')}"
            )

    def _check_folders(self) -> None:
        """Raise `UserError`, now and then, for a folder whose files would be missed without a word."""
        if self._clock.monotonic_ns() < self._checked_until_ns:
            return
        closed = closed_folder(self._folder, self._pattern.glob)
        if closed is not None:
            raise UserError(
                f"the folder {closed} may not be looked into, and inputs.{self._name}.path asks for files "
                f"there. Let this user read it: `chmod u+rx {closed}`"
            )
        self._checked_until_ns = self._clock.monotonic_ns() + int(_CHECKED_FOR_S * 1e9)

    def _is_file(self, name: str) -> bool:
        if name not in self._known_to_be_files and not os.path.isdir(self._folder / name):
            self._known_to_be_files.add(name)
        return name in self._known_to_be_files

    def _check_left(self, known: InputFile) -> None:
        """Raise `UserError` if lines were added to a file after it was left; nobody would read them."""
        if not self._opener.grows(known.name):
            return
        with contextlib.suppress(FileNotFoundError), contextlib.closing(self._opened(known.name)) as file:
            added_bytes = self._readable(file, known.name) - known.size_bytes
            if added_bytes > 0 and file.behind_text(file.size()) > known.size_bytes:
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


def _seen(path: Path) -> _Seen:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
