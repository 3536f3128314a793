"""What an epoch came to, task by task, and the dead letters of what failed in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.engine.arrivals import Arrivals
from headrace.engine.open_job import OpenJob
from headrace.engine.passing import Passed
from headrace.engine.program import Results
from headrace.engine.stateful import StatefulTask
from headrace.engine.writing import Outcome
from headrace.local.dead_letters import DEAD_ROW, DeadLetter

KILLER: Final = "the process died each time it worked on this event alone"


@dataclass(slots=True)
class Part:
    """What an epoch came to for one task, or for all events of a job without state."""

    task: StatefulTask | None
    outcome: Outcome
    results: Results = field(default_factory=Results)
    passed: Passed = field(default_factory=Passed)

    @property
    def rows(self) -> int:
        """How many rows come of it."""
        return self.passed.rows + sum(prepared.rows for prepared in self.outcome.prepared.values())

    @property
    def size_bytes(self) -> int:
        """How many bytes that makes, as far as rows are encoded: those of tables are not."""
        payloads = (prepared.payload for prepared in self.outcome.prepared.values())
        encoded = sum(len(payload) for payload in payloads if isinstance(payload, bytes))
        return encoded + sum(len(body) for _, body in self.passed.packs)


def dead_letters(
    job: OpenJob, arrivals: Arrivals, parts: Sequence[Part], from_us: int | None, now_us: int
) -> list[DeadLetter]:
    """Return a letter for each event and row that failed; none for events that arrived before `from_us`.

    Those were read to fill the first windows, and have been judged before.
    """
    dead = {reject.origin: reject.reason for reject in job.bad.kept(arrivals)}
    if arrivals.skipped and arrivals.polls[0].packed is None:
        dead[arrivals.first] = KILLER
    for part in parts:
        dead |= part.outcome.dead
    letters = [_of_event(job, arrivals, origin, reason, now_us) for origin, reason in dead.items()]
    if from_us is not None:
        letters = [letter for letter in letters if letter.first_us >= from_us]
    return letters + [letter for part in parts for letter in _of_rows(job, part)]


def _of_event(job: OpenJob, arrivals: Arrivals, origin: int, reason: str, now_us: int) -> DeadLetter:
    poll, index = arrivals.place(origin)
    return DeadLetter(
        job=job.whole,
        source_kind=job.sources[poll.input].kind,
        source=job.sources[poll.input].place,
        partition=poll.partition,
        position=poll.offsets[index],
        body=poll.bodies[index],
        reason=reason,
        first_us=now_us if poll.arrival_us is None else int(poll.arrival_us[index]),
        tenant=poll.tenant,
    )


def _of_rows(job: OpenJob, part: Part) -> list[DeadLetter]:
    """Return letters of rows that come from no one event; their place is that in the task's epochs."""
    if not part.outcome.dead_rows:
        return []
    assert part.task is not None
    return [
        DeadLetter(
            job=job.name,
            source_kind=DEAD_ROW,
            source=f"{job.name}{part.task.suffix}",
            partition=part.task.epoch + 1,
            position=number,
            body=row.body.encode(),
            reason=row.reason,
        )
        for number, row in enumerate(part.outcome.dead_rows)
    ]


def where_it_stopped(arrivals: Arrivals, origin: int | None) -> str:
    """Return where event number `origin` stands that made a job stop, for a message."""
    if origin is None or origin < arrivals.first:
        return "The job stopped; nothing of this batch was written."
    poll, index = arrivals.place(origin)
    body = poll.bodies[index][:200].decode("utf-8", "replace")
    return (
        f"The job stopped at input '{poll.input}', partition {poll.partition}, "
        f"position {poll.offsets[index]}: {json.dumps(body, ensure_ascii=False)}. "
        "Nothing behind it was written."
    )
