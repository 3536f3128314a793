"""One thread of a job over files: messages in, files read, parsed and queried, and one commit for all.

The messages of a batch are of one tenant. Its points are written as segments and synced; then one transaction
makes them count, deletes the messages, and keeps dead letters, rows of other outputs and what became of each
file. A thread that dies before it has changed nothing that counts, and the same messages come again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from headrace.clock import Clock
from headrace.connect.queue import QueueSource
from headrace.connect.sink import Sink
from headrace.connect.source import Poll
from headrace.engine.dataset_files import FileReading, ReadLaterError, Work, letters_of
from headrace.engine.dataset_outputs import OtherOutputs, Ready
from headrace.engine.dataset_query import FileQuery, FileTooLargeError, SeriesRows, points_of
from headrace.engine.program import Program
from headrace.engine.stages import StageClocks
from headrace.engine.writing import Outcome
from headrace.errors import DataError
from headrace.faults import crash_point
from headrace.local.dead_letters import DeadLetter, DeadLetters
from headrace.local.namespace import Namespace
from headrace.local.ownership import Ownership
from headrace.local.progress import Progress
from headrace.local.queue import LostLease, Message
from headrace.local.series_records import FileDone, record_files
from headrace.series.arriving import Arriving
from headrace.series.dataset import FileStore, decode_message
from headrace.series.parser import new_parser
from headrace.series.points import Points, TagTable
from headrace.series.tag_codes import TagCodes
from headrace.sql.plan import Script

#: A parser that has met so many tags is put away, and the next one meets those of its files anew.
_MOST_TAGS: Final = 4_000_000

#: Rows for outputs that are no series that wait for their commit, and that one file may give.
_ROWS_AT_ONCE: Final = 100_000
_ROWS_OF_FILE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Reads:
    """What a job reads: the messages of `source`, each a file in one of `stores`."""

    source: QueueSource
    stores: Mapping[str, FileStore]
    batch: int
    max_bad_share: float


@dataclass(frozen=True, slots=True)
class Queries:
    """What a job does with points: some series outputs take them as they are, the rest comes of `script`.

    `made` is called by each thread for functions of its own, and gives what makes programs of them.
    """

    raw: Sequence[str]
    script: Script | None
    made: Callable[[], Callable[[], Program]]
    most_points: int


@dataclass(slots=True)
class History:
    """A series output of one thread: where points go, and their tags' numbers by parser and by query."""

    arriving: Arriving
    tenant: Callable[[], int]
    parsed: TagCodes
    queried: TagCodes


@dataclass(slots=True)
class _Hand:
    """What waits for a commit."""

    tenant: str
    taken_us: int
    works: list[Work] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Who works: a thread of an instance of a job."""

    job: str
    line: str
    ownership: Ownership
    namespace: Namespace
    clock: Clock
    say: Callable[[str], None]


class Worker:
    """Works on one batch after the other; one thread uses it.

    `opened` makes the series outputs, given what numbers tags for the parser and for the query.
    """

    def __init__(
        self,
        place: Place,
        reads: Reads,
        queries: Queries,
        sinks: Mapping[str, Sink],
        others: OtherOutputs,
        opened: Callable[[Callable[[int], list[bytes]], TagTable], dict[str, History]],
    ) -> None:
        self._place, self._reads, self._queries = place, reads, queries
        self._sinks, self._others, self._opened = sinks, others, opened
        self._progress, self._letters = Progress(place.namespace), DeadLetters(place.namespace)
        self.clocks = StageClocks(place.clock)
        self._made = queries.made() if queries.script is not None else None
        self._begin()

    def _begin(self) -> None:
        """Begin with no tag known."""
        reads = self._reads
        self._parser, self._tags = new_parser(), TagTable()
        self._reading = FileReading(reads.stores, self._parser, reads.max_bad_share, self._place.clock)
        self._histories = self._opened(self._parser.guids, self._tags)
        self._query: FileQuery | None = None
        if self._queries.script is not None and self._made is not None:
            rows = {name: cast("Sink", SeriesRows(name, self._tags)) for name in self._histories}
            self._query = FileQuery(
                self._queries.script,
                self._made,
                {**self._sinks, **rows},
                self._parser.guids,
                self._queries.most_points,
            )

    def work(self, poll: Poll) -> None:
        """Read the files of a batch, and commit."""
        taken_us = self._place.clock.now_us()
        messages = cast("Sequence[Message]", poll.leases)
        tenants: dict[str, list[Work]] = {}
        refused: list[tuple[Message, str]] = []
        for message in messages:
            try:
                file = decode_message(message.body)
                if message.tenant not in ("", file.tenant):
                    raise DataError(f"the message is of tenant {message.tenant!r}, and its file of another")
            except DataError as error:
                refused.append((message, str(error)))
            else:
                tenants.setdefault(file.tenant, []).append(Work(message.id, file, message.body))
        by_id = {message.id: message for message in messages}
        try:
            if refused:
                self._refuse(poll, refused)
            for tenant, works in tenants.items():
                self._tenant(poll, by_id, _Hand(tenant, taken_us), works)
        except LostLease as error:
            self._undo()
            self._place.say(f"job {self._place.job}: {error}")
        except BaseException:
            self._undo()
            raise
        if len(self._tags) > _MOST_TAGS or self._parser.guids(_MOST_TAGS):
            self._begin()

    def _undo(self) -> None:
        for history in self._histories.values():
            history.arriving.undo()

    # --- files ------------------------------------------------------------------------------------------

    def _tenant(self, poll: Poll, by_id: Mapping[int, Message], hand: _Hand, works: Iterable[Work]) -> None:
        names = [str(message_id) for message_id in by_id]
        for history in self._histories.values():
            history.arriving.begin(hand.tenant, names)
        for work in works:
            for history in self._histories.values():
                history.arriving.begin_file()
            try:
                ready, rows = self._file(work)
            except ReadLaterError as error:
                # Its lease runs out, so that it comes again after a while, at last alone.
                self._drop_file()
                self._place.say(f"job {self._place.job}: {work.source} is tried again later: {error}")
                continue
            except DataError as error:
                self._drop_file()
                work.set_aside, ready, rows = str(error), [], 0
            hand.works.append(work)
            hand.messages.append(by_id[work.message_id])
            hand.ready += ready
            hand.rows += rows
            if hand.rows > _ROWS_AT_ONCE:
                self._commit(poll, hand)
                hand = _Hand(hand.tenant, hand.taken_us)
        if hand.works:
            self._commit(poll, hand)

    def _drop_file(self) -> None:
        for history in self._histories.values():
            history.arriving.drop_file()

    def _file(self, work: Work) -> tuple[list[Ready], int]:
        """Read a file; returns its rows for outputs that are no series, and how many those are."""
        clocks, clock = self.clocks, self._place.clock
        ready: list[Ready] = []
        rows = 0
        if self._query is not None:
            self._query.begin_file(work.source)
        for points in self._reading.points(work):
            for name in self._queries.raw:
                self._add(name, points)
            if self._query is not None:
                began_ns = clock.monotonic_ns()
                for outcome in self._query.add(points):
                    rows += self._take(work, outcome, ready, rows)
                work.query_ns += clock.monotonic_ns() - began_ns
        if self._query is not None:
            began_ns = clock.monotonic_ns()
            for outcome in self._query.end_file():
                rows += self._take(work, outcome, ready, rows)
            work.query_ns += clock.monotonic_ns() - began_ns
        self._count(clocks, work)
        return ready, rows

    def _add(self, name: str, points: Points) -> None:
        history = self._histories[name]
        codes = history.parsed.of(history.tenant(), points.codes)
        history.arriving.add(codes, points.times_us, points.values)

    def _take(self, work: Work, outcome: Outcome, ready: list[Ready], held: int) -> int:
        """Take what a query made of points; returns the rows that wait for the commit."""
        work.note_failed(outcome.dead)
        work.note_failed({work.points + number: row.reason for number, row in enumerate(outcome.dead_rows)})
        rows = 0
        for name, prepared in outcome.prepared.items():
            if name in self._histories:
                if (points := points_of(prepared)) is not None:
                    history = self._histories[name]
                    codes = history.queried.of(history.tenant(), points.codes)
                    history.arriving.add(codes, points.times_us, points.values)
            else:
                ready.append((name, prepared))
                rows += prepared.rows
        if held + rows > _ROWS_OF_FILE:
            raise FileTooLargeError(
                f"the file gives more than {_ROWS_OF_FILE:,} rows for outputs that are no series, which is "
                "all that one file may. Cut it into smaller ones"
            )
        return rows

    @staticmethod
    def _count(clocks: StageClocks, work: Work) -> None:
        for stage, spent_ns in (("read", work.read_ns), ("decode", work.parse_ns), ("query", work.query_ns)):
            counted = clocks.work[stage]
            counted.busy_ns += spent_ns
            counted.calls += 1
            counted.rows_in += work.points
        clocks.work["read"].bytes_in += work.size_bytes

    # --- the commit -------------------------------------------------------------------------------------

    def _commit(self, poll: Poll, hand: _Hand) -> None:
        place, clock = self._place, self._place.clock
        write_us = clock.now_us()
        with self.clocks.stage("write") as work:
            work.bytes_out += sum(history.arriving.write() for history in self._histories.values())
        written_us = clock.now_us()
        crash_point("series.written")
        letters = [letter for work in hand.works for letter in letters_of(place.job, work)]
        with self._others.turn(hand.ready), self.clocks.stage("commit"):
            asked_ns = self.clocks.now_ns()
            with place.namespace.transaction() as tx:
                self.clocks.waited("lock_wait", asked_ns, within="commit")
                crash_point("series.commit.begin")
                place.ownership.check(tx)
                for history in self._histories.values():
                    history.arriving.commit(tx)
                self._others.write(tx, hand.ready)
                self._reads.source.finish(tx, replace(poll, leases=hand.messages))
                self._letters.add(tx, letters)
                done = [self._done(work, hand, write_us, written_us, clock.now_us()) for work in hand.works]
                record_files(tx, done)
                self._progress.count(tx, place.job, self._counts(hand, len(letters)))
                crash_point("series.commit.before")
            for history in self._histories.values():
                history.arriving.committed()
            crash_point("series.commit.after")

    def _counts(self, hand: _Hand, dead: int) -> dict[str, int]:
        stored = [work for work in hand.works if not work.set_aside]
        points = sum(work.points for work in stored)
        self.clocks.events_in += sum(work.points + work.bad for work in hand.works)
        self.clocks.rows_out += points
        self.clocks.dead += dead
        self.clocks.epochs += 1
        return {
            "events_in": sum(work.points + work.bad for work in hand.works),
            "rows_out": points,
            "dead": dead,
            "files": len(stored),
            "files_set_aside": len(hand.works) - len(stored),
            "bytes_in": sum(work.size_bytes for work in hand.works),
        }

    def _done(self, work: Work, hand: _Hand, write_us: int, written_us: int, now_us: int) -> FileDone:
        read_us = work.began_us + work.read_ns // 1_000
        parse_us = max(read_us, work.parsing_us)
        return FileDone(
            self._place.job,
            self._place.line,
            hand.tenant,
            f"{work.file.store}/{work.file.file}",
            work.message_id,
            0 if work.set_aside else work.points,
            work.bad,
            work.size_bytes,
            hand.taken_us,
            work.began_us,
            read_us,
            parse_us,
            parse_us + work.parse_ns // 1_000,
            write_us,
            written_us,
            now_us,
        )

    def _refuse(self, poll: Poll, refused: Sequence[tuple[Message, str]]) -> None:
        """Set messages aside that name no file."""
        place = self._place
        letters = [
            DeadLetter(
                place.job,
                "queue",
                self._reads.source.place,
                0,
                message.id,
                message.body,
                reason,
                tenant=message.tenant,
            )
            for message, reason in refused
        ]
        with place.namespace.transaction() as tx:
            place.ownership.check(tx)
            self._reads.source.finish(tx, replace(poll, leases=[message for message, _ in refused]))
            self._letters.add(tx, letters)
            self._progress.count(tx, place.job, {"dead": len(letters)})
