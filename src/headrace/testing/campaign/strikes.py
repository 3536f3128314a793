"""What happens to a run: who is killed, at which point or moment, and who is paused and overtaken."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from headrace.clock import Clock
from headrace.testing.campaign.flow import Flow
from headrace.testing.campaign.processes import drop_locks, is_alive, locks_of, send
from headrace.testing.campaign.run import PUBLISHER, Run
from headrace.testing.campaign.tally import HEIR, Ends, Tally
from headrace.testing.campaign.watching import Watch
from headrace.testing.fleet import Member

#: How likely each kind of strike is. `calm` lets everything run for a while.
_SHARES: Final = {
    "instance": 0.44,
    "point": 0.26,
    "publisher": 0.06,
    "supervisor": 0.06,
    "job": 0.05,
    "zombie": 0.06,
    "power": 0.02,
    "calm": 0.05,
}

#: ... and that of a point while there are some at which nobody has died yet.
_POINTS_TO_MEET_SHARE: Final = 1.0

#: Points that only jobs with such an output pass.
_OF_OUTPUTS: Final = {
    "hub.publish.before_commit": {"hub"},
    "hub.publish.after_commit": {"hub"},
    "job.staged": {"file"},
    "job.deliver.after_send": {"hub", "webhook"},
}

SHORTEST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 0.8
CALM_S: Final = 3.0

#: The share of strikes that may meet a job that is not back from the one before. An event on which the
#: process died again and again, alone, would be set aside as one that kills: more would look like that.
_UNRECOVERED_SHARE: Final = 0.15

#: How long an armed process may take to come to its point: a job that is back for so long does not pass it,
#: and once it has been tried with each job so often, none does. A publisher has nothing to be back with.
_PASSES_WITHIN_S: Final = 1.5
_TRIES_IN_VAIN: Final = 2
_PUBLISHES_WITHIN_S: Final = 6.0

#: How long a zombie may take to be overtaken and to be refused.
_TAKE_OVER_S: Final = 15.0
_REFUSAL_S: Final = 30.0

#: Points of the publishers, too.
_PUBLISHING: Final = "hub."

_LOOK_EVERY_S: Final = 0.05
_SAY_EVERY_S: Final = 10.0
_STEP_S: Final = 0.01


@dataclass(slots=True)
class Strikes:
    """Strikes a run until `wanted` processes have died and every point was met, or twice as many died.

    Points that none of the run's jobs passes count as met.
    """

    run: Run
    watch: Watch
    wanted: int
    flow: Flow
    clock: Clock
    say: Callable[[str], None] = lambda _: None
    tally: Tally = field(default_factory=Tally)
    _ends: Ends = field(init=False)
    _dice: random.Random = field(init=False)
    _strikes: dict[str, Callable[[], None]] = field(init=False)
    _looked_ns: int = 0
    _said_ns: int = 0
    #: Points that a job was armed with and did not come to, and how often.
    _in_vain: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.run.seed)  # noqa: S311 - a schedule, not a secret
        self._ends = Ends(self.run, self.tally)
        self._strikes = {
            "instance": self._instance,
            "point": self._point,
            "publisher": self._publisher,
            "supervisor": self._supervisor,
            "job": self._whole_job,
            "zombie": self._zombie,
            "power": self._power,
            "calm": self._calm,
        }

    def strike_until_done(self) -> None:
        """Strike, and leave everything running that should."""
        self._until(self._all_work, self.run.timeout_s, "all jobs to begin")
        while not self._done():
            self._wait(self._dice.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
            shares = _SHARES | ({"point": _POINTS_TO_MEET_SHARE} if self._to_meet() else {})
            kind = self._dice.choices(list(shares), list(shares.values()))[0]
            self.tally.strikes[kind] += 1
            self._strikes[kind]()
        for job in self.run.supervisors:
            self._until_back(job)
        self._ends.note()

    def _done(self) -> bool:
        return self.tally.killed >= (2 * self.wanted if self._to_meet() else self.wanted)

    def _to_meet(self) -> list[tuple[str, int]]:
        """Return the passages of points at which nobody has died yet, but some job may."""
        return [
            (point, hit)
            for point, hit in self.tally.missing()
            if point.startswith(_PUBLISHING)
            or any(self._in_vain[job, point] < _TRIES_IN_VAIN for job in self._jobs_that_pass(point))
        ]

    def _all_work(self) -> bool:
        return all(self.watch.committed(job) for job in self.run.supervisors)

    # --- time passes ----------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Let events flow for a while."""
        end_ns = self.clock.monotonic_ns() + int(seconds * 1e9)
        while self.clock.monotonic_ns() < end_ns:
            self._pass()

    def _within(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let events flow until something is so; false if it took too long."""
        end_ns = self.clock.monotonic_ns() + int(seconds * 1e9)
        while not done():
            if self.clock.monotonic_ns() > end_ns:
                return False
            self._pass()
        return True

    def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        if not self._within(done, seconds):
            raise self.run.failed(f"{seconds:g} s are not enough for {what}")

    def _until_back(self, job: str) -> None:
        self._until(lambda: self.watch.is_back(job), self.run.timeout_s, f"job {job} to be back")

    def _pass(self) -> None:
        self.clock.sleep(_STEP_S)
        now_ns = self.clock.monotonic_ns()
        if now_ns - self._looked_ns < _LOOK_EVERY_S * 1e9:
            return
        self._looked_ns = now_ns
        self.watch.look()
        self._ends.note()
        if self.watch.outage_s() > self.run.timeout_s:
            raise self.run.failed(f"a job is not back {self.run.timeout_s:g} s after it was struck")
        self.flow.go_on()
        if now_ns - self._said_ns > _SAY_EVERY_S * 1e9:
            self._said_ns = now_ns
            self.say(f"{self.tally.killed} of {self.wanted} kills, {self.flow.readings:,} readings")

    # --- kinds of strikes -----------------------------------------------------------------------------

    def _job(self) -> str:
        """Choose a job; mostly one that is back from the strike before."""
        jobs = list(self.run.supervisors)
        if self._dice.random() < _UNRECOVERED_SHARE:
            return self._dice.choice(jobs)
        self._until(lambda: any(map(self.watch.is_back, jobs)), self.run.timeout_s, "any job to be back")
        return self._dice.choice(list(filter(self.watch.is_back, jobs)))

    def _instance(self) -> None:
        """Kill an instance at a random moment; its supervisor starts it again."""
        job = self._job()
        children = self.run.children(job)
        if not children:
            return
        self.watch.struck([job], "instance")
        if send(self._dice.choice(children).pid, signal.SIGKILL):
            self.tally.kills["instance"] += 1

    def _point(self) -> None:
        """Start a job anew, all its instances to die at a point; after the first deaths, start it sound."""
        places = self._to_meet() or list(self.tally.points)
        if not places:
            return None
        point, hits = self._dice.choice(places)
        jobs = self._jobs_that_pass(point)
        if point.startswith(_PUBLISHING) and (not jobs or self._dice.random() < 0.5):
            return self._publisher_at(point, hits)
        fewest = min(self._in_vain[job, point] for job in jobs)
        job = self._dice.choice([job for job in jobs if self._in_vain[job, point] == fewest])
        self._until_back(job)
        self._kill_tree(job, "point")
        self.run.fleet.start(self.run.supervisors[job], point, hits)
        before = self.tally.kills["point"]
        self._within(
            lambda: self.tally.kills["point"] > before or self.watch.is_back(job), self.run.timeout_s
        )
        if self._within(lambda: self.tally.kills["point"] > before, _PASSES_WITHIN_S):
            self.tally.points[point, hits] += self.tally.kills["point"] - before
        else:
            self._in_vain[job, point] += 1
        self._kill_tree(job, "point")
        self.run.fleet.start(self.run.supervisors[job])
        return None

    def _jobs_that_pass(self, point: str) -> list[str]:
        """Return the jobs that may come to a point, as far as their outputs say."""
        kinds = _OF_OUTPUTS.get(point)
        return [
            job.name
            for job in self.run.jobs
            if kinds is None or any(output.kind in kinds for output in job.outputs)
        ]

    def _publisher_at(self, point: str, hits: int) -> None:
        publisher = self._dice.choice(self.run.publishers)
        self._kill_publisher(publisher)
        self.run.fleet.start(publisher, point, hits)
        if self._within(lambda: publisher.armed is None, _PUBLISHES_WITHIN_S):  # another took its place
            self.tally.points[point, hits] += 1
        else:
            self._kill_publisher(publisher)
            self.run.fleet.start(publisher)

    def _publisher(self) -> None:
        """Kill a publisher at a random moment."""
        publisher = self._dice.choice(self.run.publishers)
        self._kill_publisher(publisher)
        self.run.fleet.start(publisher)

    def _kill_publisher(self, publisher: Member) -> None:
        self._ends.note()
        self.run.fleet.kill([publisher])
        self.tally.kills[PUBLISHER] += 1

    def _supervisor(self) -> None:
        """Kill a supervisor only, and start another at once: its instances have to wait for the old ones."""
        job = self._job()
        self._ends.note()
        self.watch.struck([job], "supervisor")
        self.run.kill_supervisor(job)
        self.tally.kills["supervisor"] += 1
        self.run.fleet.start(self.run.supervisors[job])

    def _whole_job(self) -> None:
        """Kill a supervisor and all its instances at one moment."""
        job = self._job()
        self._kill_tree(job, "job")
        self.run.fleet.start(self.run.supervisors[job])

    def _power(self) -> None:
        """Kill everything at one moment."""
        for job in self.run.supervisors:
            self._kill_tree(job, "power")
        for publisher in self.run.publishers:
            self._kill_publisher(publisher)
        for member in [*self.run.supervisors.values(), *self.run.publishers]:
            self.run.fleet.start(member)

    def _kill_tree(self, job: str, kind: str) -> None:
        self._ends.note()
        self.watch.struck([job], kind)
        self.tally.kills["instance"] += len(self.run.kill_tree(job))
        self.tally.kills["supervisor"] += 1

    def _calm(self) -> None:
        self._wait(CALM_S)

    def _zombie(self) -> None:
        """Pause an instance, let another take its tasks over, and wake it: it may not commit any more."""
        job = self._job()
        self._until_back(job)
        locks = self.run.data / "locks"
        # One that owns more than its own line of the outbox has something to commit.
        working = [child for child in self.run.children(job) if len(locks_of(locks, child.pid)) > 1]
        if not working:
            return
        zombie = self._dice.choice(working)
        self._ends.note()
        send(zombie.pid, signal.SIGSTOP)
        drop_locks(locks, zombie.pid)
        self.watch.struck([job], "zombie")
        words = ("run", job, "--instance", str(zombie.instance))
        heir = self.run.command(f"{job}{HEIR}", *words)
        self.run.fleet.members.append(heir)
        self.run.fleet.start(heir)
        # One that was paused within a commit holds everybody up until it is woken.
        self._within(lambda: self.watch.is_back(job), _TAKE_OVER_S)
        self.tally.woken += 1
        send(zombie.pid, signal.SIGCONT)
        # What is refused ends, to be tried again; that it ends otherwise is found where all ends are.
        if self._within(lambda: not is_alive(zombie.pid), _REFUSAL_S):
            self.tally.refused += 1
        else:
            self.tally.unexpected.append(
                f"an instance of {job} that was paused and overtaken still works {_REFUSAL_S:g} s later"
            )
        self.run.fleet.kill([heir])
        self.run.fleet.members.remove(heir)
        self.tally.kills["instance"] += 1
