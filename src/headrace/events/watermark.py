"""The timestamps of events as they arrive: early, late and out of order, as a running job takes them.

The rules of the language's service, in this order: an event whose time is more than five minutes ahead of its
arrival is dropped and moves nothing; one that is later than the late tolerance is moved to its arrival less
that tolerance; one below the watermark, the largest time of its partition so far, is moved up to it. Only
System.Timestamp() changes, never a field. (Microsoft, "Time handling in Azure Stream Analytics".)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

#: How far ahead of its arrival an event's time may be; fixed in the language's service.
EARLY_TOLERANCE_US: Final = 300_000_000

#: How much later than its time an event may arrive before its time is adjusted; the service's default.
LATE_TOLERANCE_US: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class Ordered:
    """The adjusted times of some rows, never falling, and the watermark behind them."""

    times_us: pl.Series
    watermark_us: int | None


def early(times_us: pl.Series, arrival_us: pl.Series) -> pl.Series:
    """Return which rows are too far ahead of their arrival."""
    return times_us > arrival_us + EARLY_TOLERANCE_US


def in_order(times_us: pl.Series, arrival_us: pl.Series, watermark_us: int | None) -> Ordered:
    """Adjust late and out-of-order times; rows stand in the order of their arrival, none early, none NULL.

    Times are microseconds since 1970 UTC. The result for a row depends on the rows before it and not on
    where they were cut: `watermark_us` carries on from the rows before (None: there were none).
    """
    if times_us.is_empty():
        return Ordered(times_us, watermark_us)
    floor = arrival_us - LATE_TOLERANCE_US
    late_adjusted = pl.select(pl.max_horizontal(times_us, floor)).to_series()
    if watermark_us is not None:
        late_adjusted = late_adjusted.clip(lower_bound=watermark_us)
    times = late_adjusted.cum_max()
    return Ordered(times, int(times[-1]))
