"""The job loop: poll -> decode -> run -> commit in one transaction -> acknowledge and deliver.

Everything an epoch changes is in one namespace transaction: the fence check, what was read, queue deletes,
dead letters, rows of local outputs, and the encoded blocks of remote ones (the outbox). A process that dies
before the commit has changed nothing; one that dies after it finds its undelivered blocks in the outbox.
Outputs are never computed twice for the same event.

An event counts as a whole: if one of its rows cannot be scored or written, none of its rows is written and
the event goes to the dead letters, so that a retry doubles nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from headrace.clock import Clock, SystemClock
from headrace.connect.sink import LocalSink, Prepared, RemoteSink, Rows, Sink
from headrace.connect.source import CompetingSource, OrderedSource, Poll, Source
from headrace.engine.arrivals import Arranger, Arrivals
from headrace.engine.delivery import Delivery
from headrace.engine.intake import Intake
from headrace.engine.pace import Pace
from headrace.engine.program import Program, Results
from headrace.engine.row_error import RowError
from headrace.engine.stages import StageClocks
from headrace.engine.tasks import Tasks
from headrace.errors import DataError, HeadraceError
from headrace.events.batch import ORIGIN, Batch
from headrace.faults import crash_point
from headrace.local.dead_letters import DeadLetter, DeadLetters
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import Progress

#: How often an instance looks for free tasks, a request to stop and expired leases, in seconds.
HOUSEKEEPING_S: Final = 0.5

KILLER: Final = "the process died each time it worked on this event alone"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job whose query is bound and whose inputs, outputs and functions are open in this process."""

    name: str
    program: Program
    sources: Mapping[str, Source]
    sinks: Mapping[str, Sink]


@dataclass(slots=True)
class Outcome:
    """What an epoch's events came to: rows for each output, and the events that failed, with the reason."""

    prepared: dict[str, Prepared[Any]] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)


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
        arranger = Arranger(job.program.script)
        self._tasks = Tasks(
            self._progress,
            job.name,
            ordered,
            self._name,
            (instance, instances),
            self._clock,
            arranger.begin,
        )
        remote = {name: s for name, s in job.sinks.items() if isinstance(s, RemoteSink)}
        self._delivery = Delivery(self._progress, namespace, job.name, self._name, remote)
        self._pace = Pace(self._clock)
        self.clocks = StageClocks(self._clock)
        self._intake = Intake(self._tasks, self._competing, arranger, self.clocks, self._clock)
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
            self._ownership.release()

    def _loop(self) -> None:
        next_look_ns = 0
        ending = False
        while not self._stopping:
            if self._clock.monotonic_ns() >= next_look_ns:
                next_look_ns = self._clock.monotonic_ns() + int(HOUSEKEEPING_S * 1e9)
                self._tasks.acquire()
                self._progress.beat(self._job.name, self._name, self.clocks.counters())
                request = self._progress.stop_requested(self._job.name)
                if request == "now" or not self._wanted():
                    return
                ending = request == "end"
            arrivals = self._intake.take(self._pace.rows)
            if arrivals is not None:
                self._epoch(arrivals)
            elif ending and self._at_end():
                return
            else:
                self._pace.rest()

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
                outcome = Outcome(dead={0: KILLER})
            else:
                results = self._run_program(arrivals)
                crash_point("job.after_score")
                with self.clocks.stage("write"):
                    outcome = self._prepare(arrivals, results)
            self._commit(arrivals, outcome)
            self._intake.done(arrivals)

    def _run_program(self, arrivals: Arrivals) -> Results:
        try:
            with self.clocks.stage("query"):
                results = self._job.program.run(arrivals.batches)
        except RowError as error:
            raise DataError(f"{error}\n{_where(arrivals, error.origin)}") from None
        self.clocks.move("query", "score", results.score_ns)
        return results

    def _prepare(self, arrivals: Arrivals, results: Results) -> Outcome:
        """Encode the outputs; events that failed anywhere are taken out of all of them."""
        dead = {reject.origin: reject.reason for reject in arrivals.rejected}
        for failure in results.failures:
            assert failure.origin is not None, "without state every row comes from an event"
            dead[failure.origin] = failure.reason
        outputs = results.outputs
        while True:
            outputs = {name: _without(batch, dead) for name, batch in outputs.items()}
            prepared: dict[str, Prepared[Any]] = {}
            failed: dict[int, str] = {}
            for name, batch in outputs.items():
                if batch.height:
                    prepared[name] = self._job.sinks[name].prepare(_rows(batch, arrivals))
                    origins = batch.frame[ORIGIN]
                    failed |= {
                        origins[row]: f"output '{name}': {why}"
                        for row, why in prepared[name].failures.items()
                    }
            if not failed:
                return Outcome(prepared, dead)
            dead |= failed

    def _commit(self, arrivals: Arrivals, outcome: Outcome) -> None:
        letters = [self._letter(arrivals, origin, reason) for origin, reason in outcome.dead.items()]
        with self.clocks.stage("commit"):
            with self._namespace.transaction() as tx:
                crash_point("job.commit.begin")
                self._ownership.check(tx)
                self._tasks.save(tx, arrivals.polls, arrivals.watermarks_us)
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
        self.clocks.dead += len(outcome.dead)
        self.clocks.epochs += 1
        self._progress.count(
            tx,
            self._job.name,
            {"events_in": arrivals.events, "rows_out": rows_out, "dead": len(outcome.dead)},
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
            first_us=int(poll.arrival_us[index]),
        )


def instance_name(number: int) -> str:
    """Return the name under which an instance owns its line of the outbox, and is listed."""
    return f"instance-{number}"


def _without(batch: Batch, dead: Mapping[int, str]) -> Batch:
    if not dead:
        return batch
    return batch.filter(~batch.frame[ORIGIN].is_in(list(dead)))


def _rows(batch: Batch, arrivals: Arrivals) -> Rows:
    return Rows(batch, lambda: _row_ids(batch, arrivals))


def _row_ids(batch: Batch, arrivals: Arrivals) -> pl.Series:
    """Return ``input/partition/offset`` for each row, ``/n`` behind it for an event's n-th further row."""
    origins = batch.frame[ORIGIN]
    offsets = pl.concat(
        [
            pl.select(pl.format("{}/{}/{}", pl.lit(p.input), p.partition, pl.Series(p.offsets))).to_series()
            for p in arrivals.polls
        ]
    )
    ordinal = batch.frame.select(pl.int_range(pl.len()).over(ORIGIN)).to_series()
    ids = offsets.gather(origins)
    numbered = pl.select(pl.when(ordinal > 0).then(pl.format("{}/{}", ids, ordinal)).otherwise(ids))
    return numbered.to_series()


def _where(arrivals: Arrivals, origin: int | None) -> str:
    if origin is None:
        return "The job stopped; nothing of this batch was written."
    poll, index = arrivals.place(origin)
    body = poll.bodies[index][:200].decode("utf-8", "replace")
    return (
        f"The job stopped at input '{poll.input}', partition {poll.partition}, "
        f"position {poll.offsets[index]}: {json.dumps(body, ensure_ascii=False)}. "
        "Nothing behind it was written."
    )
