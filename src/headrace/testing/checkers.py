"""The checkers of the crash tests: what a run left behind against the oracle and against an undisturbed run.

C1 nothing is lost, C2 nothing is doubled, C3 positions stand at the ends and have no gap, C4 the contents are
right and identical to those of the undisturbed run. The names are those of the reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from headrace.testing.numbered import NumberedEvent, NumberedStream, Row
from headrace.testing.observed import ECHO, HUB, JOBS, Observed, StoredRow

#: Columns that say when something was processed: no two runs agree on them.
WALL_CLOCK: Final = frozenset({"EventProcessedUtcTime", "EventEnqueuedUtcTime"})

#: Events or rows that one finding names; the others are only counted.
_SHOWN: Final = 5


@dataclass(slots=True)
class Verdict:
    """What the checkers found. All counts but `accepted` and `rows` must be 0, and `findings` empty."""

    accepted: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    findings: list[str] = field(default_factory=list)

    def find(self, check: str, what: str) -> None:
        """Note a violation."""
        self.findings.append(f"{check} {what}")

    def find_all(self, check: str, what: str, which: Sequence[str]) -> int:
        """Note a violation by several events or rows; returns how many they are."""
        if which:
            shown = ", ".join(which[:_SHOWN]) + (", ..." if len(which) > _SHOWN else "")
            self.find(check, f"{len(which)} {what}: {shown}")
        return len(which)


def check(observed: Observed, reference: Observed, streams: Sequence[NumberedStream]) -> Verdict:
    """Compare a run of the project in `crash_project` with what must be, and with an undisturbed run."""
    verdict = Verdict()
    events = [event for stream in streams for event in stream.events()]
    verdict.accepted = len(events)
    _check_published(verdict, observed, events)
    _check_contents(verdict, "hub 'echo'", observed.echo, {e.id: e.echo() for e in events if e.echoed})
    _check_contents(verdict, "table 'arrivals'", observed.arrivals, {e.id: e.arrival() for e in events})
    _check_contents(
        verdict, "table 'results'", observed.results, {e.id: e.result() for e in events if e.kept}
    )
    _check_keys(verdict, observed)
    _check_records(verdict, observed, events)
    _check_positions(verdict, observed)
    for place in ("echo", "arrivals", "results"):
        _check_identical(verdict, place, getattr(observed, place), getattr(reference, place))
    return verdict


def _check_published(verdict: Verdict, observed: Observed, events: Iterable[NumberedEvent]) -> None:
    expected = Counter(event.body for event in events)
    found = Counter(body for partition in observed.published for body in partition)
    _count(verdict, f"hub '{HUB}'", expected, found)


def _check_contents(
    verdict: Verdict, place: str, found: Sequence[StoredRow], expected: Mapping[str, Row]
) -> None:
    """Compare rows with the oracle's, by the id that they hold or have as their key."""
    verdict.rows += len(found)
    rows = [(row.key, row.row()) for row in found]
    ids = [str(row.get("id", key)) for key, row in rows]
    _count(verdict, place, Counter(expected.keys()), Counter(ids))
    wrong = [
        f"{name} ({', '.join(columns)})"
        for name, (_, row) in zip(ids, rows, strict=True)
        if (columns := list(_wrong_columns(expected.get(name, row), row)))
    ]
    verdict.differing += verdict.find_all("C4", f"rows of {place} are not what the query makes", wrong)


def _wrong_columns(expected: Row, found: Row) -> Iterator[str]:
    for name in expected.keys() | found.keys() - WALL_CLOCK:
        if name not in expected or name not in found or _typed(expected[name]) != _typed(found[name]):
            yield name


def _typed(value: object) -> tuple[type, object]:
    """Return a value that 1, 1.0 and True differ in."""
    return type(value), value


def _count(verdict: Verdict, place: str, expected: Counter[str] | Counter[bytes], found: Counter) -> None:  # type: ignore[type-arg]
    """Compare how often each event is there with how often it must be."""
    missing = [_name(key) for key in (expected - found).elements()]
    surplus = [_name(key) for key in (found - expected).elements()]
    verdict.lost += verdict.find_all("C1", f"events are lost from {place}", missing)
    verdict.doubled += verdict.find_all("C2", f"events are too many in {place}", surplus)


def _name(key: str | bytes) -> str:
    return key if isinstance(key, str) else key[:40].decode("utf-8", "replace")


def _check_keys(verdict: Verdict, observed: Observed) -> None:
    """A row of `arrivals` must have the position of its own event as its key."""
    wrong = []
    for row in observed.arrivals:
        _, partition, offset = row.key.split("/")[:3]
        bodies = observed.published[int(partition)]
        name = row.members().get("id", b"")
        if row.key.count("/") != 2 or int(offset) >= len(bodies) or name not in bodies[int(offset)]:
            wrong.append(row.key)
    verdict.differing += verdict.find_all("C4", "rows of table 'arrivals' have another event's key", wrong)


def _check_records(verdict: Verdict, observed: Observed, events: Sequence[NumberedEvent]) -> None:
    """What the job says of itself must agree with what it wrote; nothing may wait or be set aside."""
    kept = sum(event.kept for event in events)
    echoed = sum(event.echoed for event in events)
    expected = {
        JOBS[0]: {"events_in": len(events), "rows_out": len(events) + kept + echoed, "dead": 0},
        JOBS[1]: {"events_in": kept, "rows_out": kept, "dead": 0},
    }
    for job, counts in expected.items():
        if dict(observed.counts[job]) != counts:
            verdict.find("C2", f"job '{job}' counts {dict(observed.counts[job])}, must be {counts}")
    queue = observed.queue
    if (queue.sent, queue.finished) != (kept, kept):
        verdict.find("C2", f"of {kept} messages {queue.sent} were sent and {queue.finished} finished")
    verdict.lost += verdict.find_all("C1", "dead letters, must be none", observed.dead_letters)
    waiting = queue.visible + queue.leased + queue.delayed
    if waiting or observed.outbox:
        verdict.find("C3", f"left behind: {waiting} messages and {observed.outbox} blocks of hub '{ECHO}'")


def _check_positions(verdict: Verdict, observed: Observed) -> None:
    ends = [len(bodies) for bodies in observed.published]
    if observed.positions != ends:
        verdict.find("C3", f"positions {observed.positions}, but the hub ends at {ends}")
    for partition, ranges in enumerate(observed.ranges):
        for (_, end), (start, _) in pairwise(ranges):
            if start != end:
                verdict.find("C3", f"partition {partition} was read to {end} and then from {start}")


def _check_identical(
    verdict: Verdict, place: str, found: Sequence[StoredRow], reference: Sequence[StoredRow]
) -> None:
    """Compare byte for byte; positions are left out, since publishing interleaves differently each time."""
    ours, theirs = Counter(map(_canonical, found)), Counter(map(_canonical, reference))
    unlike = list((ours - theirs).elements()) or list((theirs - ours).elements())
    names = [first.decode("utf-8", "replace") for ((_, first), *_) in unlike]
    verdict.differing += verdict.find_all("C4", f"rows of '{place}' are not as in the undisturbed run", names)


def _canonical(row: StoredRow) -> tuple[tuple[str, bytes], ...]:
    """Return the columns in their order, behind what names the row: its id or its key."""
    members = row.members()
    key = () if "id" in members else (("", row.key.encode()),)
    return (*key, *((name, text) for name, text in members.items() if name not in WALL_CLOCK))
