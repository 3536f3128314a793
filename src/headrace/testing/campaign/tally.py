"""What was done to a run, and what its processes say of their ends."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from headrace.faults import points_of
from headrace.testing.campaign.run import PUBLISHER, TRY_AGAIN, Run
from headrace.testing.fleet import Member

#: Where a process can die: its files are appended to, and its outputs refuse no rows.
POINTS: Final = points_of("hub", "job")

#: Each point is to be met at its first, second and third passage.
HITS: Final = (1, 2, 3)

#: The end of the name of a process that takes over from one that was paused.
HEIR: Final = "-heir"

_DEATH: Final = re.compile(r"instance \d+: (?:killed by (\w+)|exit code (\d+)); starting it again")


@dataclass(slots=True)
class Tally:
    """What was done to a run. `unexpected` names what nobody asked for: each is a violation."""

    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[tuple[str, int]] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)
    woken: int = 0
    refused: int = 0
    tried_again: int = 0
    unexpected: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many processes died."""
        return self.kills.total()

    def missing(self) -> list[tuple[str, int]]:
        """Return the points, and which passages of them, at which no process has died."""
        return [(point, hit) for point in POINTS for hit in HITS if not self.points[point, hit]]


@dataclass(slots=True)
class Ends:
    """Reads what supervisors say, and which processes ended; call `note` now and then."""

    run: Run
    tally: Tally
    _read_logs: dict[str, int] = field(default_factory=dict)

    def note(self) -> None:
        """Count the deaths that supervisors tell of, and what ended though nobody asked for it."""
        for job, member in self.run.supervisors.items():
            self._note_log(job, member)
        for member in self.run.fleet.ended():
            if member.armed is not None and member.exit_code == -signal.SIGKILL:
                self.tally.kills[PUBLISHER] += 1
                self.run.fleet.start(member)
            elif member.exit_code == TRY_AGAIN and member.name.endswith(HEIR):
                self.tally.tried_again += 1
                self.run.fleet.start(member)
            elif member.exit_code != 0 or member in self.run.supervisors.values():
                what = f"{member.name} ended with exit code {member.exit_code}: {member.said()}"
                self.tally.unexpected.append(what)
                raise self.run.failed(what)

    def _note_log(self, job: str, member: Member) -> None:
        text = self._new_text(member)
        for killed_by, exit_code in _DEATH.findall(text):
            if killed_by == "SIGKILL":
                self._count_death(member)
            elif exit_code == "3":
                self.tally.tried_again += 1
            else:
                self.tally.unexpected.append(f"an instance of {job} ended: {killed_by or exit_code}")
        for line in text.splitlines():
            if "Traceback" in line or "fault of Headrace" in line:
                self.tally.unexpected.append(f"job {job} says: {line}")

    def _count_death(self, member: Member) -> None:
        """Count a death at a point; others were counted when they were brought about."""
        if member.armed is not None:
            self.tally.kills["point"] += 1

    def _new_text(self, member: Member) -> str:
        """Return the whole lines that a place has said since this was last asked."""
        try:
            with member.log.open("rb") as log:
                log.seek(self._read_logs.get(member.name, 0))
                text = log.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return ""
        self._read_logs[member.name] = self._read_logs.get(member.name, 0) + len(text)
        return text.decode("utf-8", "replace")


def shortened(findings: Sequence[str], most: int = 20) -> list[str]:
    """Return the first of many findings, and how many more there are."""
    more = len(findings) - most
    return [*findings[:most], *([f"... and {more} more"] if more > 0 else [])]
