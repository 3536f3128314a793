"""What faults are made of, and those that any connector may have."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.connect.source import Poll
from headrace.errors import DataError, HeadraceError, Transient
from headrace.local.namespace import Transaction


@dataclass(slots=True)
class Link:
    """A connection: "well", "gone", "lost" (what goes over it arrives, its answer does not) or "refused"."""

    mood: str = "well"


@dataclass(slots=True)
class Around:
    """What a fault needs beside the connector: commits, and what is known to all that were opened."""

    commit: Callable[[], AbstractContextManager[Transaction]]
    shared: dict[str, Any] = field(default_factory=dict)


class Linked:
    """A good connector behind a link."""

    _ASKING: Final = ("poll", "begin", "end", "lease", "finish", "renew", "deliver")

    def __init__(self, inner: Any, link: Link) -> None:
        self._inner, self._link = inner, link

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._ASKING:
            return found

        def asked(*arguments: Any, **named: Any) -> Any:
            if self._link.mood == "refused":
                raise DataError("the target refuses the rows for good")
            if self._link.mood == "gone":
                raise Transient("nobody answers")
            answer = found(*arguments, **named)
            if self._link.mood == "lost":
                raise Transient("the connection broke before an answer came")
            return answer

        return asked


class Fault:
    """All that a connector does but what a fault changes."""

    def __init__(self, inner: Any, around: Around) -> None:
        self._inner, self._around = inner, around
        self._was_broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class HidesBrokenConnections(Fault):
    """Says that there is nothing while it cannot know."""

    def poll(self, *asked: int) -> Poll | None:
        """Return None for a failure."""
        found: Poll | None = self._quiet("poll", *asked)
        return found

    def lease(self, *asked: int) -> Poll | None:
        """Return None for a failure."""
        found: Poll | None = self._quiet("lease", *asked)
        return found

    def deliver(self, *asked: Any) -> None:
        """Return as if the block had been delivered."""
        self._quiet("deliver", *asked)

    def _quiet(self, name: str, *asked: Any) -> Any:
        with contextlib.suppress(HeadraceError):
            return getattr(self._inner, name)(*asked)
        return None


class RaisesWhatTheLibraryDoes(Fault):
    """Lets an error of the system through in place of one of ours."""

    def poll(self, *asked: int) -> Poll | None:
        """Raise ConnectionError."""
        found: Poll | None = self._raw("poll", *asked)
        return found

    def deliver(self, *asked: Any) -> None:
        """Raise ConnectionError."""
        self._raw("deliver", *asked)

    def _raw(self, name: str, *asked: Any) -> Any:
        try:
            return getattr(self._inner, name)(*asked)
        except Transient as error:
            raise ConnectionError(str(error)) from None


class LeavesFilesOpen(Fault):
    """Closes all but one of its files."""

    def __init__(self, inner: Any, around: Around) -> None:
        super().__init__(inner, around)
        files = around.shared.setdefault("files", [])
        files.append(open(os.devnull, "rb"))  # noqa: SIM115 - that is the fault


class ClosesOnce(Fault):
    """Takes a second close for an error."""

    _is_closed = False

    def close(self) -> None:
        """Raise the second time."""
        if self._is_closed:
            raise ValueError("closed already")
        self._is_closed = True
        self._inner.close()
