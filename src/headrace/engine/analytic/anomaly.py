"""AnomalyDetection_SpikeAndDip and AnomalyDetection_ChangePoint: what both have in common.

An event is judged beside its history: those of the last historySize events before it in its partition that
satisfy WHEN, have a value and lie within LIMIT DURATION. The result is a record of IsAnomaly and Score. An
event that is not judged, because it fails WHEN, has no value or too short a history, is no anomaly and has
the score 1. Gaps are not filled: a history is what came (reference, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from headrace.engine.analytic.density import LEAST_HISTORY, Floats
from headrace.engine.analytic.lookback import Flags, Lookback, Numbers
from headrace.engine.expressions import Planes, evaluate
from headrace.engine.planes import named, plane_name
from headrace.events.batch import Batch, ValueType
from headrace.sql.plan import AnalyticCall, Binary, Cast, Expression, IsNull, Unary

_VALUE: Final = "value:"

#: However high the confidence: what is this improbable is reported.
_LEAST_DOUBT: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Settings:
    """What a call asks for: the chance of a false alarm that it takes, and how long a history it looks at."""

    doubt: float
    history: int
    limit_us: int | None

    @property
    def least_history(self) -> int:
        """The events that a history must have for anything to be judged."""
        return min(self.history, LEAST_HISTORY)


def settings_of(call: AnalyticCall) -> Settings:
    """Return the settings of a call."""
    confidence, history = call.call.parameters[:2]
    assert isinstance(confidence, int | float)
    assert isinstance(history, int)
    return Settings(max(1 - confidence / 100, _LEAST_DOUBT), history, call.limit_us)


def judging(call: AnalyticCall) -> Expression:
    """Return the condition for an event to count: WHEN, and a value."""
    argument = call.call.arguments[0]
    present = Unary("NOT", IsNull(argument, argument.span), argument.span)
    return present if call.when is None else Binary("AND", call.when, present, call.when.span)


class Values:
    """The values that calls with one argument judge, as floats."""

    def __init__(self, call: AnalyticCall, script: str) -> None:
        argument = call.call.arguments[0]
        self._cast = Cast(argument, ValueType.FLOAT, safe=False, span=argument.span)
        self._script = script

    def lift(self, batch: Batch) -> list[pl.Series]:
        """Return the values of the rows of `batch`; raises RowError where one cannot be read as a float."""
        return named(_VALUE, evaluate([self._cast], batch, self._script)[0])

    def listed(self, frame: pl.DataFrame, lookback: Lookback) -> Floats:
        """Return the values of all events, which are in `frame`, in the order of the list."""
        name = plane_name(_VALUE, ValueType.FLOAT)
        if name not in frame.columns:
            return np.empty(0)
        values: Floats = frame.get_column(name).to_numpy()[lookback.listed]
        return values


@dataclass(frozen=True, slots=True)
class Judged:
    """The events to judge: the rows of a slice that count, partition after partition.

    `places` are theirs in the list, and the history of each is from its `begins` on to before its place.
    """

    rows: Numbers
    places: Numbers
    begins: Numbers


def judged(lookback: Lookback, settings: Settings) -> Judged:
    """Return the events to judge."""
    rows = np.flatnonzero(lookback.counts)
    rows = rows[np.argsort(lookback.behind[rows], kind="stable")]
    places = lookback.behind[rows] - 1
    begins = np.maximum(lookback.since(settings.limit_us)[rows], places - settings.history)
    return Judged(rows, places, begins)


def records(height: int, rows: Numbers, anomalies: Flags, scores: Floats) -> Planes:
    """Return the results of `height` rows, of which `rows` were judged."""
    flags, numbers = np.zeros(height, dtype=np.int64), np.ones(height)
    flags[rows], numbers[rows] = anomalies, scores
    parts = [
        pl.lit('{"IsAnomaly":'),
        pl.Series("flag", flags).cast(pl.String),
        pl.lit(',"Score":'),
        pl.Series("score", numbers).cast(pl.String),
        pl.lit("}"),
    ]
    return {ValueType.RECORD: pl.select(pl.concat_str(parts)).to_series()}
