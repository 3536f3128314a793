"""The timestamps of events as they arrive: early, late and out of order.

The rules of the language's service, in this order: an event whose time is more than five minutes ahead of its
arrival is dropped and moves nothing; one whose time is further behind its arrival than the late tolerance is
adjusted to that bound, or dropped; one below the watermark, the largest time of its partition so far less the
out-of-order tolerance, is adjusted to the watermark, or dropped. Only System.Timestamp() changes, never a
field. (Microsoft, "Time handling in Azure Stream Analytics" and "Configuring event ordering policies".)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import polars as pl

from headrace.errors import UserError
from headrace.limits import MAX_LATE_DAYS

#: How far ahead of its arrival an event's time may be; fixed in the language's service.
EARLY_TOLERANCE_US: Final = 300_000_000

#: Why an event is dropped.
NO_TIME: Final = (
    "TIMESTAMP BY gives no time here: its value is missing, NULL or no datetime before the year 9999"
)
TOO_EARLY: Final = "TIMESTAMP BY gives a time more than 5 minutes ahead of the event's arrival"
TOO_LATE: Final = "the event arrived later after its time than the policy allows"
OUT_OF_ORDER: Final = "the event is further out of order than the policy allows"

_SECOND_US: Final = 1_000_000
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of events that come late or out of order: tolerances in seconds, then `action`.

    An event that arrives more than `late_seconds` after its time, or more than `out_of_order_seconds` behind
    the largest time seen, is adjusted to that bound ("adjust") or dropped ("drop"). Both are 0 to 20 days;
    anything else raises UserError.
    """

    late_seconds: float = 5
    out_of_order_seconds: float = 0
    action: Literal["adjust", "drop"] = "adjust"

    def __post_init__(self) -> None:
        for name in ("late_seconds", "out_of_order_seconds"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise UserError(f"policy.{name}: expected a number of seconds, found {seconds!r}")
            if not (math.isfinite(seconds) and 0 <= seconds <= MAX_LATE_DAYS * _DAY_S):
                raise UserError(
                    f"policy.{name}: expected 0 to {MAX_LATE_DAYS * _DAY_S} seconds "
                    f"({MAX_LATE_DAYS} days), found {seconds!r}"
                )
        if self.action not in ("adjust", "drop"):
            raise UserError(f"policy.action: expected 'adjust' or 'drop', found {self.action!r}")

    @property
    def late_us(self) -> int:
        """The late tolerance in microseconds."""
        return round(self.late_seconds * _SECOND_US)

    @property
    def out_of_order_us(self) -> int:
        """The out-of-order tolerance in microseconds."""
        return round(self.out_of_order_seconds * _SECOND_US)


class Tally(NamedTuple):
    """How many events were early, late, out of order by their policy, or had no time.

    Those early, and those without a time, are dropped, the others as the policy says.
    """

    early: int = 0
    late: int = 0
    out_of_order: int = 0
    untimed: int = 0

    def plus(self, other: Tally) -> Tally:
        """Return the sum of both."""
        return Tally(*map(sum, zip(self, other, strict=True)))


_NONE: Final = Tally()


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of rows in the order of their arrival.

    `times_us` is the time of each, NULL where it is dropped; `reasons` say why it is, None when all are kept.
    `seen_us` is, for a row that counts, the largest time seen up to it, else NULL. `tally` counts the others.
    """

    times_us: pl.Series
    reasons: pl.Series | None
    seen_us: pl.Series
    tally: Tally = _NONE

    def latest_us(self, before_us: int | None) -> int | None:
        """Return the largest time seen behind all rows; `before_us` was the largest before them."""
        latest = self.seen_us.max()
        return latest if isinstance(latest, int) else before_us


def judged(
    times_us: pl.Series,
    arrival_us: pl.Series,
    policy: Policy,
    seen_us: int | pl.Series | None = None,
    substreams: pl.DataFrame | None = None,
) -> Judged:
    """Return what becomes of rows in the order of their arrival; `times_us` are NULL where there is none.

    Times are microseconds since 1970 UTC. `seen_us` is the largest time seen before these rows, if any was.
    Where each of several substreams has a watermark of its own the columns of `substreams` say which one a
    row belongs to, and `seen_us` is a series. What becomes of a row depends on the rows before it and not on
    where they were cut.
    """
    if substreams is None and (found := _orderly(times_us, arrival_us, policy, seen_us)) is not None:
        return found
    given = {"time": times_us, "arrival": arrival_us}
    rows = pl.DataFrame(given).with_columns(pl.lit(seen_us, pl.Int64).alias("seen"))
    keys: list[str] = []
    if substreams is not None:
        rows, keys = rows.hstack(substreams), substreams.columns
    adjusts = policy.action == "adjust"
    floor = pl.col("arrival") - policy.late_us
    early, late = pl.col("time") > pl.col("arrival") + EARLY_TOLERANCE_US, pl.col("time") < floor
    # A time that is NULL is not known not to be early, and so does not count.
    counts = ~early if adjusts else ~early & ~late
    rows = rows.with_columns(pl.when(counts).then(pl.max_horizontal("time", floor)).alias("counted"))
    largest = pl.col("counted").cum_max()
    rows = rows.with_columns(
        pl.when(pl.col("counted").is_not_null())
        .then(pl.max_horizontal(largest.over(keys) if keys else largest, "seen"))
        .alias("seen")
    )
    watermark = pl.col("seen") - policy.out_of_order_us
    behind = pl.col("counted") < watermark
    final = pl.when(behind).then(watermark if adjusts else None).otherwise("counted")
    rows = rows.with_columns(final.alias("final"))
    reasons = None
    if rows["final"].null_count():
        reason = pl.when(pl.col("time").is_null()).then(pl.lit(NO_TIME)).when(early).then(pl.lit(TOO_EARLY))
        if not adjusts:
            reason = reason.when(late).then(pl.lit(TOO_LATE)).when(behind).then(pl.lit(OUT_OF_ORDER))
        reasons = rows.select(reason.otherwise(None)).to_series()
    tally = rows.select(
        early=early.sum(), late=late.sum(), behind=behind.sum(), untimed=pl.col("time").null_count()
    )
    return Judged(rows["final"], reasons, rows["seen"], Tally(*map(int, tally.row(0))))


def _orderly(
    times_us: pl.Series, arrival_us: pl.Series, policy: Policy, seen_us: int | pl.Series | None
) -> Judged | None:
    """Return rows of one watermark as they are, if the policy has nothing against any, as mostly; else None.

    To see that costs next to nothing, while expressions wait for threads that decode at the same time.
    """
    if not len(times_us) or isinstance(seen_us, pl.Series):
        return None
    if times_us.null_count() or arrival_us.null_count():
        return None
    times, arrivals = times_us.to_numpy(), arrival_us.to_numpy()
    ahead = times - arrivals
    if ahead.max() > EARLY_TOLERANCE_US or ahead.min() < -policy.late_us:
        return None
    seen = np.maximum.accumulate(times)
    if seen_us is not None:
        seen = np.maximum(seen, seen_us)
    if (times < seen - policy.out_of_order_us).any():
        return None
    return Judged(times_us, None, pl.Series(seen))
