"""Processes below those that the campaign starts: which ones there are, and ending or pausing them by id."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import UserError


@dataclass(frozen=True, slots=True)
class Child:
    """A process that a supervisor started to run instance `instance` of its job."""

    pid: int
    instance: int


def require_proc() -> None:
    """Raise `UserError` where the system does not tell which processes a process has started."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        raise UserError("the campaign finds the instances of a job in /proc, as on Linux; there is none here")


def instances_of(pid: int) -> list[Child]:
    """Return the instances that a supervisor runs at this moment, in the order of their numbers."""
    pids: list[str] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += (task / "children").read_text("ascii").split()
    found = [Child(int(child), number) for child in pids if (number := _instance(int(child))) is not None]
    return sorted(found, key=lambda child: child.instance)


def _instance(pid: int) -> int | None:
    """Return the number after ``--instance``, None if the process is gone, or has only been forked."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        words = Path(f"/proc/{pid}/cmdline").read_text("utf-8").split("\0")
        if "--instance" in words:
            return int(words[words.index("--instance") + 1])
    return None


def is_alive(pid: int) -> bool:
    """Tell whether a process runs, or is paused: one that only waits to be buried does not."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] != "Z"
    return False


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; false if the process is gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def drop_locks(folder: Path, pid: int) -> int:
    """Take the lock files of a process away, as a file system does that lost its server; returns how many.

    The process keeps its locks on files that nobody finds any more, so that others can own its tasks.
    """
    held = locks_of(folder, pid)
    for lock in held:
        lock.unlink(missing_ok=True)
    return len(held)


def locks_of(folder: Path, pid: int) -> Sequence[Path]:
    """Return the files of `folder` in which the note of their owner names the process."""
    held = []
    for lock in folder.glob("*.lock"):
        with contextlib.suppress(OSError):
            if re.match(rf"process {pid} ", lock.read_text("utf-8", "replace")):
                held.append(lock)
    return held
