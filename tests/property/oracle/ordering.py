"""The times of events as they arrive: early, late, out of order, with substreams (reference, B2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.property.oracle.stream import Row, Timed, keys_of

EARLY_US = 5 * 60 * 1_000_000


@dataclass(frozen=True)
class Arrival:
    """An event as it arrives: its own time (None: it has none that is a datetime), and when it arrived."""

    time: int | None
    arrived: int
    row: Row


@dataclass(frozen=True)
class Tolerance:
    """The policy of a job: two tolerances in microseconds, and whether what exceeds them is dropped."""

    late: int
    disorder: int
    drops: bool


def in_order(arrivals: list[Arrival], tolerance: Tolerance | None, over: tuple[str, ...] = ()) -> list[Timed]:
    """Return the events that are kept, at their times, in order; ties in the order of arrival.

    Without a policy no event is early, late or out of order. An event without a time is dropped, and so is
    one whose `over` key is NULL (InvalidInputTimeStampKey).
    """
    kept: list[Timed] = []
    largest: dict[Any, int] = {}
    for arrival in arrivals:
        time = arrival.time
        key = keys_of(arrival.row, over)
        if time is None or ("null",) in key:
            continue
        if tolerance is not None:
            if time > arrival.arrived + EARLY_US:
                continue
            if time < arrival.arrived - tolerance.late:
                if tolerance.drops:
                    continue
                time = arrival.arrived - tolerance.late
            largest[key] = max(largest.get(key, time), time)
            watermark = largest[key] - tolerance.disorder
            if time < watermark:
                if tolerance.drops:
                    continue
                time = watermark
        kept.append(Timed(time, arrival.row))
    return sorted(kept, key=lambda timed: timed.time)
