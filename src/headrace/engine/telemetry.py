"""What two looks at the counters of an instance tell: rates, and which share of the time went where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.engine.stages import GAUGES, STAGES
from headrace.local.progress import InstanceState


@dataclass(frozen=True, slots=True)
class Rates:
    """What an instance did between two looks, `seconds` apart; shares are of that time, 1.0 all of it.

    `busy` has a share for each stage: that of `read` and `decode` may be time of a thread that reads ahead.
    """

    seconds: float
    events_in_per_s: float
    rows_out_per_s: float
    bytes_in_per_s: float
    cpu: float
    idle: float
    waiting: float
    busy: Mapping[str, float]


def rates(before: InstanceState, after: InstanceState) -> Rates | None:
    """Return what the instance did between two of its reports, None if it is not known.

    It is not where there is but one report, or another process has taken the place.
    """
    seconds = (after.heartbeat_us - before.heartbeat_us) / 1e6
    if seconds <= 0 or (before.pid, before.started_us) != (after.pid, after.started_us):
        return None
    change = difference(before.counters, after.counters)

    def share(*names: str) -> float:
        return sum(change.get(f"{name}_ms", 0) for name in names) / 1e3 / seconds

    return Rates(
        seconds,
        change.get("events_in", 0) / seconds,
        change.get("rows_out", 0) / seconds,
        change.get("read_bytes_out", 0) / seconds,
        share("cpu"),
        share("idle"),
        share("lock_wait", "ahead_wait"),
        {name: share(name) for name in STAGES},
    )


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return how much each counter has grown; those that may become less are left out."""
    return {name: value - before.get(name, 0) for name, value in after.items() if name not in GAUGES}
