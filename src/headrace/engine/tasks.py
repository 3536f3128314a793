"""The partitions that an instance reads, each owned, fenced and positioned.

A query without state has a task for each. One with state has tasks of its own, which a partition goes with. A
partition whose readers died several times without progress is read in ever smaller pieces until the event
that kills them stands alone; that one is set aside.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.connect.exchange import EXCHANGE
from headrace.connect.source import OrderedSource, Poll
from headrace.engine.made_anew import MadeAnew, position_in
from headrace.errors import HeadraceError
from headrace.limits import STARTS_WITHOUT_PROGRESS
from headrace.local.namespace import Transaction
from headrace.local.ownership import Owned, Ownership
from headrace.local.progress import Progress
from headrace.names import STAGE_MARK

#: The first batch of a start is at most this large: a slow model soon shows a result, and an event that
#: kills the process before anything was committed is within as many.
FIRST_BATCH_ROWS: Final = 64


#: What a poll returns at least of what it may where there is more: it is cut between events.
_MOST: Final = 0.9

#: An input and one of its partitions.
Place = tuple[str, int]


@dataclass(slots=True)
class Task:
    """One partition of an ordered input that this instance owns."""

    input: str
    partition: int
    source: OrderedSource
    ownership: Ownership
    offset: int
    read_offset: int
    start_counted: bool = False
    suspects: int | None = None  # so many events from `offset` on: one of them kills its reader
    piece_rows: int = FIRST_BATCH_ROWS

    @property
    def name(self) -> str:
        """The task's name in the namespace."""
        return task_name(self.source, self.input, self.partition)

    @property
    def place(self) -> Place:
        """The input and the partition."""
        return self.input, self.partition

    @property
    def kills_alone(self) -> bool:
        """Whether the next event, read alone, has already killed its reader."""
        return self.suspects == 1 and self.piece_rows == 0


def task_name(source: OrderedSource, input_name: str, partition: int) -> str:
    """Return the name of the task that reads a partition of an input.

    Packs of the input's events have another: a position among these means nothing among those.
    """
    return f"{input_name}{STAGE_MARK if source.kind == EXCHANGE else ''}/{partition}"


class Tasks:
    """All partitions of a job's ordered inputs; `begin` is told the watermark of each one that is taken."""

    def __init__(
        self,
        progress: Progress,
        job: str,
        sources: Mapping[str, OrderedSource],
        owner: str,
        begin: Callable[[str, int, int | None], None],
        made_anew: MadeAnew,
    ) -> None:
        self._begin, self._made_anew = begin, made_anew
        self._progress, self._job, self._owner = progress, job, owner
        self._sources = sources
        self._all = [
            (name, partition) for name, source in sources.items() for partition in range(source.partitions)
        ]
        self._turn = 0
        self.owned: list[Task] = []

    @property
    def suspicious(self) -> bool:
        """Whether an event is being looked for that kills its reader."""
        return any(task.suspects is not None for task in self.owned)

    def check_start(self) -> None:
        """Raise UserError if an input is not what the job has read of it: see `made_anew`."""
        for place in self._all:
            self._position(*place)

    def acquire(self, takes: Callable[[int, Place], bool]) -> None:
        """Take the free partitions that `takes`, given their number and place, says are ours.

        Raises UserError for one whose input is not what was read of it.
        """
        mine = {task.place for task in self.owned}
        for number, place in enumerate(self._all):
            if place not in mine and takes(number, place):
                task = self._acquired(*place)
                if task is not None:
                    self.owned.append(task)

    def give_back(self, gives: Callable[[int, Place], bool]) -> None:
        """Release the partitions that `gives`, given their number and place, says are another's."""
        for number, place in enumerate(self._all):
            for task in [task for task in self.owned if task.place == place and gives(number, place)]:
                self._release(task, died=False)
                self.owned.remove(task)

    def any_owned(self, chosen: Callable[[int, Place], bool]) -> bool:
        """Tell whether a partition that we have is among those `chosen`."""
        mine = {task.place for task in self.owned}
        return any(place in mine and chosen(number, place) for number, place in enumerate(self._all))

    def _acquired(self, name: str, partition: int) -> Task | None:
        source = self._sources[name]
        task = task_name(source, name, partition)
        try:
            ownership = self._progress.acquire(self._job, task, self._owner)
        except Owned:
            return None
        try:
            offset = self._position(name, partition)
        except BaseException:
            ownership.release()
            raise
        epochs = self._progress.epochs(self._job, task)
        self._begin(name, partition, epochs[-1].watermark_us if epochs else None)
        taken = Task(name, partition, source, ownership, offset, offset)
        probe = self._progress.probe(self._job, task)
        if probe is not None and probe[0] == offset:
            taken.suspects = probe[1]
            taken.piece_rows = probe[1] // 2
        return taken

    def _position(self, name: str, partition: int) -> int:
        """Return where a partition is to be read on."""
        source = self._sources[name]
        known = self._progress.positions(self._job, task_name(source, name, partition))
        position = known.get((name, partition))
        if position is None:
            return source.begin(partition)
        self._made_anew.check(name, position, source)
        return max(position.next_offset, source.begin(partition))

    def _suspected(self, task: Task, events: int) -> bool:
        """Decide, from how earlier starts ended, whether one of the next `events` kills its reader.

        A start counts once there is an event to read: without one it is no sign that nothing was committed.
        """
        if not task.start_counted:
            task.start_counted = True
            if self._progress.count_start(self._job, task.name) > STARTS_WITHOUT_PROGRESS:
                task.suspects, task.piece_rows = min(events, FIRST_BATCH_ROWS), FIRST_BATCH_ROWS // 2
        return task.suspects is not None

    def read(self, max_events: int, max_bytes: int, skipped: Container[Place] = ()) -> list[Poll]:
        """Return what there is to read, bounded in all, of places that are not `skipped`.

        A suspected task is read alone, piece by piece.
        """
        for task in self.owned:
            if task.suspects is not None and (poll := self._piece(task, max_bytes)) is not None:
                return [poll]
        polls: list[Poll] = []
        self._turn += 1  # so that no partition starves the others
        turn = self._turn % max(1, len(self.owned))
        asked = [
            task
            for task in self.owned[turn:] + self.owned[:turn]
            if task.suspects is None and task.place not in skipped
        ]
        # A rest is not worth another poll: a source that reads ahead has what the next one will ask for.
        few, little = max_events * (1 - _MOST), max_bytes * (1 - _MOST)
        while asked and max_events > few and max_bytes > little:
            asked, found = self._shares(asked, max_events, max_bytes)
            polls += found
            max_events -= sum(poll.events for poll in found)
            max_bytes -= sum(poll.size_bytes for poll in found)
        return polls

    def _shares(
        self, asked: Sequence[Task], max_events: int, max_bytes: int
    ) -> tuple[list[Task], list[Poll]]:
        """Return as much of each task, and the tasks that may have more.

        So none is far ahead of the others in time, and little waits for them in memory.
        """
        more: list[Task] = []
        polls: list[Poll] = []
        for number, task in enumerate(asked):
            left = len(asked) - number
            events, size_bytes = -(-max_events // left), -(-max_bytes // left)
            if events <= 0 or size_bytes <= 0:
                return [], polls
            poll = task.source.poll(task.partition, task.read_offset, events, size_bytes)
            if poll is not None and not self._suspected(task, poll.events):
                task.read_offset = poll.next_offset
                polls.append(poll)
                max_events -= poll.events
                max_bytes -= poll.size_bytes
                if poll.events >= events * _MOST or poll.size_bytes >= size_bytes * _MOST:
                    more.append(task)
        return more, polls

    def _piece(self, task: Task, max_bytes: int) -> Poll | None:
        assert task.suspects is not None
        rows = max(1, min(task.piece_rows, task.suspects))
        poll = task.source.poll(task.partition, task.offset, rows, max_bytes)
        if poll is not None and not task.kills_alone:
            self._progress.save_probe(self._job, task.name, task.offset, poll.events)
        return poll

    def quiet(self, now_us: int) -> dict[str, dict[int, int]]:
        """Return how far time has come, by input and partition, where all that was read is committed."""
        offsets: dict[str, dict[int, int]] = {}
        for task in self.owned:
            offsets.setdefault(task.input, {})[task.partition] = task.offset
        return {
            name: floors
            for name, places in offsets.items()
            if (floors := self._sources[name].quiet_since(places, now_us))
        }

    def ended(self) -> set[Place]:
        """Return the places of ours that end, such as files, where all there is has been committed."""
        return {
            task.place
            for task in self.owned
            if task.source.ends and task.offset >= task.source.end(task.partition)
        }

    def killer(self, poll: Poll) -> bool:
        """Tell whether `poll` is a single event that killed its reader when it was read alone."""
        task = self._task(poll)
        return task is not None and task.kills_alone and poll.events == 1

    def save(self, tx: Transaction, polls: Sequence[Poll], watermarks_us: Sequence[int | None]) -> None:
        """Within the commit: check that every task is still ours, and save where to go on."""
        for poll, watermark_us in zip(polls, watermarks_us, strict=True):
            task = self._task(poll)
            if task is not None:
                task.ownership.check(tx)
                ranges = json.dumps({task.input: [poll.partition, poll.offsets[0], poll.next_offset]})
                positions = {
                    task.place: position_in(task.source, poll.next_offset, self._made_anew.passes_to)
                }
                self._progress.record_epoch(
                    tx, self._job, task.name, ranges, positions, watermark_us=watermark_us
                )

    def advance(self, polls: Sequence[Poll]) -> None:
        """After the commit: go on behind what it holds."""
        for poll in polls:
            task = self._task(poll)
            if task is not None:
                task.offset = poll.next_offset
                # Else `read` has set it, and may be setting it now in the thread that reads ahead.
                if task.suspects is not None:
                    task.read_offset = task.offset
                    task.suspects -= poll.events
                    if task.suspects <= 0:
                        task.suspects, task.piece_rows = None, FIRST_BATCH_ROWS

    def _task(self, poll: Poll) -> Task | None:
        for task in self.owned:
            if task.input == poll.input and task.partition == poll.partition:
                return task
        return None

    def at_end(self) -> bool:
        """Tell whether every task of the job, whoever owns it, has been read to the end of its partition."""
        for name, partition in self._all:
            if self._position(name, partition) < self._sources[name].end(partition):
                return False
        return True

    def release(self, *, died: bool) -> None:
        """Give all back; a start that did not end in death does not count as one without progress."""
        for task in self.owned:
            self._release(task, died=died)
        self.owned.clear()

    def _release(self, task: Task, *, died: bool) -> None:
        if not died:
            with contextlib.suppress(HeadraceError):  # a disk that failed has said so already
                self._progress.forget_starts(self._job, task.name)
        task.ownership.release()
