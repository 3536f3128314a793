"""Named crash points: no-ops in production, the place where a crash test kills the process.

``HEADRACE_CRASH_AT=job.commit.before:3`` kills the process (SIGKILL, as a power cut would) the third time
that it passes the point `job.commit.before`.
"""

from __future__ import annotations

import os
import signal
from typing import Final

#: Every point there is. A tidy test checks that the code passes each, a crash test that each was hit.
POINTS: Final = (
    "hub.publish.before_commit",
    "hub.publish.after_commit",
    "job.after_read",
    "job.after_decode",
    "job.after_score",
    "job.staged",
    "job.commit.begin",
    "job.commit.outputs_written",
    "job.commit.before",
    "job.commit.after",
    "job.deliver.after_send",
    "file.closed",
    "file.made",
    "file.placed",
    "file.part_removed",
    "delivery.set_aside",
    "series.written",
    "series.commit.begin",
    "series.commit.before",
    "series.commit.after",
    "series.dropped",
    "series.compaction.written",
    "series.compaction.before_commit",
    "series.compaction.committed",
    "series.enqueue.before_commit",
)

_name, _, _hits = os.environ.get("HEADRACE_CRASH_AT", "").partition(":")
_remaining = int(_hits or 1)


def points_of(*areas: str) -> tuple[str, ...]:
    """Return the points of some areas, which are the first words of their names."""
    return tuple(point for point in POINTS if point.split(".")[0] in areas)


def crash_point(name: str) -> None:
    """Kill this process here if the environment asks for it."""
    global _remaining  # noqa: PLW0603 - a countdown of this one process
    if name != _name:
        return
    _remaining -= 1
    if _remaining == 0:
        os.kill(os.getpid(), signal.SIGKILL)
