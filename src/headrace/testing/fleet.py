"""Processes that a crash test starts, kills and starts again; no other process is ever touched."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headrace.clock import Clock

_LOG_TAIL_CHARS: Final = 600


@dataclass(slots=True)
class Member:
    """A place in the fleet, and the process that fills it now.

    `target` is what reports count it as; `armed` is the crash point, if any, at which the process is to die.
    """

    name: str
    target: str
    arguments: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    armed: str | None = None
    started_ns: int = 0
    exit_code: int | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs, as far as was looked."""
        return self.process is not None and self.exit_code is None

    def said(self) -> str:
        """Return the end of what the processes in this place wrote."""
        try:
            return self.log.read_text("utf-8", "replace")[-_LOG_TAIL_CHARS:].strip()
        except FileNotFoundError:
            return ""


@dataclass(slots=True)
class Fleet:
    """The processes of one run; leave it through `close`, which ends them all."""

    clock: Clock
    members: list[Member] = field(default_factory=list)

    def start(self, member: Member, armed: str | None = None, hits: int = 1) -> None:
        """Start the process of a place, told to die the `hits`-th time that it passes the point `armed`."""
        environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
        environment.pop("HEADRACE_CRASH_AT", None)
        if armed is not None:
            environment["HEADRACE_CRASH_AT"] = f"{armed}:{hits}"
        with member.log.open("ab") as log:
            member.process = subprocess.Popen(
                member.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        member.armed, member.exit_code, member.started_ns = armed, None, self.clock.monotonic_ns()

    def ended(self) -> list[Member]:
        """Return the places whose process ended since the last call; `exit_code` says how."""
        found = []
        for member in self.members:
            if member.process is not None and member.exit_code is None:
                member.exit_code = member.process.poll()
                if member.exit_code is not None:
                    found.append(member)
        return found

    def kill(self, members: Sequence[Member]) -> None:
        """Kill processes with SIGKILL, all before any of them is waited for, as a power cut would."""
        for member in members:
            if member.process is not None:
                member.process.send_signal(signal.SIGKILL)
        for member in members:
            if member.process is not None:
                member.exit_code = member.process.wait()

    def age_s(self, member: Member) -> float:
        """Return how long ago the process was started."""
        return (self.clock.monotonic_ns() - member.started_ns) / 1e9

    def report(self) -> str:
        """Return the state of every place, for a person who looks for a fault."""
        lines = []
        for member in self.members:
            state = "running" if member.alive else f"exit code {member.exit_code}"
            state = "not started" if member.process is None else state
            armed = f", armed with {member.armed}" if member.armed else ""
            lines.append(f"  {member.name}: {state}{armed}. {member.said()}".rstrip())
        return "\n".join(lines)

    def close(self) -> None:
        """End every process."""
        self.kill([member for member in self.members if member.alive])
