"""One run of the crash tests' project as processes: publishers, and every instance of both jobs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, Self

from headrace.clock import Clock
from headrace.errors import UserError
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.testing.fleet import Fleet, Member
from headrace.testing.numbered import NumberedStream
from headrace.testing.observed import HUB, INSTANCES, JOBS
from headrace.testing.publisher import write_share

PUBLISHER: Final = "publisher"

_LOOK_S: Final = 0.01


class CrashTestError(Exception):
    """A run that does not come to its end; the message has the state of all processes."""


@dataclass(slots=True)
class Pipeline:
    """The project in a folder of its own, with a publisher for each stream; use it in a ``with`` block."""

    folder: Path
    streams: Sequence[NumberedStream]
    clock: Clock
    timeout_s: float
    fleet: Fleet = field(init=False)
    _deadline_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        for file in resources.files("headrace.testing").joinpath("crash_project").iterdir():
            if file.is_file():
                (self.folder / file.name).write_bytes(file.read_bytes())
        self.allow(0)
        self.fleet = Fleet(self.clock)
        self.fleet.members += [self._publisher(stream) for stream in self.streams]
        self.fleet.members += [self._instance(job, number) for job in JOBS for number in range(INSTANCES)]
        self._deadline_ns = self.clock.monotonic_ns() + int(self.timeout_s * 1e9)

    @property
    def data(self) -> Path:
        """The folder of the namespace."""
        return self.folder / ".headrace"

    @property
    def _share_file(self) -> Path:
        return self.folder / "share"

    def _publisher(self, stream: NumberedStream) -> Member:
        words = [str(self.data / "hubs"), HUB, stream.source, str(stream.count), str(self._share_file)]
        return self._member(f"{PUBLISHER}-{stream.source}", PUBLISHER, ["headrace.testing.publisher", *words])

    def _instance(self, job: str, number: int) -> Member:
        words = ["run", job, "--instance", str(number), "--project", str(self.folder / "headrace.toml")]
        words += ["--parent", str(os.getpid())]
        return self._member(f"{job}-{number}", job, ["headrace.cli", *words])

    def _member(self, name: str, target: str, words: Sequence[str]) -> Member:
        return Member(name, target, [sys.executable, "-m", *words], self.folder / f"{name}.log")

    def start(self) -> None:
        """Start every process; a job's own do not make the namespace, as those of `headrace run` do not."""
        Namespace.open(self.data).close()
        for member in self.fleet.members:
            self.fleet.start(member)

    def allow(self, share: float) -> None:
        """Let the publishers publish a share of their events, 0 to 1."""
        write_share(self._share_file, share)

    def reported(self) -> set[int]:
        """Return the process ids of the instances that have begun to work.

        The namespace is closed again at once: SQLite mends a file after a power cut only when nobody has it
        open, and that is to happen here.
        """
        try:
            with Namespace.open(self.data, create=False) as namespace:
                return {state.pid for state in Progress(namespace).instances()}
        except UserError:  # nobody has made the namespace yet
            return set()

    def finish(self) -> None:
        """Let everything run to its end, upstream first. Raises `CrashTestError` when something does not."""
        self.allow(1)
        self._await(PUBLISHER)
        for job in JOBS:
            with Namespace.open(self.data, create=False) as namespace:
                Progress(namespace).request_stop(job, "end")
            self._await(job)

    def _await(self, target: str) -> None:
        awaited = [member for member in self.fleet.members if member.target == target]
        self.wait_until(lambda: all(member.exit_code == 0 for member in awaited))

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait while all is well."""
        while not done():
            for member in self.fleet.ended():
                if member.exit_code != 0:
                    raise self.failed(f"{member.name} ended with exit code {member.exit_code}")
            self.check_time()
            self.clock.sleep(_LOOK_S)

    def check_time(self) -> None:
        """Raise `CrashTestError` when the run has taken too long."""
        if self.clock.monotonic_ns() > self._deadline_ns:
            raise self.failed(f"not at its end after {self.timeout_s:g} s")

    def failed(self, why: str) -> CrashTestError:
        """Return the error that says why this run came to no end, with the state of all processes."""
        return CrashTestError(f"{self.folder.name}: {why}\n{self.fleet.report()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fleet.close()
