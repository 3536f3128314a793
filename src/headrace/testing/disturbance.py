"""The faults of a crash test: who is killed when, and at which named point, from a seed."""

from __future__ import annotations

import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from headrace.clock import Clock
from headrace.faults import points_of
from headrace.testing.fleet import Member
from headrace.testing.observed import JOBS
from headrace.testing.pipeline import PUBLISHER, Pipeline

#: Where a process of the pipeline can die; it writes no files, and no output of it refuses rows.
POINTS: Final = tuple(point for point in points_of("hub", "job") if point != "job.staged")

#: The points that a process passes. Job `pass` publishes to a hub, job `classify` delivers nothing.
REACHABLE: Final = {
    PUBLISHER: [point for point in POINTS if point.startswith("hub.")],
    JOBS[0]: list(POINTS),
    JOBS[1]: [point for point in POINTS if point.startswith("job.") and "deliver" not in point],
}

#: Every period draws its faults anew: in a quarter of them nothing happens (as in Jepsen's schedules), now
#: and then everything dies at once, else one process does.
CALM_SHARE: Final = 0.25
POWER_CUT_SHARE: Final = 0.04

#: The share of starts that are told to die at a named point (a publisher has only two), at which passage at
#: the latest (early ones are likelier), and how long they are otherwise left alone so that they come to it.
ARMED_SHARE: Final = {PUBLISHER: 0.3, JOBS[0]: 0.7, JOBS[1]: 0.7}
MOST_HITS: Final = 20
PATIENCE_S: Final = 15.0

#: A process needs about half a second to start: shorter periods would kill little but newborn ones.
SHORTEST_PERIOD_S: Final = 0.1
LONGEST_PERIOD_S: Final = 0.9

#: The share of deaths at random moments that may meet a process that still starts; the others wait for one
#: that works, which a publisher does at this age and an instance once it has reported itself.
NEWBORN_SHARE: Final = 0.15
PUBLISHER_WORKS_AFTER_S: Final = 1.0

#: The last part of the events stays back for processes that are still to reach their point.
HELD_BACK: Final = 0.1

_LOOK_S: Final = 0.01
_ASK_AGAIN_S: Final = 0.05
_SHARE_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Period:
    """What a period brings at its end, drawn at its beginning."""

    end_ns: int
    drawn: float
    victim: Member
    newborn: bool

    @property
    def calm(self) -> bool:
        """Whether nothing happens."""
        return self.drawn < CALM_SHARE

    @property
    def power_cut(self) -> bool:
        """Whether everything dies at once."""
        return CALM_SHARE <= self.drawn < CALM_SHARE + POWER_CUT_SHARE


@dataclass(slots=True)
class Disturbance:
    """Kills processes of a pipeline until `wanted` have died and every point was hit, or twice as many died.

    `unexpected` names deaths and exits that nobody asked for: they are violations.
    """

    pipeline: Pipeline
    wanted: int
    seed: int
    clock: Clock
    by_target: Counter[str] = field(default_factory=Counter)
    by_point: Counter[str] = field(default_factory=Counter)
    at_random: int = 0
    power_cuts: int = 0
    unexpected: list[str] = field(default_factory=list)
    _chances: dict[str, random.Random] = field(default_factory=dict)
    _period: _Period = field(init=False)
    _share_ns: int = 0
    _killed_ns: int = 0

    def __post_init__(self) -> None:
        self._killed_ns = self.clock.monotonic_ns()
        self._begin_period()

    def _chance(self, purpose: str) -> random.Random:
        """Return the dice for one purpose: they fall the same however often others are thrown."""
        dice = random.Random(f"{self.seed}/{purpose}")  # noqa: S311 - a schedule, not a secret
        return self._chances.setdefault(purpose, dice)

    @property
    def kills(self) -> int:
        """How many processes died."""
        return self.by_target.total()

    def run(self) -> None:
        """Disturb, then leave every place filled with a process that no point kills."""
        while not self._done():
            self.pipeline.check_time()
            self._replace_dead()
            if self.clock.monotonic_ns() >= self._period.end_ns and self._strike():
                self._begin_period()
            self._let_events_flow()
            self.clock.sleep(_LOOK_S)
        self._heal()

    @property
    def _overtime(self) -> bool:
        """Whether enough have died, and only a point is still to be hit."""
        return self.kills >= self.wanted

    def _done(self) -> bool:
        every_point = all(self.by_point[point] for point in POINTS)
        return self.kills >= (self.wanted if every_point else 2 * self.wanted)

    def _begin_period(self) -> None:
        chance = self._chance("periods")
        length_s = chance.uniform(SHORTEST_PERIOD_S, LONGEST_PERIOD_S)
        self._period = _Period(
            end_ns=self.clock.monotonic_ns() + int(length_s * 1e9),
            drawn=chance.random(),
            victim=chance.choice(self.pipeline.fleet.members),
            newborn=chance.random() < NEWBORN_SHARE,
        )

    def _strike(self) -> bool:
        """Do what this period brings; false while its victim still starts."""
        period = self._period
        armed = period.victim.armed and self.pipeline.fleet.age_s(period.victim) < PATIENCE_S
        if period.power_cut:
            self.power_cuts += 1
            self._kill(self.pipeline.fleet.members)
        elif not period.calm and not armed:
            if not period.newborn and not self._works(period.victim):
                self.clock.sleep(_ASK_AGAIN_S)
                return False
            self._kill([period.victim])
        return True

    def _works(self, member: Member) -> bool:
        """Tell whether a process has finished starting."""
        if member.target == PUBLISHER:
            return self.pipeline.fleet.age_s(member) > PUBLISHER_WORKS_AFTER_S
        return member.process is not None and member.process.pid in self.pipeline.reported()

    def _kill(self, members: list[Member]) -> None:
        self._replace_dead()
        self.pipeline.fleet.kill(members)
        for member in members:
            self.at_random += 1
            self._count(member)
            self._start(member)

    def _replace_dead(self) -> None:
        """Count the processes that died at their point, and start them again at once."""
        for member in self.pipeline.fleet.ended():
            if member.exit_code == -signal.SIGKILL and member.armed is not None:
                self.by_point[member.armed] += 1
                self._count(member)
            else:
                self.unexpected.append(
                    f"{member.name} ended with exit code {member.exit_code}: {member.said()}"
                )
                if len(self.unexpected) > self.wanted:
                    raise self.pipeline.failed(f"{member.name} ends again and again")
            self._start(member)

    def _count(self, member: Member) -> None:
        self.by_target[member.target] += 1
        self._killed_ns = self.clock.monotonic_ns()

    def _start(self, member: Member) -> None:
        """Start a process again, often with the point that was hit least, so that each has its turn."""
        chance = self._chance(member.name)
        points = REACHABLE[member.target]
        fewest = min(self.by_point[point] for point in points)
        point = chance.choice([point for point in points if self.by_point[point] == fewest])
        hits = int(MOST_HITS ** chance.random())
        if self._overtime:
            self.pipeline.fleet.start(member, point)
        elif chance.random() < ARMED_SHARE[member.target]:
            self.pipeline.fleet.start(member, point, hits)
        else:
            self.pipeline.fleet.start(member)

    def _let_events_flow(self) -> None:
        """Let as large a share of the events through as there were kills, evenly between two of them."""
        now_ns = self.clock.monotonic_ns()
        if now_ns < self._share_ns:
            return
        self._share_ns = now_ns + int(_SHARE_EVERY_S * 1e9)
        mean_s = (SHORTEST_PERIOD_S + LONGEST_PERIOD_S) / 2
        since_kill = min(3.0, (now_ns - self._killed_ns) / 1e9 / mean_s)
        share = (self.kills + since_kill) / self.wanted
        if share < 1:
            self.pipeline.allow(share * (1 - HELD_BACK))
        else:
            self.pipeline.allow(1 - HELD_BACK / (1 + share))

    def _heal(self) -> None:
        """Take the place of processes that are still to die at a point."""
        self._replace_dead()
        armed = [member for member in self.pipeline.fleet.members if member.armed is not None]
        self.pipeline.fleet.kill(armed)
        for member in armed:
            self.at_random += 1
            self._count(member)
            self.pipeline.fleet.start(member)
