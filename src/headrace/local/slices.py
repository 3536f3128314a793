"""What a read of a hub returns: consecutive events of one partition, column by column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from headrace.local.blocks import Contents, Times

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Slice:
    """Consecutive events of one partition, the first at `first_offset`.

    Every column is made when it is first asked for: a reader of lines never pays for the list of bodies.
    """

    partition: int
    first_offset: int
    contents: tuple[Contents, ...] = ()

    def __len__(self) -> int:
        return self.next_offset - self.first_offset

    @cached_property
    def next_offset(self) -> int:
        """The offset after the last event: where to read on."""
        return self.first_offset + sum(part.events for part in self.contents)

    @property
    def size_bytes(self) -> int:
        """What the bodies take, with what separates them."""
        return sum(len(part.payload) for part in self.contents)

    @cached_property
    def bodies(self) -> list[bytes]:
        """The bodies as published."""
        return [body for part in self.contents for body in part.bodies()]

    @property
    def chunks(self) -> list[bytes] | None:
        """The bodies of each block separated by newlines, None where a newline may stand within a body."""
        if any(part.lengths is not None for part in self.contents):
            return None
        return [part.payload for part in self.contents]

    @cached_property
    def enqueued_us(self) -> Times:
        """The enqueued time of each event, in microseconds since 1970 UTC."""
        counts = [part.events for part in self.contents]
        times = np.repeat(np.array([part.enqueued_us for part in self.contents], dtype=np.int64), counts)
        start = 0
        for part in self.contents:
            if part.times is not None:
                times[start : start + part.events] = part.times
            start += part.events
        return times

    @cached_property
    def keys(self) -> list[str | None] | None:
        """The partition key of each event, None when no event has one."""
        return self._column(lambda part: part.keys)

    @cached_property
    def properties(self) -> list[dict[str, str] | None] | None:
        """The user properties of each event, None when no event has any."""
        return self._column(lambda part: part.properties)

    def _column(self, of: Callable[[Contents], list[_Value | None] | None]) -> list[_Value | None] | None:
        if all(of(part) is None for part in self.contents):
            return None
        return [value for part in self.contents for value in (of(part) or [None] * part.events)]
