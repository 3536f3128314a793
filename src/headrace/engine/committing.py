"""The commit of an epoch: all that it changes, in one transaction of the namespace, and what follows that.

In it are the fence check, what was read, queue deletes, dead letters, rows of local outputs, and the encoded
blocks of remote ones (the outbox). Before it nothing has happened, after it everything has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from headrace.clock import Clock
from headrace.connect.sink import LocalSink, Prepared
from headrace.connect.source import CompetingSource, Poll
from headrace.engine.arrivals import Arrivals
from headrace.engine.bad_input import BadShare
from headrace.engine.counting import count_inputs
from headrace.engine.delivery import Delivery
from headrace.engine.holdings import Holdings
from headrace.engine.journal import Journal
from headrace.engine.letters import Part, dead_letters, where_it_stopped
from headrace.engine.open_job import OpenJob
from headrace.engine.stages import StageClocks
from headrace.engine.staging import Staging
from headrace.errors import DataError
from headrace.faults import crash_point
from headrace.local.dead_letters import DeadLetters
from headrace.local.namespace import Namespace, Transaction
from headrace.local.ownership import Ownership
from headrace.local.progress import Progress


@dataclass(slots=True)
class Committing:
    """Commits the epochs of one instance.

    `ownership`, and `from_us`, the time at which the output begins, are set before the first; `committed_us`
    is when it last committed, 0 before.
    """

    job: OpenJob
    namespace: Namespace
    holdings: Holdings
    staging: Staging
    delivery: Delivery
    clocks: StageClocks
    clock: Clock
    journal: Journal
    bad_share: BadShare
    ownership: Ownership = field(init=False)
    from_us: int | None = field(init=False)
    committed_us: int = 0

    def commit(self, arrivals: Arrivals, parts: Sequence[Part]) -> None:
        """Commit what was read and what came of it, then deliver.

        Raises DataError, before anything is written, where bad events stop the job.
        """
        self._judge(arrivals, parts)
        letters = dead_letters(self.job, arrivals, parts, self.from_us, self.clock.now_us())
        staged = {}
        if payloads := self.staging.payloads(parts):
            with self.clocks.stage("write"):
                staged = self.staging.stage(payloads)
        with self.clocks.stage("commit") as work:
            work.rows_in += arrivals.events
            asked_ns = self.clocks.now_ns()
            with self.namespace.transaction() as tx:
                self.clocks.waited("lock_wait", asked_ns, within="commit")
                crash_point("job.commit.begin")
                self.ownership.check(tx)
                self.holdings.tasks.save(tx, arrivals.polls, arrivals.watermarks_us)
                for part in parts:
                    if part.task is not None:
                        part.task.log(tx, arrivals, part.results.answers)
                for poll in arrivals.polls:
                    if poll.leases:
                        self._competing_source(poll).finish(tx, poll)
                self.staging.publish(tx, staged)
                for part in parts:
                    self._write(tx, part)
                crash_point("job.commit.outputs_written")
                DeadLetters(self.namespace).add(tx, letters)
                self.bad_share.save(tx)
                self._count(tx, arrivals, parts, len(letters))
                crash_point("job.commit.before")
            crash_point("job.commit.after")
        self._committed(arrivals, parts)
        self._deliver(parts)

    def _committed(self, arrivals: Arrivals, parts: Sequence[Part]) -> None:
        """Take note everywhere that the commit stands."""
        self.committed_us = self.clock.now_us()
        self.staging.settle()
        self.holdings.tasks.advance(arrivals.polls)
        tasks = [part.task for part in parts if part.task is not None]
        if self.holdings.stateful is not None:
            self.holdings.stateful.committed(tasks)
        for part in parts:
            if self.holdings.passing is not None and part.task is not None:
                self.holdings.passing.committed(part.task, part.passed)

    def _deliver(self, parts: Sequence[Part]) -> None:
        with self.clocks.stage("deliver") as work:
            for prepared in self._delivered(parts):
                work.rows_in += prepared.rows
                work.bytes_in += len(prepared.payload)
            (self.holdings.passing or self.delivery).deliver()

    def _delivered(self, parts: Sequence[Part]) -> Iterator[Prepared[bytes]]:
        """Yield what goes to outputs behind the outbox."""
        for part in parts:
            for name, prepared in part.outcome.prepared.items():
                if name not in self.staging and not isinstance(self.job.sinks[name], LocalSink):
                    yield prepared

    def _write(self, tx: Transaction, part: Part) -> None:
        if self.holdings.passing is not None and part.task is not None:
            self.holdings.passing.add(tx, part.task, part.passed)
        for name, prepared in part.outcome.prepared.items():
            sink = self.job.sinks[name]
            if isinstance(sink, LocalSink):
                sink.write(tx, prepared)
            elif name not in self.staging:
                self.delivery.add(tx, name, prepared.payload)

    def _judge(self, arrivals: Arrivals, parts: Sequence[Part]) -> None:
        if reject := self.job.bad.stopping(arrivals):
            raise DataError(f"{reject.reason}\n{where_it_stopped(arrivals, reject.origin)}")
        self.bad_share.judge(arrivals, [origin for part in parts for origin in part.outcome.dead])

    def _count(self, tx: Transaction, arrivals: Arrivals, parts: Sequence[Part], dead: int) -> None:
        rows_out = sum(part.rows for part in parts)
        self.clocks.events_in += arrivals.events
        self.clocks.rows_out += rows_out
        self.clocks.dead += dead
        if dead:
            self.journal.began("dead_letters", "dead letters are kept from now on", dead=dead)
        self.clocks.epochs += 1
        count_inputs(self.clocks, self.journal, arrivals)
        # Of a job in two stages each event is read by the first, and each row written by the second.
        read = sum(len(poll.bodies) for poll in arrivals.polls if poll.packed is None)
        written = 0 if self.holdings.passing is not None else rows_out
        counts = {"events_in": read, "rows_out": written, "dead": dead}
        if dropped := len(arrivals.rejected) - len(self.job.bad.kept(arrivals)):
            counts["dropped"] = dropped
        Progress(self.namespace).count(tx, self.job.whole, counts)

    def _competing_source(self, poll: Poll) -> CompetingSource:
        source = self.job.sources[poll.input]
        assert isinstance(source, CompetingSource)
        return source
