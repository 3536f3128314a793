"""What an epoch adds to the counts of each input, and to the log where something begins to fail."""

from __future__ import annotations

from collections import Counter

from headrace.engine.arrivals import Arrivals
from headrace.engine.journal import Journal
from headrace.engine.stages import StageClocks


def count_inputs(clocks: StageClocks, journal: Journal, arrivals: Arrivals) -> None:
    """Count the events of each input, those rejected, and what the policy found."""
    for poll in arrivals.polls:
        clocks.read(poll.input, events=poll.events)
    rejected = Counter(arrivals.place(reject.origin)[0].input for reject in arrivals.rejected)
    for name, number in rejected.items():
        clocks.read(name, rejected=number)
        why = arrivals.rejected[0].reason
        journal.began("rejected", f"events of '{name}' are set aside: {why}", input=name, reason=why)
    for name, tally in arrivals.tallies.items():
        clocks.read(name, **tally._asdict())
        found = ", ".join(what.replace("_", " ") for what, count in tally._asdict().items() if count)
        journal.began("policy", f"events of '{name}' begin to be {found}", input=name)
