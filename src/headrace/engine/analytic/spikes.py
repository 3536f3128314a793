"""AnomalyDetection_SpikeAndDip: events far above or below those before them.

The score of an event is the p-value of its being like its history, by adaptive kernel density estimation (see
`density`), as in ML.NET's IidSpikeDetector: twice the tail on its side, so that it is the same for a spike
whether dips are looked for or not. It is an anomaly where the score is below 1 - confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from headrace.engine.analytic.anomaly import Values, judged, records, settings_of
from headrace.engine.analytic.density import Floats, upper_tails
from headrace.engine.analytic.function import Events
from headrace.engine.expressions import Planes
from headrace.events.batch import Batch
from headrace.sql.plan import AnalyticCall, Expression

#: The width of kernels: the whole spread, with which normal noise is reported far less often than the
#: confidence allows, and a value five deviations away still has a score below 0.002.
_WIDTH: Final = 1.0


class SpikesAndDips:
    """Calls of AnomalyDetection_SpikeAndDip with one argument."""

    computed: tuple[Expression, ...] = ()

    def __init__(self, calls: Sequence[AnalyticCall], script: str) -> None:
        self._values = Values(calls[0], script)
        self._settings = [settings_of(call) for call in calls]
        self._modes = [str(call.call.parameters[2]) for call in calls]

    def remember(self, batch: Batch) -> list[pl.Series]:
        """Return the values."""
        return self._values.lift(batch)

    def advance(self, events: Events, _computed: Sequence[Planes]) -> tuple[list[Planes], pl.DataFrame]:
        """Return the records of all rows; the longest history of each partition is kept."""
        lookback, frame = events.lookback(), events.together()
        values = self._values.listed(frame, lookback)
        results: list[Planes] = []
        for settings, mode in zip(self._settings, self._modes, strict=True):
            found = judged(lookback, settings)
            enough = found.places - found.begins >= settings.least_history
            rows, places, begins = found.rows[enough], found.places[enough], found.begins[enough]
            scores = _p_values(upper_tails(values, places, begins, places, width=_WIDTH), mode)
            results.append(records(events.rows.height, rows, scores < settings.doubt, scores))
        return results, frame.filter(lookback.among_last(max(each.history for each in self._settings)))

    def horizon_us(self, frontier_us: int) -> int:
        """Return where the longest limit ends."""
        return frontier_us - max(settings.limit_us or 0 for settings in self._settings)


def _p_values(above: Floats, mode: str) -> Floats:
    if mode == "spikes":
        tails = above
    elif mode == "dips":
        tails = 1 - above
    else:
        tails = np.minimum(above, 1 - above)
    return np.minimum(2 * tails, 1.0)
