"""Delivering the outbox: blocks that a commit holds, handed to remote outputs in order, each exactly once.

An instance has its own line of blocks (its own producer, a sequence that only grows), so that instances never
wait for each other and a target that remembers the last sequence of a producer drops what it already has.

Here, and nowhere else, is decided how often a target is asked that takes nothing for now, and what becomes of
rows that it does not take. While one output waits nothing more is read, so that what waits in memory and in
the outbox is bounded by an epoch; blocks of the epoch for other outputs go past it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol, runtime_checkable

from headrace.clock import Clock, SystemClock
from headrace.connect.retry import NotNow, Patience, Patient, Wait, backoff_s, until_signalled
from headrace.connect.sink import Refused
from headrace.errors import Transient, UserError
from headrace.faults import crash_point
from headrace.local.dead_letters import DEAD_OUTPUT, DeadLetter, DeadLetters
from headrace.local.namespace import Namespace, Transaction
from headrace.local.progress import Condition, OutboxBlock, Progress

#: Waits between two tries, each about double the one before.
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 30.0

#: A target may wish to be left alone for longer, up to this: one that says "tomorrow" is asked sooner.
LONGEST_WISH_S: Final = 600.0

#: While a target is waited for the instance looks this often after everything else.
TEND_EVERY_S: Final = 0.25

#: Told to the user once a wait gets this long: a target that is restarted is nothing of note.
WORTH_TELLING_S: Final = 1.0

#: Told again after so long, and then after twice as long each time, up to an hour: a wait overnight is a few
#: lines, and whoever looks at a terminal is told soon.
TOLD_AGAIN_S: Final = 60.0
_TOLD_SELDOM_S: Final = 3600.0

#: Blocks of an earlier process in memory at once: there are many where dead letters were put back.
RESUMED_BLOCKS: Final = 16

#: Places of rows within a block, in a dead letter's position.
_ROW_BITS: Final = 24


class Target(Protocol):
    """What blocks are delivered to."""

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Take the block over, durably. Raises Transient to be called again."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A target that a signal handler may break off waiting for; `deliver` then raises Transient."""

    def interrupt(self) -> None:
        """End the request that is being made, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How an instance waits for a target: by which clock, and what it does meanwhile.

    `tend` is told what the instance is doing, now and then, and is true once it is to end. `say` is told when
    an outage is worth telling, and when it is over.
    """

    tend: Callable[[Condition], bool] = lambda _: False
    say: Callable[[str], None] = lambda _: None
    clock: Clock = field(default_factory=SystemClock)
    jitter: Callable[[], float] = random.random
    waiting: Callable[[], AbstractContextManager[Wait]] = until_signalled


@dataclass(slots=True)
class _Outage:
    """An output that takes nothing: since when, how often it was asked, and how long to wait still."""

    since_us: int
    since_ns: int
    problem: str = ""
    tries: int = 0
    left_s: float = 0.0
    told: bool = False
    tell_s: float = WORTH_TELLING_S


class Delivery:
    """The outbox of one instance of a job. Without a `manner` of waiting it raises what targets raise."""

    def __init__(
        self,
        progress: Progress,
        namespace: Namespace,
        job: str,
        line: str,
        sinks: Mapping[str, Target],
        manner: Manner | None = None,
    ) -> None:
        self._progress, self._namespace = progress, namespace
        self._job, self._line, self._sinks = job, line, sinks
        self._manner, self._waits = manner or Manner(), manner is not None
        self._letters = DeadLetters(namespace)
        self._waiting: list[OutboxBlock] = []
        self._delivered: list[int] = []
        self._outages: dict[str, _Outage] = {}
        self._sequence = 0
        self._interrupted = False
        self._guard: Callable[[Transaction], None] = lambda _: None

    def resume(self, guard: Callable[[Transaction], None] = lambda _: None) -> None:
        """Deliver what an earlier process of this instance committed and may not have delivered.

        `guard` is called in each transaction that sets rows aside: whoever was overtaken sets none.
        """
        self._guard = guard
        self._sequence = self._progress.last_sequence(self._job, self._line)
        while not self._waiting:  # else the instance is to end, and the next one delivers the rest
            self._waiting = self._progress.pending_outbox(self._job, self._line, RESUMED_BLOCKS)
            if not self._waiting:
                return
            self.deliver()
            self.forget()
            # There may be many: whoever looks sees that it goes on, and a stop need not wait for the last.
            if self._manner.tend(Condition("running", self._manner.clock.now_us())):
                return

    def of_line(self, line: str) -> Delivery:
        """Return the outbox of another instance, for the same outputs."""
        return Delivery(self._progress, self._namespace, self._job, line, self._sinks, self._manner)

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
        """Send every waiting block, those of an output in order, however long it takes.

        Returns with blocks still waiting when the instance is to end. Raises what a target refuses for good,
        where its output does not set that aside.
        """
        while self._waiting:
            for output, left_s in {block.output: self._left_s(block) for block in self._waiting}.items():
                if left_s <= 0:
                    self._deliver_to(output)
            if self._waiting and not self._wait():
                return

    def waiting(self) -> list[tuple[bytes, str, int]]:
        """Return the blocks that wait, with producer and sequence, for whoever then calls `sent`."""
        return [(block.block, self._producer(block), block.sequence) for block in self._waiting]

    def sent(self, blocks: int) -> None:
        """Take note that the first so many blocks that waited have been delivered."""
        self._leave(self._waiting[:blocks])

    def _producer(self, block: OutboxBlock) -> str:
        return f"job:{self._job}:{block.output}:{self._line}"

    def _leave(self, delivered: Sequence[OutboxBlock]) -> None:
        crash_point("job.deliver.after_send")
        ids = [block.id for block in delivered]
        self._delivered += ids
        self._waiting = [block for block in self._waiting if block.id not in ids]

    @property
    def kept(self) -> str:
        """What a user should know at an orderly end: which rows wait for the next one; empty if none do."""
        outputs = ", ".join(f"'{name}'" for name in dict.fromkeys(block.output for block in self._waiting))
        return outputs and f"rows for output {outputs} are kept, and are delivered first when it runs again"

    def interrupt(self) -> None:
        """Break off what waits for a target, where that can be done from a signal handler.

        From now on no output is given up: that it took nothing may be our doing.
        """
        self._interrupted = True
        for sink in self._sinks.values():
            if isinstance(sink, Interruptible):
                sink.interrupt()

    def forget(self) -> None:
        """Drop from the namespace what was delivered, as before an orderly end."""
        if self._delivered:
            with self._namespace.transaction() as tx:
                self._progress.done_outbox(tx, self._delivered)
            self._delivered = []

    # --- one output ---------------------------------------------------------------------------------------

    def _deliver_to(self, output: str) -> None:
        """Send the blocks of one output until it takes no more."""
        sink = self._sink(output)
        patience = sink.patience if isinstance(sink, Patient) else Patience()
        for block in [block for block in self._waiting if block.output == output]:
            try:
                sink.deliver(block.block, self._producer(block), block.sequence)
            except Refused as refused:
                if not patience.sets_aside:
                    raise
                self._set_aside(block, refused.rows, rest_delivered=refused.rest_delivered)
                if not refused.rest_delivered:
                    return
            except Transient as error:
                if not self._waits:
                    raise
                outage = self._failed(output, error)
                if not self._given_up(patience, outage):
                    self._tell(patience, outage)
                    return
                self._give_up_on(block, error, outage)
            else:
                self._delivered_one(block)

    def _sink(self, output: str) -> Target:
        if output not in self._sinks:
            raise UserError(
                f"job {self._job!r} committed rows for output {output!r} that are not delivered "
                "yet, and its query does not write there any more. Run the earlier query once, to its end"
            )
        return self._sinks[output]

    def _delivered_one(self, block: OutboxBlock) -> None:
        self._leave([block])
        outage = self._outages.pop(block.output, None)
        if outage is not None and outage.told:
            lasted_s = (self._manner.clock.monotonic_ns() - outage.since_ns) / 1e9
            self._manner.say(
                f"job {self._job}: output '{block.output}' takes rows again, after {lasted_s:.0f} s and "
                f"{outage.tries + 1:,} tries"
            )

    def _failed(self, output: str, error: Transient) -> _Outage:
        """Note that an output takes nothing now, and how long to leave it alone."""
        clock = self._manner.clock
        outage = self._outages.setdefault(output, _Outage(clock.now_us(), clock.monotonic_ns()))
        outage.tries += 1
        outage.problem = str(error) if f"'{output}'" in str(error) else f"output '{output}': {error}"
        wished_s = error.wished_wait_s if isinstance(error, NotNow) else 0.0
        own_s = backoff_s(outage.tries, FIRST_WAIT_S, LONGEST_WAIT_S, self._manner.jitter())
        outage.left_s = max(own_s, min(wished_s, LONGEST_WISH_S))
        return outage

    def _tell(self, patience: Patience, outage: _Outage) -> None:
        """Say that an output is waited for, and what ends that, if it is time to."""
        lasts_s = (self._manner.clock.monotonic_ns() - outage.since_ns) / 1e9
        if (lasts_s if outage.told else outage.left_s) < outage.tell_s:
            return
        since = f" since {_time(outage.since_us)}" if outage.told else ""
        outage.told = True
        outage.tell_s = max(TOLD_AGAIN_S, min(2 * outage.tell_s, outage.tell_s + _TOLD_SELDOM_S))
        until = self._until(patience)
        self._manner.say(f"job {self._job}: {outage.problem}. It is asked again{since}, {until}")

    def _until(self, patience: Patience) -> str:
        """Return how long an output is asked again, and how to end that."""
        stop = f"Ctrl-C or `headrace stop {self._job}` ends that and keeps the rows"
        bounds = [] if patience.max_tries is None else [f"{patience.max_tries:,} times in all"]
        bounds += [] if patience.give_up_s is None else [f"for {patience.give_up_s:g} s"]
        if bounds:
            return f"{' or '.join(bounds)}; then its rows become dead letters. {stop}"
        return (
            f"until it takes its rows, and nothing is lost. {stop}; max_tries or give_up_seconds, with "
            'on_error = "dead-letter", end it without you'
        )

    # --- rows that are not taken --------------------------------------------------------------------------

    def _given_up(self, patience: Patience, outage: _Outage) -> bool:
        if self._interrupted or not patience.sets_aside:
            return False
        tried_s = (self._manner.clock.monotonic_ns() - outage.since_ns) / 1e9
        too_often = patience.max_tries is not None and outage.tries >= patience.max_tries
        return too_often or (patience.give_up_s is not None and tried_s >= patience.give_up_s)

    def _give_up_on(self, block: OutboxBlock, error: Transient, outage: _Outage) -> None:
        """Set aside what the target has not taken of a block; the next one is tried at once, and once."""
        rows = block.block.count(b"\n") + 1
        settled, refused = (error.settled, error.refused) if isinstance(error, NotNow) else (0, {})
        reason = f"{outage.problem}, after {outage.tries:,} {'try' if outage.tries == 1 else 'tries'}"
        self._set_aside(block, refused | dict.fromkeys(range(settled, rows), reason), rest_delivered=True)
        outage.left_s = 0.0

    def _set_aside(self, block: OutboxBlock, rows: Mapping[int, str], *, rest_delivered: bool) -> None:
        """Make dead letters of rows, in one transaction with their leaving the outbox."""
        texts = block.block.split(b"\n")
        kept = [] if rest_delivered else [text for n, text in enumerate(texts) if n not in rows]
        left = block._replace(block=b"\n".join(kept))
        with self._namespace.transaction() as tx:
            self._guard(tx)
            self._letters.add(tx, self._dead(block, texts, rows))
            self._progress.count(tx, self._job, {"dead": len(rows)})
            crash_point("delivery.set_aside")
            if kept:
                self._progress.replace_outbox(tx, left)
            else:
                self._progress.done_outbox(tx, [block.id])
        place = self._waiting.index(block)
        self._waiting[place : place + 1] = [left] if kept else []

    def _dead(
        self, block: OutboxBlock, texts: Sequence[bytes], rows: Mapping[int, str]
    ) -> Iterable[DeadLetter]:
        number = self._line.rpartition("-")[2]
        for row, reason in rows.items():
            yield DeadLetter(
                job=self._job,
                source_kind=DEAD_OUTPUT,
                source=block.output,
                partition=int(number) if number.isdecimal() else -1,
                position=block.sequence << _ROW_BITS | row,
                body=texts[row],
                reason=reason,
            )

    # --- waiting ------------------------------------------------------------------------------------------

    def _wait(self) -> bool:
        """Wait until an output may be asked again, doing meanwhile what must go on; false to end instead."""
        while (condition := self.condition) is not None:
            # Set up anew each time: whatever comes from here on ends the wait, what came before is seen now.
            with self._manner.waiting() as wait:
                if self._manner.tend(condition):
                    return False
                step_s = min(TEND_EVERY_S, *map(self._left_s, self._waiting))
                if step_s <= 0:
                    return True
                wait(step_s)
            for outage in self._outages.values():
                outage.left_s -= step_s
        return True

    def _left_s(self, block: OutboxBlock) -> float:
        outage = self._outages.get(block.output)
        return 0.0 if outage is None else outage.left_s

    @property
    def condition(self) -> Condition | None:
        """What the instance is doing as long as an output takes nothing, None while all do."""
        if not self._outages:
            return None
        now_us = self._manner.clock.now_us()
        notes = [
            f"{outage.problem}. Tried {outage.tries:,} times since {_time(outage.since_us)}, "
            f"next at {_time(now_us + int(max(0.0, outage.left_s) * 1e6))}"
            for outage in self._outages.values()
        ]
        return Condition("retrying", min(one.since_us for one in self._outages.values()), "; ".join(notes))


def _time(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us / 1e6, UTC).strftime("%H:%M:%S UTC")
