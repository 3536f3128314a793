"""Running the instances of jobs as processes: starting, watching, restarting and stopping them.

An instance that dies (a signal, a crash) or that ends with the exit code for "try again" is started again,
at once the first time and then after a pause, which grows in the second case. One that ends for a reason
only a person can mend (a query, a row) stops its job, and the others of that job with it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.clock import Clock, SystemClock
from headrace.engine.ahead import Ahead, interrupts_held
from headrace.errors import PASSING
from headrace.names import STAGE_MARK

POLL_S: Final = 0.05
FIRST_PAUSE_S: Final = 0.5
#: When something outside is down, asking it again and again does not help it up.
LONGEST_PAUSE_S: Final = 30.0
#: A process that was killed may have met an event that kills: some ten starts find it, and all wait for that.
LONGEST_PAUSE_AFTER_KILL_S: Final = 0.5

#: An instance that ran this long was well; its next death is again its first.
WELL_AFTER_S: Final = 30.0

TRY_AGAIN: Final = 3


@dataclass(frozen=True, slots=True)
class Command:
    """How to start one instance of a job; Polars gets so many threads, or if None as many as it likes."""

    job: str
    instance: int
    arguments: Sequence[str]
    threads: int | None = None

    @property
    def whole(self) -> str:
        """The job that this is, or is a stage of: both end for what ends one of them."""
        return self.job.partition(STAGE_MARK)[0]


@dataclass(slots=True)
class _Running:
    command: Command
    process: subprocess.Popen[bytes] | None = None
    started_ns: int = 0
    deaths: int = 0
    restart_ns: int = 0
    last_code: int = 0
    exit_code: int | None = None


@dataclass(slots=True)
class Supervisor:
    """Keeps a set of instances running until they are done, or until it is told to stop.

    `say` is told of restarts, one line each, and `died` of each process that did not end well. Call `start`,
    then `watch` until it returns true. `ahead` is the process of the first command where that was started
    already.
    """

    commands: Sequence[Command]
    say: Callable[[str], None] = lambda _: None
    died: Callable[[Command, int, str], None] = lambda command, pid, reason: None
    clock: Clock = field(default_factory=SystemClock)
    ahead: Ahead | None = None
    _running: list[_Running] = field(default_factory=list)
    _stopping: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start every instance."""
        for command in self.commands:
            running = _Running(command)
            self._running.append(running)
            self._launch(running)

    def add(self, command: Command) -> None:
        """Start one instance more, also one that ended well; nothing is done if it runs."""
        for running in self._running:
            if (running.command.job, running.command.instance) == (command.job, command.instance):
                if running.exit_code is None:
                    return
                self._running.remove(running)
                break
        running = _Running(command)
        self._running.append(running)
        self._launch(running)

    def watch(self) -> bool:
        """Look after the instances once, without waiting; true when all have ended for good."""
        for running in self._running:
            self._look_after(running)
        return all(running.exit_code is not None for running in self._running)

    def wait(self) -> int:
        """Watch until all have ended; returns the worst exit code."""
        while not self.watch():
            self.clock.sleep(POLL_S)
        return self.exit_code

    def ended(self, job: str) -> bool:
        """Tell whether `job` was started and every instance of it has ended for good."""
        codes = [running.exit_code for running in self._running if running.command.job == job]
        return bool(codes) and None not in codes

    @property
    def exit_code(self) -> int:
        """The worst exit code of those that have ended: 0 when all ended well."""
        return max((running.exit_code or 0 for running in self._running), default=0)

    def stop(self) -> None:
        """Ask every instance to finish its epoch and end; safe to call from a signal handler."""
        for job in {running.command.whole for running in self._running}:
            self.stop_job(job)

    def stop_job(self, job: str) -> None:
        """Ask every instance of one job, and of its stages, as `stop` does."""
        self._stopping.add(job)
        for running in self._running:
            process = running.process
            if running.command.whole == job and process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every instance at once, as a power cut would; what they committed stands."""
        for running in self._running:
            self._stopping.add(running.command.whole)
            if running.process is not None and running.process.poll() is None:
                running.process.kill()
                running.process.wait()

    def _launch(self, running: _Running) -> None:
        running.started_ns = self.clock.monotonic_ns()
        try:
            running.process = self._process(running.command)
        except OSError as error:
            if error.errno not in {*PASSING, errno.EAGAIN}:  # memory, files or processes come free again
                raise
            running.last_code = TRY_AGAIN
            self._start_again(running, f"not started ({error.strerror})", LONGEST_PAUSE_S)
            return
        if running.command.whole in self._stopping:  # the request came while the process was being started
            running.process.send_signal(signal.SIGTERM)

    def _process(self, command: Command) -> subprocess.Popen[bytes]:
        ahead = self.ahead.let_run() if self.ahead is not None and command is self.commands[0] else None
        if ahead is not None:
            return ahead
        environment = os.environ.copy()
        if command.threads is not None:
            environment.setdefault("POLARS_MAX_THREADS", str(command.threads))
        with interrupts_held():
            return subprocess.Popen(command.arguments, stdin=subprocess.DEVNULL, env=environment)

    def _look_after(self, running: _Running) -> None:
        if running.exit_code is not None:
            return
        if running.process is None:
            if running.command.whole in self._stopping:
                running.exit_code = running.last_code
            elif self.clock.monotonic_ns() >= running.restart_ns:
                self._launch(running)
            return
        code = running.process.poll()
        if code is not None:
            self._ended(running, code)

    def _ended(self, running: _Running, code: int) -> None:
        asked = running.command.whole in self._stopping
        reason = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        # One that is asked to end while it loads its code ends of the signal, and nothing is wrong with it.
        if code != 0 and running.process is not None and not (asked and code == -signal.SIGTERM):
            self.died(running.command, running.process.pid, reason)
        if code >= 0 and code != TRY_AGAIN:
            running.exit_code = code
            if code != 0:
                self.stop_job(running.command.whole)
            return
        running.last_code = max(code, 0)
        if asked:
            running.exit_code = running.last_code
            return
        self._start_again(running, reason, LONGEST_PAUSE_AFTER_KILL_S if code < 0 else LONGEST_PAUSE_S)

    def _start_again(self, running: _Running, reason: str, longest_s: float) -> None:
        now_ns = self.clock.monotonic_ns()
        lived_s = (now_ns - running.started_ns) / 1e9
        running.deaths = 1 if lived_s > WELL_AFTER_S else running.deaths + 1
        pause_s = 0.0 if running.deaths == 1 else min(longest_s, FIRST_PAUSE_S * 2 ** (running.deaths - 2))
        running.process, running.restart_ns = None, now_ns + int(pause_s * 1e9)
        name = f"{running.command.job}, instance {running.command.instance}"
        self.say(f"{name}: {reason}; starting it again" + (f" in {pause_s:g} s" if pause_s else ""))
