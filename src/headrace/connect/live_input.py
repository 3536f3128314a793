"""Input that arrives while it is read, such as a pipe: what was read is passed on before waiting for more."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Callable
from typing import Any, Final

#: A pause of a writer this long ends a block of events: they would otherwise wait for its next line.
PAUSE_S: Final = 0.05


class LiveInput(io.RawIOBase):
    """The bytes of a file descriptor; `before_wait` is called when none came for `PAUSE_S`.

    Read it through an `io.BufferedReader`. Closing it leaves the descriptor open.
    """

    def __init__(self, descriptor: int, before_wait: Callable[[], None]) -> None:
        self._descriptor, self._before_wait = descriptor, before_wait

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, waiting for at least a byte; returns 0 at the end."""
        if not select.select([self._descriptor], [], [], PAUSE_S)[0]:
            self._before_wait()
        found = os.read(self._descriptor, len(buffer))
        buffer[: len(found)] = found
        return len(found)
