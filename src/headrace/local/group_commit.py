"""One sync for many: whoever comes first commits for all threads that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import apsw

from headrace.errors import HeadraceError, Transient
from headrace.faults import crash_point
from headrace.local.database import AnyDatabase
from headrace.local.publishing import Call, Published

Store = Callable[[apsw.Connection, Sequence[Call]], list[Published]]


class GroupCommit:
    """Commits publish calls; `store` writes several of them within one transaction."""

    def __init__(self, database: AnyDatabase, store: Store) -> None:
        self._database, self._store = database, store
        self._turn, self._state = threading.Lock(), threading.Lock()
        self._waiting: list[Call] = []

    def commit(self, *calls: Call) -> None:
        """Store the calls, in turn and perhaps together with others; synced to disk when this returns."""
        with self._state:
            self._waiting.extend(calls)
        with self._turn:
            # They are taken together, so that one stands for all.
            if calls[0].published is None and calls[0].error is None:
                self._commit_waiting()
        if calls[0].error is not None:
            raise calls[0].error

    def _commit_waiting(self) -> None:
        calls: list[Call] = []
        try:
            with self._database.write() as connection:
                calls = self._take_waiting()
                results = self._store(connection, calls)
                crash_point("hub.publish.before_commit")
            crash_point("hub.publish.after_commit")
        except BaseException as error:
            for call in calls or self._take_waiting():
                call.error = _for_another(error)
            raise
        for call, published in zip(calls, results, strict=True):
            call.published = published

    def _take_waiting(self) -> list[Call]:
        with self._state:
            calls, self._waiting = self._waiting, []
        return calls


def _for_another(error: BaseException) -> HeadraceError:
    """Return the error of a shared commit for one of its callers: an error raised twice mixes its traces."""
    if isinstance(error, HeadraceError):
        return type(error)(*error.args)
    return Transient("the publish call was interrupted and may be stored or not. Send it again")
