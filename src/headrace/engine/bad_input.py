"""What becomes of events that cannot be read, and when there are so many that the job stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from headrace.engine.arrivals import Arrivals, Rejected
from headrace.errors import DataError
from headrace.local.namespace import Namespace, Transaction
from headrace.local.recent_input import Recent, recent_input, save_recent_input

#: An event that cannot be decoded, or has no place in time, is set aside, is dropped, or stops the job.
OnBad = Literal["dead-letter", "drop", "stop"]


@dataclass(frozen=True, slots=True)
class BadInput:
    """The policy of a job: `on_bad`, by input where that is in `of_inputs`; and the share that stops it.

    That is the share of an input's recent events (`COUNTED_TOGETHER`, about) that are bad for any reason that
    makes dead letters; fewer than `min_bad` never stop the job.
    """

    on_bad: OnBad = "dead-letter"
    of_inputs: Mapping[str, OnBad] = field(default_factory=dict)
    max_bad_share: float | None = None
    min_bad: int = 100

    def of(self, input_name: str) -> OnBad:
        """What becomes of bad events of an input."""
        return self.of_inputs.get(input_name, self.on_bad)

    def kept(self, arrivals: Arrivals) -> list[Rejected]:
        """Return the events that are to become dead letters: those that are not dropped."""
        return [
            reject
            for reject in arrivals.rejected
            if self.of(arrivals.place(reject.origin)[0].input) != "drop"
        ]

    def stopping(self, arrivals: Arrivals) -> Rejected | None:
        """Return the first event that stops the job."""
        for reject in arrivals.rejected:
            if self.of(arrivals.place(reject.origin)[0].input) == "stop":
                return reject
        return None


#: What becomes of bad events unless the job's settings say otherwise.
SET_ASIDE: Final = BadInput()


class BadShare:
    """Watches the share of bad events of an instance, through restarts."""

    def __init__(self, policy: BadInput, namespace: Namespace, job: str, line: str) -> None:
        self._policy, self._namespace = policy, namespace
        self._job, self._line = job, line
        self._recent: dict[str, Recent] | None = None

    def judge(self, arrivals: Arrivals, dead: Sequence[int]) -> None:
        """Count the events of an epoch, of which those numbered in `dead` failed.

        Raises DataError where an input has too many bad ones, before anything of the epoch is committed.
        """
        share = self._policy.max_bad_share
        if share is None or not arrivals.polls:
            return
        if self._recent is None:
            self._recent = recent_input(self._namespace, self._job, self._line)
        events: Counter[str] = Counter()
        for poll in arrivals.polls:
            if poll.packed is None:  # else the first stage of the job has judged them
                events[poll.input] += len(poll.bodies)
        failed = {*dead, *(reject.origin for reject in arrivals.rejected)}
        bad = Counter(arrivals.place(origin)[0].input for origin in failed)
        for name, number in events.items():
            now = self._recent.get(name, Recent()).and_then(number, bad[name])
            if bad[name] and now.all_bad >= self._policy.min_bad and now.all_bad > share * now.all_events:
                raise DataError(self._message(name, now, arrivals))
            self._recent[name] = now

    def save(self, tx: Transaction) -> None:
        """Keep, within the commit, what was counted."""
        if self._recent:
            save_recent_input(tx, self._job, self._line, self._recent)

    def _message(self, name: str, now: Recent, arrivals: Arrivals) -> str:
        reason = next((f" The last one: {reject.reason}." for reject in reversed(arrivals.rejected)), "")
        return (
            f"job '{self._job}': {now.all_bad:,} of the last {now.all_events:,} events of input '{name}' are "
            f"bad, more than max_bad_share = {self._policy.max_bad_share:g} allows.{reason} The job stopped "
            "before this batch: nothing of it was committed, and the next start meets it again. Mend what "
            "publishes them, go past them with `headrace run --from now`, or raise max_bad_share"
        )
