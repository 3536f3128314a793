"""Packs: rows of one partition of an input, in order of time, on their way between two stages of a job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from headrace.connect.exchange import content_of, pack
from headrace.connect.source import Poll
from headrace.engine.snapshot import decode, encode
from headrace.errors import Fatal
from headrace.events.batch import ORIGIN, TIME, Batch
from headrace.events.formats.json import encode_rows

#: The number of an event that cannot be named: below that of any that can.
UNNAMED = -1


@dataclass(frozen=True, slots=True)
class Pack:
    """Rows of the partition `place`; behind them nothing is earlier than `frontier_us`, if that is known.

    They have TIME, and of their event only that it cannot be named.
    """

    place: int
    batch: Batch | None
    frontier_us: int | None

    def cut(self, skipped: int, events: int) -> Pack:
        """Return so many of its events behind the first `skipped`, and how far these reach."""
        if self.batch is None or (skipped == 0 and self.batch.height <= events):
            return self
        frame, end = self.batch.frame, skipped + events
        # They are in order of time: where one is cut off nothing comes before it any more.
        frontier_us = self.frontier_us if end >= frame.height else int(frame[TIME].to_physical()[end])
        return Pack(self.place, Batch(frame.slice(skipped, events), self.batch.columns), frontier_us)

    def encoded(self) -> bytes:
        """Return the pack as the body of an event."""
        content = encode({"place": self.place, "rows": self.batch, "frontier_us": self.frontier_us})
        return pack(0 if self.batch is None else self.batch.height, content)

    @classmethod
    def decoded(cls, body: bytes) -> Pack:
        """Return the pack that `encoded` wrote. Raises Fatal for anything else."""
        content = decode(content_of(body))
        match content:
            case {"place": int(place), "rows": rows, "frontier_us": int() | None as frontier_us}:
                if rows is None:
                    return cls(place, None, frontier_us)
                if isinstance(rows, Batch):
                    frame = rows.frame.with_columns(pl.lit(UNNAMED, pl.Int64).alias(ORIGIN))
                    return cls(place, Batch(frame, rows.columns), frontier_us)
        raise Fatal("a pack of events between two stages of a job is damaged")


def packs_in(poll: Poll) -> Iterator[Pack]:
    """Yield what was read of the packs of a poll; nothing of any other."""
    skipped, left = poll.skipped, poll.packed or 0
    for body in poll.bodies if left else ():
        found = Pack.decoded(body).cut(skipped, left)
        left -= 1 if found.batch is None else found.batch.height
        skipped = 0
        yield found


def rows_in_packs(poll: Poll) -> Iterator[str]:
    """Yield the rows that were read of the packs of a poll as JSON; none of any other."""
    for found in packs_in(poll):
        yield from () if found.batch is None else encode_rows(found.batch)
