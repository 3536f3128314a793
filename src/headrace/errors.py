"""The errors of Headrace, drawn where they are defined.

::

    HeadraceError
    ├── UserError      settings or a query must be changed        exit code 2
    │   └── QueryError     ... at a line and column of a script
    ├── DataError      a row makes the job stop                    exit code 1
    ├── Transient      something outside is down: try again        exit code 3
    └── Fatal          stop now; going on could lose or lie        exit code 3

Every message says what is wrong, where, and what to do. A user sees the message, never a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Of a longer line a message shows the part around what is wrong.
_EXCERPT_CHARS = 160


class HeadraceError(Exception):
    """Anything Headrace raises on purpose; `str(error)` is fit for a user."""

    exit_code = 1


class UserError(HeadraceError):
    """Settings, a name or a query that the user must change."""

    exit_code = 2


class DataError(HeadraceError):
    """A row that the job cannot go past; the row itself is never lost."""

    exit_code = 1


class Transient(HeadraceError):
    """Something outside is not there now; the same call may go through later."""

    exit_code = 3


class Fatal(HeadraceError):
    """The process must stop: a failed sync, a lost fence, a damaged file."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` (inclusive) to `end` (exclusive) of a script.

    All spans are equal: where a thing is written does not change what it means.
    """

    start: int = field(compare=False)
    end: int = field(compare=False)


class QueryError(UserError):
    """A query that must be refused: line, column, the underlined text and what to write instead.

    `line` and `column` count from 1.
    """

    def __init__(self, problem: str, script: str, span: Span, *, advice: str = "") -> None:
        self.problem, self.advice, self.script, self.span = problem, advice, script, span
        before = script[: span.start]
        self.line = before.count("\n") + 1
        self.column = span.start - (before.rfind("\n") + 1) + 1
        super().__init__(self._message())

    def _message(self) -> str:
        text = self.script.split("\n")[self.line - 1]
        cut = max(0, self.column - 1 - _EXCERPT_CHARS // 2)
        shown = text[cut : cut + _EXCERPT_CHARS]
        before = self.column - 1 - cut
        width = max(1, min(self.span.end - self.span.start, len(shown) - before))
        left, right = "... " if cut else "", " ..." if cut + len(shown) < len(text) else ""
        lines = [
            f"{self.problem} (line {self.line}, column {self.column})",
            f"  {left}{shown}{right}",
            "  " + " " * (len(left) + before) + "^" * width,
        ]
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``Did you mean 'x'?`` for the nearest known name, ignoring case, or an empty string."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.7)
    return f"Did you mean '{by_fold[near[0]]}'?" if near else ""
