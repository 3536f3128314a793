"""One run of the campaign's project: a supervisor for each job, a publisher for each hub, and the target."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from headrace.clock import Clock
from headrace.testing.campaign.events import (
    BLOCK_EVENTS,
    LABELLED_EVERY,
    LABELS,
    MAX_READINGS,
    READINGS,
    Timeline,
)
from headrace.testing.campaign.jobs import GRADING, Job, settings_of
from headrace.testing.campaign.processes import Child, instances_of, is_alive, send
from headrace.testing.campaign.publisher import Due
from headrace.testing.fleet import Fleet, Member
from headrace.testing.pipeline import CrashTestError
from headrace.testing.webhook_target import URL_FILE

PUBLISHER: Final = "publisher"
TARGET: Final = "target"

#: The exit code that asks for another start.
TRY_AGAIN: Final = 3

#: What is published in the end fills the last block of both hubs.
_WHOLE: Final = BLOCK_EVENTS * LABELLED_EVERY

_LOOK_S: Final = 0.01
_START_TIMEOUT_S: Final = 30.0


@dataclass(slots=True)
class Run:
    """The project in a folder of its own; use it in a ``with`` block, which ends every process.

    `timeout_s` is for any one thing that is waited for.
    """

    folder: Path
    jobs: Sequence[Job]
    instances: int
    timeline: Timeline
    clock: Clock
    seed: int
    timeout_s: float
    fleet: Fleet = field(init=False)
    publishers: list[Member] = field(init=False)
    supervisors: dict[str, Member] = field(init=False)
    #: Instances whose supervisor was killed, as far as they may still run.
    orphans: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.fleet = Fleet(self.clock)
        self.publishers = [self._publisher(hub) for hub in (READINGS, LABELS)]
        self.supervisors = {job.name: self.command(job.name, "run", job.name) for job in self.jobs}
        self.fleet.members += [*self.publishers, *self.supervisors.values()]
        self.due(0)

    @property
    def data(self) -> Path:
        """The folder of the namespace."""
        return self.folder / ".headrace"

    @property
    def _due_file(self) -> Path:
        return self.folder / "due"

    def command(self, name: str, *words: str) -> Member:
        """Return a place for a ``headrace`` command on the project."""
        return self._member(name, ["headrace.cli", *words, "--project", str(self.folder)])

    def _publisher(self, hub: str) -> Member:
        words = [str(self.folder), hub, str(self.timeline.begin_ms), str(self._due_file)]
        return self._member(f"{PUBLISHER}-{hub}", ["headrace.testing.campaign.publisher", *words])

    def _member(self, name: str, words: Sequence[str]) -> Member:
        return Member(name, name, [sys.executable, "-m", *words], self.folder / f"{name}.log")

    # --- from start to end ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the target, and then everything that may be killed."""
        target = self._member(TARGET, ["headrace.testing.webhook_target", str(self.folder)])
        target.arguments = [*target.arguments, "--seed", str(self.seed)]
        self.fleet.start(target)
        self.fleet.members.append(target)
        url_file = self.folder / URL_FILE
        self.wait_until(url_file.exists, "the target of webhooks to serve", _START_TIMEOUT_S)
        settings = settings_of(self.jobs, self.instances, url_file.read_text("ascii"))
        (self.folder / "headrace.toml").write_text(settings, "utf-8")
        (self.folder / "grading.py").write_text(GRADING, "utf-8")
        for member in [*self.publishers, *self.supervisors.values()]:
            self.fleet.start(member)

    def due(self, readings: int, *, whole: bool = False) -> None:
        """Let the publishers publish so many readings; with `whole` those are all."""
        Due(min(readings, MAX_READINGS), whole).write(self._due_file)

    def finish(self, readings: int) -> int:
        """Publish the rest, let everything run to its end, and return how many readings there are in all."""
        total = min(-(-readings // _WHOLE) * _WHOLE, MAX_READINGS)
        self.due(total, whole=True)
        self._end(self.publishers, "everything to be published")
        for member in self.supervisors.values():
            if member.process is not None:
                member.process.terminate()
        # One whose target is not well at that moment says that there is something to try again.
        asked = list(self.supervisors.values())
        self._end(asked, "the jobs to end when they are asked to", well=(0, TRY_AGAIN))
        rest = self.command("rest", "run", "--until-end")
        self.fleet.members.append(rest)
        self.fleet.start(rest)
        self._end([rest], "the jobs to come to the end of their inputs")
        return total

    def _end(self, members: Sequence[Member], what: str, well: Sequence[int] = (0,)) -> None:
        def ended() -> bool:
            for member in self.fleet.ended():
                if member.exit_code not in well:
                    raise self.failed(f"{member.name} ended with exit code {member.exit_code}")
            return all(member.exit_code in well for member in members)

        self.wait_until(ended, what)

    def wait_until(self, done: Callable[[], bool], what: str, timeout_s: float | None = None) -> None:
        """Wait; raises `CrashTestError` when it takes too long."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        deadline_ns = self.clock.monotonic_ns() + int(limit_s * 1e9)
        while not done():
            if self.clock.monotonic_ns() > deadline_ns:
                raise self.failed(f"{limit_s:g} s are not enough for {what}")
            self.clock.sleep(_LOOK_S)

    def failed(self, why: str) -> CrashTestError:
        """Return the error that says why this run came to no end, with the state of all processes."""
        return CrashTestError(f"{self.folder}: {why}\n{self.fleet.report()}")

    # --- processes that die ---------------------------------------------------------------------------

    def children(self, job: str) -> list[Child]:
        """Return the instances that run under the job's supervisor."""
        process = self.supervisors[job].process
        return [] if process is None else instances_of(process.pid)

    def kill_tree(self, job: str) -> list[Child]:
        """Kill a supervisor and all its instances at one moment; returns the instances."""
        member = self.supervisors[job]
        if member.process is not None:
            send(member.process.pid, signal.SIGSTOP)  # so that it starts no other meanwhile
        children = self.children(job)
        for child in children:
            send(child.pid, signal.SIGKILL)
        self.fleet.kill([member])
        return children

    def kill_supervisor(self, job: str) -> None:
        """Kill a supervisor only: its instances find out, and end in their own time."""
        self.orphans += [child.pid for child in self.children(job)]
        self.fleet.kill([self.supervisors[job]])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self.supervisors:
            if self.supervisors[job].alive:
                self.kill_tree(job)
        for pid in self.orphans:
            if is_alive(pid) and str(self.folder) in _command_line(pid):
                send(pid, signal.SIGKILL)
        self.fleet.close()


def _command_line(pid: int) -> str:
    """Return the words of a process, nothing if it is gone: its number may be another's by now."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            return os.fsdecode(words.read()).replace("\0", " ")
    except OSError:
        return ""
