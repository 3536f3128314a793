"""One run: two instances of two threads, a watcher that enqueues, files that keep coming, and kills."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headrace.clock import Clock
from headrace.errors import HeadraceError
from headrace.faults import points_of
from headrace.local.namespace import Namespace
from headrace.local.progress import Progress
from headrace.local.queue import Depth, Queue
from headrace.testing.fleet import Fleet, Member
from headrace.testing.pipeline import CrashTestError
from headrace.testing.tags_campaign.files import TENANTS, TOO_OLD, Files

INSTANCES: Final = 2
JOB, INPUT, OUTPUT = "histories", "readings", "history"
WATCHER: Final = "watcher"

SETTINGS: Final = """
[inputs.readings]
kind = "dataset"
stores = {{ main = "in" }}
batch = 4
visibility_timeout_s = 10
max_deliveries = 1000000

[outputs.history]
kind = "series"
layout = "{layout}"

[tenants.acme]
weight = 2

[tenants.quiet]
urgent = true
{retention}
[jobs.histories]
sql = "SELECT tag, time, value INTO history FROM readings"
instances = 2
threads = 2
"""

_RETENTION: Final = """
[tenants.former]
retention_days = 3650
"""

#: Where the processes die: the first instance compacts, and drops what is too old.
_ENQUEUING: Final = ("series.enqueue.before_commit",)
_COMPACTING: Final = tuple(
    point for point in points_of("series") if point == "series.dropped" or ".compaction." in point
)
_WRITING: Final = tuple(
    point for point in points_of("series") if point not in _COMPACTING and point not in _ENQUEUING
)
POINTS: Final = (*_WRITING, *_COMPACTING, *_ENQUEUING)

#: Shares of strikes that kill everything at once, and of starts that are told to die at a point.
_POWER_CUT_SHARE: Final = 0.05
_ARMED_SHARE: Final = 0.4
_MOST_HITS: Final = 6

#: The share of random deaths that may meet a process that still starts, and when a watcher does not any more.
_NEWBORN_SHARE: Final = 0.15
_WATCHES_AFTER_S: Final = 1.0

#: How long an armed process may take to come to its point, and a period between two strikes.
_PATIENCE_S: Final = 12.0
_PERIOD_S: Final = (0.1, 0.9)

#: Files that wait at most, so that there is always something to do and never too much.
_WAITING_FILES: Final = 60
_LOOK_S: Final = 0.02
_ASK_EVERY_S: Final = 0.2


@dataclass(slots=True)
class Tally:
    """What was done to a run. `unexpected` names ends that nobody asked for: each is a violation."""

    by_place: Counter[str] = field(default_factory=Counter)
    by_point: Counter[str] = field(default_factory=Counter)
    at_random: int = 0
    power_cuts: int = 0
    unexpected: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many processes died."""
        return self.by_place.total()


@dataclass(slots=True)
class Run:
    """A project in `folder`, and its processes; leave it through `close`, which ends them all."""

    folder: Path
    layout: str
    seed: int
    clock: Clock
    timeout_s: float
    say: Callable[[str], None] = lambda _: None
    files: Files = field(init=False)
    fleet: Fleet = field(init=False)
    tally: Tally = field(default_factory=Tally)
    _dice: random.Random = field(init=False)
    _depth: Depth = field(default_factory=lambda: Depth(0, 0, 0, 0, 0, 0))
    _working: set[int] = field(default_factory=set)
    _asked_ns: int = 0
    _victim: tuple[Member | None, bool] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.files = Files(self.folder / "in")
        retention = _RETENTION if self.layout == "segments" else ""
        settings = SETTINGS.format(layout=self.layout, retention=retention)
        (self.folder / "headrace.toml").write_text(settings, "utf-8")
        self._dice = random.Random(self.seed)  # noqa: S311 - a schedule, not a secret
        self.fleet = Fleet(self.clock)
        self.fleet.members += [
            self._member(f"instance-{n}", "run", JOB, "--instance", str(n), "--parent", str(os.getpid()))
            for n in range(INSTANCES)
        ]
        self.fleet.members.append(
            self._member(WATCHER, "tags", "watch", "--interval-s", "0.1", "--settle", "0")
        )
        self._victim = self._chosen()
        (self.folder / "in").mkdir()
        Namespace.open(self.data).close()

    @property
    def data(self) -> Path:
        """The folder of the namespace."""
        return self.folder / ".headrace"

    def _member(self, name: str, *words: str) -> Member:
        command = [sys.executable, "-m", "headrace.cli", *words, "--project", str(self.folder)]
        return Member(name, name, command, self.folder / f"{name}.log")

    # --- from start to end ------------------------------------------------------------------------------

    def disturb(self, kills: int) -> None:
        """Kill until so many have died and every point was met, or twice as many died."""
        for member in self.fleet.members:
            self._start(member)
        met = POINTS if self.layout == "segments" else ()
        said_ns = strike_ns = 0
        while self.tally.kills < kills or (
            self.tally.kills < 2 * kills and any(not self.tally.by_point[point] for point in met)
        ):
            self._replace_dead()
            self._let_files_come()
            now_ns = self.clock.monotonic_ns()
            if now_ns >= strike_ns and self._strike():
                strike_ns = now_ns + int(self._dice.uniform(*_PERIOD_S) * 1e9)
            if now_ns - said_ns > 10e9:
                said_ns = now_ns
                self.say(f"{self.tally.kills} of {kills} kills, {self.files.count:,} files")
            self.clock.sleep(_LOOK_S)

    def finish(self) -> None:
        """Let everything come to its end, undisturbed."""
        self._replace_dead()
        armed = [member for member in self.fleet.members if member.armed is not None]
        self._kill(armed, again=False)
        for member in armed:
            self.fleet.start(member)
        self._wait(lambda: self._asked().sent == self.files.count, "all files to be enqueued")
        self.fleet.kill(self.fleet.members[INSTANCES:])
        with Namespace.open(self.data) as namespace:
            Progress(namespace).request_stop(JOB, "end")
        self._wait(lambda: not any(member.alive for member in self.fleet.members), "the job to end")
        rest = self._member("rest", "run", JOB, "--until-end")
        self.fleet.members.append(rest)
        self.fleet.start(rest)
        self._wait(lambda: not rest.alive, "what is left to be done")

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        deadline_ns = self.clock.monotonic_ns() + int(self.timeout_s * 1e9)
        while not done():
            for member in self.fleet.ended():
                if member.exit_code != 0:
                    raise self._failed(f"{member.name} ended with exit code {member.exit_code}")
            if self.clock.monotonic_ns() > deadline_ns:
                raise self._failed(f"{self.timeout_s:g} s are not enough for {what}")
            self.clock.sleep(_LOOK_S)

    def _failed(self, why: str) -> CrashTestError:
        return CrashTestError(f"{self.folder}: {why}\n{self.fleet.report()}")

    def close(self) -> None:
        """End every process."""
        self.fleet.close()

    # --- what comes, and who dies -------------------------------------------------------------------------

    def _asked(self) -> Depth:
        """Return how full the work queue is, asked now and then; the namespace is closed again at once."""
        now_ns = self.clock.monotonic_ns()
        if now_ns - self._asked_ns > _ASK_EVERY_S * 1e9:
            self._asked_ns = now_ns
            with contextlib.suppress(HeadraceError), Namespace.open(self.data, create=False) as namespace:
                self._depth = Queue(namespace, INPUT).depth()
                self._working = {state.pid for state in Progress(namespace).instances()}
        return self._depth

    def _let_files_come(self) -> None:
        depth = self._asked()
        if self.files.count - depth.finished < _WAITING_FILES:
            tenants = [name for name in TENANTS if name != TOO_OLD or self.layout == "segments"]
            self.files.add(self._dice.choice(tenants))

    def _strike(self) -> bool:
        """Kill whom this period is to meet, or everybody; false while that one is armed or still starts."""
        victim, newborn = self._victim
        if victim is None:
            self.tally.power_cuts += 1
            self._kill(self.fleet.members)
        else:
            patient = self.fleet.age_s(victim) < _PATIENCE_S
            if patient and (victim.armed or not (newborn or self._works(victim))):
                return False
            self._kill([victim])
        self._victim = self._chosen()
        return True

    def _chosen(self) -> tuple[Member | None, bool]:
        """Return who is to die next, None for everybody, and whether it may still be starting then."""
        newborn = self._dice.random() < _NEWBORN_SHARE
        if self._dice.random() < _POWER_CUT_SHARE:
            return None, newborn
        return self._dice.choice(self.fleet.members), newborn

    def _works(self, member: Member) -> bool:
        if member.name == WATCHER:
            return self.fleet.age_s(member) > _WATCHES_AFTER_S
        return member.process is not None and member.process.pid in self._working

    def _kill(self, members: list[Member], *, again: bool = True) -> None:
        self._replace_dead()
        self.fleet.kill(members)
        for member in members:
            self.tally.at_random += 1
            self.tally.by_place[member.name] += 1
            if again:
                self._start(member)

    def _replace_dead(self) -> None:
        for member in self.fleet.ended():
            if member.exit_code == -signal.SIGKILL and member.armed is not None:
                self.tally.by_point[member.armed] += 1
                self.tally.by_place[member.name] += 1
            else:
                what = f"{member.name} ended with exit code {member.exit_code}: {member.said()}"
                self.tally.unexpected.append(what)
                if len(self.tally.unexpected) > 20:
                    raise self._failed(f"{member.name} ends again and again")
            self._start(member)

    def _start(self, member: Member) -> None:
        """Start a process, often to die at the point that was met least of those that it passes."""
        if self._dice.random() >= _ARMED_SHARE:
            self.fleet.start(member)
            return
        points = _ENQUEUING if member.name == WATCHER else _WRITING
        if member.name == "instance-0" and self._dice.random() < 0.5:
            points = _COMPACTING
        fewest = min(self.tally.by_point[point] for point in points)
        point = self._dice.choice([point for point in points if self.tally.by_point[point] == fewest])
        hits = 1 if points is _COMPACTING else int(_MOST_HITS ** self._dice.random())
        self.fleet.start(member, point, hits)
