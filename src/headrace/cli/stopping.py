"""Ending a verb that goes on until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Final

#: How often a waiting verb looks whether it was told to stop, in seconds.
STEP_S: Final = 0.1


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Take SIGTERM and SIGINT as a wish to end while the block runs; gives what tells whether one came."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda came, _frame: received.append(came))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
