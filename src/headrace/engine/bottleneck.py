"""Which stage limits the rate of a job, and what one more instance would bring: from two looks at the job.

The model. An instance works one stage after the other, but for a thread that reads and decodes ahead, so that
its rate is that of the slower of the two parts. Time in which a stage only waits (for a model that is called,
a disk, a target) passes for all instances at once; the time of processors they share; and their commits take
turns. So one more instance adds what each adds now, until the tasks, the processors or the turns are used up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from headrace.engine.spans import LITTLE_TO_DO, Look, Work, busy_elsewhere, spans_of
from headrace.engine.stages import STAGES

#: What keeps one more instance from bringing as much as each brings now.
Holds = Literal["input", "output", "partitions", "cores", "commits"]

#: What limits a job where no stage does: too few events come, an output takes none, some instances have
#: no partition to work on, or the input hands out too few events at a time.
INPUT: Final = "input"
OUTPUT: Final = "output"
PARTITIONS: Final = "partitions"
BATCHES: Final = "batches"

#: A job that is less than so many seconds behind keeps up, unless that grows by so much a second.
_KEEPS_UP_S: Final = 1.0
_GROWS: Final = 0.1

#: Where nobody can tell how much waits, instances that wait so much of their time lack events.
_LACKS: Final = 0.2

#: Stages whose time is spent for each batch, whatever is in it; and what a batch is too small for.
_OF_BATCHES: Final = ("read", "commit", "deliver")
_SMALL_ROWS: Final = 1_000
_FILLED: Final = 0.5

#: What it takes until another process has its turn to write, and has read again what that changed: measured.
_HAND_OVER_S: Final = 0.0005

#: A rate that is more than so much below what another instance could add is held down by something.
_HELD: Final = 0.9

#: A stage that uses processors for less than this part of its time mostly waits.
_WAITS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Ground:
    """What a job runs on: processors, and tasks (None where any number of instances can share the work)."""

    cores: float
    tasks: int | None = None


@dataclass(frozen=True, slots=True)
class StageRate:
    """One stage: the part of the instances' time that it takes, and the events per second it could do alone.

    `computing` is how many processors it uses while it is busy. The rate is for as many instances as there
    are now, infinite for a stage that took no time.
    """

    stage: str
    share: float
    computing: float
    rate: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What limits a job: a stage, `input`, `output`, `partitions` or `batches`, and `why` in one sentence.

    `rate` is in events per second, `next_rate` what it would be with one more instance, and `held_by` what
    keeps that from being more. `instances` have reported.
    """

    job: str
    limit: str
    why: str
    rate: float
    stages: Sequence[StageRate]
    instances: int
    next_rate: float
    held_by: Holds | None
    help: str

    @property
    def gain(self) -> float:
        """How many times the rate would be with one more instance; 1 where nothing would change."""
        return self.next_rate / self.rate if self.rate else 1.0


def find(job: str, before: Look, after: Look, ground: Ground) -> Finding | None:
    """Return what limits a job, None if no instance of it has reported between the two looks."""
    spans = spans_of(before, after)
    if not spans:
        return None
    work = Work(spans)
    # What others use is theirs; but nobody gets less by starting one more.
    free = max(work.cores, ground.cores - busy_elsewhere(before, after, work.cores))
    ground = Ground(min(free, ground.cores), ground.tasks)
    limit = _limit(work, before, after)
    next_rate, held_by = _one_more(work, limit, ground)
    return Finding(
        job,
        limit,
        _why(work, limit, after, ground),
        work.rate,
        _stage_rates(work, ground),
        len(spans),
        next_rate,
        held_by,
        _help(work, limit, held_by, job),
    )


# --- what limits it --------------------------------------------------------------------------------------


def _limit(work: Work, before: Look, after: Look) -> str:
    if _retrying(after) is not None:
        return OUTPUT
    if _starved(work, before, after):
        return INPUT
    idle = [span for span in work.spans if span.idle_share >= LITTLE_TO_DO]
    if idle:
        return PARTITIONS if len(idle) < len(work.spans) else INPUT
    slowest = work.slowest()
    return BATCHES if slowest in _OF_BATCHES and _small(work) else slowest


def _retrying(look: Look) -> str | None:
    """Return what an instance says that cannot hand over its rows."""
    for state in look.instances:
        if state.condition.state == "retrying":
            return state.condition.note
    return None


def _starved(work: Work, before: Look, after: Look) -> bool:
    """Tell whether the job does all that comes."""
    if after.backlog is None or before.backlog is None:
        return min(span.idle_share for span in work.spans) >= _LACKS
    wall_s = work.total("wall_s") / len(work.spans)
    in_hand = 2 * len(work.spans) * work.rows / (work.total("batches") or 1)
    behind = max(work.rate * _KEEPS_UP_S, in_hand)
    grown = (after.backlog - before.backlog) / wall_s
    return after.backlog <= behind and grown <= _GROWS * work.rate


def _small(work: Work) -> bool:
    """Tell whether batches are small, and not because they are wanted no larger."""
    rows = work.rows / (work.total("batches") or 1)
    wanted = sum(span.batch_limit for span in work.spans) / len(work.spans)
    return rows < min(_SMALL_ROWS, _FILLED * wanted)


# --- rates -----------------------------------------------------------------------------------------------


def _stage_rates(work: Work, ground: Ground) -> list[StageRate]:
    wall_s = work.total("wall_s")
    rates = []
    for stage in STAGES:
        busy_s, cpu_s = work.busy_s[stage], work.cpu_s[stage]
        at_once = 1 if stage == "commit" else len(work.working)
        rate = min(_ratio(at_once * work.rows, busy_s), _ratio(ground.cores * work.rows, cpu_s))
        rates.append(StageRate(stage, busy_s / wall_s, cpu_s / busy_s if busy_s else 0.0, rate))
    return rates


def _one_more(work: Work, limit: str, ground: Ground) -> tuple[float, Holds | None]:
    """Return the rate with one more instance, and what keeps it from being more."""
    if limit == INPUT:
        return work.rate, "input"
    if limit == OUTPUT:
        return work.rate, "output"
    if limit == PARTITIONS or (ground.tasks is not None and len(work.spans) >= ground.tasks):
        return work.rate, "partitions"
    more = (len(work.working) + 1) / len(work.working)
    # What a partition hands out at a time stays what it is: with fewer partitions each a batch has less.
    smaller = more if limit == BATCHES and ground.tasks is not None else 1.0
    in_turn = work.rate * _in_turn(work, ground, smaller)
    cores = _ratio(ground.cores * work.rows, work.total("cpu_s"))
    rate = min(in_turn, cores) if smaller > 1 else max(work.rate, min(in_turn, cores))
    if rate >= _HELD * work.rate * more:
        return rate, None
    return rate, "cores" if cores < in_turn else "commits"


def _in_turn(work: Work, ground: Ground, smaller: float) -> float:
    """Return how many times the rate would be with one more instance, by the turns that instances take.

    Commits are made one at a time, and so are leases, which are commits, too. An event costs `smaller` times
    as much if batches are so much smaller.
    """
    count, rows = len(work.working), work.rows or 1.0
    leases = ground.tasks is None
    held_s = (work.busy_s["commit"] + (work.busy_s["read"] if leases else 0.0)) / rows
    hand_over_s = work.total("batches") * (2 if leases else 1) * _HAND_OVER_S / rows
    whole_s = (work.total("wall_s") - work.total("idle_s") - work.total("lock_wait_s")) / rows
    apart_s = max(0.0, whole_s - held_s)
    now = _cycles(count, held_s + (hand_over_s if count > 1 else 0.0), apart_s)
    return _cycles(count + 1, (held_s + hand_over_s) * smaller, apart_s * smaller) / now


def _cycles(instances: int, in_turn_s: float, apart_s: float) -> float:
    """Return how many cycles a second instances do that meet at one place, by mean value analysis.

    One that comes there finds as many as there are on the average with one instance less.
    """
    there = rate = 0.0
    for count in range(1, instances + 1):
        time_s = in_turn_s * (1 + there)
        rate = count / max(apart_s + time_s, 1e-12)
        there = rate * time_s
    return rate


def _ratio(rows: float, seconds: float) -> float:
    return rows / seconds if seconds > 0 else float("inf")


# --- in words --------------------------------------------------------------------------------------------


def _why(work: Work, limit: str, after: Look, ground: Ground) -> str:
    of_all = "of its time" if len(work.spans) == 1 else f"of the time of {len(work.spans)} instances"
    if limit == OUTPUT:
        waits = f"; {after.outbox_blocks:,} blocks wait" if after.outbox_blocks else ""
        return f"an output takes no rows: {_retrying(after)}{waits}"
    if limit == INPUT:
        if after.backlog:
            behind = f"{after.backlog:,} events wait" if not work.rows else "it is hardly behind"
            return f"the job does all that comes, and waits {work.idle_share:.0%} {of_all}; {behind}"
        return f"the job does all that comes, and waits {work.idle_share:.0%} {of_all}"
    if limit == PARTITIONS:
        idle = sum(span.idle_share >= LITTLE_TO_DO for span in work.spans)
        tasks = "" if ground.tasks is None else f": there are {_count(ground.tasks, 'task')} in all"
        return f"events wait, but {idle} of {len(work.spans)} instances have none in their partitions{tasks}"
    rows = work.rows / (work.total("batches") or 1)
    if limit == BATCHES:
        return f"the input gives {rows:,.1f} events at a time, and each batch costs {_batch_text(work)}"
    return _why_stage(work, limit, rows, of_all)


def _why_stage(work: Work, stage: str, rows: float, of_all: str) -> str:
    busy_s = work.busy_s[stage]
    share = busy_s / work.total("wall_s")
    each = busy_s / work.rows if work.rows else 0.0
    how = "mostly waiting" if work.cpu_s[stage] < _WAITS * busy_s else "computing"
    turns = work.total("lock_wait_s") / work.total("wall_s")
    waiting = f", and instances wait {turns:.0%} for their turn" if stage == "commit" and turns >= 0.1 else ""
    per_batch = f" in batches of {rows:,.0f}" if stage in _OF_BATCHES else ""
    return f"{stage} takes {share:.0%} {of_all}, {_time_text(each)} an event{per_batch}, {how}{waiting}"


_HELP: Final = {
    INPUT: "nothing: it keeps up with its input",
    OUTPUT: "mend the output; `headrace status` says since when",
    PARTITIONS: "more partitions, or keys that spread over them",
    BATCHES: "an input that hands out more events at a time",
    "read": "a faster disk for the input, or larger events in fewer files",
    "decode": "events with fewer columns and shorter texts, or a binary format such as Parquet",
    "order": "a smaller span of lateness and disorder, so that fewer events wait",
    "query": "shorter windows, fewer groups, or conditions that drop rows earlier",
    "score": "a faster model, fewer calls of it, or a batch function in place of a row function",
    "write": "fewer columns and rows in the outputs",
    "commit": "a faster disk, or fewer and smaller rows in tables and queues",
    "deliver": "a faster output, or one that takes more rows at a time",
}

_HELD_BY: Final = {
    "partitions": "one more instance would have no task",
    "cores": "the processors are at their limit",
    "commits": "commits take turns, and those take up the time",
}


def _help(work: Work, limit: str, held_by: Holds | None, job: str) -> str:
    """Return what would raise the rate."""
    helps = _HELP[limit]
    if held_by is None:
        return f"`headrace scale {job} {len(work.spans) + 1}`, or {helps}"
    told = _HELD_BY.get(held_by)
    return helps if told is None or limit == PARTITIONS else f"{helps} ({told})"


def _batch_text(work: Work) -> str:
    spent_s = sum(work.busy_s[stage] for stage in _OF_BATCHES)
    return f"{_time_text(spent_s / (work.total('batches') or 1))} to read, commit and deliver"


def _time_text(seconds: float) -> str:
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what if number == 1 else what + 's'}"
