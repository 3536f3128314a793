"""The events of several polls of one input as if they were of one, to be decoded at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import overload

from headrace.connect.source import Poll


class Bodies(Sequence[bytes]):
    """The bodies of polls one after another; none is touched before it is asked for."""

    def __init__(self, polls: Sequence[Poll]) -> None:
        self._parts = [poll.bodies for poll in polls]
        self._begins = [0, *accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        return self._begins[-1]

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[body] for body in range(len(self))[index]]
        body = range(len(self))[index]
        part = bisect_right(self._begins, body) - 1
        return self._parts[part][body - self._begins[part]]


def chunks(polls: Sequence[Poll]) -> list[bytes] | None:
    """Return the chunks of all polls, None if one of them has none."""
    if any(poll.chunks is None for poll in polls):
        return None
    return [chunk for poll in polls for chunk in poll.chunks or ()]
