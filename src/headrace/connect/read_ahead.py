"""Reading on while what was read is worked on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_Read = TypeVar("_Read")


class ReadAhead(Generic[_Read]):
    """Has a thread read what will be asked for next, one thing a partition; it is of no other use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._next: dict[int, tuple[Hashable, Future[_Read]]] = {}

    def begin(self, partition: int, question: Hashable, read: Callable[[], _Read]) -> None:
        """Begin to read what answers a question."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=self._name)
        self._next[partition] = question, self._thread.submit(read)

    def take(self, partition: int, question: Hashable) -> _Read | None:
        """Return the answer, or raise what reading it did; None if that was not asked before."""
        asked, answer = self._next.pop(partition, (None, None))
        return answer.result() if answer is not None and asked == question else None

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
