"""What limits a running job of a project, seen from outside: from two looks at its status."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.clock import Clock
from headrace.connect.queue import QueueSettings
from headrace.engine.bottleneck import INPUT, Finding, Ground, find
from headrace.engine.spans import Look
from headrace.names import STAGE_MARK, stage_name
from headrace.project.partitions import input_partitions
from headrace.project.project import Project
from headrace.project.stages import layout_of, stages_of
from headrace.project.status import JobStatus, Looking
from headrace.sql.partitioning import keeps_nothing

#: How often whoever waits for reports of instances looks again, in seconds, and how long at most.
_AGAIN_S: Final = 0.5
PATIENCE_S: Final = 20.0

_MACHINE: Final = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Glance:
    """What is seen of a job at one moment: its status, and how long processors have been busy by then."""

    status: JobStatus
    machine_cpu_s: float


def glance(status: JobStatus) -> Glance:
    """Return a status that was taken just now with what the machine did meanwhile."""
    return Glance(status, _machine_cpu_s())


def observe(project: Project, looks: Looking, seconds: float, clock: Clock) -> Finding | None:
    """Look at the one job of `looks` twice, `seconds` apart, and return what limits it.

    Waits up to `PATIENCE_S` for instances that are starting, and again for those that have not reported in
    that time, as in a long batch. None if then none has.
    """
    before = _until(lambda glanced: bool(glanced.status.running), looks, clock)
    clock.sleep(seconds)
    after = _until(lambda glanced: _all_reported(before.status, glanced.status), looks, clock)
    return compare(project, before, after)


def _until(done: Callable[[Glance], bool], looks: Looking, clock: Clock) -> Glance:
    """Look again and again until it is as it should be, or patience is at its end."""
    for _ in range(int(PATIENCE_S / _AGAIN_S)):
        if done(found := glance(*looks.look())):
            return found
        clock.sleep(_AGAIN_S)
    return glance(*looks.look())


def compare(project: Project, before: Glance, after: Glance) -> Finding | None:
    """Return what limited a job between two glances at it, None if no instance has reported in between.

    Of a job in two stages it is what limits the stage that has less time to spare.
    """
    job = after.status.job
    names = [*(stage_name(job, name) for name in stages_of(project, job)), job]
    found = [
        finding
        for name in names
        if (finding := find(name, _look(before, name), _look(after, name), ground(project, name)))
    ]
    return min(found, key=lambda finding: finding.limit == INPUT, default=None)


def ground(project: Project, name: str) -> Ground:
    """Return what a job, or a stage of one, runs on here; nothing is made."""
    job, _, stage = name.partition(STAGE_MARK)
    script = project.script(job)
    if any(name in project.datasets for name in script.inputs):
        return Ground(len(os.sched_getaffinity(0)))
    layout = layout_of(project, script)
    cores = len(os.sched_getaffinity(0))
    if stage:
        return Ground(cores, layout.inputs[stage].count)
    if not keeps_nothing(script):
        counts = {name: found.count for name, found in layout.inputs.items()}
        counts |= {name: found.count for name, found in layout.repartitions.items()}
        return Ground(cores, max(counts.values(), default=None) if layout.per_partition else 1)
    if any(isinstance(project.streams[name], QueueSettings) for name in script.inputs):
        return Ground(cores)
    return Ground(cores, sum(found.count for found in input_partitions(project, script.inputs).values()))


def _all_reported(before: JobStatus, after: JobStatus) -> bool:
    reported = {(state.job, state.instance): state.heartbeat_us for state in before.running}
    return all(
        state.heartbeat_us > reported.get((state.job, state.instance), state.heartbeat_us)
        for state in after.running
    )


def _look(glanced: Glance, name: str) -> Look:
    """Return what is seen of a job, or of one stage of it."""
    status = glanced.status
    instances = [state for state in status.running if state.job == name]
    blocks = sum(waiting.blocks for waiting in status.outbox.values())
    waiting = _waiting(status) if STAGE_MARK in name or not _in_stages(status) else {}
    return Look(instances, waiting, blocks, glanced.machine_cpu_s, status.at_us / 1e6)


def _in_stages(status: JobStatus) -> bool:
    return any(STAGE_MARK in state.job for state in status.instances)


def _waiting(status: JobStatus) -> Mapping[str, int | None]:
    """Return how many events of each input wait; of files only bytes are known, unless there are none."""
    waiting: dict[str, int | None] = {}
    for lag in [lag for lag in status.lags if lag.unit != "rows"]:  # these the job has read itself
        known = waiting.get(lag.input, 0)
        countable = lag.unit != "bytes" or lag.waiting == 0
        waiting[lag.input] = known + lag.waiting if countable and known is not None else None
    return waiting


def _machine_cpu_s() -> float:
    """Return how long processors of this machine have been busy since it started; 0 where nothing says."""
    try:
        times = [int(field) for field in _MACHINE.read_text("ascii").splitlines()[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    user, nice, system, _idle, _disk, *interrupts = times
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
