"""How a script is cut into tasks: as one, or as one for each partition of its inputs, and why.

A script may run as a task per partition exactly when no row of any output depends on rows of two partitions.
So each window, function with OVER, join and pattern must keep apart what partitions keep apart: its keys must
hold columns that *determine the partition*, that is, whose equal values are never in two partitions:

- PartitionId, which the service adds to events. An event may carry a column of that name itself, as those do
  that ``SELECT *`` of another job has written, and then its own value stands. So it is trusted only where the
  script says PARTITION BY PartitionId behind the input: that is its author's word that it is the service's.
- the input's key, the column by whose value its events were published. A hub places an event by the *text*
  of the value, and without a value anywhere; the language takes 1 and 1.0 for equal, and NULLs for one group.
  So it is assumed that each event has a value, and that a number is always written in one way.
- the columns of PARTITION BY behind the input, where its events are repartitioned by them. That step has to
  put what the language takes for equal into one partition, NULLs too.

Columns are followed through renaming, steps, joins and UNION; a computed value determines nothing. Of joined
columns it is assumed that their values have one type: the texts '7' and '07' are both equal to the number 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headrace.errors import Span
from headrace.sql.placing import (
    PARTITION_ID,
    DifferentWishesError,
    InputPartitions,
    Place,
    Repartition,
    Wish,
    Wishes,
    places,
    places_as_they_are,
    wishes,
)
from headrace.sql.plan import (
    NOWHERE,
    Aggregate,
    Analytic,
    Join,
    Match,
    Output,
    Relation,
    Script,
    Step,
    children,
    scans,
)
from headrace.sql.separation import Separation, SharedError, listed

__all__ = ["Cut", "InputPartitions", "Repartition", "certain_cut", "cut", "keeps_nothing", "repartitions"]

#: Ways to spread a script that are tried before none is advised; each is a pass over the plan.
_MAX_TRIALS: Final = 200

#: The partitions that inputs are given of which nothing is known.
_SEVERAL: Final = 2


@dataclass(frozen=True, slots=True)
class Cut:
    """How a script runs: as one task, or as a task per partition; and why, in a sentence for people.

    `advice` says what would spread a single task, None where nothing is to be done; `span` is the clause that
    keeps it in one.
    """

    per_partition: bool
    reason: str
    advice: str | None = None
    span: Span = NOWHERE


def cut(script: Script, inputs: Mapping[str, InputPartitions]) -> Cut:
    """Return how `script` is cut; unless it keeps nothing, all its inputs must be among `inputs`.

    Task p reads partition p of every input.
    """
    return _decided(script, inputs)[0]


def repartitions(script: Script, inputs: Mapping[str, InputPartitions]) -> dict[str, Repartition]:
    """Return the inputs that must be repartitioned for `script` to run as `cut` says, by name.

    They are those with PARTITION BY columns that are neither PartitionId nor the input's own key, or INTO
    another count than its own; where there is one, all with PARTITION BY columns are, so that one rule places
    them all. A script that keeps nothing, or runs as one task all the same, needs none.
    """
    return _decided(script, inputs)[1]


def certain_cut(script: Script) -> Cut | None:
    """Return how `script` is cut whatever its inputs are, None where that depends on them."""
    found = cut(script, dict.fromkeys(script.inputs, InputPartitions(_SEVERAL)))
    depends = not keeps_nothing(script) and (found.per_partition or found.advice is not None)
    return None if depends else found


def keeps_nothing(script: Script) -> bool:
    """Return whether `script` keeps nothing of the events before, not even the times of substreams."""
    parts: tuple[Step | Output, ...] = (*script.steps, *script.outputs)
    stateful = any(_is_stateful(part.relation) for part in parts)
    return not stateful and not any(scan.over for scan in scans(script))


def _is_stateful(relation: Relation) -> bool:
    if isinstance(relation, Aggregate | Analytic | Join | Match):
        return True
    return any(_is_stateful(child) for child in children(relation) if isinstance(child, Relation))


def _decided(script: Script, inputs: Mapping[str, InputPartitions]) -> tuple[Cut, dict[str, Repartition]]:
    if keeps_nothing(script):
        return Cut(per_partition=True, reason="runs as a task per partition: it keeps nothing"), {}
    asked = wishes(script)
    try:
        return _with_repartitions(script, inputs, asked)
    except SharedError as error:
        shared = error
    try:
        # PARTITION BY is there to spread a script: where it does not, the partitions that there are may.
        return _separated(script, places_as_they_are(script, inputs, asked)), {}
    except SharedError:
        advice = _Advisor(script, inputs, asked).advice(shared)
        reason = f"runs as one task, because {shared.why}{_in_vain(asked)}"
        return Cut(per_partition=False, reason=reason, advice=advice, span=shared.span), {}


def _in_vain(asked: Wishes) -> str:
    """Return what is to be said of PARTITION BY that cannot be followed."""
    computed = [name for name, of in asked.items() if any(wish and wish.keys is None for wish in of)]
    return (
        f"; PARTITION BY behind {listed(computed)} names no plain columns and is ignored" if computed else ""
    )


def _with_repartitions(
    script: Script, inputs: Mapping[str, InputPartitions], asked: Wishes
) -> tuple[Cut, dict[str, Repartition]]:
    """Return the cut, and the inputs to repartition for it; raises SharedError if it is one task."""
    try:
        lying = places(script, inputs, asked)
    except DifferentWishesError as error:
        why = f"{error.name} is read with different PARTITION BY, or once without, and can have one alone"
        raise SharedError(why, error.span) from None
    found = _separated(script, lying)
    return found, {name: place.repartition for name, place in lying.items() if place.repartition}


def _separated(script: Script, lying: Mapping[str, Place]) -> Cut:
    """Return the cut of a script that runs as a task per partition; raises SharedError if it is one task."""
    names, counts = list(lying), {place.count for place in lying.values()}
    if counts == {1}:
        raise SharedError(f"{names[0] if len(names) == 1 else 'every input'} has one partition")
    separation = Separation(script, lying)
    separation.prove()
    if len(counts) > 1:
        told = listed(f"{name} has {_partitions(place.count)}" for name, place in lying.items())
        why = f"{told}, and a task reads the same partition of every input"
        raise SharedError(why, candidates=[separation.columns])
    of = listed(_placed(name, place) for name, place in lying.items())
    because = f": {listed(dict.fromkeys(separation.reasons))}" if separation.reasons else ""
    return Cut(per_partition=True, reason=f"runs as {counts.pop()} tasks, one per partition of {of}{because}")


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"


def _placed(name: str, place: Place) -> str:
    return f"{name} (repartitioned by {listed(place.repartition.keys)})" if place.repartition else name


class _Advisor:
    """Looks for PARTITION BY that would spread a script, by trying it."""

    def __init__(self, script: Script, inputs: Mapping[str, InputPartitions], asked: Wishes) -> None:
        self._script, self._inputs, self._asked = script, inputs, asked
        into = (wish.count or 0 for wishes_ in asked.values() for wish in wishes_ if wish)
        self._count = max(*(inputs[name].count for name in script.inputs), *into, 1)
        self._trials = 0

    def advice(self, shared: SharedError) -> str | None:
        """Return what to write, None if nothing helps or there are no partitions to spread over."""
        columns = self._spreading(shared, {}) if self._count > 1 else None
        if columns is None:
            return None
        clauses = listed(self._clause(name, column) for name, column in columns.items())
        trusting = any(column.casefold() == PARTITION_ID for column in columns.values())
        condition = ", if events carry no PartitionId of their own" if trusting else ""
        return f"{clauses} would spread it{condition}"

    def _spreading(self, shared: SharedError, chosen: Mapping[str, str]) -> dict[str, str] | None:
        """Return the columns by which inputs would have to be partitioned, those `chosen` among them."""
        for candidate in shared.candidates:
            trial = {**candidate, **chosen}
            self._trials += 1
            if len(trial) == len(chosen) or self._trials > _MAX_TRIALS:
                continue
            asked = {name: [Wish((column,), self._count, NOWHERE)] for name, column in trial.items()}
            try:
                _with_repartitions(self._script, self._inputs, {**self._asked, **asked})
            except SharedError as error:
                if found := self._spreading(error, trial):
                    return found
            else:
                return trial
        return None

    def _clause(self, name: str, column: str) -> str:
        into = "" if self._inputs[name].count == self._count else f" INTO {self._count}"
        return f"PARTITION BY {column}{into} behind {name}"
