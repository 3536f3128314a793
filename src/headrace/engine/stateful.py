"""The tasks of a job with state: timelines with one owner each, on record in each commit, saved now and then.

A task is the whole job, or one partition of each of its inputs. Saving goes on in the background: a state
never changes in place, so it is encoded by a thread while the job goes on, and written by a later commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from headrace.clock import Clock
from headrace.connect.exchange import ExchangeSource
from headrace.connect.source import OrderedSource
from headrace.engine.arrivals import Arranger, Arrivals, Piece, Rejected
from headrace.engine.operator import State, StateValue
from headrace.engine.program import Program, Results
from headrace.engine.recovery import Record, encoded_answers, merged, reads_of, rebuild
from headrace.engine.references import References
from headrace.engine.shares import Shares
from headrace.engine.snapshot import encode
from headrace.engine.tasks import Place
from headrace.engine.timeline import Spread, Ticks, Timeline
from headrace.errors import Fatal, HeadraceError, UserError
from headrace.events.batch import Batch
from headrace.events.watermark import Policy
from headrace.limits import MAX_STATE_BYTES
from headrace.local.namespace import Namespace, Transaction
from headrace.local.ownership import Owned, Ownership
from headrace.local.progress import Progress, SavedState
from headrace.names import STAGE_MARK

#: How long a state is not saved after it was, at least; what was read since is read again by a restart.
SAVE_PAUSE_S: Final = 5.0

#: Saving takes a tenth of the time at most.
_PAUSE_PER_SAVING: Final = 9

#: The task of a job that is not cut, and what the names of others begin with.
STATE_TASK: Final = "state"


@dataclass(frozen=True, slots=True)
class Cutting:
    """What the tasks of a job are made of; with `per_partition` there is one for each partition."""

    job: str
    program: Program
    sources: Mapping[str, OrderedSource]
    policy: Policy
    per_partition: bool
    references: References = field(default_factory=References)

    @property
    def exchanges(self) -> dict[str, ExchangeSource]:
        """The sources of inputs that another stage repartitions."""
        return {name: own for name, own in self.sources.items() if isinstance(own, ExchangeSource)}

    @property
    def spread(self) -> dict[str, Spread]:
        """How these inputs come."""
        return {name: Spread(source.places, source.rule) for name, source in self.exchanges.items()}


@dataclass(frozen=True, slots=True)
class _Saving:
    """A state that is being encoded: that behind `epoch`."""

    epoch: int
    parts: Future[dict[str, bytes]]
    began_ns: int


class StatefulTask:
    """One task as one instance sees it: its own to advance and save once `acquire` says so."""

    def __init__(
        self, name: str, cutting: Cutting, partitions: Mapping[str, Sequence[int]], progress: Progress
    ) -> None:
        self.name = name
        self._cutting, self._partitions, self._progress = cutting, partitions, progress
        self._job = cutting.job
        self._ownership: Ownership | None = None
        self._begin()

    def _begin(self) -> None:
        cutting = self._cutting
        self.timeline = Timeline(cutting.program, self._partitions, cutting.policy, cutting.spread)
        self.epoch = 0
        self._ticks: list[Ticks] = []
        self._saved_epoch = 0
        self._saving: _Saving | None = None
        self._save_after_ns = 0
        self._whole: dict[str, bytes] | None = None
        # Until `acquire` has rebuilt it: what was saved must not be replaced by less at an orderly end.
        self._committed = False
        self._finished = False
        #: Whether it goes on with what it kept before.
        self.restored = False
        #: How many rows were kept when the state was last looked at, now and then.
        self.rows = 0
        #: Where packs were read up to, by epoch, of which no saved state knows yet; and those that one knows.
        self._packs_read: list[tuple[int, Place, int]] = []
        self._forgettable: dict[Place, int] = {}

    @property
    def suffix(self) -> str:
        """What tells the task from others of its job: nothing, or ``/partition``."""
        return self.name.removeprefix(STATE_TASK)

    @property
    def partition(self) -> int:
        """The partition of a task that reads one."""
        [[partition]] = self._partitions.values()
        return partition

    @property
    def is_followed(self) -> bool:
        """Whether it must be on record how far time has come, although no rows came of it.

        Another stage goes by that; and what is looked up in data that change was so before the change.
        """
        return bool(self._cutting.exchanges) or self._cutting.references.changing

    @property
    def owned(self) -> bool:
        """Whether the task is this instance's."""
        return self._ownership is not None

    def acquire(self, owner: str, arranger: Arranger) -> None:
        """Take the task and rebuild its state, unless another instance has it.

        Raises UserError if another query saved the state.
        """
        try:
            self._ownership = self._progress.acquire(self._job, self.name, owner)
        except Owned:
            return
        self._begin()
        saved = self._progress.state(self._job, self.name)
        epochs = self._progress.epochs(self._job, self.name)
        self.epoch = epochs[-1].number if epochs else 0
        if saved is None:
            # The first commit says which query it is, so that no other goes on from it.
            self._whole = _encoded(self.timeline.state)
            self._committed = True
            return
        try:
            self.timeline.restore(saved.parts)
        except UserError as error:
            raise _with_advice(self._job, error) from None
        self.restored = True
        self._saved_epoch = saved.epoch
        arranger.number_from(self.timeline.next_number)
        behind = [epoch for epoch in epochs if epoch.number > saved.epoch]
        rebuild(self.timeline, behind, self._cutting.sources, arranger, self._cutting.references)
        if self.timeline.settle():
            # No epoch of another policy may stand behind the state that is saved.
            self._whole = _encoded(self.timeline.state)
        self._committed = True

    def add(self, pieces: Sequence[Piece], next_number: int) -> list[Rejected]:
        """Take events, all numbered below `next_number`; returns those that have no place in time.

        What the policy found of them is `timeline.tallies` until the next call.
        """
        self._committed = False
        self.timeline.tallies.clear()
        return self.timeline.add(pieces, next_number)

    def tick(self, ticks: Ticks, first: int) -> Results:
        """Go on to where time has come although nothing did.

        What comes of it must be committed; if nothing does, the next epoch has on record that time passed.
        """
        self.timeline.pass_time(ticks)
        self._ticks.append(ticks)
        committed, self._committed = self._committed, False
        results = self.timeline.advance(first)
        self._committed = committed and not results
        return results

    def log(self, tx: Transaction, arrivals: Arrivals, answers: Mapping[str, Batch]) -> None:
        """Within the commit: check that the task is still ours, and record what its state comes from."""
        assert self._ownership is not None
        self._ownership.check(tx)
        self._committed = False  # until `committed`: what is undone now must not be saved at an orderly end
        polls = [poll for poll in arrivals.polls if poll.partition in self._partitions.get(poll.input, ())]
        reads, known = reads_of(polls), self._cutting.references.known
        record = Record(reads, arrivals.processed_us, merged(self._ticks), arrivals.skipped, known)
        if self._whole is not None:
            self._save(tx, SavedState(self.epoch, self._whole))
        self.epoch = self._progress.log_epoch(
            tx, self._job, self.name, record.encoded(), self.timeline.frontier_us, encoded_answers(answers)
        )
        self._packs_read += [
            (self.epoch, (read.input, read.partition), read.behind)
            for read in reads
            if read.input in self._cutting.exchanges
        ]
        if self._finished:
            self._save(tx, SavedState(self.epoch, _encoded(self.timeline.state)))
        elif self._saving is not None and self._saving.parts.done():
            self._save(tx, SavedState(self._saving.epoch, self._saving.parts.result()))

    def _save(self, tx: Transaction, saved: SavedState) -> None:
        size_bytes = sum(map(len, saved.parts.values()))
        if size_bytes > MAX_STATE_BYTES:
            raise Fatal(
                f"the state of job '{self._job}' takes {size_bytes:,} bytes, more than {MAX_STATE_BYTES:,}: "
                "make windows shorter, bounds of joins closer or keys fewer"
            )
        self._progress.save_state(tx, self._job, self.name, saved)
        self._saved_epoch = saved.epoch
        known = [read for read in self._packs_read if read[0] <= saved.epoch]
        self._packs_read = self._packs_read[len(known) :]
        self._forgettable = {place: behind for _, place, behind in known}

    def committed(self, saver: ThreadPoolExecutor, now_ns: int) -> None:
        """After the commit: begin to save the state that it left, if it is time."""
        self._ticks, self._whole, self._committed, self._finished = [], None, True, False
        if self._saving is not None and self._saved_epoch >= self._saving.epoch:
            took_ns = now_ns - self._saving.began_ns
            self._save_after_ns = now_ns + max(int(SAVE_PAUSE_S * 1e9), _PAUSE_PER_SAVING * took_ns)
            self._saving = None
        if self._forgettable:
            saver.submit(_forget, self._cutting.exchanges, self._forgettable)
            self._forgettable = {}
        if self._saving is None and now_ns >= self._save_after_ns:
            parts = saver.submit(_encoded, self.timeline.state)
            self.rows = sum(map(rows_in, self.timeline.state.values()))
            self._saving = _Saving(self.epoch, parts, now_ns)

    def finish(self, first: int) -> Results:
        """Let time run out; the commit that follows saves a state as in the beginning."""
        results = self.timeline.finish(first)
        self._committed, self._finished = False, True
        return results

    def release(self, namespace: Namespace, *, died: bool) -> None:
        """Give the task back; what follows an orderly end finds the state saved."""
        if self._ownership is None:
            return
        with contextlib.suppress(HeadraceError):  # the state is on record, saved or not
            if not died and self._committed and self._saved_epoch < self.epoch:
                with namespace.transaction() as tx:
                    self._ownership.check(tx)
                    self._save(tx, SavedState(self.epoch, _encoded(self.timeline.state)))
                _forget(self._cutting.exchanges, self._forgettable)
        with contextlib.suppress(HeadraceError):
            self._ownership.release()
        self._ownership = None


class StatefulTasks:
    """All tasks of a job with state, as one instance sees them."""

    def __init__(
        self, cutting: Cutting, namespace: Namespace, progress: Progress, owner: str, clock: Clock
    ) -> None:
        self._namespace, self._progress, self._clock = namespace, progress, clock
        self._cutting, self._owner = cutting, owner
        self._saver = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saver")
        self._tasks = _tasks(cutting, progress)
        self._by_place = {
            (name, partition): task
            for task, partitions in self._tasks
            for name, own in partitions.items()
            for partition in own
        }

    @property
    def owned(self) -> list[StatefulTask]:
        """The tasks that are this instance's."""
        return [task for task, _ in self._tasks if task.owned]

    @property
    def holds(self) -> bool:
        """Whether anything would come of time alone."""
        return any(task.timeline.holds for task in self.owned)

    def owns(self, place: Place) -> bool:
        """Tell whether a partition of an input goes with a task that is ours."""
        return self._by_place[place].owned

    def goes_with(self, place: Place, tasks: Sequence[StatefulTask]) -> bool:
        """Tell whether a partition of an input goes with one of `tasks`."""
        return self._by_place[place] in tasks

    def acquire(self, shares: Shares, arranger: Arranger) -> None:
        """Take the tasks that are ours to take. Raises UserError if another query saved their state."""
        self._check_cut()
        for number, (task, _) in enumerate(self._tasks):
            if not task.owned and shares.takes(number):
                task.acquire(self._owner, arranger)

    def given(self, shares: Shares) -> list[StatefulTask]:
        """Return the tasks that are another's now."""
        return [task for number, (task, _) in enumerate(self._tasks) if task.owned and shares.gives(number)]

    def give_back(self, tasks: Sequence[StatefulTask]) -> None:
        """Release tasks, their state saved."""
        for task in tasks:
            task.release(self._namespace, died=False)

    def with_events(self, arrivals: Arrivals) -> Iterator[tuple[StatefulTask, list[Piece]]]:
        """Yield the tasks that `arrivals` are of, each with its events."""
        pieces: dict[str, list[Piece]] = {}
        tasks = {}
        for poll in arrivals.polls:
            task = self._by_place[poll.input, poll.partition]
            tasks[task.name] = task
        for piece in arrivals.pieces:
            task = self._by_place[piece.poll.input, piece.poll.partition]
            pieces.setdefault(task.name, []).append(piece)
        for name, task in tasks.items():
            yield task, pieces.get(name, [])

    def with_ticks(self, ticks: Ticks, *, every: bool) -> Iterator[tuple[StatefulTask, Ticks]]:
        """Yield the tasks that something may come of as time passes, or all, and their part of `ticks`."""
        for task in self.owned:
            own: dict[str, dict[int, int]] = {}
            for name, floors in ticks.items():
                for partition, floor_us in floors.items():
                    if self._by_place[name, partition] is task:
                        own.setdefault(name, {})[partition] = floor_us
            if own and (every or task.timeline.holds):
                yield task, own

    def past(self, ended: Container[Place]) -> Iterator[tuple[StatefulTask, Ticks]]:
        """Yield the tasks in which too much waits, and ticks for places it waits for that have ended."""
        for task in self.owned:
            if task.timeline.ahead():
                yield task, task.timeline.past(ended)

    def ahead(self) -> set[Place]:
        """Return the partitions to read no more of until the others have come as far."""
        return {place for task in self.owned for place in task.timeline.ahead()}

    def committed(self, tasks: Sequence[StatefulTask]) -> None:
        """After a commit of these tasks."""
        for task in tasks:
            task.committed(self._saver, self._clock.monotonic_ns())

    def release(self, *, died: bool) -> None:
        """Give all tasks back."""
        for task, _ in self._tasks:
            task.release(self._namespace, died=died)
        self._saver.shutdown()

    def check_start(self) -> None:
        """Raise UserError if a query that kept nothing has read an input that is repartitioned now.

        The stage that does it knows nothing of how far that was.
        """
        job = self._cutting.job
        if self._progress.tasks_with_state(job):
            return
        for name, source in self._cutting.exchanges.items():
            if any(self._progress.positions(job, f"{name}/{number}") for number in range(source.places)):
                raise _with_advice(job, UserError(f"input '{name}' was read before, not repartitioned"))

    def _check_cut(self) -> None:
        names = {task.name for task, _ in self._tasks}
        others = set(self._progress.tasks_with_state(self._cutting.job)) - names
        if others:
            raise _with_advice(
                self._cutting.job,
                UserError(
                    "the job was cut into other tasks when its state was saved: " + ", ".join(sorted(others))
                ),
            )


def check_nothing_kept(progress: Progress, job: str) -> None:
    """Raise UserError if a job whose query keeps nothing has the state of an earlier query."""
    if progress.tasks_with_state(job):
        raise _with_advice(job, UserError("the query keeps nothing, but the one before it has saved a state"))


def _tasks(cutting: Cutting, progress: Progress) -> list[tuple[StatefulTask, Mapping[str, Sequence[int]]]]:
    counts = {name: source.partitions for name, source in cutting.sources.items()}
    if not cutting.per_partition:
        cuts = {STATE_TASK: {name: tuple(range(count)) for name, count in counts.items()}}
    else:
        [partitions] = set(counts.values())
        cuts = {f"{STATE_TASK}/{p}": dict.fromkeys(counts, (p,)) for p in range(partitions)}
    return [(StatefulTask(name, cutting, cut, progress), cut) for name, cut in cuts.items()]


def rows_in(value: StateValue) -> int:
    """Return how many rows a state holds."""
    if isinstance(value, Batch | pl.DataFrame):
        return value.height
    if isinstance(value, Mapping):
        return sum(map(rows_in, value.values()))
    return sum(map(rows_in, value)) if isinstance(value, list | tuple) else 0


def _forget(exchanges: Mapping[str, ExchangeSource], known: Mapping[Place, int]) -> None:
    """Delete packs that saved states know; what cannot be deleted now is with the next ones."""
    for (name, partition), behind in known.items():
        with contextlib.suppress(HeadraceError):
            exchanges[name].forget(partition, behind)


def _encoded(parts: Mapping[str, State]) -> dict[str, bytes]:
    return {part: encode(state) for part, state in parts.items()}


def _with_advice(name: str, error: UserError) -> UserError:
    job = name.partition(STAGE_MARK)[0]
    return UserError(
        f"job '{job}': {error}. `headrace run {job} --from now` goes on with new events only, "
        "`--from beginning` or `--from TIME` with earlier ones"
    )
