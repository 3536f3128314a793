"""The windows of a few events, found one at a time in plain Python from the reference's words (B3 to B5).

Knows nothing of the engine. An event is (time in microseconds, its group, its session key, its value), in
order of time, then of arrival. What is found is (time, group, the values inside), a row per group and window.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from headrace.sql.windows import ALIGNMENT_US, Hopping, Session, Sliding, Snapshot, Window


class Event(NamedTuple):
    time: int
    group: Hashable
    session: Hashable
    value: Any


class Found(NamedTuple):
    time: int
    group: Hashable
    values: list[Any]


def windows_of(window: Window, events: Sequence[Event]) -> list[Found]:
    """Return the rows of one window, by time, in no order among those of one time."""
    match window:
        case Sliding(size):
            found = _sliding(size, events)
        case Session(timeout, longest):
            found = []
            for key in dict.fromkeys(event.session for event in events):
                found += _sessions(timeout, longest, [event for event in events if event.session == key])
        case Hopping(size, hop, offset):
            found = _hopping(size, hop, offset, events)
        case Snapshot():
            found = [row for time in _times(events) for row in _rows(time, events, time - 1)]
    return sorted(found, key=lambda row: row.time)


def _times(events: Sequence[Event]) -> list[int]:
    return sorted({event.time for event in events})


def _rows(end: int, events: Sequence[Event], start: int) -> list[Found]:
    """Return the rows of the window (start, end]."""
    return _closed(end, [event for event in events if start < event.time <= end])


def _closed(end: int, inside: Sequence[Event]) -> list[Found]:
    groups: dict[Hashable, list[Any]] = {}
    for event in inside:
        groups.setdefault(event.group, []).append(event.value)
    return [Found(end, group, values) for group, values in groups.items()]


def _sliding(size: int, events: Sequence[Event]) -> list[Found]:
    found = []
    for group in dict.fromkeys(event.group for event in events):
        same = [event for event in events if event.group == group]
        changes = {event.time for event in same} | {event.time + size for event in same}
        for instant in sorted(changes):
            found += _rows(instant, same, instant - size)
    return found


def _hopping(size: int, hop: int, offset: int, events: Sequence[Event]) -> list[Found]:
    found = []
    if events:
        end = events[0].time - (events[0].time - ALIGNMENT_US - offset) % hop
        while end < events[-1].time + size:
            found += _rows(end, events, end - size)
            end += hop
    return found


def _sessions(timeout: int, longest: int, events: Sequence[Event]) -> list[Found]:
    """Return the rows of one session key: time goes on from one thing that may happen to the next."""
    found: list[Found] = []
    start = last = check = 0
    inside: list[Event] | None = None
    waiting = list(events)
    while waiting or inside is not None:
        if inside is None:
            start = waiting[0].time
            inside, check = [], _multiple_after(start, longest)
        elif waiting and waiting[0].time <= check and (not inside or waiting[0].time - last <= timeout):
            last = waiting[0].time
            inside.append(waiting.pop(0))
        elif last + timeout < check and not (waiting and waiting[0].time - last <= timeout):
            found += _closed(last + timeout, inside)
            inside = None
        elif check - start >= longest:
            found += _closed(check, inside)
            goes_on = bool(waiting) and waiting[0].time - last <= timeout
            start, check, inside = check, check + longest, [] if goes_on else None
        else:
            check += longest
    return found


def _multiple_after(time: int, longest: int) -> int:
    return time - (time - ALIGNMENT_US) % longest + longest
