"""The contract of outputs: rows of the commit itself, bytes that it publishes, or blocks delivered after it.

`prepare` does the work that needs no lock: it encodes the rows and sets aside those that cannot be written.
A local sink then writes within the commit. A staged sink puts its bytes where they will stay and syncs them,
and the commit says that they count; what no commit speaks of is swept. The block of a remote sink is kept in
the commit (the outbox) and delivered afterwards, in order, under a producer and a sequence that stay: a
target that keeps them drops what it already has, so that the output is exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import polars as pl

from headrace.errors import DataError
from headrace.events.batch import Batch
from headrace.limits import MAX_EVENT_BYTES
from headrace.local.namespace import Transaction

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for an output; `ids()` gives each row a text that stays the same when its input is read again."""

    batch: Batch
    ids: Callable[[], pl.Series]


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Payload]):
    """Rows ready to be written; `failures` names the rows (by index) that cannot be, and why."""

    payload: Payload
    rows: int
    failures: Mapping[int, str] = field(default_factory=dict)


class Refused(DataError):
    """Rows that a target will not take, however often it is asked.

    `rows` has the index of each within the block, as `prepare` encoded it, and the reason. Either nothing of
    the block was delivered: without them it may be delivered under the same producer and sequence. Or all
    the others have been, which is `rest_delivered`.
    """

    def __init__(self, message: str, rows: Mapping[int, str], *, rest_delivered: bool = False) -> None:
        super().__init__(message)
        self.rows, self.rest_delivered = dict(rows), rest_delivered


def too_large(texts: pl.Series) -> dict[int, str]:
    """Return the rows whose encoded text no hub and no queue takes, and why."""
    sizes = texts.str.len_bytes()
    return {
        row: f"the row has {sizes[row]:,} bytes, more than the {MAX_EVENT_BYTES:,} of one event"
        for row in (sizes > MAX_EVENT_BYTES).arg_true().to_list()
    }


@runtime_checkable
class LocalSink(Protocol):
    """An output that lives in the namespace."""

    def prepare(self, rows: Rows) -> Prepared[object]:
        """Encode the rows."""
        ...

    def write(self, tx: Transaction, prepared: Prepared[object]) -> None:
        """Write what `prepare` made, within the commit."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class StagedSink(Protocol):
    """An output of files, whose bytes are written and synced before the commit that publishes them.

    Opened for one line of one job; a line has one owner at a time.
    """

    def resume(self) -> None:
        """Sweep what an earlier process of this line staged and no commit published."""
        ...

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows."""
        ...

    def stage(self, payload: bytes) -> Any:
        """Write and sync payloads behind what is published; returns what `publish` takes.

        What was staged before and never published is overwritten. Raises Transient when the disk is full.
        """
        ...

    def settle(self, *, ending: bool = False) -> Any:
        """Return what is to be published of files whose time has come, None if there is nothing now.

        Asked again and again, also when no rows come, until it is None; with `ending` all files are closed.
        """
        ...

    def publish(self, tx: Transaction, staged: Any) -> None:
        """Within a commit: what was staged counts from now on, what was settled is so."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class RemoteSink(Protocol):
    """An output outside the namespace."""

    def prepare(self, rows: Rows) -> Prepared[bytes]:
        """Encode the rows as one block."""
        ...

    def deliver(self, block: bytes, producer: str, sequence: int) -> None:
        """Hand the block over, durably; blocks are JSON lines, so that each row can be set aside.

        Makes one attempt. Raises Transient (`NotNow` with what the target wishes) to be called again a
        little later with the same block, `Refused` for rows that are refused for good.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


Sink = LocalSink | StagedSink | RemoteSink
