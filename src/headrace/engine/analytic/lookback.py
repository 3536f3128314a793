"""Looking back: which events stand before a row in its partition, found for all rows at once.

The events that count, because they satisfy WHEN, are numbered in order of arrival, which is an order of time:
those kept from before, then those among the rows of the slice. They are also listed partition after
partition, in order of arrival within each: what a row sees of its partition is a stretch of that list, told
by two places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Lookback:
    """What the rows of a slice see of the events that count.

    `seen_us` are the times of these events, and `followers` how many come after each in its partition.
    `listed` are their numbers, partition after partition, and `starts` the place in that list where the
    partition of each begins. For each row there is its time and whether it counts itself; `begins` is the
    place in the list where its partition begins, `behind` that just behind the last event up to the row,
    itself included.
    """

    seen_us: Numbers
    followers: Numbers
    listed: Numbers
    starts: Numbers
    times_us: Numbers
    counts: Flags
    begins: Numbers
    behind: Numbers

    def earlier(self, offset: int, limit_us: int | None) -> Numbers:
        """Return, for each row, the number of the event `offset` places before it, else -1.

        With offset 0 it is the last one, the row itself included. Events that are `limit_us` old or older are
        out of reach.
        """
        if not self.listed.size:
            return np.full(len(self.times_us), -1)
        places = self.behind - (offset + self.counts if offset else 1)
        reached = places >= self.begins
        found = self.listed[np.where(reached, places, 0)]
        if limit_us is not None:
            reached &= self.seen_us[found] > self.times_us - limit_us
        return np.where(reached, found, -1)

    def among_last(self, most: int) -> pl.Series:
        """Return which events are among the last `most` of their partition."""
        return pl.Series(self.followers < most)

    def since(self, limit_us: int | None) -> Numbers:
        """Return, for each row, the place of the first event younger than `limit_us`, at most `behind`."""
        if limit_us is None:
            return self.begins
        events = len(self.listed)
        youngest = np.searchsorted(self.seen_us, self.times_us - limit_us, side="right")
        # A partition, told by where it begins, and a number in one: they grow along the list. A partition
        # with nothing listed begins where the next one does: what is found is then not before `behind`.
        listed = self.starts * (events + 1) + self.listed
        return np.minimum(np.searchsorted(listed, self.begins * (events + 1) + youngest), self.behind)


def look_back(keys: Sequence[pl.Series], seen_us: Numbers, times_us: Numbers, counts: Flags) -> Lookback:
    """Return what the rows of a slice see; rows are of one partition where all `keys` are equal.

    `keys` are those of the events kept from before, then those of the rows, as is `counts` for the rows.
    `seen_us` are the times of the events that count.
    """
    kept = len(seen_us) - int(counts.sum())
    all_counts = np.concatenate([np.ones(kept, dtype=np.bool_), counts])
    order, sizes = _by_partition(keys, len(all_counts))
    counted = all_counts[order]
    behind = np.cumsum(counted)
    ends = behind[np.cumsum(sizes) - 1]
    begins = np.concatenate([[0], ends[:-1]])[: len(ends)]
    place_begins, place_ends = np.repeat(begins, sizes), np.repeat(ends, sizes)
    numbers = np.cumsum(all_counts) - 1
    return Lookback(
        seen_us,
        _by_number(order, place_ends - behind)[all_counts],
        numbers[order[counted]],
        place_begins[counted],
        times_us,
        counts,
        _by_number(order, place_begins)[kept:],
        _by_number(order, behind)[kept:],
    )


def _by_partition(keys: Sequence[pl.Series], height: int) -> tuple[Numbers, Numbers]:
    """Return the row numbers, partition after partition, and the size of each partition."""
    if not keys or height == 0:
        return np.arange(height), np.array([height] if height else [], dtype=np.int64)
    names = [str(number) for number in range(len(keys))]
    frame = pl.DataFrame([key.alias(name) for name, key in zip(names, keys, strict=True)])
    numbered = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    groups = numbered.group_by(names, maintain_order=True).agg("row").get_column("row")
    return groups.explode().to_numpy(), groups.list.len().cast(pl.Int64).to_numpy()


def _by_number(order: Numbers, values: Numbers) -> Numbers:
    """Return `values`, which stand partition after partition, by row number."""
    found = np.empty_like(values)
    found[order] = values
    return found
