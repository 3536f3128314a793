"""Keeps leased messages invisible to others for as long as this instance works on them."""

from __future__ import annotations

import contextlib
import threading
from typing import Final

from headrace.connect.source import CompetingSource, Poll
from headrace.errors import HeadraceError

#: Leases are renewed this often within the visibility timeout, so that one late renewal does no harm.
RENEWALS: Final = 3


class LeaseKeeper:
    """Renews the leases in hand from a thread of its own, so that a slow model loses none."""

    def __init__(self, source: CompetingSource) -> None:
        self._source = source
        self._held: list[Poll] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
        self._thread.start()

    def hold(self, poll: Poll) -> None:
        """Renew the leases of `poll` from now on."""
        with self._lock:
            self._held.append(poll)

    def drop(self, poll: Poll) -> None:
        """Stop renewing: the messages are finished or given back."""
        with self._lock:
            self._held = [held for held in self._held if held is not poll]

    @property
    def held(self) -> list[Poll]:
        """What is in hand."""
        with self._lock:
            return list(self._held)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._closed.wait(self._source.visibility_timeout_s / RENEWALS):
            with self._lock:
                for poll in self._held:
                    # Nobody is to be told here: the commit finds out whether a lease was lost meanwhile.
                    with contextlib.suppress(HeadraceError):
                        self._source.renew(poll)
