"""Which windows there are, when they end and which rows they hold (reference, A3 and B3 to B5).

Every window is (start, end]. A window function returns `(end, rows)` pairs, the rows in their order; windows
without rows are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.property.oracle.stream import Row, Timed, keys_of

Filled = list[tuple[int, list[Row]]]


def _at_ends(rows: list[Timed], ends_of: Callable[[int], list[int]]) -> Filled:
    filled: dict[int, list[Row]] = {}
    for time, row in rows:
        for end in ends_of(time):
            filled.setdefault(end, []).append(row)
    return sorted(filled.items())


@dataclass(frozen=True)
class Hopping:
    """Windows of `size` that end at multiples of `hop`, moved by `offset`; tumbling where both agree."""

    size: int
    hop: int
    offset: int = 0

    def fill(self, rows: list[Timed]) -> Filled:
        def ends_of(time: int) -> list[int]:
            first = -(-(time - self.offset) // self.hop) * self.hop + self.offset
            return list(range(first, time + self.size, self.hop))

        return _at_ends(rows, ends_of)


@dataclass(frozen=True)
class Snapshot:
    """Rows of one instant."""

    def fill(self, rows: list[Timed]) -> Filled:
        return _at_ends(rows, lambda time: [time])


@dataclass(frozen=True)
class Sliding:
    """What the last `size` hold, at every instant at which that changes: a row comes, or one leaves."""

    size: int

    def fill(self, rows: list[Timed]) -> Filled:
        instants = {time + after for time, _ in rows for after in (0, self.size)}
        contents = [
            (instant, [row for time, row in rows if instant - self.size < time <= instant])
            for instant in sorted(instants)
        ]
        return [(instant, content) for instant, content in contents if content]


@dataclass
class _Session:
    start: int
    last: int
    rows: list[Row] = field(default_factory=list)

    def check_point(self, longest: int) -> int:
        """Return the first multiple of `longest` at which the session is at least that long."""
        return -(-(self.start + longest) // longest) * longest


@dataclass(frozen=True)
class Session:
    """Rows with gaps of at most `timeout`, cut at check points: multiples of `longest`, if it is that old.

    A session that is not cut ends `timeout` after its last row. The next one begins at a cut if it goes on:
    if its first row follows the row before it within the timeout. `over` are the keys that have sessions of
    their own.
    """

    timeout: int
    longest: int
    over: tuple[str, ...] = ()

    def fill(self, rows: list[Timed]) -> Filled:
        filled: Filled = []
        for key in {keys_of(row, self.over) for _, row in rows}:
            filled += self._one([timed for timed in rows if keys_of(timed.row, self.over) == key])
        return sorted(filled, key=lambda window: window[0])

    def _one(self, rows: list[Timed]) -> Filled:
        filled: Filled = []
        session: _Session | None = None
        for time, row in rows:
            while session is not None:
                end = min(session.last + self.timeout, session.check_point(self.longest))
                if time <= end:
                    break
                filled.append((end, session.rows))
                goes_on = time - session.last <= self.timeout
                session = _Session(end, session.last) if goes_on else None
            session = session or _Session(time, time)
            session.last = time
            session.rows.append(row)
        if session is not None:
            filled.append((min(session.last + self.timeout, session.check_point(self.longest)), session.rows))
        return [(end, held) for end, held in filled if held]


Window = Hopping | Snapshot | Sliding | Session


def groups(rows: list[Timed], window: Window, keys: tuple[str, ...]) -> list[tuple[int, list[Row]]]:
    """Return `(end, rows)` of every window and group in it; never an empty one.

    Sliding is judged per group: its content changes when the group's does. A session belongs to all rows, or
    to its own keys, and the groups in it share its end. For the other windows both come to the same.
    """
    if isinstance(window, Sliding):
        found = {keys_of(row, keys) for _, row in rows}
        return [
            filled
            for key in found
            for filled in window.fill([timed for timed in rows if keys_of(timed.row, keys) == key])
        ]
    split: list[tuple[int, list[Row]]] = []
    for end, held in window.fill(rows):
        by_key: dict[Any, list[Row]] = {}
        for row in held:
            by_key.setdefault(keys_of(row, keys), []).append(row)
        split += [(end, group) for group in by_key.values()]
    return split
