"""How far jobs have come, as it is on record: for those who look, whether or not the jobs run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from headrace.local.namespace import Namespace
from headrace.local.progress import Position
from headrace.names import STAGE_MARK

# The columns beside max() are of the row that has it.
_LAST_EPOCHS: Final = (
    "SELECT task, watermark_us, committed_us, max(number) FROM epoch WHERE job = ? GROUP BY task"
)
_POSITIONS: Final = "SELECT task, input, partition, next_offset, identity FROM position WHERE job = ?"
_STATES: Final = "SELECT task, sum(length(content)) FROM task_state WHERE job = ? GROUP BY task"
_OUTBOX: Final = (
    "SELECT output, count(*), sum(length(block)) FROM outbox WHERE job = ? GROUP BY output ORDER BY output"
)
_DEAD: Final = "SELECT count(*) FROM dead_letter WHERE job = ?"
_OLDEST: Final = """
SELECT enqueued_us FROM message WHERE queue_id = (SELECT id FROM queue WHERE name = ?)
ORDER BY id LIMIT 1
"""


class LastEpoch(NamedTuple):
    """The last commit of a task: the watermark it left, if it has one, and when it was."""

    watermark_us: int | None
    committed_us: int


class Waiting(NamedTuple):
    """What waits in the outbox for one output."""

    blocks: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is on record of a job, or of a stage of one.

    `positions` are those of inputs that it reads itself, `passed_on` those in what another stage passes on.
    `states` has the size in bytes of what each task keeps, as last saved.
    """

    epochs: Mapping[str, LastEpoch]
    positions: Mapping[tuple[str, int], Position]
    passed_on: Mapping[tuple[str, int], Position]
    states: Mapping[str, int]
    outbox: Mapping[str, Waiting]

    @property
    def committed_us(self) -> int | None:
        """When the job last committed, None if it never did."""
        return max((epoch.committed_us for epoch in self.epochs.values()), default=None)


def standing_of(namespace: Namespace, job: str) -> Standing:
    """Return what is on record of a job, all of one moment."""
    with namespace.reading() as connection:

        def rows(sql: str) -> list[Any]:
            return list(connection.execute(sql, (job,)))

        epochs = {task: LastEpoch(*of) for task, *of, _ in rows(_LAST_EPOCHS)}
        positions: dict[tuple[str, int], Position] = {}
        passed_on: dict[tuple[str, int], Position] = {}
        for task, name, partition, *of in rows(_POSITIONS):
            (passed_on if STAGE_MARK in task else positions)[name, partition] = Position(*of)
        states = dict(rows(_STATES))
        outbox = {output: Waiting(*of) for output, *of in rows(_OUTBOX)}
    return Standing(epochs, positions, passed_on, states, outbox)


def dead_letters_of(namespace: Namespace, job: str) -> int:
    """Return how many dead letters of a job are kept."""
    with namespace.reading() as connection:
        return int(connection.execute(_DEAD, (job,)).get)


def oldest_message_us(namespace: Namespace, queue: str) -> int | None:
    """Return when the oldest message that stands in a queue was sent, None if there is none."""
    with namespace.reading() as connection:
        found: int | None = connection.execute(_OLDEST, (queue,)).get
    return found
