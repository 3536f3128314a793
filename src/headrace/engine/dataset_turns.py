"""Batches in the hands of the threads of one process: what may be what a process died of is there alone.

Messages that were handed out before come in ever smaller batches, at last alone. That finds the file that
kills a process only if the process has no other batch in hand when it dies: else those would die with it,
each time, until they are taken for what kills.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from headrace.connect.source import Poll
from headrace.local.queue import Message


class BatchTurns:
    """Lets threads of a process take batches side by side, and one that was handed out before alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._in_hand = 0
        self._alone = False

    @contextlib.contextmanager
    def taken(self, lease: Callable[[], Poll | None]) -> Iterator[Poll | None]:
        """Lease a batch, None if there is none, once it may be worked on, and hold it for the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            poll = lease()
            alone = poll is not None and _was_handed_out(poll)
            if poll is not None:
                if alone:
                    self._alone = True  # nobody leases anything from here on
                    self._changed.wait_for(lambda: not self._in_hand)
                self._in_hand += 1
        try:
            yield poll
        finally:
            if poll is not None:
                with self._changed:
                    self._in_hand -= 1
                    self._alone = self._alone and not alone
                    self._changed.notify_all()


def _was_handed_out(poll: Poll) -> bool:
    messages = cast("Sequence[Message]", poll.leases)
    return any(message.delivery_count > 1 for message in messages)
