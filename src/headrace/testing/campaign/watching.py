"""Watching a run from outside: how far each job has come, that it never goes back, how soon it is back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import apsw

from headrace.clock import Clock
from headrace.errors import HeadraceError
from headrace.local.hub import Hub
from headrace.testing.campaign.events import LABELS
from headrace.testing.campaign.jobs import Job
from headrace.testing.campaign.run import Run

_POSITIONS: Final = "SELECT job, task, input, partition, next_offset FROM position"

#: Where each partition of a hub ends, or how far it was read.
Ends = dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class _Outage:
    """A job that was struck: it is back once it has committed readings published after that, everywhere."""

    job: str
    kind: str
    began_ns: int
    ends: Ends


@dataclass(slots=True)
class Watch:
    """Looks at the positions in the namespace; call `look` now and then."""

    run: Run
    clock: Clock
    findings: list[str] = field(default_factory=list)
    #: Seconds from a strike until the job was back, by the kind of strike.
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    _positions: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    _outages: list[_Outage] = field(default_factory=list)

    def look(self) -> None:
        """Read the positions; notes what went back, and which jobs are back."""
        found = self._read()
        for place, before in self._positions.items():
            now = found.get(place, 0)
            if now < before:
                self.findings.append(
                    f"C3 position of {'/'.join(map(str, place))} went from {before} to {now}"
                )
        self._positions = found
        now_ns = self.clock.monotonic_ns()
        for outage in list(self._outages):
            if self._reached(outage.job, outage.ends):
                self._outages.remove(outage)
                seconds = (now_ns - outage.began_ns) / 1e9
                self.recoveries_s.setdefault(outage.kind, []).append(seconds)

    def struck(self, jobs: Sequence[str], kind: str) -> None:
        """Note that processes of these jobs have just been killed."""
        ends = self.ends()
        began_ns = self.clock.monotonic_ns()
        for job in jobs:
            of_job = {place: end for place, end in ends.items() if place[0] in self._job(job).inputs}
            self._outages.append(_Outage(job, kind, began_ns, of_job))

    def is_back(self, job: str) -> bool:
        """Tell whether the job has committed something new in every partition since it was last struck."""
        return all(outage.job != job for outage in self._outages)

    def outage_s(self) -> float:
        """Return how long the job has been struck that has been so longest, 0 if all are back."""
        began_ns = min((outage.began_ns for outage in self._outages), default=self.clock.monotonic_ns())
        return (self.clock.monotonic_ns() - began_ns) / 1e9

    def committed(self, job: str) -> Ends:
        """Return how far a job has read each partition, as of the last look."""
        found: Ends = {}
        for (name, _, hub, partition), offset in self._positions.items():
            if name == job and hub in self._job(job).inputs:
                found[hub, partition] = max(offset, found.get((hub, partition), 0))
        return found

    def slowest(self, hub: str) -> int:
        """Return how many events of a hub the job that is furthest behind has committed."""
        return min(
            (
                sum(offset for (name, _), offset in self.committed(job.name).items() if name == hub)
                for job in self.run.jobs
                if hub in job.inputs
            ),
            default=0,
        )

    def ends(self) -> Ends:
        """Return where the partitions of the input hubs end now."""
        found: Ends = {}
        for name in {hub for job in self.run.jobs for hub in job.inputs}:
            with contextlib.suppress(HeadraceError), Hub.open(self.run.data / "hubs", name) as hub:
                found |= {(name, partition): end for partition, end in enumerate(hub.ends())}
        return found

    def _reached(self, job: str, ends: Mapping[tuple[str, int], int]) -> bool:
        committed = self.committed(job)
        # Labels come in blocks, seldom: what was there is enough.
        return all(committed.get(place, 0) > end - (place[0] == LABELS) for place, end in ends.items())

    def _job(self, name: str) -> Job:
        return next(job for job in self.run.jobs if job.name == name)

    def _read(self) -> dict[tuple[str, str, str, int], int]:
        """Read all positions, and let go of the file: what mends it after a power cut is to be the job."""
        path = self.run.data / "namespace.db"
        # A process that was paused at the wrong moment may be in the way; then nothing new was seen.
        with contextlib.suppress(apsw.Error):
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                rows = list(connection.execute(_POSITIONS))
            finally:
                connection.close()
            return {(job, task, hub, partition): offset for job, task, hub, partition, offset in rows}
        return self._positions
