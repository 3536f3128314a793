"""The job loop: poll -> decode -> run -> commit in one transaction -> acknowledge and deliver.

Everything an epoch changes is in one namespace transaction (`committing`). A process that dies before the
commit has changed nothing; one that dies after it finds its undelivered blocks in the outbox. Outputs are
never computed twice for the same event. Which tasks an instance has is told by `holdings`.

A script without state runs batch by batch. One with state runs along the timelines of its tasks; what changes
them is on record in the same transaction, and while nothing comes the clock lets their windows close.

Where an input is to be repartitioned a job of its own does that, the first stage, by the same loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from headrace.clock import Clock, SystemClock
from headrace.connect.files import FileSource
from headrace.connect.sink import RemoteSink
from headrace.connect.source import CompetingSource, OrderedSource
from headrace.engine.arrivals import NOTHING, Arranger, Arrivals, add_tally
from headrace.engine.bad_input import BadShare
from headrace.engine.committing import Committing
from headrace.engine.delivery import Delivery, Manner
from headrace.engine.health import COMMITTED
from headrace.engine.holdings import Holdings
from headrace.engine.intake import Intake
from headrace.engine.journal import Journal
from headrace.engine.letters import KILLER, Part, where_it_stopped
from headrace.engine.made_anew import MadeAnew
from headrace.engine.open_job import OpenJob, instance_name
from headrace.engine.pace import Pace, Ticking
from headrace.engine.packs import rows_in_packs
from headrace.engine.passing import Passing
from headrace.engine.program import Results
from headrace.engine.row_error import RowError
from headrace.engine.shares import Shares
from headrace.engine.stages import StageClocks
from headrace.engine.staging import Staging
from headrace.engine.stateful import Cutting, StatefulTask, StatefulTasks, check_nothing_kept
from headrace.engine.tasks import Tasks
from headrace.engine.timeline import Ticks, keeps_state
from headrace.engine.writing import DeadRow, Outcome, RowIds, position_ids, prepare, time_ids
from headrace.errors import DataError, Fatal, HeadraceError, Transient
from headrace.faults import crash_point
from headrace.local.namespace import Namespace
from headrace.local.ownership import Owned
from headrace.local.progress import Condition, Progress

#: How often an instance looks for free tasks, a request to stop and expired leases, in seconds.
HOUSEKEEPING_S: Final = 0.5

#: How often the first instance looks for rows that nobody delivers: of instances no more, or put back.
OTHERS_EVERY_S: Final = 5.0


class Instance:
    """One of the `instances` processes that run a job; `instance` counts from 0.

    It ends after an epoch once `wanted`, asked now and then, is false. `say` is told what a user should know.
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
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._job, self._namespace, self._say = job, namespace, say
        self._clock = clock or SystemClock()
        self._progress = Progress(namespace)
        self._instance, self._instances = instance, instances
        self._name = instance_name(instance)
        self._shares = Shares(self._progress, job.name, instance, instances, self._clock, whole=job.whole)
        ordered = {name: s for name, s in job.sources.items() if isinstance(s, OrderedSource)}
        self._files = [s for s in job.sources.values() if isinstance(s, FileSource)]
        self._competing = [s for s in job.sources.values() if isinstance(s, CompetingSource)]
        keeps = keeps_state(job.program.script) or job.stage is not None
        described = job.program.script if job.stage is None else job.stage.script
        self._arranger = Arranger(job.program.script, None if keeps else job.policy, described=described)
        self._passing = None if job.stage is None else Passing(job.stage, self._progress, namespace)
        self._stateful: StatefulTasks | None = None
        if keeps:
            cutting = Cutting(job.name, job.program, ordered, job.policy, job.per_partition, job.references)
            self._stateful = StatefulTasks(cutting, namespace, self._progress, self._name, self._clock)
        passes_to = "" if job.stage is None else job.stage.sink.identity
        made_anew = MadeAnew(job.name, keeps, bool(self._competing), passes_to)
        self._tasks = Tasks(self._progress, job.name, ordered, self._name, self._arranger.begin, made_anew)
        self._ends = job.ends and not self._competing and all(source.ends for source in ordered.values())
        remote = {name: s for name, s in job.sinks.items() if isinstance(s, RemoteSink)}
        self._staging = Staging(job.sinks, namespace)
        manner = Manner(self._tend, say, self._clock)
        self._delivery = Delivery(self._progress, namespace, job.name, self._name, remote, manner)
        self._pace = Pace(self._clock)
        self._journal = Journal(job.name, instance)
        self.clocks = StageClocks(self._clock, self._sizes)
        self._intake = Intake(self._tasks, self._competing, self._arranger, self.clocks, self._clock)
        self._ticking = Ticking(self._clock)
        self._holdings = Holdings(self._tasks, self._stateful, self._passing, self._shares, self._arranger)
        self._committing = Committing(
            job,
            namespace,
            self._holdings,
            self._staging,
            self._delivery,
            self.clocks,
            self._clock,
            self._journal,
            BadShare(job.bad, namespace, job.name, self._name),
        )
        self._wanted = wanted
        self._stopping = False
        self._next_tend_ns = self._next_others_ns = 0
        self._began_us = self._clock.now_us()

    def stop(self) -> None:
        """Ask the loop to end after the epoch it is in; safe to call from a signal handler.

        A request that waits for its target is broken off: it is made again by the next process.
        """
        self._stopping = True
        self._delivery.interrupt()

    def run(self) -> None:
        """Run until asked to stop, or to the end of the inputs when the job is asked to end there.

        Raises DataError when a row makes the job stop, Fatal when going on could lose or double something.
        """
        self._ownership = self._progress.acquire(self._job.name, self._name, self._name)
        died, blameless = True, False
        ended = "the process died of an error that nobody expected"
        try:
            self._beat(Condition("starting", self._began_us))
            if self._stateful is None:
                check_nothing_kept(self._progress, self._job.name)
            else:
                self._stateful.check_start()
            self._tasks.check_start()
            self._committing.ownership = self._ownership
            self._committing.from_us = self._progress.start_us(self._job.whole)
            self._journal.started(self._job, self._instances)
            for source in self._competing:
                source.reclaim()
            self._staging.resume(self._ownership)
            self._delivery.resume(self._ownership.check)
            self._shares.refresh()
            self._deliver_for_others()
            self._loop()
            self._staging.settle(ending=True)
            self._delivery.forget()
            if self._passing is not None:
                self._passing.forget()
            if kept := self._delivery.kept:
                self._say(f"job {self._job.name}: {kept}")
            died, ended = False, ""
        except (Transient, Fatal, OSError) as error:  # a disk, a network: no event is to blame
            died, blameless, ended = False, True, str(error)
            raise
        except HeadraceError as error:
            died, ended = False, str(error)
            raise
        finally:
            with contextlib.suppress(HeadraceError, OSError):  # what is wrong is told by who raised it
                self._beat(Condition("ended", self._clock.now_us(), ended))
            self._journal.ended(ended, self.clocks.events_in, self.clocks.rows_out)
            self._intake.close(blameless=blameless)
            self._holdings.release(died=died)
            self._ownership.release()

    def _loop(self) -> None:
        next_look_ns = 0
        ending = giving = False
        while not self._stopping:
            if self._clock.monotonic_ns() >= next_look_ns:
                next_look_ns = self._clock.monotonic_ns() + int(HOUSEKEEPING_S * 1e9)
                waits = next(filter(None, (own.waits_for for own in self._files)), "")
                self._beat(self._delivery.condition or Condition("running", self._began_us, waits))
                if self._stops() or not self._wanted():
                    return
                self._staging.settle()
                ending = self._progress.stop_requested(self._job.name) == "end"
                self._job.references.refresh(self._clock)
                self._shares.refresh()
                if not self._shares.wanted:
                    return
                self._acquire()
                self._deliver_for_others()
                giving = self._holdings.gives()
            arrivals = self._intake.take(self._pace.rows, self._holdings.ahead())
            if arrivals is not None:
                self._epoch(arrivals, reading_on=not giving)
            elif ending and self._at_end():
                self._finish()
                return
            else:
                if ending:
                    self._pass_ended()
                with self.clocks.waiting("idle"):
                    self._pace.rest()
            # At the end whoever has a task finishes it: the one it belongs to may have ended already.
            if giving and not self._intake.pending and not (ending and self._at_end()):
                self._holdings.give_back()
                self._journal.owns(self._holdings.names())
                giving = False
            if self._ticking.due:
                self._tick()

    def _beat(self, condition: Condition) -> None:
        counters = {**self.clocks.counters(), COMMITTED: self._committing.committed_us}
        self._progress.beat(self._job.name, self._name, counters, condition)

    def _tend(self, condition: Condition) -> bool:
        """Do, while an output takes nothing, what must go on; tell whether to end.

        Leases are renewed by their keepers, and tasks are ours for as long as this process lives.
        """
        if not self._stopping and self._clock.monotonic_ns() >= self._next_tend_ns:
            self._next_tend_ns = self._clock.monotonic_ns() + int(HOUSEKEEPING_S * 1e9)
            self._beat(condition)
            self._stopping = self._stops() or not self._wanted()
        return self._stopping

    def _stops(self) -> bool:
        names = {self._job.name, self._job.whole}
        return any(self._progress.stop_requested(name) == "now" for name in names)

    # --- sharing -------------------------------------------------------------------------------------

    def _acquire(self) -> None:
        self._holdings.acquire()
        self._journal.owns(self._holdings.names())

    def _deliver_for_others(self) -> None:
        """Deliver what nobody else does: rows of instances that are no more, and those that were put back."""
        now_ns = self._clock.monotonic_ns()
        if self._instance != 0 or self._passing is not None or now_ns < self._next_others_ns:
            return
        self._next_others_ns = now_ns + int(OTHERS_EVERY_S * 1e9)
        running = {instance_name(number) for number in range(self._shares.instances)}
        for line in sorted(set(self._progress.outbox_lines(self._job.name)) - running):
            with contextlib.suppress(Owned):  # an instance that is too many, and has not ended yet
                ownership = self._progress.acquire(self._job.name, line, self._name)
                try:
                    self._delivery.of_line(line).resume(ownership.check)
                finally:
                    ownership.release()

    def _at_end(self) -> bool:
        return self._tasks.at_end() and all(source.exhausted() for source in self._competing)

    # --- one epoch -----------------------------------------------------------------------------------

    def _epoch(self, arrivals: Arrivals, *, reading_on: bool) -> None:
        with self._pace.timed(arrivals.events, full=arrivals.full):
            if arrivals.full and reading_on:
                self._intake.read_ahead(self._pace.rows, self._holdings.ahead())
            self._committing.commit(arrivals, self._parts(arrivals))
            self._intake.done(arrivals)
            self._ticking.wake()

    def _parts(self, arrivals: Arrivals) -> list[Part]:
        """Run the events of an epoch, task by task."""
        if self._stateful is None:
            if arrivals.skipped:
                return [Part(None, Outcome())]
            with self.clocks.stage("query") as query:
                results = self._run(arrivals, partial(self._job.program.run, arrivals.batches))
            query.rows_in += arrivals.events - len(arrivals.rejected)
            return [self._part(None, results, arrivals)]
        parts = []
        for task, pieces in self._stateful.with_events(arrivals):
            events = sum(0 if piece.batch is None else piece.batch.height for piece in pieces)
            with self.clocks.stage("order") as order:
                arrivals.rejected.extend(rejected := task.add(pieces, arrivals.behind))
            for name, tally in task.timeline.tallies.items():
                add_tally(arrivals.tallies, name, tally)
            order.rows_in += events
            order.rows_out += events - len(rejected)
            with self.clocks.stage("query") as query:
                results = self._run(arrivals, partial(task.timeline.advance, arrivals.first))
            query.rows_in += events - len(rejected)
            part = self._part(task, results, arrivals)
            if arrivals.skipped:
                part.outcome.dead_rows += [DeadRow(row, KILLER) for row in rows_in_packs(arrivals.polls[0])]
            parts.append(part)
        return parts

    def _tick(self) -> None:
        """Let time pass where nothing came; what comes of it is an epoch that has read nothing.

        Without rows there is mostly nothing to commit: the next epoch has on record how far time came.
        """
        passes, fruitful = self._passing is not None, False
        if self._stateful is not None and (passes or self._stateful.holds):
            quiet = self._tasks.quiet(self._clock.now_us())
            fruitful = self._pass_time(self._stateful.with_ticks(quiet, every=passes))
        self._ticking.ticked(fruitful=fruitful)

    def _pass_ended(self) -> None:
        """Let no input that has ended hold up the others, of which so much waits that no more is read."""
        if self._stateful is not None and self._passing is None:
            self._pass_time(self._stateful.past(self._tasks.ended()))

    def _pass_time(self, ticks_of: Iterable[tuple[StatefulTask, Ticks]]) -> bool:
        """Let time pass in tasks, and commit what must be; tell whether any rows come of it."""
        fruitful, parts = False, []
        for task, ticks in ticks_of:
            results = self._run(NOTHING, partial(task.tick, ticks, NOTHING.first))
            fruitful |= bool(results)
            if results or task.is_followed or self._passing is not None:
                parts.append(self._part(task, results, NOTHING))
        if parts:
            self._committing.commit(NOTHING, parts)
        return fruitful

    def _finish(self) -> None:
        """Let time run out if nothing can come any more, and as far as it has come otherwise."""
        if self._stateful is None or not self._ends:
            self._tick()
            return
        self._shares.take_all()
        self._acquire()
        parts = []
        for task in self._stateful.owned:
            results = self._run(NOTHING, partial(task.finish, NOTHING.first))
            parts.append(self._part(task, results, NOTHING))
        if parts:
            self._committing.commit(NOTHING, parts)

    def _run(self, arrivals: Arrivals, run: Callable[[], Results]) -> Results:
        try:
            results = run()
        except RowError as error:
            raise DataError(f"{error}\n{where_it_stopped(arrivals, error.origin)}") from None
        self.clocks.move(
            "query",
            "score",
            results.score_ns,
            results.score_calls,
            results.score_rows,
            results.score_cpu_ns,
        )
        self.clocks.work["query"].rows_out += sum(batch.height for batch in results.outputs.values())
        return results

    def _part(self, task: StatefulTask | None, results: Results, arrivals: Arrivals) -> Part:
        crash_point("job.after_score")
        with self.clocks.stage("write") as work:
            work.rows_in += sum(batch.height for batch in results.outputs.values())
            if self._passing is not None and task is not None:
                part = Part(task, Outcome(), results, self._passing.packed(task, results))
            else:
                ids = self._row_ids(task, arrivals)
                outcome = prepare(results, arrivals.first, self._job.sinks, ids, self._committing.from_us)
                part = Part(task, outcome, results)
        work.rows_out += part.rows
        work.bytes_out += part.size_bytes
        return part

    def _row_ids(self, task: StatefulTask | None, arrivals: Arrivals) -> RowIds:
        if task is None:
            return lambda _, batch: position_ids(batch, arrivals)
        name = f"{self._job.name}{task.suffix}"
        return lambda output, batch: time_ids(name, output, batch)

    def _sizes(self) -> dict[str, float]:
        kept = {} if self._stateful is None else {"state_rows": sum(t.rows for t in self._stateful.owned)}
        return {"batch_limit_rows": self._pace.rows, **kept}
