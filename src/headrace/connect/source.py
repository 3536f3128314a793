"""The contract of inputs: ordered ones have offsets, competing ones have leases.

A source never blocks: a poll that finds nothing returns None, and the job asks again a little later. What a
poll returned is acknowledged only after the commit that holds its results: an ordered source by the saved
offset, a competing one by `finish` inside that commit. `close` is not guaranteed to be called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headrace.events.formats.decoded import Decoded
from headrace.events.formats.decoders import Format
from headrace.local.namespace import Transaction


@dataclass(frozen=True, slots=True)
class Poll:
    """Events read together, in order.

    `bodies` are the payloads as published; `chunks`, where known, are the same in fewer pieces, the bodies
    in each separated by newlines, no body holding one. `arrival_us` has the arrival time of each, in
    microseconds since 1970 UTC; where it is None events arrive at the time that TIMESTAMP BY gives them, or
    else when they are read. `offsets` are the positions within `partition`: an integer per event,
    ascending, or the message id for a competing source, whose leases are `leases`. `behind` is where to
    read on, if that is not the last offset plus one. `properties` came beside the bodies; `identity` tells
    what was read from all else. Where `packed` is given bodies are packs of events (see `exchange`): so
    many, without the first `skipped`, in one partition. All are of one `tenant`, where a queue has tenants.

    Bodies are in `format`; `header` stands once before all of them, as the first line of a CSV file does
    (whose fields `delimiter` separates), and a poll never reaches from one header to the next. A source that
    reads rows with their types, as from Parquet, gives them `decoded`; `bodies` then make the JSON of a row
    when one is asked for.
    """

    input: str
    bodies: Sequence[bytes]
    chunks: Sequence[bytes] | None
    arrival_us: NDArray[np.int64] | None
    partition: int
    offsets: Sequence[int]
    leases: Sequence[object] = ()
    identity: str = ""
    properties: Sequence[Mapping[str, str] | None] | None = None
    behind: int | None = None
    packed: int | None = None
    skipped: int = 0
    format: Format = "json"
    header: bytes = b""
    delimiter: str = ","
    decoded: Decoded | None = None
    tenant: str = ""

    @property
    def events(self) -> int:
        """The number of events."""
        return len(self.bodies) if self.packed is None else self.packed

    @property
    def size_bytes(self) -> int:
        """The size of all bodies; of rows with their types what they take in memory."""
        if self.decoded is not None:
            return int(self.decoded.batch.frame.estimated_size())
        if self.chunks is None:
            return sum(map(len, self.bodies))
        return sum(map(len, self.chunks)) + len(self.chunks) - 1

    @property
    def joined(self) -> bytes | None:
        """All bodies separated by newlines, where no body holds one."""
        return None if self.chunks is None else b"\n".join(self.chunks)

    @property
    def next_offset(self) -> int:
        """The offset to read on from."""
        return self.offsets[-1] + 1 if self.behind is None else self.behind


@runtime_checkable
class OrderedSource(Protocol):
    """An input whose events keep their offsets: it can be read again from any of them."""

    kind: str
    place: str  # the name of what it reads: the hub's, not the input's
    identity: str  # what its offsets belong to: in what has another one under that name they mean nothing
    partitions: int
    ends: bool  # whether it is whole once it has been read to its end, as files are: then time runs out

    def begin(self, partition: int) -> int:
        """Return the offset of the oldest event that is still there."""
        ...

    def end(self, partition: int) -> int:
        """Return the offset that the next event will get."""
        ...

    def poll(self, partition: int, offset: int, max_events: int, max_bytes: int) -> Poll | None:
        """Return events from `offset` on, None when there are none yet."""
        ...

    def offset_at(self, partition: int, time_us: int) -> int:
        """Return an offset before which nothing arrived at or after a time; the end if all arrived earlier.

        A source that does not know when its events arrived returns the oldest offset.
        """
        ...

    def quiet_since(self, offsets: Mapping[int, int], now_us: int) -> dict[int, int]:
        """Return, for each partition that still ends at its offset, a time that no event will precede."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class CompetingSource(Protocol):
    """An input whose messages are leased: several instances share it, each message is finished once."""

    kind: str
    place: str  # the name of what it reads: the queue's, not the input's
    input: str
    visibility_timeout_s: float

    def lease(self, max_events: int, max_bytes: int) -> Poll | None:
        """Return messages that nobody else holds, None when there are none."""
        ...

    def renew(self, poll: Poll) -> None:
        """Keep the messages of `poll` invisible to others for another while."""
        ...

    def finish(self, tx: Transaction, poll: Poll) -> None:
        """Delete the messages within the commit; raises if one is no longer ours."""
        ...

    def release(self, poll: Poll) -> None:
        """Give the messages back at once."""
        ...

    def reclaim(self) -> None:
        """Give back what an earlier process of this instance still held when it died."""
        ...

    def exhausted(self) -> bool:
        """Tell whether nothing waits and nothing is leased."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


Source = OrderedSource | CompetingSource
