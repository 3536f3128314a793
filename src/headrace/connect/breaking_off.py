"""Breaking off a connection of PostgreSQL that hangs, so that a job can end: libpq alone waits for ever."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from headrace.connect.retry import BROKEN_OFF_AFTER_S
from headrace.errors import Transient

#: How long the server may take to be told that a statement is cancelled.
_CANCEL_TIMEOUT_S: Final = 1.0

#: How often it is looked whether a connection that is being made is still wanted.
_LOOK_EVERY_S: Final = 0.05


class BreakingOff:
    """What of one line of connections may be broken off; `interrupt` is for a signal handler."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._connection: Any = None
        self._asked = False

    def connected(self, connect: Callable[[], Any]) -> Any:
        """Return a connection, made in a thread: the driver does not look up while it makes one.

        Raises Transient soon after it is not wanted any more; one that comes later is closed.
        """
        made = _Made(connect)
        while not made.done.wait(_LOOK_EVERY_S):
            if self._asked and made.abandon():
                raise Transient("it does not answer, and the job is to end")
        return made.result()

    @contextlib.contextmanager
    def over(self, connection: Any) -> Iterator[None]:
        """Have a connection broken off while the block runs, once that is asked for, or soon if it was."""
        self._connection = connection
        timer: threading.Timer | None = None
        if self._asked:
            timer = threading.Timer(BROKEN_OFF_AFTER_S, self._break_off)
            timer.daemon = True
            timer.start()
        try:
            yield
        finally:
            self._connection = None
            if timer is not None:
                timer.cancel()

    def interrupt(self) -> None:
        """Break off what is being done, and soon what is begun from now on."""
        self._asked = True
        self._break_off()

    def _break_off(self) -> None:
        """Cancel the statement, so that the server lets go of its locks; then cut the connection.

        The server may not answer, and the next statement might hang as well.
        """
        connection = self._connection
        if connection is None:
            return
        with contextlib.suppress(self._driver.Error, OSError):
            if self._driver.capabilities.has_cancel_safe():  # the earlier way may wait for ever itself
                connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
        with contextlib.suppress(self._driver.Error, OSError):  # it may have ended meanwhile
            own = os.dup(connection.pgconn.socket)
            with socket.socket(fileno=own) as wire:
                wire.shutdown(socket.SHUT_RDWR)


class _Made:
    """A connection that a thread makes; the process does not wait for the thread."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self.done = threading.Event()
        self._turn = threading.Lock()
        self._abandoned = False
        self._connection: Any = None
        self._error: BaseException | None = None
        threading.Thread(target=self._make, args=(connect,), name="connect", daemon=True).start()

    def _make(self, connect: Callable[[], Any]) -> None:
        try:
            self._connection = connect()
        except BaseException as error:
            self._error = error
        with self._turn:
            self.done.set()
            if self._abandoned and self._connection is not None:
                self._connection.close()

    def abandon(self) -> bool:
        """Let go of it; false if it is there by now."""
        with self._turn:
            self._abandoned = not self.done.is_set()
            return self._abandoned

    def result(self) -> Any:
        """Return the connection. Raises what making it raised."""
        if self._error is not None:
            raise self._error
        return self._connection
