"""An instance that is started before it may run: most of a start is loading code, and that needs no leave.

It waits on its standard input once it has loaded. Whoever started it says a word when the jobs are checked
and theirs to run. If that word never comes, whatever the reason, the pipe closes, and the instance ends
without having touched anything.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

_WORD: Final = b"\n"


@dataclass(slots=True)
class Ahead:
    """A process that was started ahead; `process` is None once it may run, or if it could not be started."""

    process: subprocess.Popen[bytes] | None

    @classmethod
    def start(cls, arguments: Sequence[str]) -> Self:
        """Start the process; what keeps it from starting is met again, and told, when it is due."""
        try:
            with interrupts_held():
                return cls(subprocess.Popen(arguments, stdin=subprocess.PIPE))
        except OSError:
            return cls(None)

    def let_run(self) -> subprocess.Popen[bytes] | None:
        """Let the process run and hand it over; None if there is none, also in a second call."""
        process, self.process = self.process, None
        if process is not None:
            assert process.stdin is not None
            # If it died meanwhile, whoever watches it will see.
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(_WORD)
        return process

    def close(self) -> None:
        """End the process unless it was let run."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Let processes that are started in the block begin with SIGINT blocked.

    A terminal sends Ctrl-C to the whole group. One that loads its first modules cannot ignore it yet, and
    would print where that broke it off. This process gets behind the block what came meanwhile.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """In a process that was started so, take no SIGINT from now on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def may_run() -> bool:
    """In a process that was started ahead, wait; tell whether it may run."""
    return os.read(0, len(_WORD)) == _WORD
