"""Asking a server again: what it wishes, how long to wait by oneself, and waits that a signal cuts short."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime

#: Waits so many seconds; true if a signal came since the waiting was set up, at once if it came before.
Wait = Callable[[float], bool]


def retry_after_s(value: str, now_us: int) -> float:
    """Return the seconds that a Retry-After header asks for, 0 if it says nothing (RFC 9110, 10.2.3)."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - now_us / 1_000_000)


def backoff_s(failures: int, first_s: float, longest_s: float, jitter: float) -> float:
    """Return the wait after `failures` in a row: doubled each time, of which `jitter` (0 to 1) keeps half."""
    return min(first_s * 2.0 ** min(failures - 1, 30), longest_s) * (1 + jitter) / 2


@contextlib.contextmanager
def until_signalled() -> Iterator[Wait]:
    """Give a wait that ends when this process gets a signal, such as SIGTERM, that it has a handler for.

    Python resumes a plain sleep after the handler has run. Only the main thread gets signals; in another one
    the wait is a plain one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda seconds: threading.Event().wait(seconds)
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    try:
        yield lambda seconds: bool(select.select([told], [], [], seconds)[0])
    finally:
        signal.set_wakeup_fd(before)
        os.close(told)
        os.close(tell)
