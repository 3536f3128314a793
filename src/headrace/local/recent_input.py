"""How much of what an instance last read of each input was bad: in its commits, so that a restart knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from headrace.local.namespace import Namespace, Transaction

_SAVE: Final = """
INSERT INTO recent_input (job, line, input, events, bad, earlier_events, earlier_bad)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job, line, input) DO UPDATE SET events = excluded.events, bad = excluded.bad,
    earlier_events = excluded.earlier_events, earlier_bad = excluded.earlier_bad
"""

#: So many events are counted together: what is recent are those of the last count that is full, and since.
COUNTED_TOGETHER: Final = 5_000


class Recent(NamedTuple):
    """Events of an input and how many of them were bad: of the count that goes on, and the one before."""

    events: int = 0
    bad: int = 0
    earlier_events: int = 0
    earlier_bad: int = 0

    def and_then(self, events: int, bad: int) -> Recent:
        """Return what is recent once these were read, too."""
        if self.events >= COUNTED_TOGETHER:
            return Recent(events, bad, self.events, self.bad)
        return Recent(self.events + events, self.bad + bad, self.earlier_events, self.earlier_bad)

    @property
    def all_events(self) -> int:
        """How many events are recent."""
        return self.events + self.earlier_events

    @property
    def all_bad(self) -> int:
        """How many of them were bad."""
        return self.bad + self.earlier_bad


def recent_input(namespace: Namespace, job: str, line: str) -> dict[str, Recent]:
    """Return what an instance last read, by input."""
    with namespace.reading() as connection:
        rows = connection.execute(
            "SELECT input, events, bad, earlier_events, earlier_bad FROM recent_input "
            "WHERE job = ? AND line = ?",
            (job, line),
        )
        return {name: Recent(*counts) for name, *counts in rows}


def save_recent_input(tx: Transaction, job: str, line: str, recent: Mapping[str, Recent]) -> None:
    """Keep within the commit what an instance last read."""
    tx.connection.executemany(_SAVE, [(job, line, name, *counts) for name, counts in recent.items()])
