"""Keeps leased messages invisible to others for as long as this instance works on them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from headrace.connect.source import CompetingSource, Poll

#: Leases are renewed this often within the visibility timeout, so that one late renewal does no harm.
RENEWALS: Final = 3


class LeaseKeeper:
    """Renews the leases of the epoch in hand from a thread of its own, so that a slow model loses none."""

    def __init__(self, source: CompetingSource) -> None:
        self._source = source
        self._held: Sequence[Poll] = ()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def holding(self, polls: Sequence[Poll]) -> Iterator[None]:
        """Renew the leases of `polls` until the block ends."""
        with self._lock:
            self._held = [poll for poll in polls if poll.input == self._source.input]
        try:
            yield
        finally:
            with self._lock:
                self._held = ()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closed.wait(self._source.visibility_timeout_s / RENEWALS):
            with self._lock:
                for poll in self._held:
                    self._source.renew(poll)
