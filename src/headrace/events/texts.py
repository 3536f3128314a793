"""Many texts of which most are never asked for one by one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import overload


class Texts(Sequence[bytes]):
    """So many texts, each of which `text` makes when it is asked for, given its number from 0."""

    def __init__(self, count: int, text: Callable[[int], bytes]) -> None:
        self._numbers, self._text = range(count), text

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self._text(number) for number in self._numbers[index]]
        return self._text(self._numbers[index])


def chained(parts: Sequence[Sequence[bytes]]) -> Sequence[bytes]:
    """Return the texts of all parts one after another; none is touched before it is asked for."""
    if len(parts) == 1:
        return parts[0]
    begins = [0, *accumulate(map(len, parts))]

    def text(number: int) -> bytes:
        part = bisect_right(begins, number) - 1
        return parts[part][number - begins[part]]

    return Texts(begins[-1], text)
