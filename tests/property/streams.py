"""Random streams, policies and ways of cutting them: what a question is asked of.

All is made from a seed: Hypothesis, asked for the parts one by one, repeats so many of them that half of its
examples are ones it has tried before. What fails is made smaller by `smallest`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from headrace.engine.finite import Cuts
from headrace.events.watermark import Policy
from tests.property.oracle.ordering import Arrival, Tolerance, in_order
from tests.property.oracle.stream import Row, Timed, iso, microseconds

BASE = microseconds("2026-03-02T08:59:50Z")
SECOND = 1_000_000

#: Keys of several types; 1 and 1.0 are one key, and so are NULL and a column that is not there.
KEYS: list[Any] = ["a", "b", "A", 1, 1.0, 2, True, None]

#: Numbers whose sums are exact in any order; the large ones find sums that were made by subtraction.
NUMBERS: list[Any] = [0, 1, 2, 5, -3, 1.0, 0.25, -1.5, 7.75, None, 2**53 + 1, 1e17]

#: Numbers, some of them as texts.
READINGS: list[Any] = [1, "2", "2.50", 2.5, " 7 ", None]

#: Places in a second at which boundaries are missed: on it, just before, just behind, between.
FRACTIONS = [0, 0, 0, 500_000, 999_999, 1, 999_000]


@dataclass(frozen=True)
class Given:
    """Streams by name as they arrive, with the policy that judges them and the way to cut them."""

    arrivals: dict[str, list[Arrival]]
    tolerance: Tolerance | None
    cuts: Cuts | None

    @property
    def policy(self) -> Policy | None:
        """The policy as the engine takes it."""
        if self.tolerance is None:
            return None
        return Policy(
            late_seconds=self.tolerance.late / SECOND,
            out_of_order_seconds=self.tolerance.disorder / SECOND,
            action="drop" if self.tolerance.drops else "adjust",
        )

    @property
    def events(self) -> dict[str, list[Row]]:
        """The events of each stream as the engine takes them."""
        return {name: [arrival.row for arrival in events] for name, events in self.arrivals.items()}

    def ordered(self, over: tuple[str, ...] = ()) -> dict[str, list[Timed]]:
        """The events of each stream that are kept, at their times, in order."""
        return {name: in_order(events, self.tolerance, over) for name, events in self.arrivals.items()}


def row(random: Random, number: int) -> Row:
    """An event's fields, some of them missing."""
    made: Row = {"id": number, "g": random.choice("xyz")}
    for name, values in (("k", KEYS), ("v", NUMBERS), ("w", [1, 2, 3, 0.5, None]), ("x", READINGS)):
        if random.random() < 0.9:
            made[name] = random.choice(values)
    return made


def arrivals(random: Random, tolerance: Tolerance | None, count: int) -> list[Arrival]:
    """Events as they arrive: with ties, disorder and silence, and now and then without a time.

    Streams are of different kinds: dense or with silences, whole seconds or between them, in order or not.
    """
    made: list[Arrival] = []
    now = BASE + random.randrange(20) * SECOND
    steps = random.choice([[0, 1], [0, 1, 1, 2], [1], [1, 2, 3, 4, 5], [0, 0, 0, 1]])
    fractions = random.choice([[0], FRACTIONS])
    disorder = random.choice([0.0, 0.1, 0.4])
    for number in range(1, count + 1):
        now += random.choice(steps) * SECOND
        time = now + random.choice(fractions)
        if random.random() < disorder:
            time -= random.randrange(13) * SECOND
        fields = row(random, number)
        arrived = time
        if tolerance is not None:
            if random.random() < 0.05:
                time = now + random.choice([299_999_999, 300_000_000, 300_000_001])
            elif random.random() < 0.1:
                time = now - tolerance.late + random.choice([-1, 0, 1])
            arrived = now
            fields["EventEnqueuedUtcTime"] = iso(now)
        untimed = random.random() < 0.03
        fields["t"] = random.choice(["noon", None, 5]) if untimed else iso(time)
        made.append(Arrival(None if untimed else time, arrived, fields))
    return made


def tolerance(random: Random) -> Tolerance | None:
    """A policy, or none."""
    if random.random() < 0.4:
        return None
    late = random.choice([0, 3 * SECOND, 5 * SECOND, 60 * SECOND])
    return Tolerance(late, random.choice([0, 0, 2 * SECOND, 6 * SECOND]), random.random() < 0.5)


CUTS = [
    None,
    *(Cuts(rows) for rows in (1, 2, 3, 7, 1000)),
    *(Cuts(rows, restarting=True) for rows in (1, 2, 3, 7)),
]


def streams(random: Random, names: tuple[str, ...] = ("src",), most: int = 14) -> Given:
    """Streams of these names under one policy, cut in one way."""
    policy = tolerance(random)
    counts = [most * 4, most, most, most * 2 // 3, most // 2, most // 4, 1, 0]
    made = {name: arrivals(random, policy, random.choice(counts)) for name in names}
    return Given(made, policy, random.choice(CUTS))


def smallest(asked: Given, fails: Callable[[Given], bool]) -> Given:
    """Leave out events, one after the other, as long as what is left still fails."""
    for name, events in asked.arrivals.items():
        for event in events:
            rest = [other for other in asked.arrivals[name] if other is not event]
            fewer = replace(asked, arrivals={**asked.arrivals, name: rest})
            if fails(fewer):
                asked = fewer
    return asked
