"""Random streams, policies and ways of cutting them: what a question is asked of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

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

    def streams(self, over: tuple[str, ...] = ()) -> dict[str, list[Timed]]:
        """The events of each stream that are kept, at their times, in order."""
        return {name: in_order(events, self.tolerance, over) for name, events in self.arrivals.items()}


@st.composite
def row(draw: st.DrawFn, number: int) -> Row:
    """An event's fields, some of them missing."""
    made: Row = {"id": number, "g": draw(st.sampled_from("xyz"))}
    for name, values in (("k", KEYS), ("v", NUMBERS), ("w", [1, 2, 3, 0.5, None]), ("x", READINGS)):
        if draw(st.integers(0, 7)):
            made[name] = draw(st.sampled_from(values))
    return made


@st.composite
def arrivals(draw: st.DrawFn, tolerance: Tolerance | None, most: int) -> list[Arrival]:
    """Events as they arrive: with ties, disorder and silence, and now and then without a time."""
    made: list[Arrival] = []
    now = BASE
    span = draw(st.sampled_from([1, 2, 0, 5]))
    # Few streams are short: their rows seldom meet.
    count = draw(st.sampled_from([most, most, most, most * 2 // 3, most // 2, most // 3, 1, 0]))
    for number in range(1, count + 1):
        now += draw(st.integers(0, span)) * SECOND
        time = now + draw(st.sampled_from(FRACTIONS))
        if draw(st.integers(0, 2)) == 0:
            time -= draw(st.integers(0, 12)) * SECOND
        fields = draw(row(number))
        arrived = time
        if tolerance is not None:
            early = draw(st.integers(0, 15)) == 0
            time += draw(st.sampled_from([299, 300, 301])) * SECOND if early else 0
            arrived = now
            fields["EventEnqueuedUtcTime"] = iso(now)
        untimed = draw(st.integers(0, 24)) == 0
        fields["t"] = draw(st.sampled_from(["noon", None, 5])) if untimed else iso(time)
        made.append(Arrival(None if untimed else time, arrived, fields))
    return made


TOLERANCES = st.one_of(
    st.none(),
    st.builds(
        Tolerance,
        late=st.sampled_from([0, 3 * SECOND, 5 * SECOND, 60 * SECOND]),
        disorder=st.sampled_from([0, 2 * SECOND, 6 * SECOND]),
        drops=st.booleans(),
    ),
)

CUTS = st.sampled_from(
    [
        None,
        *(Cuts(rows) for rows in (1, 2, 3, 7, 1000)),
        *(Cuts(rows, restarting=True) for rows in (1, 2, 3, 7)),
    ]
)


@st.composite
def given_streams(draw: st.DrawFn, names: tuple[str, ...] = ("src",), most: int = 14) -> Given:
    """Streams of these names under one policy, cut in one way."""
    tolerance = draw(TOLERANCES)
    return Given({name: draw(arrivals(tolerance, most)) for name in names}, tolerance, draw(CUTS))
