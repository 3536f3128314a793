"""The first of two stages: a job that puts the events of an input in order and divides them by key.

It judges once, where all events of a partition are seen, what is early, late or out of order, and passes on
what each epoch made certain: to every partition of the exchange a pack of the rows that belong there, and of
how far time has come. So the job behind it sees the same rows in the same order, however many tasks it has.

What a task passes on has a line of the outbox of its own, which goes with the task: its packs arrive in their
order, whoever owned it when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.connect.exchange import EXCHANGE, ExchangeSink
from headrace.engine.delivery import Delivery
from headrace.engine.expressions import evaluate
from headrace.engine.operator import NEVER_US
from headrace.engine.packs import Pack
from headrace.engine.program import Results
from headrace.engine.spreading import partitions_of
from headrace.engine.stateful import STATE_TASK, StatefulTask
from headrace.engine.tasks import Place
from headrace.events.batch import TIME, Batch, Column
from headrace.limits import MAX_BATCH_ROWS, MAX_EVENT_BYTES, MAX_WAITING_ROWS
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import Progress
from headrace.names import stage_name
from headrace.sql.partitioning import Repartition
from headrace.sql.plan import ColumnRef, Output, Script, scans
from headrace.sql.reading import columns_read, own_name

_PARTITION: Final = "@partition"


@dataclass(frozen=True, slots=True)
class Stage:
    """What a job is the first stage of: the job `of` with the query `script`, and what is spread how.

    The input has so many partitions, or `places`.
    """

    of: str
    script: Script
    input: str
    places: int
    repartition: Repartition
    sink: ExchangeSink

    @property
    def name(self) -> str:
        """The name of the job that this stage is."""
        return stage_name(self.of, self.input)


def stage_script(script: Script, input_name: str, repartition: Repartition) -> Script:
    """Return what the first stage runs: the events of the input as `script` times them, as they are.

    It means something else where the events are spread in another way, or other columns of them are read, so
    that no state goes on there.
    """
    scan = {scan.input: scan for scan in scans(script)}[input_name]
    tables = tuple(table for table in script.tables if table.input == input_name)
    read = columns_read(script)
    columns = "*" if read is None else ", ".join(sorted(read))
    output = Output(f"{columns} BY {repartition.rule}", scan)
    return Script(script.text, (), (output,), (input_name,), (), tables=tables)


@dataclass(slots=True)
class Passed:
    """What an epoch of a task passes on: packs with their partitions, and how many rows are in them."""

    packs: list[tuple[int, bytes]] = field(default_factory=list)
    rows: int = 0


class Passing:
    """What the tasks of a first stage pass on, and how far they may run ahead of the second."""

    def __init__(self, stage: Stage, progress: Progress, namespace: Namespace) -> None:
        self._stage, self._progress, self._namespace = stage, progress, namespace
        self._keys = tuple(ColumnRef(key) for key in stage.repartition.keys)
        self._read = columns_read(stage.script)
        self._lines: dict[str, Delivery] = {}
        self._told_us: dict[str, int] = {}
        self._leads: dict[str, _Lead] = {}

    # --- rows ---------------------------------------------------------------------------------------------

    def packed(self, task: StatefulTask, results: Results) -> Passed:
        """Return what the results of an epoch pass on; nothing if there are no rows and time stood still."""
        [batch] = results.outputs.values() or [None]
        frontier_us = task.timeline.frontier_us
        if batch is not None and batch.height:
            # Where time ran out the timeline has begun anew; nothing of before will come.
            frontier_us = max(frontier_us, int(batch.frame[TIME].to_physical()[-1]) + 1)
        elif frontier_us <= self._told_us.get(task.name, NEVER_US):
            return Passed()
        self._told_us[task.name] = frontier_us
        parts = {} if batch is None or not batch.height else self._parts(batch)
        packs = [
            (partition, body)
            for partition in range(self._stage.repartition.count)
            for body in _bodies(Pack(task.partition, parts.get(partition), frontier_us))
        ]
        return Passed(packs, 0 if batch is None else batch.height)

    def _parts(self, batch: Batch) -> dict[int, Batch]:
        """Return the rows of each partition that has some."""
        keys = evaluate(self._keys, batch, self._stage.script.text)
        numbers = partitions_of(keys, batch.height, self._stage.repartition.count)
        columns = tuple(column for column in batch.columns if self._is_read(column))
        names = [TIME, *(name for column in columns for name in column.physicals)]
        frames = batch.frame.select(*names, numbers.alias(_PARTITION)).partition_by(
            _PARTITION, as_dict=True, include_key=False, maintain_order=True
        )
        return {int(partition): Batch(frame, columns) for (partition,), frame in frames.items()}

    def _is_read(self, column: Column) -> bool:
        return self._read is None or own_name(column.name) in self._read

    # --- lines --------------------------------------------------------------------------------------------

    def hold(self, tasks: Sequence[StatefulTask]) -> None:
        """Have the lines of the tasks that are ours, delivering what earlier owners left, and no others."""
        names = {task.name for task in tasks}
        for name in self._lines.keys() - names:
            self._lines.pop(name).forget()
            self._leads.pop(name, None)
            self._told_us.pop(name, None)
        for name in names - self._lines.keys():
            sinks = {EXCHANGE: self._stage.sink}
            line = Delivery(self._progress, self._namespace, self._stage.name, name, sinks)
            line.resume()
            self._lines[name] = line

    def add(self, tx: Transaction, task: StatefulTask, passed: Passed) -> None:
        """Keep in the commit what is passed on; `deliver` sends it once the commit stands."""
        if passed.packs:
            self._lines[task.name].add(tx, EXCHANGE, self._stage.sink.block(passed.packs))

    def deliver(self) -> None:
        """Send what commits have kept, all at once. Raises Transient when the exchange cannot be written."""
        waiting = {name: blocks for name, line in self._lines.items() if (blocks := line.waiting())}
        if waiting:
            self._stage.sink.deliver_all(block for blocks in waiting.values() for block in blocks)
            for name, blocks in waiting.items():
                self._lines[name].sent(len(blocks))

    def forget(self) -> None:
        """Drop from the namespace what was delivered, as before an orderly end."""
        for line in self._lines.values():
            line.forget()

    # --- how far ahead ------------------------------------------------------------------------------------

    def committed(self, task: StatefulTask, passed: Passed) -> None:
        """Remember what was passed on, until the other stage has come as far."""
        if passed.rows:
            lead = self._leads.setdefault(task.name, _Lead())
            lead.add(self._told_us[task.name], passed.rows)

    def ahead(self, tasks: Sequence[StatefulTask]) -> set[Place]:
        """Return the partitions to read no more of until the second stage has come further.

        It may have to wait for other partitions, and holds what is ahead of them in memory.
        """
        most_rows = MAX_WAITING_ROWS // self._stage.places
        if all(lead.rows <= most_rows for lead in self._leads.values()):
            return set()
        reached_us = self._reached_us()
        for lead in self._leads.values():
            lead.drop(reached_us)
        return {
            (self._stage.input, task.partition)
            for task in tasks
            if task.name in self._leads and self._leads[task.name].rows > most_rows
        }

    def _reached_us(self) -> int:
        """Return the time up to which every task of the second stage has worked."""
        tasks = (f"{STATE_TASK}/{number}" for number in range(self._stage.repartition.count))
        reached_us = [self._progress.frontier_us(self._stage.of, task) for task in tasks]
        return min(NEVER_US if one is None else one for one in reached_us)


class _Lead:
    """How many rows a task has passed on that the second stage has not come to: by the time they reach."""

    def __init__(self) -> None:
        self._parts: deque[tuple[int, int]] = deque()
        self.rows = 0

    def add(self, frontier_us: int, rows: int) -> None:
        self._parts.append((frontier_us, rows))
        self.rows += rows

    def drop(self, reached_us: int) -> None:
        while self._parts and self._parts[0][0] <= reached_us:
            self.rows -= self._parts.popleft()[1]


def _bodies(pack: Pack) -> Iterator[bytes]:
    """Yield a pack in pieces of a fair size; only behind the last one has time come to its frontier."""
    rows = pack.batch
    if rows is None or rows.height <= MAX_BATCH_ROWS:
        body = pack.encoded()
        if rows is None or rows.height == 1 or len(body) <= MAX_EVENT_BYTES:
            yield body
            return
    half = rows.height // 2
    first = Batch(rows.frame.head(half), rows.columns)
    rest = Batch(rows.frame.slice(half), rows.columns)
    yield from _bodies(Pack(pack.place, first, None))
    yield from _bodies(Pack(pack.place, rest, pack.frontier_us))
