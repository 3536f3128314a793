"""Whether a job does what it should, in one word, from what its instances last reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from headrace.local.progress import InstanceState

Health = Literal["starting", "running", "idle", "retrying", "stalled", "stopped", "failed"]

#: An instance that reported nothing for so long, or has work and committed nothing, does not get on. A batch
#: of a slow model or a slow request may take a good part of it.
STALLED_AFTER_S: Final = 30.0

#: Without a commit for so long, and with nothing to read, a job waits for events.
IDLE_AFTER_S: Final = 5.0

#: Among the counters of an instance: when it last committed, in microseconds since 1970 UTC.
COMMITTED: Final = "committed_us"


def health_of(states: Sequence[InstanceState], lag: int | None, now_us: int, *, held: bool = True) -> Health:
    """Return how a job is, by the instances that it should have now, as they last reported.

    `lag` is how many events wait to be read (None: not known), `held` whether a `headrace run` has the job.
    What is worst counts: one instance of several that stands still holds back its share of the events.
    """
    if not held:
        return "stopped" if all(map(_ended_well, states)) else "failed"
    at_work = [state for state in states if state.condition.state != "ended"]
    if not at_work:
        return "starting" if all(map(_ended_well, states)) else "failed"
    long_ago_us = now_us - int(STALLED_AFTER_S * 1e6)
    if any(state.heartbeat_us < long_ago_us for state in at_work):
        return "stalled"
    doing = {state.condition.state for state in at_work}
    if "retrying" in doing:
        return "retrying"
    if doing == {"starting"}:
        return "starting"
    # Since nothing was committed: by any of them, or since the last of them began.
    since_us = max(max(_committed_us(state), state.started_us) for state in at_work)
    if lag and since_us < long_ago_us:
        return "stalled"
    return "idle" if not lag and since_us < now_us - int(IDLE_AFTER_S * 1e6) else "running"


def _ended_well(state: InstanceState) -> bool:
    """Tell whether an instance said that it ended, and nothing against it."""
    return state.condition.state == "ended" and not state.condition.note


def _committed_us(state: InstanceState) -> int:
    return int(state.counters.get(COMMITTED, 0))
