"""What all suites need: skipping, running without pytest, time limits, and counting what stays open."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

from headrace.clock import Clock
from headrace.errors import Transient

#: A call that must not block is done in this time even on a busy machine.
AT_ONCE_S: Final = 1.0

#: Threads that were told to end have this long to do so.
_ENDING_S: Final = 2.0

#: Calls after a connection was mended until one must go through, and the wait between them.
_CALLS_TO_RECOVER: Final = 20
_WAIT_S: Final = 0.5

_DESCRIPTORS: Final = Path("/proc/self/fd")


def skip_unless(able: object, what: str) -> None:
    """Skip the test, as pytest and unittest know it, where a harness says that there is nothing to see."""
    if not able:
        raise SkipTest(f"{what}: not with this connector")


def verdicts(
    suite: type[Any], opened: Callable[[], AbstractContextManager[Any]], *names: str
) -> dict[str, str]:
    """Run tests of a suite, each with a harness of its own; returns those that failed, and why.

    All of them, unless `names` are given. Whatever a test raises is a failure, except for a skip.
    """
    failed = {}
    for name in names or [name for name in dir(suite) if name.startswith("test_")]:
        with opened() as harness:
            try:
                getattr(suite(), name)(harness)
            except SkipTest:
                continue
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {error}"
    return failed


@contextlib.contextmanager
def at_once(what: str) -> Iterator[None]:
    """Fail if the block takes longer than a call that must not block may."""
    started_s = time.monotonic()
    yield
    took_s = time.monotonic() - started_s
    assert took_s < AT_ONCE_S, f"{what} took {took_s:.1f} s: it must not block"


def check_nothing_stays_open(use: Callable[[], object]) -> None:
    """Fail if `use`, which opens and closes a connector and returns it, leaves files or threads behind."""
    kept = [
        use()
    ]  # what stays the same after a first time is no leak, and nothing is closed by being dropped
    files, threads = _open_files(), threading.active_count()
    kept += [use() for _ in range(3)]
    until_s = time.monotonic() + _ENDING_S
    while threading.active_count() > threads and time.monotonic() < until_s:
        time.sleep(0.01)
    names = ", ".join(thread.name for thread in threading.enumerate())
    assert threading.active_count() <= threads, f"threads go on after close: {names}"
    assert _open_files() <= files, f"{_open_files() - files} files stay open after close, three times over"
    assert len(kept) == 4


def _open_files() -> int:
    return len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0


def check_transient(call: Callable[[], object], what: str) -> None:
    """Fail unless a call raises Transient, which is tried again, and nothing else."""
    try:
        call()
    except Transient:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__} and not Transient: {error}") from error
    raise AssertionError(f"{what} raised nothing: what it was given, or asked for, is lost")


def recovered(clock: Clock, call: Callable[[], Any]) -> Any:
    """Return what a call returns once the connection is back; it may take a few tries."""
    for _ in range(_CALLS_TO_RECOVER - 1):
        with contextlib.suppress(Transient):
            return call()
        clock.sleep(_WAIT_S)
    return call()
