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
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

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

    def placed(self, where: str) -> QueryError:
        """Return the error with where the query stands in front, as a setting or a file."""
        return QueryError(f"{where}: {self.problem}", self.script, self.span, advice=self.advice)

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


#: What mends without damage: whoever was refused may try the same again.
PASSING: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)

_GOES_ON: Final = "A running job then goes on by itself; start again what has ended"


def disk_error(number: int, path: object, doing: str = "write", problem: str = "") -> HeadraceError:
    """Return what a user is told when the system refuses to `doing` a file with an error number of `errno`.

    `Transient` for what mends (no space, no quota, read-only, too many open files), `UserError` for a file
    that is not there or not theirs, else `Fatal`: the disk failed. `problem` may say it in other words.
    """
    problem = problem or os.strerror(number)
    match number:
        case errno.ENOSPC:
            found, advice = f"the disk that holds {path} is full", "free some space"
        case errno.EDQUOT:
            found, advice = f"the disk quota for {path} is used up", "free some space, or have it raised"
        case errno.EFBIG:
            found = f"{path} may not grow any more: the size of files is limited"
            advice = "raise the limit (`ulimit -f`), or use a file system that takes larger files"
        case errno.EROFS:
            found = f"cannot {doing} {path}: its file system is read-only"
            advice = "mount it for writing; if it became so by itself, look at its disk first"
        case errno.EMFILE | errno.ENFILE:
            found, advice = f"cannot {doing} {path}: too many files are open", "raise the limit (`ulimit -n`)"
        case errno.ENOMEM:
            found, advice = f"cannot {doing} {path}: no memory is left", "end other programs"
        case errno.EIO | errno.ENXIO | errno.ENODEV | errno.ESTALE:
            return Fatal(
                f"cannot {doing} {path}: the disk failed ({problem}). Nothing is tried again, as that might "
                "claim what is lost: start again when it is mended"
            )
        case _:
            return UserError(f"cannot {doing} {path}: {problem}. Check that the folder is yours")
    return Transient(f"{found}. Nothing is lost: {advice}. {_GOES_ON}")
