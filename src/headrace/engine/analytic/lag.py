"""LAG and LAST: the value of an earlier event.

LAG(e, n) is the value of e in the n-th earlier event of the partition that satisfies WHEN, LAST(e) the same
with the event itself as the first; both within LIMIT DURATION. The default stands where there is no such
event: a NULL that is found stays NULL (reference, B6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from headrace.engine.analytic.function import Events
from headrace.engine.analytic.lookback import Numbers
from headrace.engine.expressions import Planes, evaluate
from headrace.engine.planes import named, occurring, planes_among
from headrace.events.batch import DTYPES, Batch
from headrace.sql.plan import AnalyticCall, Expression, Literal

_NULL: Final = Literal(None, None)


class Lag:
    """Calls of LAG and LAST."""

    def __init__(self, calls: Sequence[AnalyticCall], script: str) -> None:
        self._script = script
        self._arguments = [call.call.arguments[0] for call in calls]
        self.computed: tuple[Expression, ...] = tuple(call.default or _NULL for call in calls)
        self._reach = [(_offset(call), call.limit_us) for call in calls]

    def remember(self, batch: Batch) -> list[pl.Series]:
        """Return the values."""
        found = evaluate(self._arguments, batch, self._script)
        return [series for number, planes in enumerate(found) for series in named(f"{number}:", planes)]

    def advance(self, events: Events, computed: Sequence[Planes]) -> tuple[list[Planes], pl.DataFrame]:
        """Return the values of earlier events; as many of each partition are kept as the largest offset."""
        lookback, frame = events.lookback(), events.together()
        found = {reach: lookback.earlier(*reach) for reach in dict.fromkeys(self._reach)}
        results: list[Planes] = []
        for number, (reach, default) in enumerate(zip(self._reach, computed, strict=True)):
            names = planes_among(f"{number}:", frame.columns)
            values = {type_: frame.get_column(name) for type_, name in names.items()}
            results.append(_values_at(found[reach], values, default))
        depth = max(1, *(offset for offset, _ in self._reach))
        return results, frame.filter(lookback.among_last(depth))

    def horizon_us(self, frontier_us: int) -> int:
        """Return where the longest limit ends."""
        return frontier_us - max(limit_us or 0 for _, limit_us in self._reach)


def _offset(call: AnalyticCall) -> int:
    offset = call.call.parameters[0]
    assert isinstance(offset, int)
    return offset


def _values_at(rows: Numbers, values: Planes, default: Planes) -> Planes:
    """Return the values in `rows`, and the default where there is no row, which is told by -1."""
    missing = pl.Series(rows < 0)
    some = missing.any()
    index = pl.Series(rows).set(missing, None) if some else pl.Series(rows)
    found = {type_: plane.gather(index) for type_, plane in values.items()}
    if some:
        for type_, plane in default.items():
            other = found.get(type_, pl.Series([None], dtype=DTYPES[type_]).new_from_index(0, len(plane)))
            found[type_] = plane.zip_with(missing, other)
    return occurring(found)
