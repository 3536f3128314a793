"""Delivering the outbox: blocks that a commit holds, handed to remote outputs in order, each exactly once.

An instance has its own line of blocks (its own producer, a sequence that only grows), so that instances never
wait for each other and a target that remembers the last sequence of a producer drops what it already has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headrace.errors import UserError
from headrace.faults import crash_point
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import OutboxBlock, Progress


class Target(Protocol):
    """What blocks are delivered to."""

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Take the block over, durably. Raises Transient to be called again."""
        ...


class Delivery:
    """The outbox of one instance of a job."""

    def __init__(
        self,
        progress: Progress,
        namespace: Namespace,
        job: str,
        line: str,
        sinks: Mapping[str, Target],
    ) -> None:
        self._progress, self._namespace = progress, namespace
        self._job, self._line, self._sinks = job, line, sinks
        self._waiting: list[OutboxBlock] = []
        self._delivered: list[int] = []
        self._sequence = 0

    def resume(self) -> None:
        """Deliver what an earlier process of this instance committed and may not have delivered."""
        self._sequence = self._progress.last_sequence(self._job, self._line)
        self._waiting = self._progress.pending_outbox(self._job, self._line)
        self.deliver()
        self.forget()

    def of_line(self, line: str) -> Delivery:
        """Return the outbox of another instance, for the same outputs."""
        return Delivery(self._progress, self._namespace, self._job, line, self._sinks)

    def add(self, tx: Transaction, output: str, block: object) -> None:
        """Keep a block in the commit; `deliver` sends it once the commit stands."""
        assert isinstance(block, bytes)
        self._sequence += 1
        self._waiting.append(
            self._progress.add_outbox(tx, self._job, self._line, output, self._sequence, block)
        )
        self._progress.done_outbox(tx, self._delivered)
        self._delivered = []

    def deliver(self) -> None:
        """Send every waiting block, in order. Raises Transient when a target is not there."""
        while self._waiting:
            block = self._waiting[0]
            if block.output not in self._sinks:
                raise UserError(
                    f"job {self._job!r} committed rows for output {block.output!r} that are not delivered "
                    "yet, and its query does not write there any more. Run the earlier query once, to its end"
                )
            self._sinks[block.output].deliver(block.block, self._producer(block), block.sequence)
            self.sent(1)

    def waiting(self) -> list[tuple[bytes, str, int]]:
        """Return the blocks that wait, with producer and sequence, for whoever then calls `sent`."""
        return [(block.block, self._producer(block), block.sequence) for block in self._waiting]

    def sent(self, blocks: int) -> None:
        """Take note that the first so many blocks that waited have been delivered."""
        crash_point("job.deliver.after_send")
        self._delivered += [block.id for block in self._waiting[:blocks]]
        del self._waiting[:blocks]

    def _producer(self, block: OutboxBlock) -> str:
        return f"job:{self._job}:{block.output}:{self._line}"

    def forget(self) -> None:
        """Drop from the namespace what was delivered, as before an orderly end."""
        if self._delivered:
            with self._namespace.transaction() as tx:
                self._progress.done_outbox(tx, self._delivered)
            self._delivered = []
