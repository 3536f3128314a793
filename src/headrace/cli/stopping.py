"""Ending a verb that goes on until it is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

#: How often a waiting verb looks whether it was told to stop, in seconds.
STEP_S: Final = 0.1


def asked_to_stop() -> Callable[[], bool]:
    """Take SIGTERM and SIGINT as a wish to end; the result tells whether one came."""
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda came, _frame: received.append(came))
    return lambda: bool(received)
