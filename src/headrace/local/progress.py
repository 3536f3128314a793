"""What a job commits beside its outputs: positions, epochs, the outbox and counts; and who runs it.

Methods that take a transaction belong to the job's commit. The others are transactions of their own.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import apsw
import msgspec

from headrace.limits import EPOCHS_KEPT
from headrace.local.namespace import Namespace, Transaction
from headrace.local.ownership import Ownership
from headrace.names import STAGE_MARK, checked_name

#: How a job is asked to stop: after the epoch it is in, or once it has read all there is.
StopMode = Literal["now", "end"]


class Position(NamedTuple):
    """Where to read on in one partition; `identity` tells what the offset belongs to, if that is known."""

    next_offset: int
    identity: str = ""


#: Where to read on, by task, input and partition.
Positions = Mapping[str, Mapping[tuple[str, int], Position]]

_NEXT_EPOCH: Final = """
INSERT INTO epoch (job, task, number, ranges, watermark_us, committed_us, answers)
SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, ?5, ?6 FROM epoch WHERE job = ?1 AND task = ?2
RETURNING number
"""

_FRONTIER: Final = "SELECT watermark_us FROM epoch WHERE job = ? AND task = ? ORDER BY number DESC LIMIT 1"

_RAISE_FENCES: Final = "UPDATE task SET fence = fence + 1, owner = 'a start elsewhere' WHERE job = ?"

_SAVE_POSITION: Final = """
INSERT INTO position (job, task, input, partition, next_offset, identity) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (job, task, input, partition)
DO UPDATE SET next_offset = excluded.next_offset, identity = excluded.identity
"""

_SAVE_STATE: Final = """
INSERT INTO task_state (job, task, part, content, epoch) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (job, task, part) DO UPDATE SET content = excluded.content, epoch = excluded.epoch
"""

_SAVE_SEQUENCE: Final = """
INSERT INTO outbox_line (job, line, last_sequence) VALUES (?, ?, ?)
ON CONFLICT (job, line) DO UPDATE SET last_sequence = excluded.last_sequence
"""

_COUNT: Final = """
INSERT INTO job_count (job, name, value) VALUES (?, ?, ?)
ON CONFLICT (job, name) DO UPDATE SET value = value + excluded.value
"""

_BEAT: Final = """
INSERT INTO instance (job, instance, pid, started_us, heartbeat_us, counters, condition)
VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)
ON CONFLICT (job, instance) DO UPDATE SET
    started_us = CASE WHEN pid = excluded.pid THEN started_us ELSE excluded.started_us END,
    pid = excluded.pid, heartbeat_us = excluded.heartbeat_us, counters = excluded.counters,
    condition = excluded.condition
"""


class Epoch(NamedTuple):
    """One commit of a task: its number from 1, what was read (JSON), and the watermark if there is one.

    `answers` are those of models, where later state depends on them.
    """

    number: int
    ranges: str
    watermark_us: int | None
    committed_us: int
    answers: bytes | None


class SavedState(NamedTuple):
    """What a task keeps after epoch number `epoch`, in parts."""

    epoch: int
    parts: Mapping[str, bytes]


class OutboxBlock(NamedTuple):
    """An encoded block that is committed and not yet known to be delivered."""

    id: int
    output: str
    sequence: int
    block: bytes


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an instance is doing, since when; `note` says more, as which output takes no rows, and why."""

    state: Literal["starting", "running", "retrying", "ended"]
    since_us: int
    note: str = ""


class InstanceState(NamedTuple):
    """A process that runs a job, as it last reported; a heartbeat that stands still says it is gone."""

    job: str
    instance: str
    pid: int
    started_us: int
    heartbeat_us: int
    counters: dict[str, float]
    condition: Condition

    @property
    def number(self) -> int:
        """The number of the instance."""
        return int(self.instance.rpartition("-")[2])


_RUNNING: Final = Condition("running", 0)
_CONDITION: Final = msgspec.json.Decoder(Condition)


class Progress:
    """The records of all jobs of a namespace."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    # --- tasks ----------------------------------------------------------------------------------------

    def acquire(self, job: str, task: str, owner: str) -> Ownership:
        """Take a task for this process; raises `Transient`, naming its owner, if it is taken."""
        for name in job.split(STAGE_MARK, 1):
            checked_name(name, "job")
        return Ownership.take(self._namespace, job, task, owner)

    def is_held(self, job: str, task: str) -> bool:
        """Tell whether some process has the task now."""
        return Ownership.is_held(self._namespace, job, task)

    def positions(self, job: str, task: str) -> dict[tuple[str, int], Position]:
        """Return where to read on by (input, partition); what was never read is missing."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT input, partition, next_offset, identity FROM position WHERE job = ? AND task = ?",
                (job, task),
            )
            return {(name, partition): Position(*of) for name, partition, *of in rows}

    def record_epoch(
        self,
        tx: Transaction,
        job: str,
        task: str,
        ranges: str,
        positions: Mapping[tuple[str, int], Position],
        *,
        watermark_us: int | None = None,
    ) -> int:
        """Record what this commit read and where to go on; return the number of the epoch.

        This is progress: the task's count of starts begins anew and its probe is dropped. The last
        `EPOCHS_KEPT` epochs stay on record.
        """
        values = (job, task, ranges, watermark_us, tx.now_us, None)
        number: int = tx.connection.execute(_NEXT_EPOCH, values).get
        tx.connection.execute(
            "DELETE FROM epoch WHERE job = ? AND task = ? AND number <= ?", (job, task, number - EPOCHS_KEPT)
        )
        tx.connection.executemany(
            _SAVE_POSITION, [(job, task, *place, *position) for place, position in positions.items()]
        )
        tx.connection.execute(
            "UPDATE task SET starts = 0, probe_low = NULL, probe_events = NULL WHERE job = ? AND task = ?",
            (job, task),
        )
        return number

    def log_epoch(
        self, tx: Transaction, job: str, task: str, ranges: str, frontier_us: int, answers: bytes | None
    ) -> int:
        """Record an epoch that state is rebuilt from; return its number.

        It stays on record until `save_state` saves what knows of it.
        """
        values = (job, task, ranges, frontier_us, tx.now_us, answers)
        number: int = tx.connection.execute(_NEXT_EPOCH, values).get
        return number

    def epochs(self, job: str, task: str) -> list[Epoch]:
        """Return the epochs on record, oldest first."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT number, ranges, watermark_us, committed_us, answers FROM epoch "
                "WHERE job = ? AND task = ? ORDER BY number",
                (job, task),
            )
            return list(map(Epoch._make, rows))

    def frontier_us(self, job: str, task: str) -> int | None:
        """Return the watermark of a task's last epoch, None before its first."""
        with self._namespace.reading() as connection:
            found: int | None = connection.execute(_FRONTIER, (job, task)).get
        return found

    # --- state ------------------------------------------------------------------------------------------

    def state(self, job: str, task: str) -> SavedState | None:
        """Return what a task was last saved to keep of the events that it has read; None if it never was."""
        with self._namespace.reading() as connection:
            rows = list(
                connection.execute(
                    "SELECT epoch, part, content FROM task_state WHERE job = ? AND task = ?", (job, task)
                )
            )
        if not rows:
            return None
        return SavedState(min(epoch for epoch, _, _ in rows), {part: content for _, part, content in rows})

    def save_state(self, tx: Transaction, job: str, task: str, saved: SavedState) -> None:
        """Put a state in the place of the one that was saved; epochs that it knows of are dropped."""
        rows = [(job, task, part, body, saved.epoch) for part, body in saved.parts.items()]
        tx.connection.executemany(_SAVE_STATE, rows)
        # The last one gives the next its number.
        tx.connection.execute(
            "DELETE FROM epoch WHERE job = ? AND task = ? AND number < ?", (job, task, saved.epoch)
        )

    def tasks_with_state(self, job: str) -> list[str]:
        """Return the names of the job's tasks that keep something."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT task FROM task_state WHERE job = ? ORDER BY task", (job,)
            )
            return [task for (task,) in rows]

    # --- where a job starts -----------------------------------------------------------------------------

    def start_at(
        self,
        job: str,
        positions: Positions,
        from_us: int | None,
        stages: Mapping[str, Positions] = MappingProxyType({}),
    ) -> None:
        """Let a job that is not running go on elsewhere, by task; what it kept is dropped.

        So do its `stages`, by name, and what they were to deliver is dropped, too. The output begins at
        `from_us`, if that is given. An instance that was left behind by its parent, and is still in an epoch,
        cannot commit that any more.
        """
        with self._namespace.transaction() as tx:
            for name, places in {job: positions, **stages}.items():
                tx.connection.execute("DELETE FROM task_state WHERE job = ?", (name,))
                tx.connection.execute("DELETE FROM position WHERE job = ?", (name,))
                tx.connection.execute(_RAISE_FENCES, (name,))
                for task, offsets in places.items():
                    self.record_epoch(tx, name, task, "{}", offsets)
            tx.connection.executemany("DELETE FROM outbox WHERE job = ?", [(name,) for name in stages])
            tx.connection.execute("DELETE FROM job_start WHERE job = ?", (job,))
            if from_us is not None:
                tx.connection.execute("INSERT INTO job_start (job, from_us) VALUES (?, ?)", (job, from_us))

    def start_us(self, job: str) -> int | None:
        """Return the time at which the output of a job begins, None if that is with its first event."""
        with self._namespace.reading() as connection:
            found: int | None = connection.execute("SELECT from_us FROM job_start WHERE job = ?", (job,)).get
        return found

    # --- starts without progress ------------------------------------------------------------------------

    def count_start(self, job: str, task: str) -> int:
        """Count a start of a task that was acquired; return how many there were since its last epoch."""
        with self._namespace.transaction() as tx:
            starts: int = tx.connection.execute(
                "UPDATE task SET starts = starts + 1 WHERE job = ? AND task = ? RETURNING starts", (job, task)
            ).get
        return starts

    def forget_starts(self, job: str, task: str) -> None:
        """Begin the count of starts anew, as after an orderly stop."""
        with self._namespace.transaction() as tx:
            tx.connection.execute("UPDATE task SET starts = 0 WHERE job = ? AND task = ?", (job, task))

    def probe(self, job: str, task: str) -> tuple[int, int] | None:
        """Return from which offset how many events the task read when it last died, if it is known."""
        with self._namespace.reading() as connection:
            found: tuple[int, int] | None = connection.execute(
                "SELECT probe_low, probe_events FROM task "
                "WHERE job = ? AND task = ? AND probe_low IS NOT NULL",
                (job, task),
            ).get
        return found

    def save_probe(self, job: str, task: str, offset: int, events: int) -> None:
        """Keep from which offset how many events are about to be read, until an epoch is recorded."""
        with self._namespace.transaction() as tx:
            tx.connection.execute(
                "UPDATE task SET probe_low = ?, probe_events = ? WHERE job = ? AND task = ?",
                (offset, events, job, task),
            )

    # --- the outbox -------------------------------------------------------------------------------------

    def add_outbox(
        self, tx: Transaction, job: str, line: str, output: str, sequence: int, block: bytes
    ) -> OutboxBlock:
        """Keep an encoded block for delivery after the commit; `sequence` grows along a line."""
        tx.connection.execute(
            "INSERT INTO outbox (job, line, sequence, output, block) VALUES (?, ?, ?, ?, ?)",
            (job, line, sequence, output, block),
        )
        block_id = tx.connection.last_insert_rowid()
        tx.connection.execute(_SAVE_SEQUENCE, (job, line, sequence))
        return OutboxBlock(block_id, output, sequence, block)

    def last_sequence(self, job: str, line: str) -> int:
        """Return the highest sequence that a line ever had, 0 at first; it outlives the blocks."""
        with self._namespace.reading() as connection:
            found: int | None = connection.execute(
                "SELECT last_sequence FROM outbox_line WHERE job = ? AND line = ?", (job, line)
            ).get
        return found or 0

    def pending_outbox(self, job: str, line: str, limit: int = -1) -> list[OutboxBlock]:
        """Return the blocks of a line that are still to be delivered, in order, the first `limit` of them."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT id, output, sequence, block FROM outbox WHERE job = ? AND line = ? "
                "ORDER BY sequence LIMIT ?",
                (job, line, limit),
            )
            return list(map(OutboxBlock._make, rows))

    def outbox_lines(self, job: str) -> list[str]:
        """Return the lines of a job that have blocks to be delivered."""
        with self._namespace.reading() as connection:
            return [
                line
                for (line,) in connection.execute("SELECT DISTINCT line FROM outbox WHERE job = ?", (job,))
            ]

    def replace_outbox(self, tx: Transaction, block: OutboxBlock) -> None:
        """Keep other content under the place and the sequence of a block."""
        tx.connection.execute("UPDATE outbox SET block = ? WHERE id = ?", (block.block, block.id))

    def done_outbox(self, tx: Transaction, block_ids: Sequence[int]) -> None:
        """Drop blocks that were delivered."""
        if block_ids:
            ids = apsw.carray(array("q", block_ids))
            tx.connection.execute("DELETE FROM outbox WHERE id IN (SELECT value FROM carray(?))", (ids,))

    # --- counts, instances, stopping --------------------------------------------------------------------

    def count(self, tx: Transaction, job: str, counts: Mapping[str, int]) -> None:
        """Add to the job's totals, exactly once as they are part of the commit."""
        tx.connection.executemany(_COUNT, [(job, name, value) for name, value in counts.items()])

    def counts(self, job: str) -> dict[str, int]:
        """Return the job's totals by name."""
        with self._namespace.reading() as connection:
            return dict(connection.execute("SELECT name, value FROM job_count WHERE job = ?", (job,)))

    def beat(
        self, job: str, instance: str, counters: Mapping[str, float], condition: Condition = _RUNNING
    ) -> None:
        """Report that this process runs an instance of a job, and what it counted since it started."""
        told = (msgspec.json.encode(dict(counters)).decode(), msgspec.json.encode(condition).decode())
        with self._namespace.transaction() as tx:
            tx.connection.execute(_BEAT, (job, instance, os.getpid(), tx.now_us, *told))

    def died(self, job: str, instance: str, pid: int, note: str) -> None:
        """Report that the process of an instance is gone, unless it said so itself; what it counted stays."""
        own = (state for state in self.instances(job) if (state.instance, state.pid) == (instance, pid))
        last = next(own, None)
        if last is not None and last.condition.state == "ended":
            return
        counters = msgspec.json.encode({} if last is None else last.counters).decode()
        with self._namespace.transaction() as tx:
            condition = msgspec.json.encode(Condition("ended", tx.now_us, note)).decode()
            tx.connection.execute(_BEAT, (job, instance, pid, tx.now_us, counters, condition))

    def instances(self, job: str | None = None) -> list[InstanceState]:
        """Return the instances of one job or of all, as they last reported."""
        with self._namespace.reading() as connection:
            rows = connection.execute(
                "SELECT job, instance, pid, started_us, heartbeat_us, counters, condition FROM instance "
                "WHERE ?1 IS NULL OR job = ?1 ORDER BY job, instance",
                (job,),
            )
            return [
                InstanceState._make((*row[:5], msgspec.json.decode(row[5]), _CONDITION.decode(row[6])))
                for row in rows
            ]

    def set_scale(self, job: str, instances: int | None) -> None:
        """Ask a job to run as so many instances; None leaves it to its settings."""
        with self._namespace.transaction() as tx:
            tx.connection.execute("DELETE FROM job_scale WHERE job = ?", (job,))
            if instances is not None:
                tx.connection.execute(
                    "INSERT INTO job_scale (job, instances) VALUES (?, ?)", (job, instances)
                )

    def scale(self, job: str) -> int | None:
        """Return how many instances the job has been asked to run as, None if its settings say."""
        with self._namespace.reading() as connection:
            found: int | None = connection.execute(
                "SELECT instances FROM job_scale WHERE job = ?", (job,)
            ).get
        return found

    def request_stop(self, job: str, mode: StopMode = "now") -> None:
        """Ask all instances of a job to stop; a later request takes the place of an earlier one."""
        with self._namespace.transaction() as tx:
            tx.connection.execute(
                "INSERT OR REPLACE INTO stop_request (job, mode) VALUES (?, ?)", (job, mode)
            )

    def stop_requested(self, job: str) -> StopMode | None:
        """Return how the job is asked to stop, None if it is not."""
        with self._namespace.reading() as connection:
            mode: StopMode | None = connection.execute(
                "SELECT mode FROM stop_request WHERE job = ?", (job,)
            ).get
        return mode

    def clear_stop(self, job: str) -> None:
        """Drop a request to stop, so that the job can run again."""
        with self._namespace.transaction() as tx:
            tx.connection.execute("DELETE FROM stop_request WHERE job = ?", (job,))
