"""An instance of a job over the files of tenants: threads that take batches of messages of the work queue.

It has the outward shape of `job.Instance`. Its own thread looks after what is around: heartbeats, requests to
stop, reference data, threads that fail. Each working thread has a parser, memory and a line of its own, so
that none waits for another but at the commit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from headrace.clock import Clock, SystemClock
from headrace.connect.sink import Sink
from headrace.connect.source import Poll
from headrace.engine.dataset_compaction import Compactor, Compacts
from headrace.engine.dataset_outputs import OtherOutputs
from headrace.engine.dataset_turns import BatchTurns
from headrace.engine.dataset_worker import History, Place, Queries, Reads, Worker
from headrace.engine.delivery import Delivery, Manner
from headrace.engine.health import COMMITTED
from headrace.engine.journal import Journal
from headrace.engine.leases import LeaseKeeper
from headrace.engine.open_job import instance_name
from headrace.engine.pace import LONGEST_REST_S, SHORTEST_REST_S
from headrace.engine.references import References
from headrace.engine.stages import GAUGES, StageClocks
from headrace.engine.staging import Staging
from headrace.errors import Fatal, HeadraceError, Transient
from headrace.local.namespace import Namespace
from headrace.local.ownership import Owned, Ownership
from headrace.local.progress import Condition, Progress
from headrace.local.series_records import Line, lines_of, remember_lines
from headrace.series.arriving import arriving, sweep
from headrace.series.compression_settings import CompressSettings
from headrace.series.points import TagTable
from headrace.series.store import Store
from headrace.series.tag_codes import TagCodes

#: How often an instance looks after what is around, in seconds.
HOUSEKEEPING_S: Final = 0.5

#: What a point takes in memory while it waits and is sorted and encoded, and a thread besides its points.
_POINT_BYTES: Final = 130
_THREAD_BYTES: Final = 64_000_000
_LEAST_POINTS: Final = 200_000

_MEGABYTE: Final = 1_000_000

#: Counters that are the process's, not a thread's.
_OF_PROCESS: Final = GAUGES | {"wall_ms", "cpu_ms"}


@dataclass(frozen=True, slots=True)
class SeriesPlace:
    """A series output: its folder and layout, and how long points are kept, of each tenant that differs."""

    folder: Path
    layout: str = "segments"
    compact: bool = True
    compress: tuple[CompressSettings, ...] = ()
    retention_days: float | None = None
    of_tenants: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetJob:
    """A job over files whose query is bound and whose inputs and outputs are open in this process.

    `sinks` are the outputs that are no series.
    """

    name: str
    reads: Reads
    queries: Queries
    series: Mapping[str, SeriesPlace]
    sinks: Mapping[str, Sink]
    threads: int = 1
    memory_megabytes: int = 256
    references: References = field(default_factory=References)


class DatasetInstance:
    """One of the `instances` processes that run a job over files; `instance` counts from 0.

    It ends after the batches it is in once `wanted`, asked now and then, is false. `say` is told what a user
    should know.
    """

    def __init__(
        self,
        job: DatasetJob,
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
        manner = Manner(self._tend, say, self._clock)
        delivery = Delivery(
            self._progress, namespace, job.name, self._name, OtherOutputs.remote(job.sinks), manner
        )
        self._delivery = delivery
        self._others = OtherOutputs(job.sinks, Staging(job.sinks, namespace), delivery)
        self._journal = Journal(job.name, instance)
        self._wanted = wanted
        self._workers: list[Worker] = []
        self._own_clocks = StageClocks(self._clock)
        self._stopping, self._ending = threading.Event(), threading.Event()
        self._woken = threading.Event()
        self._failures: list[BaseException] = []
        self._turns = BatchTurns()
        self._began_us, self._committed_us = self._clock.now_us(), 0
        memory_bytes = job.memory_megabytes * _MEGABYTE
        kept = [
            Compacts(partial(self._store, name, mapped=False), place.retention_days, place.of_tenants)
            for name, place in job.series.items()
            if instance == 0 and place.layout == "segments" and place.compact
        ]
        self._compactor = Compactor(kept, memory_bytes // 4, self._clock, say)

    @property
    def clocks(self) -> StageClocks:
        """The clocks of the first thread, or of the instance before it has one."""
        return self._workers[0].clocks if self._workers else self._own_clocks

    def stop(self) -> None:
        """Ask the threads to end after the batches they are in; safe to call from a signal handler."""
        self._stopping.set()
        self._others.interrupt()
        self._woken.set()

    def run(self) -> None:
        """Run until asked to stop, or until the work queue is empty when the job is asked to end there.

        Raises Fatal when going on could lose or double something, Transient when it may go on later.
        """
        self._ownership = self._progress.acquire(self._job.name, self._name, self._name)
        ended = "the process died of an error that nobody expected"
        try:
            self._beat(Condition("starting", self._began_us))
            self._tell_started()
            self._job.reads.source.reclaim()
            self._sweep()
            self._others.resume(self._ownership)
            self._loop()
            self._others.settle(ending=True)
            self._others.forget()
            if kept := self._delivery.kept:
                self._say(f"job {self._job.name}: {kept}")
            ended = ""
        except (HeadraceError, OSError) as error:
            ended = str(error)
            raise
        finally:
            self._stopping.set()
            with contextlib.suppress(HeadraceError, OSError):  # what is wrong is told by who raised it
                self._beat(Condition("ended", self._clock.now_us(), ended))
            counters = self._counters()
            self._journal.ended(ended, int(counters["events_in"]), int(counters["rows_out"]))
            self._ownership.release()

    # --- around the threads -----------------------------------------------------------------------------

    def _tell_started(self) -> None:
        job = self._job
        outputs = sorted({*job.series, *job.sinks})
        self._journal.tell(
            "started",
            f"started: reads {job.reads.source.input}; writes {', '.join(outputs)}",
            inputs=[job.reads.source.input],
            outputs=outputs,
            instances=self._instances,
            threads=job.threads,
        )

    def _sweep(self) -> None:
        """Put on record who writes, and remove what earlier threads of this instance left behind."""
        job = self._job
        for name in job.series:
            self._store(name).claim()
        lines = [
            Line(job.name, self._name, self._line(thread), name, str(place.folder))
            for thread in range(job.threads)
            for name, place in job.series.items()
        ]
        remember_lines(self._namespace, lines)
        sweep_lines(self._namespace, job.name, [self._name])

    def _line(self, thread: int) -> str:
        return f"{self._job.name}/{self._name}/thread-{thread}"

    def _loop(self) -> None:
        keeper = LeaseKeeper(self._job.reads.source)
        threads: list[threading.Thread] = []
        try:
            for number in range(self._job.threads):
                self._workers.append(self._worker(number))
            threads += [
                threading.Thread(target=self._work, args=(worker, keeper), name=f"files-{number}")
                for number, worker in enumerate(self._workers)
            ]
            for thread in threads:
                thread.start()
            self._compactor.start()
            self._tend_threads(threads)
        finally:
            self._stopping.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self._compactor.stop()
            keeper.close()
        if failure := next(iter(self._failures), self._compactor.failed):
            raise failure

    def _tend_threads(self, threads: Sequence[threading.Thread]) -> None:
        """Look after what is around until the threads are to end, or have ended."""
        while any(thread.is_alive() for thread in threads):
            self._beat(self._delivery.condition or Condition("running", self._began_us))
            if self._ends():
                return
            if self._progress.stop_requested(self._job.name) == "end":
                self._ending.set()
            self._job.references.refresh(self._clock)
            self._others.settle()
            if self._failures or self._compactor.failed is not None:
                return
            self._woken.wait(HOUSEKEEPING_S)
            self._woken.clear()

    def _ends(self) -> bool:
        scale = self._progress.scale(self._job.name)
        too_many = scale is not None and self._instance >= scale
        stopped = self._progress.stop_requested(self._job.name) == "now"
        return self._stopping.is_set() or stopped or too_many or not self._wanted()

    def _tend(self, condition: Condition) -> bool:
        """Tell, while an output takes nothing, whether to end."""
        return self._stopping.is_set()

    def _beat(self, condition: Condition) -> None:
        counters = {**self._counters(), COMMITTED: self._committed_us}
        self._progress.beat(self._job.name, self._name, counters, condition)

    def _counters(self) -> dict[str, float]:
        """Return what all threads have counted together."""
        if not self._workers:
            return self._own_clocks.counters()
        total: dict[str, float] = {}
        for worker in self._workers:
            for name, value in worker.clocks.counters().items():
                total[name] = value if name in _OF_PROCESS else total.get(name, 0) + value
        return total

    # --- threads ----------------------------------------------------------------------------------------

    def _worker(self, number: int) -> Worker:
        job, line = self._job, self._line(number)
        place = Place(job.name, line, self._ownership, self._namespace, self._clock, self._say)

        def opened(guids: Callable[[int], list[bytes]], tags: TagTable) -> dict[str, History]:
            return {name: self._history(name, line, guids, tags) for name in job.series}

        return Worker(place, job.reads, job.queries, job.sinks, self._others, opened)

    def _history(self, name: str, line: str, guids: Callable[[int], list[bytes]], tags: TagTable) -> History:
        store = self._store(name)
        points = points_at_once(self._job.memory_megabytes, self._job.threads, len(self._job.series))
        series = self._job.series[name]
        made = arriving(store, line, series.layout, points, series.compress)
        return History(
            made, lambda: made.tenant, TagCodes(store.catalogue, guids), TagCodes(store.catalogue, tags.guids)
        )

    def _store(self, name: str, *, mapped: bool = True) -> Store:
        return Store(self._namespace, name, self._job.series[name].folder, mapped=mapped)

    def _work(self, worker: Worker, keeper: LeaseKeeper) -> None:
        try:
            self._take_batches(worker, keeper)
        except BaseException as error:  # raised again by the thread of the instance
            self._failures.append(error)
        finally:
            self._woken.set()

    def _take_batches(self, worker: Worker, keeper: LeaseKeeper) -> None:
        reads = self._job.reads
        rest_s = SHORTEST_REST_S

        def lease() -> Poll | None:
            with worker.clocks.stage("read"):
                poll = reads.source.lease(reads.batch, _MEGABYTE)
            if poll is not None:
                keeper.hold(poll)
            return poll

        while not self._stopping.is_set():
            with self._turns.taken(lease) as poll:
                if poll is not None:
                    rest_s = SHORTEST_REST_S
                    self._work_on(worker, keeper, poll)
                    continue
            if self._ending.is_set() and reads.source.exhausted():
                return
            with worker.clocks.waiting("idle"):
                self._clock.sleep(rest_s)
            rest_s = min(LONGEST_REST_S, rest_s * 2)

    def _work_on(self, worker: Worker, keeper: LeaseKeeper, poll: Poll) -> None:
        try:
            worker.work(poll)
            self._committed_us = self._clock.now_us()
        except (Transient, Fatal, OSError):  # a disk, a network: no file is to blame
            with contextlib.suppress(HeadraceError, OSError):
                self._job.reads.source.release(poll)
            raise
        finally:
            keeper.drop(poll)


def points_at_once(memory_megabytes: int, threads: int, outputs: int) -> int:
    """Return how many points of one thread may wait for one series output."""
    own_bytes = memory_megabytes * _MEGABYTE // threads - _THREAD_BYTES
    return max(_LEAST_POINTS, own_bytes // _POINT_BYTES // max(1, outputs))


def sweep_lines(namespace: Namespace, job: str, instances: Sequence[str]) -> list[str]:
    """Remove the files that these instances of a job wrote and no commit speaks of; returns their names.

    Only who owns the instances may.
    """
    found: list[str] = []
    for line in lines_of(namespace, job):
        if line.instance in instances:
            found += sweep(Store(namespace, line.store, Path(line.folder)), line.line)
    return found


def sweep_unowned(namespace: Namespace, job: str) -> None:
    """Sweep behind the instances of a job that nobody runs."""
    progress = Progress(namespace)
    for name in sorted({line.instance for line in lines_of(namespace, job)}):
        with contextlib.suppress(Owned):  # one left behind by its parent may be about to commit
            ownership: Ownership = progress.acquire(job, name, "headrace run")
            try:
                sweep_lines(namespace, job, [name])
            finally:
                ownership.release()
