"""The job loop: poll -> decode -> run -> commit in one transaction -> acknowledge and deliver.

Everything an epoch changes is in one namespace transaction: the fence check, what was read, queue deletes,
dead letters, rows of local outputs, and the encoded blocks of remote ones (the outbox). A process that dies
before the commit has changed nothing; one that dies after it finds its undelivered blocks in the outbox.
Outputs are never computed twice for the same event.

A script without state runs batch by batch. One with state runs along a timeline, in one instance at a time;
what it keeps is saved in the same transaction, and while nothing comes the clock lets its windows close.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.clock import Clock, SystemClock
from headrace.connect.sink import LocalSink, RemoteSink, Sink
from headrace.connect.source import CompetingSource, OrderedSource, Poll, Source
from headrace.engine.arrivals import NOTHING, POLICY, Arranger, Arrivals
from headrace.engine.delivery import Delivery
from headrace.engine.intake import Intake
from headrace.engine.keeping import Keeping, check_nothing_kept
from headrace.engine.pace import Pace
from headrace.engine.program import Program, Results
from headrace.engine.row_error import RowError
from headrace.engine.stages import StageClocks
from headrace.engine.tasks import Tasks
from headrace.engine.timeline import Timeline, keeps_state
from headrace.engine.writing import DeadRow, Outcome, RowIds, epoch_ids, position_ids, prepare
from headrace.errors import DataError, HeadraceError
from headrace.events.watermark import Policy
from headrace.faults import crash_point
from headrace.local.dead_letters import DEAD_ROW, DeadLetter, DeadLetters
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import Progress

#: How often an instance looks for free tasks, a request to stop and expired leases, in seconds.
HOUSEKEEPING_S: Final = 0.5

#: How often a job that keeps something asks how far time has come where nothing did: a window closes as late.
TICK_S: Final = 1.0

KILLER: Final = "the process died each time it worked on this event alone"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job whose query is bound and whose inputs, outputs and functions are open in this process."""

    name: str
    program: Program
    sources: Mapping[str, Source]
    sinks: Mapping[str, Sink]
    policy: Policy = POLICY


class Instance:
    """One of the `instances` processes that run a job; `instance` counts from 0.

    It ends after an epoch once `wanted`, asked now and then, is false.
    """

    def __init__(
        self,
        job: OpenJob,
        namespace: Namespace,
        *,
        instance: int = 0,
        instances: int = 1,
        clock: Clock | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._job, self._namespace = job, namespace
        self._clock = clock or SystemClock()
        self._progress = Progress(namespace)
        self._dead_letters = DeadLetters(namespace)
        self._instance, self._instances = instance, instances
        self._name = instance_name(instance)
        ordered = {name: s for name, s in job.sources.items() if isinstance(s, OrderedSource)}
        self._competing = [s for s in job.sources.values() if isinstance(s, CompetingSource)]
        keeps = keeps_state(job.program.script)
        self._arranger = Arranger(job.program.script, None if keeps else job.policy)
        self._timeline: Timeline | None = None
        self._keeping: Keeping | None = None
        if keeps:
            partitions = {name: source.partitions for name, source in ordered.items()}
            self._timeline = Timeline(job.program, partitions, job.policy)
            self._keeping = Keeping(
                self._progress, job.name, self._name, instance, self._timeline, self._clock
            )
        self._tasks = Tasks(
            self._progress,
            job.name,
            ordered,
            self._name,
            # All partitions belong to whoever has the state.
            (0, 1) if keeps else (instance, instances),
            self._clock,
            self._arranger.begin,
        )
        remote = {name: s for name, s in job.sinks.items() if isinstance(s, RemoteSink)}
        self._delivery = Delivery(self._progress, namespace, job.name, self._name, remote)
        self._pace = Pace(self._clock)
        self.clocks = StageClocks(self._clock)
        self._intake = Intake(self._tasks, self._competing, self._arranger, self.clocks, self._clock)
        self._next_tick_ns = self._clock.monotonic_ns() + int(TICK_S * 1e9)
        self._wanted = wanted
        self._stopping = False

    def stop(self) -> None:
        """Ask the loop to end after the epoch it is in; safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Run until asked to stop, or to the end of the inputs when the job is asked to end there.

        Raises DataError when a row makes the job stop, Fatal when going on could lose or double something.
        """
        self._ownership = self._progress.acquire(self._job.name, self._name, self._name)
        died = True
        try:
            if self._keeping is None:
                check_nothing_kept(self._progress, self._job.name)
            for source in self._competing:
                source.reclaim()
            self._delivery.resume()
            if self._instance == 0:
                self._deliver_for_others()
            self._loop()
            self._progress.beat(self._job.name, self._name, self.clocks.counters())
            self._delivery.forget()
            died = False
        except HeadraceError:
            died = False
            raise
        finally:
            self._intake.close()
            self._tasks.release(died=died)
            if self._keeping is not None:
                self._keeping.release()
            self._ownership.release()

    def _loop(self) -> None:
        next_look_ns = 0
        ending = False
        while not self._stopping:
            if self._clock.monotonic_ns() >= next_look_ns:
                next_look_ns = self._clock.monotonic_ns() + int(HOUSEKEEPING_S * 1e9)
                self._acquire()
                self._progress.beat(self._job.name, self._name, self.clocks.counters())
                request = self._progress.stop_requested(self._job.name)
                if request == "now" or not self._wanted():
                    return
                ending = request == "end"
            arrivals = self._intake.take(self._pace.rows)
            if arrivals is not None:
                self._epoch(arrivals)
            elif ending and self._at_end():
                self._tick()
                return
            else:
                self._pace.rest()
            if self._clock.monotonic_ns() >= self._next_tick_ns:
                self._tick()

    def _acquire(self) -> None:
        """Take the tasks that are ours to take."""
        if self._keeping is not None and self._timeline is not None and not self._keeping.owned:
            if not self._keeping.acquire():
                return
            self._arranger.number_from(self._timeline.next_number)
        self._tasks.acquire()

    def _deliver_for_others(self) -> None:
        """Deliver what instances left behind that no longer run, as the job has fewer instances now."""
        running = {instance_name(number) for number in range(self._instances)}
        for line in set(self._progress.outbox_lines(self._job.name)) - running:
            ownership = self._progress.acquire(self._job.name, line, self._name)
            self._delivery.of_line(line).resume()
            ownership.release()

    def _at_end(self) -> bool:
        return self._tasks.at_end() and all(source.exhausted() for source in self._competing)

    # --- one epoch -----------------------------------------------------------------------------------

    def _epoch(self, arrivals: Arrivals) -> None:
        with self._pace.timed(arrivals.events, full=arrivals.full):
            if arrivals.full:
                self._intake.read_ahead(self._pace.rows)
            if self._tasks.killer(arrivals.polls[0]):
                outcome = Outcome(dead={arrivals.first: KILLER})
            else:
                outcome = self._prepare(arrivals, self._run_program(arrivals))
            self._commit(arrivals, outcome)
            self._intake.done(arrivals)

    def _tick(self) -> None:
        """Let time pass where nothing came; what comes of it is an epoch that has read nothing.

        Without rows there is nothing to commit: the next epoch saves the state.
        """
        self._next_tick_ns = self._clock.monotonic_ns() + int(TICK_S * 1e9)
        if self._timeline is None or self._keeping is None or not self._timeline.holds:
            return
        ticks = self._tasks.quiet(self._clock.now_us())
        self._timeline.pass_time(ticks)
        self._keeping.note(ticks)
        results = self._run_program(NOTHING)
        if results.outputs or results.failures:
            self._commit(NOTHING, self._prepare(NOTHING, results))

    def _run_program(self, arrivals: Arrivals) -> Results:
        try:
            if self._timeline is None:
                with self.clocks.stage("query"):
                    results = self._job.program.run(arrivals.batches)
            else:
                with self.clocks.stage("order"):
                    arrivals.rejected.extend(self._timeline.add(arrivals))
                with self.clocks.stage("query"):
                    results = self._timeline.advance(arrivals.first)
        except RowError as error:
            raise DataError(f"{error}\n{_where(arrivals, error.origin)}") from None
        self.clocks.move("query", "score", results.score_ns)
        return results

    def _prepare(self, arrivals: Arrivals, results: Results) -> Outcome:
        crash_point("job.after_score")
        with self.clocks.stage("write"):
            return prepare(results, arrivals, self._job.sinks, self._row_ids(arrivals))

    def _row_ids(self, arrivals: Arrivals) -> RowIds:
        if self._keeping is None:
            return lambda _, batch: position_ids(batch, arrivals)
        job, epoch = self._job.name, self._keeping.epoch
        return lambda output, batch: epoch_ids(job, epoch, output, batch)

    def _commit(self, arrivals: Arrivals, outcome: Outcome) -> None:
        letters = [self._letter(arrivals, origin, reason) for origin, reason in outcome.dead.items()]
        letters += [self._row_letter(number, row) for number, row in enumerate(outcome.dead_rows)]
        with self.clocks.stage("commit"):
            state = {} if self._keeping is None else self._keeping.snapshot()
            with self._namespace.transaction() as tx:
                crash_point("job.commit.begin")
                self._ownership.check(tx)
                self._tasks.save(tx, arrivals.polls, arrivals.watermarks_us)
                if self._keeping is not None:
                    self._keeping.save(tx, state)
                for poll in arrivals.polls:
                    if poll.leases:
                        self._competing_source(poll).finish(tx, poll)
                self._write(tx, outcome)
                crash_point("job.commit.outputs_written")
                self._dead_letters.add(tx, letters)
                self._count(tx, arrivals, outcome)
                crash_point("job.commit.before")
            crash_point("job.commit.after")
        self._tasks.advance(arrivals.polls)
        with self.clocks.stage("deliver"):
            self._delivery.deliver()

    def _write(self, tx: Transaction, outcome: Outcome) -> None:
        for name, prepared in outcome.prepared.items():
            sink = self._job.sinks[name]
            if isinstance(sink, LocalSink):
                sink.write(tx, prepared)
            else:
                self._delivery.add(tx, name, prepared.payload)

    def _count(self, tx: Transaction, arrivals: Arrivals, outcome: Outcome) -> None:
        rows_out = sum(prepared.rows for prepared in outcome.prepared.values())
        self.clocks.events_in += arrivals.events
        self.clocks.rows_out += rows_out
        dead = len(outcome.dead) + len(outcome.dead_rows)
        self.clocks.dead += dead
        self.clocks.epochs += 1
        self._progress.count(
            tx,
            self._job.name,
            {"events_in": arrivals.events, "rows_out": rows_out, "dead": dead},
        )

    def _competing_source(self, poll: Poll) -> CompetingSource:
        source = self._job.sources[poll.input]
        assert isinstance(source, CompetingSource)
        return source

    def _letter(self, arrivals: Arrivals, origin: int, reason: str) -> DeadLetter:
        poll, index = arrivals.place(origin)
        return DeadLetter(
            job=self._job.name,
            source_kind=self._job.sources[poll.input].kind,
            source=self._job.sources[poll.input].place,
            partition=poll.partition,
            position=poll.offsets[index],
            body=poll.bodies[index],
            reason=reason,
            first_us=self._clock.now_us() if poll.arrival_us is None else int(poll.arrival_us[index]),
        )

    def _row_letter(self, number: int, row: DeadRow) -> DeadLetter:
        """Return the letter of a row that comes from no one event; its place is that in the job's epochs."""
        assert self._keeping is not None
        return DeadLetter(
            job=self._job.name,
            source_kind=DEAD_ROW,
            source=self._job.name,
            partition=self._keeping.epoch,
            position=number,
            body=row.body.encode(),
            reason=row.reason,
        )


def instance_name(number: int) -> str:
    """Return the name under which an instance owns its line of the outbox, and is listed."""
    return f"instance-{number}"


def _where(arrivals: Arrivals, origin: int | None) -> str:
    if origin is None or origin < arrivals.first:
        return "The job stopped; nothing of this batch was written."
    poll, index = arrivals.place(origin)
    body = poll.bodies[index][:200].decode("utf-8", "replace")
    return (
        f"The job stopped at input '{poll.input}', partition {poll.partition}, "
        f"position {poll.offsets[index]}: {json.dumps(body, ensure_ascii=False)}. "
        "Nothing behind it was written."
    )
