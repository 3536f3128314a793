"""The bytes of a file, from any position on: as they are, or as they were before they were compressed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from headrace.errors import UserError, disk_error


class Unfinished(UserError):
    """A file that must be whole to be read is not: it is still being written, or was cut off."""


class FileBytes(Protocol):
    """A file that is open for reading; `name` is what messages call it.

    One that `grows` may get more bytes behind those it has; others are whole.
    """

    name: str
    grows: bool

    def size_bytes(self) -> int:
        """Return how many bytes there are now."""
        ...

    def bytes_at(self, position: int, size_bytes: int) -> bytes:
        """Return the bytes from a position on; raises `UserError` if there are fewer."""
        ...

    def keep_from(self, position: int) -> None:
        """Learn that nothing well before a position is asked for soon."""
        ...

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes of the file itself, by which it is known again."""
        ...

    def is_in_place(self) -> bool:
        """Tell whether the name still means this file, or nothing."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class PlainBytes:
    """A file as it is. Raises `FileNotFoundError`, and `UserError` for what is no file."""

    grows = True

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        with self._reading():
            # A pipe would be waited for: what is no file must not be opened at all.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise UserError(f"{name} is no file: a path or pattern must match nothing but files")
            self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def size_bytes(self) -> int:
        """Return how many bytes there are now."""
        return os.fstat(self.handle).st_size

    def bytes_at(self, position: int, size_bytes: int) -> bytes:
        """Return the bytes from a position on; raises `UserError` if there are fewer."""
        with self._reading():
            text = os.pread(self.handle, size_bytes, position)
            while len(text) < size_bytes:  # one call reads at most 2 GB
                more = os.pread(self.handle, size_bytes - len(text), position + len(text))
                if not more:
                    raise too_short(self.name, position + size_bytes, self.size_bytes())
                text += more
            return text

    def keep_from(self, position: int) -> None:
        """Nothing is kept."""

    def head(self, size_bytes: int) -> bytes:
        """Return the first bytes, by which the file is known again."""
        return self.bytes_at(0, min(size_bytes, self.size_bytes()))

    def is_in_place(self) -> bool:
        """Tell whether the name still means this file, or nothing."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self.path), os.fstat(self.handle))
        return True

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_error(error.errno or 0, self.name, "read") from None


def too_short(name: str, expected_bytes: int, found_bytes: int) -> UserError:
    """Return what a user is told of a file that lost bytes which were there."""
    return UserError(
        f"{name} is shorter than it was: it ends at byte {found_bytes:,}, and had {expected_bytes:,}. A file "
        "that is read may grow, but what is in it must stay. Put it back as it was. "
        + under_another_name("what is there now")
    )


def under_another_name(what: str) -> str:
    """Return the advice that always helps: to let the job read anew."""
    return f"Under another name of the input the job reads {what} from the beginning"
