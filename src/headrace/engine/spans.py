"""What the instances of a job did between two looks at their counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from headrace.engine.stages import STAGES
from headrace.local.progress import InstanceState

#: An instance that waits for events at least so much of its time has little to do.
LITTLE_TO_DO: Final = 0.5

#: Work of Polars, whose own threads do most of it.
_OF_POLARS: Final = ("decode", "order", "query", "write")


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a job at one moment: how its instances last reported, and what waits for it.

    `waiting` has how many events wait to be read, by input, None where nobody can tell; `outbox_blocks` wait
    for outputs. At `at_s` processors of the machine were busy for `machine_cpu_s`, both since any moment.
    """

    instances: Sequence[InstanceState]
    waiting: Mapping[str, int | None] = field(default_factory=dict)
    outbox_blocks: int = 0
    machine_cpu_s: float = 0
    at_s: float = 0

    @property
    def backlog(self) -> int | None:
        """All events that wait, None where nobody can tell."""
        known = [rows for rows in self.waiting.values() if rows is not None]
        return sum(known) if known and len(known) == len(self.waiting) else None


@dataclass(frozen=True, slots=True)
class Span:
    """What one instance did between two reports of it, times in seconds.

    `busy_s` has the time of each stage, `computing_s` that part of it in which the stage's own thread had a
    processor, `cpu_s` the time of processors in all threads. `ahead_s` is the time of `read` and `decode`
    in the thread beside the loop. A batch was to have up to `batch_limit` rows.
    """

    wall_s: float
    rows: float
    batches: float
    cpu_s: float
    idle_s: float = 0
    lock_wait_s: float = 0
    ahead_s: float = 0
    busy_s: Mapping[str, float] = field(default_factory=dict)
    computing_s: Mapping[str, float] = field(default_factory=dict)
    batch_limit: float = 0

    @property
    def idle_share(self) -> float:
        """The part of the time in which it waited for events."""
        return min(1.0, self.idle_s / self.wall_s)

    @classmethod
    def between(cls, before: Mapping[str, float], after: Mapping[str, float]) -> Span:
        """Return the difference of two sets of counters of one process."""

        def grown(name: str) -> float:
            return max(0.0, after.get(name, 0) - before.get(name, 0))

        return cls(
            wall_s=grown("wall_ms") / 1e3,
            rows=grown("events_in"),
            batches=grown("epochs"),
            cpu_s=grown("cpu_ms") / 1e3,
            idle_s=grown("idle_ms") / 1e3,
            lock_wait_s=grown("lock_wait_ms") / 1e3,
            ahead_s=grown("background_ms") / 1e3,
            busy_s={stage: grown(f"{stage}_ms") / 1e3 for stage in STAGES},
            computing_s={stage: grown(f"{stage}_cpu_ms") / 1e3 for stage in STAGES},
            batch_limit=after.get("batch_limit_rows", 0),
        )


def busy_elsewhere(before: Look, after: Look, own: float) -> float:
    """Return how many processors worked for others between two looks, while `own` worked for the job."""
    wall_s = after.at_s - before.at_s
    if wall_s <= 0:
        return 0.0
    return max(0.0, (after.machine_cpu_s - before.machine_cpu_s) / wall_s - own)


def spans_of(before: Look, after: Look) -> list[Span]:
    """Return what each instance did that reported in between and is the process that it was."""
    earlier = {(state.instance, state.pid): state for state in before.instances}
    return list(_spans(earlier, after))


def _spans(earlier: Mapping[tuple[str, int], InstanceState], after: Look) -> Iterator[Span]:
    for state in after.instances:
        known = earlier.get((state.instance, state.pid))
        if known is not None:
            span = Span.between(known.counters, state.counters)
            if span.wall_s > 0:
                yield span


class Work:
    """The work of all instances, per event: what their spans come to together. There is at least one."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.rows = sum(span.rows for span in spans)
        self.rate = sum(span.rows / span.wall_s for span in spans)
        #: Processors in use, on the average.
        self.cores = sum(span.cpu_s / span.wall_s for span in spans)
        #: Instances that have something to do.
        self.working = [span for span in spans if span.rows and span.idle_share < LITTLE_TO_DO] or [
            max(spans, key=lambda span: span.rows)
        ]

    def total(self, what: str) -> float:
        """Return the sum of a time or a count over the instances."""
        return float(sum(getattr(span, what) for span in self.spans))

    @property
    def idle_share(self) -> float:
        """The part of their time in which the instances waited for events."""
        return self.total("idle_s") / self.total("wall_s")

    @cached_property
    def busy_s(self) -> Mapping[str, float]:
        """The time of each stage."""
        return {stage: sum(span.busy_s.get(stage, 0) for span in self.spans) for stage in STAGES}

    @cached_property
    def cpu_s(self) -> Mapping[str, float]:
        """The time of processors that each stage took.

        What the threads of Polars took is spread over the stages that wait for them.
        """
        own = {stage: sum(span.computing_s.get(stage, 0) for span in self.spans) for stage in STAGES}
        pool_s = max(0.0, self.total("cpu_s") - sum(own.values()))
        handed_over = {stage: max(0.0, self.busy_s[stage] - own[stage]) for stage in _OF_POLARS}
        whole_s = sum(handed_over.values()) or 1.0
        return {stage: own[stage] + pool_s * handed_over.get(stage, 0) / whole_s for stage in STAGES}

    @property
    def reads_slower(self) -> bool:
        """Whether the loop waits for the thread that reads ahead, and not that one for the loop."""
        ahead_s = self.total("ahead_s")
        return ahead_s > sum(self.busy_s.values()) - ahead_s

    def slowest(self) -> str:
        """Return the stage that takes the most of the time that a batch takes."""
        loads = dict(self.busy_s)
        loads["commit"] += self.total("lock_wait_s")
        if self.reads_slower:
            loads = {stage: loads[stage] for stage in ("read", "decode")}
        elif self.total("ahead_s"):
            beside = self.total("ahead_s") / ((loads["read"] + loads["decode"]) or 1.0)
            loads |= {stage: loads[stage] * max(0.0, 1 - beside) for stage in ("read", "decode")}
        return max(loads, key=lambda stage: loads[stage])
