"""The events of an input put in order of time: what is certain goes out, the rest waits for earlier ones.

Each partition has a watermark: once a time has been seen, nothing further before it than the out-of-order
tolerance will come from there; and once an event has arrived, nothing that is later than the late tolerance
allows. With TIMESTAMP BY ... OVER each substream has a watermark, and only arrival tells what is over. The
slowest partition decides for the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from headrace.engine.alignment import split
from headrace.engine.equality import canonical
from headrace.engine.event_times import forgiving
from headrace.engine.expressions import Planes
from headrace.engine.operator import NEVER_US, Slice, State
from headrace.events.batch import DTYPES, ORIGIN, TIME, Batch, ValueType, concat
from headrace.events.watermark import NO_TIME, Judged, Policy, Tally, judged
from headrace.sql.plan import Expression

NO_KEY: Final = "a key of TIMESTAMP BY ... OVER is NULL, or cannot be computed, for this event"

_DATETIME: Final = DTYPES[ValueType.DATETIME]

_SEEN: Final = "seen"

#: So few events are held back without asking for their size.
_FEW_ROWS: Final = 1_000


@dataclass(slots=True)
class _Partition:
    """The largest time seen and the latest arrival in a partition; what of it waits, in order of arrival.

    `substreams` has the largest time seen of each substream, beside the columns of its keys.
    """

    seen_us: int | None = None
    arrival_us: int | None = None
    substreams: pl.DataFrame | None = None
    waiting: list[Batch] = field(default_factory=list)


class Orderer:
    """Puts the events of one input in order.

    Without a policy events come in order of time already. `over` are the keys of substreams, written in
    `script`. With `clock` arrival times never go back within a partition, so they say what is over.
    """

    def __init__(
        self,
        policy: Policy | None,
        over: Sequence[Expression] = (),
        script: str = "",
        *,
        partitions: int = 1,
        clock: bool = True,
    ) -> None:
        self._policy, self._over, self._script, self._clock = policy, tuple(over), script, clock
        self._partitions = [_Partition() for _ in range(partitions)]
        self.tally = Tally()

    def add(self, batch: Batch, arrival_us: pl.Series, partition: int = 0) -> pl.DataFrame | None:
        """Take rows in the order of their arrival, whose TIME is what TIMESTAMP BY gives, or NULL.

        What the policy finds of them is `tally` until the next call.
        Returns the ORIGIN of each row that is dropped and the ``reason``, or None when all are kept.
        """
        if batch.height == 0:
            return None
        place = self._partitions[partition]
        found = self._judged(place, batch, arrival_us)
        self.tally = found.tally
        arrived_us = arrival_us.max()
        if isinstance(arrived_us, int):
            place.arrival_us = max(arrived_us, NEVER_US if place.arrival_us is None else place.arrival_us)
        place.seen_us = found.latest_us(place.seen_us)
        dropped = None
        if found.reasons is not None:
            gone = found.reasons.is_not_null()
            dropped = batch.frame.select(ORIGIN).with_columns(found.reasons.alias("reason")).filter(gone)
            batch = batch.filter(~gone)
        if batch.height:
            time = found.times_us.drop_nulls().cast(_DATETIME).alias(TIME)
            place.waiting.append(Batch(batch.frame.with_columns(time), batch.columns))
        return dropped

    def pass_time(self, arrival_us: int, partition: int = 0) -> None:
        """Learn that whatever comes from a partition from now on arrives at `arrival_us` or later."""
        place = self._partitions[partition]
        place.arrival_us = max(arrival_us, NEVER_US if place.arrival_us is None else place.arrival_us)
        if self._policy is None:
            place.seen_us = max(arrival_us, NEVER_US if place.seen_us is None else place.seen_us)

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return len(self._partitions)

    @property
    def waits(self) -> bool:
        """Whether events are held back until time passes."""
        return any(place.waiting for place in self._partitions)

    def is_over(self, rows: int, size_bytes: int) -> bool:
        """Tell whether more than so many events, or so many bytes of them, are held back."""
        waiting = [batch for place in self._partitions for batch in place.waiting]
        held = sum(batch.height for batch in waiting)
        # Sizes are asked for only where they may matter.
        return held > rows or (
            held > _FEW_ROWS and sum(int(batch.frame.estimated_size()) for batch in waiting) > size_bytes
        )

    def frontier_us(self) -> int:
        """Return the time below which no more events will come."""
        return min(map(self._frontier_us, self._partitions))

    def frontier_us_of(self, partition: int) -> int:
        """Return the time below which no more events will come from one partition."""
        return self._frontier_us(self._partitions[partition])

    def _frontier_us(self, place: _Partition) -> int:
        frontiers = [NEVER_US]
        if place.seen_us is not None and (self._policy is None or not self._over):
            frontiers.append(place.seen_us - (self._policy.out_of_order_us if self._policy else 0))
        if place.arrival_us is not None and self._policy is not None and self._clock:
            frontiers.append(place.arrival_us - self._policy.late_us)
        return max(frontiers)

    def take(self, frontier_us: int) -> Slice:
        """Return all that waits below a frontier, in order of time, partition and arrival.

        FOREVER_US takes everything; else it must not be above `frontier_us()`.
        """
        ready: list[Batch] = []
        for place in self._partitions:
            if place.waiting:
                below, above = split(_in_order(place.waiting), frontier_us)
                place.waiting = [] if above is None else [above]
                if below is not None:
                    ready.append(below)
        return Slice(_in_order(ready) if ready else None, frontier_us)

    # --- state --------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What `restore` needs to go on from here."""
        return {
            "partitions": [
                [place.seen_us, place.arrival_us, place.substreams, place.waiting]
                for place in self._partitions
            ]
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of an orderer that was made alike."""
        self._partitions = [_Partition(*parts) for parts in state["partitions"]]

    # --- judging ------------------------------------------------------------------------------------------

    def _judged(self, place: _Partition, batch: Batch, arrival_us: pl.Series) -> Judged:
        times_us = batch.frame[TIME].to_physical()
        if not self._over:
            return _ordered(times_us, arrival_us, self._policy, place.seen_us, None)
        keys = _substreams(forgiving(self._over, batch, self._script), batch.height)
        unkeyed = keys.select(pl.any_horizontal(pl.all().is_null())).to_series()
        # Without a key an event belongs to no substream, and moves none.
        timed = times_us.zip_with(~unkeyed, times_us.clear(batch.height))
        before = _seen(place.substreams, keys)
        found = _ordered(timed, arrival_us, self._policy, before, keys)
        place.substreams = self._seen_behind(place, keys, found)
        if unkeyed.any():
            reason = pl.when(unkeyed).then(pl.lit(NO_KEY)).otherwise(found.reasons)
            return replace(found, reasons=pl.select(reason).to_series())
        return found

    def _seen_behind(self, place: _Partition, keys: pl.DataFrame, found: Judged) -> pl.DataFrame | None:
        """Return the largest time seen of each substream, but for those that hold nothing back any more."""
        if self._policy is None:
            return None
        parts = [keys.with_columns(found.seen_us.alias(_SEEN)).drop_nulls()]
        if place.substreams is not None:
            parts.insert(0, place.substreams)
        seen = pl.concat(parts).group_by(keys.columns, maintain_order=True).agg(pl.col(_SEEN).max())
        over_us = self._frontier_us(place) + self._policy.out_of_order_us
        return seen.filter(pl.col(_SEEN) > over_us)


def _ordered(
    times_us: pl.Series,
    arrival_us: pl.Series,
    policy: Policy | None,
    seen_us: int | pl.Series | None,
    substreams: pl.DataFrame | None,
) -> Judged:
    if policy is not None:
        return judged(times_us, arrival_us, policy, seen_us, substreams)
    reasons = None
    if times_us.null_count():
        reasons = pl.select(pl.when(times_us.is_null()).then(pl.lit(NO_TIME))).to_series()
    return Judged(times_us, reasons, times_us)


def _substreams(keys: Sequence[Planes], height: int) -> pl.DataFrame:
    """Return a text for each key in each row, equal where the keys are equal; NULL for NULL."""
    return pl.DataFrame([_text(planes, height).alias(f"key {number}") for number, planes in enumerate(keys)])


def _text(planes: Planes, height: int) -> pl.Series:
    texts = [
        pl.concat_str(pl.lit(f"{type_.name} "), pl.lit(values.to_physical()).cast(pl.String))
        for type_, values in canonical(planes).items()
    ]
    return pl.select(pl.coalesce([*texts, pl.repeat(None, height, dtype=pl.String)])).to_series()


def _seen(substreams: pl.DataFrame | None, keys: pl.DataFrame) -> pl.Series | None:
    """Return the largest time seen of the substream of each row."""
    if substreams is None:
        return None
    joined = keys.join(substreams, on=keys.columns, how="left", maintain_order="left")
    return joined[_SEEN]


def _in_order(batches: Sequence[Batch]) -> Batch:
    """Return the rows of `batches` in order of time, those of one time as given."""
    batch = concat(batches)
    if batch.frame[TIME].is_sorted():
        return batch
    return Batch(batch.frame.sort(TIME, maintain_order=True), batch.columns)
