"""Asking a target again: what it wishes, how long to wait by oneself, and waits that a signal cuts short."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, Protocol, runtime_checkable

from headrace.errors import Transient

#: What becomes of rows that a target does not take: the job waits, or stops; or they are dead letters.
OnError = Literal["retry", "dead-letter"]

#: What is begun after an instance was asked to end, and hangs, is broken off by then.
BROKEN_OFF_AFTER_S: Final = 3.0

#: Waits so many seconds; true if a signal came since the waiting was set up, at once if it came before.
Wait = Callable[[float], bool]


class NotNow(Transient):
    """A target that takes nothing for now, and how long it wishes to be left alone.

    Of the block that it was given the first `settled` rows need nothing more, but for those `refused`.
    """

    def __init__(
        self,
        message: str,
        wished_wait_s: float = 0.0,
        *,
        settled: int = 0,
        refused: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.wished_wait_s, self.settled, self.refused = wished_wait_s, settled, dict(refused or {})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a target is asked again, and what becomes of rows that it does not take.

    Without `sets_aside` it is asked for ever, and rows that it refuses for good stop the job. With it these
    are dead letters; so are those that it has not taken after `max_tries`, or `give_up_s`, in a row.
    """

    sets_aside: bool = False
    max_tries: int | None = None
    give_up_s: float | None = None

    @classmethod
    def of(
        cls, on_error: OnError, max_tries: int | None = None, give_up_seconds: float | None = None
    ) -> Patience:
        """Return what settings say; raises ValueError where they contradict each other."""
        if on_error == "retry" and (max_tries is not None or give_up_seconds is not None):
            raise ValueError(
                'max_tries and give_up_seconds need on_error = "dead-letter": where the rows go that the '
                "target did not take"
            )
        return cls(on_error == "dead-letter", max_tries, give_up_seconds)


@runtime_checkable
class Patient(Protocol):
    """A remote output whose settings say how long its target is asked again."""

    patience: Patience


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
