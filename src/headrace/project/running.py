"""Running a project's jobs: a process per instance, upstream jobs ending before those that read from them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from headrace.clock import Clock, SystemClock
from headrace.connect.file_output import sweep_line
from headrace.engine.ahead import Ahead
from headrace.engine.instances import POLL_S, Command, Supervisor
from headrace.engine.open_job import instance_name
from headrace.errors import HeadraceError, QueryError, Transient
from headrace.local.namespace import Namespace
from headrace.local.ownership import Owned
from headrace.local.progress import Progress
from headrace.local.series_records import lines_of
from headrace.local.staged import staged_lines
from headrace.names import stage_name
from headrace.project.dataset_checks import sweep_behind
from headrace.project.files import feeds
from headrace.project.settings import InputSettings, OutputSettings, Place, place_of
from headrace.project.stages import stages_of

if TYPE_CHECKING:  # a project runs itself through this module
    from headrace.project.project import Project

#: The lock that says a job is being run, so that it is not run twice.
RUN_TASK: Final = "run"

#: How often a running job looks whether it is to have more instances or fewer, in seconds.
SCALE_EVERY_S: Final = 0.5


#: How long instances that are asked to stop may take to see it before they get a signal, in seconds.
HURRY_AFTER_S: Final = 2.0

_NEVER_NS: Final = 1 << 62


@dataclass(slots=True)
class Run:
    """Jobs of a project while they run. With `until_end` each job ends when its inputs have been read."""

    project: Project
    namespace: Namespace
    jobs: Sequence[str]
    until_end: bool = False
    say: Callable[[str], None] = lambda _: None
    clock: Clock = field(default_factory=SystemClock)
    ahead: Ahead | None = None
    supervisor: Supervisor = field(init=False)
    _stages: dict[str, list[str]] = field(default_factory=dict)
    _ending: set[str] = field(default_factory=set)
    _trouble: str = ""
    _scales: dict[str, int] = field(default_factory=dict)
    _stop_seen_ns: dict[str, int] = field(default_factory=dict)
    _next_look_ns: int = 0

    def __post_init__(self) -> None:
        self._scales = {job: self.project.job(job).instances for job in self.jobs}
        self._stages = {job: stages_of(self.project, job) for job in self.jobs}
        commands = [command for job, count in self._scales.items() for command in self._commands(job, count)]
        self.supervisor = Supervisor(commands, self.say, self._note_death, self.clock, self.ahead)

    def start(self) -> None:
        """Start every instance of every job."""
        progress = Progress(self.namespace)
        for job in self.jobs:
            for name in (job, *self._names_of_stages(job)):
                progress.clear_stop(name)
            progress.set_scale(job, None)
        if self.until_end:
            self._end_in_order()  # what nothing writes to may end as soon as it has been read
        self.supervisor.start()

    def watch(self) -> bool:
        """Look after the jobs once, without waiting; true when all have ended."""
        self.namespace.check_in_place()
        if self.clock.monotonic_ns() >= self._next_look_ns:
            self._next_look_ns = self.clock.monotonic_ns() + int(SCALE_EVERY_S * 1e9)
            self._scale()
            self._hurry()
        done = self.supervisor.watch()
        if self.until_end and not done:
            self._end_in_order()
        return done

    def wait(self) -> int:
        """Watch until all jobs have ended; returns the worst exit code."""
        while not self.watch():
            self.clock.sleep(POLL_S)
        return self.supervisor.exit_code

    def _note_death(self, command: Command, pid: int, reason: str) -> None:
        """Put on record that an instance is gone: it may have died before it reported anything."""
        with contextlib.suppress(HeadraceError):  # on a full disk the restart is told all the same
            name = instance_name(command.instance)
            Progress(self.namespace).died(command.job, name, pid, reason)

    def _scale(self) -> None:
        """Start the instances that jobs have been asked for; those that are too many end by themselves."""
        progress = Progress(self.namespace)
        for job, before in self._scales.items():
            count = progress.scale(job)
            if count is None or self.supervisor.ended(job):
                continue
            if count != before:
                self._scales[job] = count
                self.say(f"job {job}: {count} {'instance' if count == 1 else 'instances'} from now on")
            if job not in self._ending and progress.stop_requested(job) is None:
                # Also one that was too many, and had not ended yet when it was wanted again.
                for command in self._commands(job, count):
                    self.supervisor.add(command)

    def _hurry(self) -> None:
        """Signal instances that were asked to stop and have not: what hangs looks at nothing else."""
        progress, now_ns = Progress(self.namespace), self.clock.monotonic_ns()
        for job in self.jobs:
            if progress.stop_requested(job) == "now" and not self.supervisor.ended(job):
                since_ns = self._stop_seen_ns.setdefault(job, now_ns)
                if now_ns - since_ns >= HURRY_AFTER_S * 1e9:
                    self._stop_seen_ns[job] = _NEVER_NS
                    self.supervisor.stop_job(job)

    def _end_in_order(self) -> None:
        """Ask a job to end at the end of its inputs once nothing writes to them any more."""
        ended = {job for job in self.jobs if self.supervisor.ended(job)}
        for job in self.jobs:
            if job not in self._ending and _upstream(self.project, job, self.jobs) <= ended:
                stages = self._names_of_stages(job)
                for name in stages if not all(map(self.supervisor.ended, stages)) else [job]:
                    self._ask_to_end(name)

    def _ask_to_end(self, job: str) -> None:
        if job in self._ending:
            return
        try:
            Progress(self.namespace).request_stop(job, "end")
        except Transient as error:  # a full disk may have space when it is asked again
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.say(self._trouble)
        else:
            self._ending.add(job)

    def _names_of_stages(self, job: str) -> list[str]:
        return [stage_name(job, name) for name in self._stages[job]]

    def _commands(self, job: str, instances: int) -> list[Command]:
        """Return how to start the instances of a job, and as many of each of its stages."""
        start = [sys.executable, "-m", "headrace.cli", "run", "--project", str(self.project.file)]
        start += ["--parent", str(os.getpid()), job, "--instance"]
        stages = self._stages[job]
        processes = instances * (1 + len(stages))
        # Polars uses all cores by itself: processes side by side get their share of them.
        threads = None if processes == 1 else max(1, (os.cpu_count() or 1) // processes)
        numbers = range(instances)
        own = [Command(job, number, [*start, str(number)], threads) for number in numbers]
        return own + [
            Command(stage_name(job, name), number, [*start, str(number), "--stage", name], threads)
            for name in stages
            for number in numbers
        ]


@contextlib.contextmanager
def run_of(
    project: Project,
    jobs: Sequence[str],
    *,
    until_end: bool = False,
    say: Callable[[str], None] = lambda _: None,
    ahead: Ahead | None = None,
) -> Iterator[Run]:
    """Check the jobs, open the namespace and hold the jobs' locks; whatever still runs at the end is stopped.

    `ahead` is the first instance of the first job, if it was started before; its caller closes it.
    Raises `UserError` for settings and queries, `Transient` when a job is being run already.
    """
    for job in jobs:
        try:
            project.runnable_script(job)
        except QueryError as error:
            raise error.placed(project.query_place(job)) from None
    with Namespace.open(project.data) as namespace, contextlib.ExitStack() as stack:
        progress = Progress(namespace)
        for job in jobs:
            try:
                ownership = progress.acquire(job, RUN_TASK, "headrace run")
            except Owned as error:
                raise Owned(f"job '{job}'", error.owner) from None
            stack.callback(ownership.release)
            # An instance that is no more cannot do it itself, and others write anew what it did not commit.
            kept = {output.name for output in project.script(job).outputs}
            lines = {instance_name(number) for number in range(project.job(job).instances)}
            for line in staged_lines(namespace, job):
                with contextlib.suppress(Owned):  # one left behind by its parent may be about to commit
                    writer = progress.acquire(job, line, "headrace run")
                    sweep_line(
                        namespace,
                        project.folder,
                        job,
                        line,
                        kept=kept if line in lines else (),
                        check=writer.check,
                    )
                    writer.release()
            if lines_of(namespace, job):
                sweep_behind(namespace, job)
        run = Run(project, namespace, jobs, until_end, say, ahead=ahead)
        try:
            yield run
        finally:
            run.supervisor.stop()
            run.supervisor.wait()


def _upstream(project: Project, job: str, jobs: Sequence[str]) -> set[str]:
    """Return the jobs whose outputs are inputs of `job`."""
    read = _places(project.inputs, project.script(job).inputs)
    return {
        other
        for other in jobs
        if other != job
        and any(
            feeds(project.folder, to, place)
            for to in _places(project.outputs, [output.name for output in project.script(other).outputs])
            for place in read
        )
    }


def _places(
    settings: Mapping[str, InputSettings] | Mapping[str, OutputSettings], names: Iterable[str]
) -> list[Place]:
    places = [place_of(name, settings[name]) for name in dict.fromkeys(names)]
    return [place for place in places if place is not None]
